"""Looks over the engine's shoulder while a day is replayed: the P&L of each position, and when it was not protected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.model.session_time import NS_PER_S
from core.recording.replay_result import Curve, Unprotected

if TYPE_CHECKING:
    from core.exits.engine import Engine
    from core.exits.position_guard import PositionGuard
    from core.model.instrument import InstrumentKey

LEDGER_EVERY_NS: Final = NS_PER_S
_SHORTEST_NS: Final = 2 * NS_PER_S
"""A position without a price for a moment, at the start or between two packets, is no news."""


class Curves:
    """One curve for each strategy, sampled at most every `every_ns`."""

    def __init__(self, engine: Engine, every_ns: int) -> None:
        self.of: dict[int, Curve] = {}
        self._engine = engine
        self._every_ns = every_ns
        self._due_ns = 0

    def hurry(self) -> None:
        """Look at the next occasion: a position is new."""
        self._due_ns = 0

    def look(self, at_ns: int, utc_ns: int) -> None:
        if at_ns < self._due_ns:
            return
        self._due_ns = at_ns + self._every_ns
        self.sample(utc_ns)

    def sample(self, utc_ns: int) -> None:
        for booked in self._engine.cache.booked():
            self.curve(booked.position.strategy_id).take(utc_ns, booked.pnl)

    def curve(self, strategy_id: int) -> Curve:
        return self.of.setdefault(strategy_id, Curve())


class ProtectionLedger:
    """Asks every guard about once a second whether its price rules can fire. Only time in an open session counts."""

    def __init__(self, engine: Engine) -> None:
        self.found: list[Unprotected] = []
        self._engine = engine
        self._open: dict[int, Unprotected] = {}
        self._doubted: set[InstrumentKey] = set()
        self._due_ns = 0

    def hurry(self) -> None:
        """Look at the next occasion: a position is new, or a price is not believed any more."""
        self._due_ns = 0

    def note_doubted(self, keys: tuple[InstrumentKey, ...]) -> None:
        self._doubted.update(keys)
        self.hurry()

    def look(self, at_ns: int, utc_ns: int) -> None:
        if at_ns < self._due_ns:
            return
        self._due_ns = at_ns + LEDGER_EVERY_NS
        is_open = self._engine.desk.session_open is True
        is_doubtful = self._has_doubts() or not self._engine.desk.feed_live
        guards = self._engine.guards
        for strategy_id in self._open.keys() - guards.keys():
            self._close(strategy_id, utc_ns)
        for strategy_id, guard in guards.items():
            is_suspect = is_doubtful or guard.booked.pnl is None or bool(guard.blind_spots)
            found = _hindrance(guard, at_ns, utc_ns) if is_open and is_suspect else None
            if found is None:
                self._close(strategy_id, utc_ns)
            else:
                self._open.setdefault(strategy_id, found)

    def end(self) -> None:
        self.found += self._open.values()
        self._open.clear()

    def _has_doubts(self) -> bool:
        cache = self._engine.cache
        self._doubted = {key for key in self._doubted if cache.is_doubted(key)}
        return bool(self._doubted)

    def _close(self, strategy_id: int, utc_ns: int) -> None:
        known = self._open.pop(strategy_id, None)
        if known is not None and utc_ns - known.from_utc_ns > _SHORTEST_NS:
            self.found.append(replace(known, to_utc_ns=utc_ns))


def _hindrance(guard: PositionGuard, at_ns: int, utc_ns: int) -> Unprotected | None:
    position = guard.booked.position
    safe = guard.safe_to_trade(at_ns)
    if safe.is_safe:
        blind = guard.blind_spot(at_ns)
        return None if blind is None else Unprotected(position.strategy_id, utc_ns, None, blind)
    what = "; ".join(dict.fromkeys(reason.what.value for reason in safe.reasons))
    keys = {reason.key for reason in safe.reasons}
    legs = tuple(leg.instrument.symbol for leg in position.legs if leg.instrument.key in keys)
    return Unprotected(position.strategy_id, utc_ns, None, what, legs)
