"""Random changes of trades and levels as other programs make them, by plain SQL, and what a monitor must guard after them."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from math import gcd
from typing import TYPE_CHECKING

from tests.integration.supabase_scene import LOT

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from core.model.instrument import Instrument
    from core.monitor import Monitor
    from tests.integration.supabase_scene import Project

Leg = tuple[int, int, int, int]
WideBook = dict[int, tuple[frozenset[Leg], int | None, int | None, int | None]]
"""strategy → legs (row, security, units, entry in paise), stop in paise for all lots, days of the day rule and of theta."""

STOP, DAYS, THETA = "stop", "days", "theta"
_ROWS = {
    STOP: ("stop_loss", "primary", "price"),
    DAYS: ("time_exit", "primary", "dte"),
    THETA: ("time_exit", "theta", "dte"),
}


async def wide_book(project: Project) -> WideBook:
    """By the database alone. A stop is stored for one lot of each leg, and grows with what the legs have in common."""
    legs: dict[int, set[Leg]] = {}
    for row in await project.sql.fetch("SELECT * FROM trades WHERE order_status = 'open'"):
        units = row["quantity"] if row["action"] == "BUY" else -row["quantity"]
        leg = (row["new_id"], row["security_id"], units, int(row["price"] * 100))
        legs.setdefault(row["strategy_id"], set()).add(leg)
    levels: dict[tuple[int, str], int] = {}
    for row in await project.sql.fetch("SELECT * FROM strategy_exit_levels WHERE trigger_value IS NOT NULL"):
        kind = next(kind for kind, text in _ROWS.items() if (row["exit_type"], row["level_name"]) == text[:2])
        levels[row["strategy_id"], kind] = int(row["trigger_value"] * (100 if kind is STOP else 1))
    book: WideBook = {}
    for number, found in legs.items():
        stop = levels.get((number, STOP))
        held = Counter[int]()
        for _, security_id, units, _ in found:
            held[security_id] += units
        lots = gcd(*held.values()) // LOT or 1
        whole = None if stop is None else stop * lots
        book[number] = (frozenset(found), whole, levels.get((number, DAYS)), levels.get((number, THETA)))
    return book


def wide_book_of(monitor: Monitor) -> WideBook:
    """What the monitor guards. A level counts where a row gives it."""
    book: WideBook = {}
    for number, guard in monitor.parts.engine.guards.items():
        legs = frozenset(
            (x.row_id, x.instrument.key.security_id, x.units, x.entry or 0) for x in guard.booked.position.legs
        )
        found = guard.levels
        stop, days, theta = (
            level if level is not None and level.source.value == "strategy_exit_levels" else None
            for level in (found.stop, found.dte, found.theta)
        )
        book[number] = (legs, stop and stop.amount, days and days.days, theta and theta.days)
    return book


@dataclass(slots=True)
class _Known:
    """What is there, so that something of it can be picked: the database is asked for nothing."""

    trades: dict[int, tuple[int, str]] = field(default_factory=dict)
    """key → strategy, status."""
    levels: dict[tuple[int, str], int] = field(default_factory=dict)
    """strategy and kind → key. Of each kind at most one."""


class RandomRows:
    """Every leg is sold, at a price and with a stop at which nothing fires. `counts`: changes by their kind."""

    def __init__(self, project: Project, options: list[Instrument], chance: random.Random) -> None:
        self.options = options
        self.changes = 0
        self.counts: Counter[str] = Counter()
        self._project = project
        self._chance = chance
        self._known = _Known()
        self._strategies: list[int] = []
        self._kinds: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
            ("insert", 22, self._insert),
            ("price", 14, self._edit_price),
            ("quantity", 10, self._edit_quantity),
            ("close", 10, self._close),
            ("reopen", 12, self._reopen),
            ("move", 8, self._move),
            ("move and close", 4, self._move_closed),
            ("delete", 4, self._delete),
            ("level edited", 14, self._edit_level),
            ("level added", 6, self._add_level),
            ("level deleted", 5, self._delete_level),
            ("level moved", 5, self._move_level),
        ]

    async def begin(self, strategies: int) -> None:
        """The rows that are there already stay as they are; new strategies, one leg each."""
        self._strategies = list(range(1_001, 1_001 + strategies))
        for number in self._strategies:
            await self._project.insert_strategy(number, None)
            self._known.levels[number, DAYS] = 0
            await self._insert_into(number)
            if self._chance.random() < 0.7:
                await self._put_level(number, STOP)

    async def change(self) -> None:
        """One change, or several in one transaction, of which some are rolled back."""
        if self._chance.random() < 0.85:
            await self._one()
            return
        before, counts, changes = copy.deepcopy(self._known), self.counts.copy(), self.changes
        transaction = self._project.sql.transaction()
        await transaction.start()
        for _ in range(self._chance.randint(2, 6)):
            await self._one()
        if self._chance.random() < 0.3:
            await transaction.rollback()
            self._known, self.counts, self.changes = before, counts, changes
            self.counts["rolled back"] += 1
        else:
            await transaction.commit()
            self.counts["transactions"] += 1

    async def _one(self) -> None:
        names, weights, works = zip(*self._kinds, strict=True)
        (index,) = self._chance.choices(range(len(names)), weights)
        if await works[index]():
            self.counts[names[index]] += 1
            self.changes += 1

    # --- trades ---

    def _of_status(self, status: str) -> list[int]:
        return [key for key, (_, found) in self._known.trades.items() if found == status]

    def _pick(self, status: str) -> int | None:
        keys = self._of_status(status)
        return self._chance.choice(keys) if keys else None

    async def _insert(self) -> bool:
        # Else the book only grows.
        if len(self._of_status("open")) > 120:
            return False
        await self._insert_into(self._chance.choice(self._strategies))
        return True

    async def _insert_into(self, number: int) -> None:
        status = "open" if self._chance.random() < 0.9 else "closed"
        option = self._chance.choice(self.options)
        # As a Decimal: a float would go into the numeric column with all of its fifty digits.
        price = Decimal(self._price())
        key = await self._project.insert_leg(number, option, -self._quantity(), price, status)  # type: ignore[arg-type]
        self._known.trades[key] = (number, status)

    def _quantity(self) -> int:
        return LOT * self._chance.choice((1, 1, 2, 3, 4))

    def _price(self) -> int:
        """Paise; now and then 0, which is an entry that is not known yet."""
        return 0 if self._chance.random() < 0.05 else self._chance.randint(95_00, 105_00)

    async def _edit_price(self) -> bool:
        return await self._set(self._pick("open"), "price = $2::numeric / 100", self._price())

    async def _edit_quantity(self) -> bool:
        return await self._set(self._pick("open"), "quantity = $2", self._quantity())

    async def _close(self) -> bool:
        return await self._set(self._pick("open"), "order_status = $2", "closed")

    async def _reopen(self) -> bool:
        return await self._set(self._pick("closed"), "order_status = $2", "open")

    async def _move(self) -> bool:
        return await self._set(self._pick("open"), "strategy_id = $2", self._chance.choice(self._strategies))

    async def _move_closed(self) -> bool:
        """The message names neither the old strategy nor an open row."""
        key = self._pick("open")
        number = self._chance.choice(self._strategies)
        return await self._set(key, "order_status = 'closed', strategy_id = $2", number)

    async def _set(self, key: int | None, what: str, value: object) -> bool:
        if key is None:
            return False
        row = await self._project.sql.fetchrow(
            f"UPDATE trades SET {what} WHERE new_id = $1 RETURNING strategy_id, order_status",  # noqa: S608  texts from here
            key, value,
        )  # fmt: skip
        self._known.trades[key] = (row["strategy_id"], row["order_status"])
        return True

    async def _delete(self) -> bool:
        key = self._pick(self._chance.choice(("open", "closed")))
        if key is None:
            return False
        await self._project.sql.execute("DELETE FROM trades WHERE new_id = $1", key)
        del self._known.trades[key]
        return True

    # --- levels ---

    def _value(self, kind: str) -> int:
        """A stop in rupees for one lot, or days: far from what could fire."""
        return self._chance.randint(2_500, 6_000) if kind is STOP else self._chance.randint(1, 4)

    async def _put_level(self, number: int, kind: str) -> None:
        exit_type, name, trigger = _ROWS[kind]
        self._known.levels[number, kind] = await self._project.sql.fetchval(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES ($1, $2, $3, $4, $5, 'Close entire position') RETURNING id",
            number, exit_type, name, self._value(kind), trigger,
        )  # fmt: skip

    async def _edit_level(self) -> bool:
        number, kind = self._chance.choice(list(self._known.levels))
        exit_type, name, _ = _ROWS[kind]
        await self._project.sql.execute(
            "UPDATE strategy_exit_levels SET trigger_value = $4 WHERE strategy_id = $1 AND exit_type = $2 AND level_name = $3",
            number, exit_type, name, self._value(kind),
        )  # fmt: skip
        return True

    async def _add_level(self) -> bool:
        number, kind = self._chance.choice(self._strategies), self._chance.choice((STOP, THETA))
        if (number, kind) in self._known.levels:
            return False
        await self._put_level(number, kind)
        return True

    def _pick_level(self) -> tuple[int, str] | None:
        """Not of the day rule: without it a default far above stands in, which might fire."""
        found = [(number, kind) for number, kind in self._known.levels if kind is not DAYS]
        return self._chance.choice(found) if found else None

    async def _delete_level(self) -> bool:
        picked = self._pick_level()
        if picked is None:
            return False
        key = self._known.levels.pop(picked)
        await self._project.sql.execute("DELETE FROM strategy_exit_levels WHERE id = $1", key)
        return True

    async def _move_level(self) -> bool:
        picked, number = self._pick_level(), self._chance.choice(self._strategies)
        if picked is None or (number, picked[1]) in self._known.levels:
            return False
        key = self._known.levels.pop(picked)
        self._known.levels[number, picked[1]] = key
        await self._project.sql.execute("UPDATE strategy_exit_levels SET strategy_id = $2 WHERE id = $1", key, number)
        return True
