"""Limits over several positions: of a strategy, an underlying, the account, the portfolio. Imports nothing of the monitor.

How the readings are carried out:
- A scope is the sum of the positions that are open in it, and of those whose exit is not filled yet. One that has no believed
  price makes the sum unknown: no breach stands, nothing fires.
- The day counts each position from its P&L at the first beat that finds all its marks believed, from 0 when it was opened
  today. An exit brings what was realised, less that. One that ends before there was a first mark makes the day unknown.
- What stands is looked at when it begins, when a wait is over, and in between at most every 50 ms.
- A loss is believed at once when it stands also with every suspect leg at its best side, else after a second. Beyond the hard
  multiple, with all legs at their best sides beyond the limit too, nothing waits. A profit needs every leg clean.
- A limit that has fired closes whatever is open in its scope, and the other limits of the scope rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from tests.oracle.judge import CONFIRM_MS, HARD, SETTLE_MS, Judge, Signal

LOOK_MS = 50
SHARED = ("account", "portfolio")
KINDS = ("max_loss", "daily_loss", "max_profit")


class Limit(NamedTuple):
    """Of every scope of one kind: strategy, underlying, account, portfolio. Magnitudes in paise, None: no such limit."""

    scope: str
    max_loss: int | None = None
    daily_loss: int | None = None
    max_profit: int | None = None


class Line(NamedTuple):
    """`at` is negative for a loss. `scope` and `name` are the key of what it limits."""

    scope: str
    name: str
    kind: str
    at: int

    @property
    def is_loss(self) -> bool:
        return self.kind != "max_profit"

    @property
    def key(self) -> tuple[str, str]:
        return self.scope, self.name


@dataclass(slots=True)
class Members:
    """Who is counted: `open` are guarded, `leaving` wait for their fills. `base` by strategy: where its day counts from."""

    today: date | None = None
    open: dict[int, Judge] = field(default_factory=dict)
    leaving: dict[int, Judge] = field(default_factory=dict)
    base: dict[int, int] = field(default_factory=dict)
    brought: dict[int, int | None] = field(default_factory=dict)
    """By strategy, what the day has brought on those that are over; None is not known."""

    def find_bases(self, now_ms: int) -> None:
        """At a beat: the first believed marks."""
        for strategy_id, judge in (*self.open.items(), *self.leaving.items()):
            if strategy_id not in self.base:
                base = self.base_of(judge)
                if base is None and judge.is_safe(now_ms):
                    base = judge.pnl
                if base is not None:
                    self.base[strategy_id] = base

    def base_of(self, judge: Judge) -> int | None:
        opened = [leg.opened_on for leg in judge.position.legs if leg.opened_on is not None]
        if opened and min(opened) == self.today:
            return 0
        return self.base.get(judge.position.strategy_id)

    def over(self, judge: Judge, realised: int) -> None:
        """Its exit is filled: it has realised so much, shares closed before included."""
        base = self.base_of(judge)
        self.brought[judge.position.strategy_id] = None if base is None else realised - base
        del self.leaving[judge.position.strategy_id]


class Pool:
    """One sum with the limits on it. `belongs` says of a position whether it is counted here."""

    def __init__(self, lines: tuple[Line, ...], members: Members, belongs: Callable[[int], bool]) -> None:
        self.lines = lines
        self.members = members
        self.belongs = belongs
        self.latched: dict[tuple[str, str], tuple[Line, int]] = {}
        self._since_ms: dict[Line, int] = {}
        self._looked_ms = -LOOK_MS
        self._is_behind = False

    def judges(self) -> list[Judge]:
        members = self.members
        return [judge for each, judge in (*members.open.items(), *members.leaving.items()) if self.belongs(each)]

    def dues(self) -> Iterator[int]:
        for since_ms in self._since_ms.values():
            yield from (at for at in (since_ms + SETTLE_MS, since_ms + CONFIRM_MS) if at > self._looked_ms)
            if self._is_behind:
                yield self._looked_ms + LOOK_MS

    def begin_again(self) -> None:
        self._since_ms.clear()

    def by_price(self, now_ms: int, ticked: str | None) -> Iterator[tuple[Judge, Signal]]:
        """What fires on this event: on a quote of any of its legs, or by the clock."""
        judges = self.judges()
        if ticked is not None and not any(judge.holds(ticked) for judge in judges):
            return
        if not judges or any(judge.pnl is None for judge in judges):
            self._since_ms.clear()
            return
        total = sum(judge.pnl or 0 for judge in judges)
        places = {line: place for line in self.lines if (place := self._place(line, judges)) is not None}
        beyond = {line for line, place in places.items() if (total <= place if line.is_loss else total >= place)}
        if beyond and not all(judge.is_safe(now_ms) for judge in judges):
            beyond.clear()
        self._since_ms = {line: self._since_ms.get(line, now_ms) for line in self.lines if line in beyond}
        is_due = now_ms - self._looked_ms >= LOOK_MS or any(at <= now_ms for at in self.dues())
        self._is_behind = not is_due
        if not beyond or not is_due:
            return
        self._looked_ms = now_ms
        for line in self.lines:
            if (
                line in beyond
                and line.key not in self.latched
                and self._is_believed(line, places[line], total, judges, now_ms)
            ):
                self.latched[line.key] = line, total - places[line] + line.at
                yield from self._close(line.key)

    def late(self) -> Iterator[tuple[Judge, Signal]]:
        for key in self.latched:
            yield from self._close(key)

    def _close(self, key: tuple[str, str]) -> Iterator[tuple[Judge, Signal]]:
        line, observed = self.latched[key]
        for strategy_id, judge in self.members.open.items():
            if self.belongs(strategy_id):
                yield judge, Signal(f"{line.scope}_limit", "CLOSE_POSITION", line.at, observed)

    def _place(self, line: Line, judges: list[Judge]) -> int | None:
        """Where the limit is on the scale of the sum; None while it is not judged."""
        if line.key in self.latched:
            return None
        if line.kind != "daily_loss":
            return line.at
        brought = [change for each, change in self.members.brought.items() if self.belongs(each)]
        bases = [self.members.base.get(judge.position.strategy_id) for judge in judges]
        if None in brought or None in bases:
            return None
        return line.at + sum(bases) - sum(brought)  # type: ignore[arg-type]

    def _is_believed(self, line: Line, place: int, total: int, judges: list[Judge], now_ms: int) -> bool:
        waited_ms = now_ms - self._since_ms[line]
        is_settled = sum(len(judge.legs) for judge in judges) == 1 or waited_ms >= SETTLE_MS
        if not line.is_loss:
            return is_settled and not any(judge.suspects() for judge in judges)
        best = _sum([judge.best_side(range(len(judge.legs))) for judge in judges])
        if best is not None and best <= place and total <= place - line.at + HARD * line.at:
            return True
        least = _sum([judge.best_side(judge.suspects()) for judge in judges])
        return is_settled and (waited_ms >= CONFIRM_MS or (least is not None and least <= place))


def pools_of(limits: tuple[Limit, ...], judges: dict[int, Judge], members: Members) -> list[Pool]:
    """One pool for every scope; the account's and the portfolio's are one."""
    underlying = {each: judge.position.underlying for each, judge in judges.items()}
    pools = [
        Pool(lines, members, lambda each, only=strategy_id: each == only)  # type: ignore[misc]
        for strategy_id in judges
        if (lines := _lines(limits, ("strategy",), str(strategy_id)))
    ]
    pools += [
        Pool(lines, members, lambda each, only=name: underlying[each] == only)  # type: ignore[misc]
        for name in sorted(set(underlying.values()))
        if (lines := _lines(limits, ("underlying",), name))
    ]
    shared = _lines(limits, SHARED, "")
    return [*pools, Pool(shared, members, lambda _each: True)] if shared else pools


def _lines(limits: tuple[Limit, ...], scopes: tuple[str, ...], name: str) -> tuple[Line, ...]:
    found = []
    for scope in scopes:
        for kind in KINDS:
            for limit in limits:
                amount = getattr(limit, kind)
                if limit.scope == scope and amount is not None:
                    found.append(Line(scope, name, kind, amount if kind == "max_profit" else -amount))
    return tuple(found)


def _sum(amounts: list[int | None]) -> int | None:
    return None if None in amounts else sum(amounts)  # type: ignore[arg-type]
