"""What is due about once a second and decides nothing: the view, peaks, positions without prices, re-reads of the rows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from core.book_keeper import position_tag
from core.model.commands import Alert, Severity
from core.model.errors import StoreError, TransportError
from core.model.session_time import NS_PER_S
from core.run_statistics import view_in_steps
from core.stores.base import StoreState

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.exits.position_guard import PositionGuard
    from core.model.instrument import InstrumentKey
    from core.monitor_parts import Parts
    from core.monitor_view import MonitorView

_log = logging.getLogger(__name__)
_EVERY_S: Final = 1.0
_UNPROTECTED_AFTER_S: Final = 5.0
_TOLD_ONE_BY_ONE: Final = 3
_TELL_AGAIN_NS: Final = 300 * NS_PER_S
_FIRST_PRICE_NS: Final = 2 * NS_PER_S
_SLOW_CHANGES_AFTER_NS: Final = 60 * NS_PER_S
_ASK_AGAIN_NS: Final = 5 * NS_PER_S
_ASK_AGAIN_CLOSED_NS: Final = 60 * NS_PER_S
"""An instrument that never has a price must not cost a request in every second of the day."""


class HouseKeeping:
    """`run` and `re_read` are tasks that end only by being cancelled."""

    def __init__(self, parts: Parts, show: Callable[[MonitorView], None], started_ns: int) -> None:
        self._parts = parts
        self._show = show
        self._started_ns = started_ns
        self._told_ns: dict[int, int] = {}
        self._asked_ns: dict[InstrumentKey, int] = {}
        self._unpriced_ns: dict[int, int] = {}
        self._polling_since_ns: int | None = None
        self._is_polling_told = False

    async def run(self) -> None:
        parts = self._parts
        while True:
            parts.subscribe()
            if parts.feed is not None:
                parts.feed.market(is_open=parts.engine.desk.session_open is not False)
            self._look_after_prices()
            self._look_after_store()
            if not parts.options.prints_once:
                self._show(await view_in_steps(parts, self._started_ns))
            await parts.runner.flush()
            await self.save_peaks()
            await asyncio.sleep(_EVERY_S)

    async def re_read(self) -> None:
        """Read the rows again now and then, whatever the store notices. On its own: a slow store stops nothing else."""
        parts = self._parts
        interval_ns = int(parts.options.interval_s * NS_PER_S)
        next_ns = parts.clock.monotonic_ns() + interval_ns
        while True:
            await asyncio.sleep(min(_EVERY_S, parts.options.interval_s))
            now = parts.clock.monotonic_ns()
            if now >= next_ns or parts.keeper.has_missing_due():
                next_ns = now + interval_ns
                await parts.keeper.read_or_keep()

    async def save_peaks(self) -> None:
        """Peaks are written behind the ticks: a crash loses at most the last second of a rise."""
        parts = self._parts
        found = {self._tag_of(guard): guard.peak for guard in parts.engine.guards.values() if guard.peak is not None}
        new = {tag: (peak, True) for tag, peak in found.items() if parts.peaks.get(tag) != peak}
        if new and not parts.options.plan:
            try:
                await parts.journal.save_peaks(new)
            except (TransportError, StoreError) as error:
                _log.warning("peaks not saved, tried again in a second: %s", error)
                return
            parts.peaks.update({tag: peak for tag, (peak, _) in new.items()})

    def _tag_of(self, guard: PositionGuard) -> str:
        """The rows' tag: of a position that was closed in part, the guard holds less than its rows say."""
        position = guard.booked.position
        booked = self._parts.keeper.known.get(position.strategy_id)
        return position_tag(position if booked is None else booked.position)

    def _look_after_store(self) -> None:
        """Tell a person when changes of the rows are noticed late for long. A store that is away is the keeper's to tell."""
        parts, now = self._parts, self._parts.clock.monotonic_ns()
        health = parts.store.health()
        if health.state is StoreState.LIVE:
            self._polling_since_ns = None
            self._is_polling_told = False
        elif self._polling_since_ns is None:
            self._polling_since_ns = now
        elif now - self._polling_since_ns >= _SLOW_CHANGES_AFTER_NS and not self._is_polling_told:
            self._is_polling_told = True
            text = f"the rows are read again every few seconds instead: {health.detail or 'no reason is known'}"
            parts.runner.carry_out((Alert(Severity.WARNING, "changes of the trades are not pushed", text),))

    def _look_after_prices(self) -> None:
        """Ask REST for what the feed leaves out, and tell a person of every position without usable prices."""
        parts, now = self._parts, self._parts.clock.monotonic_ns()
        guards = parts.engine.guards
        pause_ns = _ASK_AGAIN_CLOSED_NS if parts.engine.desk.session_open is False else _ASK_AGAIN_NS
        self._asked_ns = {key: asked for key, asked in self._asked_ns.items() if now - asked < pause_ns}
        wanted = {key for guard in guards.values() for key in guard.keys_to_ask(now)} - self._asked_ns.keys()
        if wanted:
            self._asked_ns.update(dict.fromkeys(wanted, now))
            parts.fetcher.ask(wanted)
        if parts.engine.desk.session_open is not True or now - self._started_ns < _UNPROTECTED_AFTER_S * NS_PER_S:
            return
        self._told_ns = {each: told for each, told in self._told_ns.items() if now - told < _TELL_AGAIN_NS}
        self._unpriced_ns = {each: since for each, since in self._unpriced_ns.items() if each in guards}
        blind = [guard for guard in guards.values() if self._has_waited(guard, now) or guard.stale_keys(now)]
        new = [guard for guard in blind if guard.booked.position.strategy_id not in self._told_ns]
        if new:
            self._told_ns.update(dict.fromkeys((guard.booked.position.strategy_id for guard in new), now))
            parts.runner.carry_out(_unprotected(new))

    def _has_waited(self, guard: PositionGuard, now: int) -> bool:
        """Whether it has no P&L, and not only because it is new and its first price is on the way."""
        strategy_id = guard.booked.position.strategy_id
        if guard.booked.pnl is not None:
            self._unpriced_ns.pop(strategy_id, None)
            return False
        return now - self._unpriced_ns.setdefault(strategy_id, now) >= _FIRST_PRICE_NS


def _unprotected(guards: list[PositionGuard]) -> tuple[Alert, ...]:
    """One page each, or one for all when the feed as a whole is to blame: a thousand pages are read by nobody."""
    if len(guards) > _TOLD_ONE_BY_ONE:
        ids = ", ".join(str(guard.booked.position.strategy_id) for guard in guards)
        text = f"{guards[0].assessment().reason}; strategies {ids}"
        return (Alert(Severity.PAGE, f"{len(guards)} positions are unprotected", text),)
    return tuple(
        Alert(
            Severity.PAGE,
            f"{guard.booked.position.strategy_name} ({guard.booked.position.strategy_id}) is unprotected",
            guard.assessment().reason,
        )
        for guard in guards
    )
