"""What is due about once a second and decides nothing: the view, samples for --why, re-reads of the rows, news of the store."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from core import limit_requests
from core.exits.scope_limits import limits_among
from core.exits.underlying_candles import candle_at
from core.feed_news import FeedNews
from core.memory_keeper import lost_days
from core.model.commands import Alert, Severity
from core.model.instrument import Segment
from core.model.session_time import NS_PER_S, ist_datetime
from core.model.signals import Mode
from core.run_statistics import view_in_steps
from core.stores.base import StoreState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.limit_requests import ResetRequest
    from core.monitor_parts import Parts
    from core.monitor_view import MonitorView

_log = logging.getLogger(__name__)
_EVERY_S: Final = 1.0
_SLOW_CHANGES_AFTER_NS: Final = 60 * NS_PER_S


class HouseKeeping:
    """`run` and `re_read` are tasks that end only by being cancelled."""

    def __init__(self, parts: Parts, show: Callable[[MonitorView], None], started_ns: int) -> None:
        self._parts = parts
        self._show = show
        self._started_ns = started_ns
        self._polling_since_ns: int | None = None
        self._is_polling_told = False
        self._feed_news = FeedNews()
        self._has_reset_failed = False

    async def run(self) -> None:
        parts = self._parts
        while True:
            parts.subscribe()
            is_open = parts.engine.desk.session_open is not False
            if parts.feed is not None:
                # Derivatives trade on when the indices stop (15:30), and in the closing auction nobody promises a tick.
                canary_trades = self._canary_trades()
                # On a day of unknown hours silence means nothing: connecting anew all night long would earn a block (429).
                parts.feed.market(is_open=parts.engine.desk.session_open is True, canary_trades=canary_trades)
            if parts.order_updates is not None:
                parts.order_updates.market(is_open=is_open)
            self._look_after_store()
            self._look_after_feed()
            self.take_limit_reset()
            if not parts.options.prints_once:
                self._show(await view_in_steps(parts, self._started_ns))
            if parts.decisions is not None:
                parts.decisions.beat(parts.engine.guards)
            await parts.runner.flush()
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

    def take_limit_reset(self) -> None:
        """Let limits go on that operators want to go on, and answer each of them. A plan changes nothing."""
        folder = self._parts.settings.state_dir
        if self._parts.options.plan:
            return
        failed: tuple[Path, OSError] | None = None
        for path in limit_requests.waiting(folder):
            try:
                self._answer_reset(path, limit_requests.read_request(path))
            except OSError as error:
                failed = path, error
        if failed is not None and not self._has_reset_failed:
            _log.warning("%s cannot be read or answered: %s", *failed)
        self._has_reset_failed = failed is not None

    def _answer_reset(self, path: Path, request: ResetRequest | None) -> None:
        limits = limits_among(self._parts.engine.judges)
        said: Sequence[str] = ()
        if request is None:
            said = ("the request was not understood: nothing was reset",)
        elif limits is None:
            said = ("no limit is set: there is nothing to reset",)
        else:
            said = limits.reset(request.scope, request.name)
            if not said:
                limited = {(state.scope, state.name) for state in limits.state()}
                said = (limit_requests.nothing_text(request, limited),)
        is_refused = said[0].startswith(limit_requests.REFUSED)
        _log.log(logging.WARNING if is_refused else logging.INFO, "limits: %s", "; ".join(said))
        limit_requests.answer(path, said)

    def count_lost_days(self) -> None:
        """At the start: what rows that were edited, or went, while no monitor ran have brought today is not known."""
        parts, limits = self._parts, limits_among(self._parts.engine.judges)
        if limits is None or parts.mode is not Mode.LIVE or parts.options.plan:
            return
        positions = {each: booked.position for each, booked in parts.keeper.known.items()}
        for lost in lost_days(parts.memory.known, parts.journal.saved_ns, positions):
            limits.lose_day(*lost)

    def tell_missed_closes(self) -> None:
        """At a start within the session: which candles were over before anybody looked. Their closes fire nothing any more."""
        parts, utc_ns = self._parts, self._parts.clock.utc_ns()
        if parts.options.plan or parts.calendar.session_open(utc_ns) is not True:
            return
        missed = []
        for guard in parts.engine.guards.values():
            for minutes in sorted({each.candle_minutes for each in guard.levels.underlying if each.candle_minutes}):
                candle = candle_at(utc_ns, minutes)
                if candle is not None and candle_at(candle.start_ns - 1, minutes) is not None:
                    position = guard.booked.position
                    until = f"{ist_datetime(candle.start_ns):%H:%M} IST"
                    missed.append(f"{position.strategy_name} ({position.strategy_id}), {minutes} min until {until}")
        if missed:
            text = "what closed beyond a level of the underlying while no monitor ran has fired nothing, look at the chart: "
            parts.runner.carry_out(
                (Alert(Severity.WARNING, "candle closes before the start", text + "; ".join(missed)),)
            )

    def _look_after_feed(self) -> None:
        parts = self._parts
        if parts.feed is None:
            return
        feed, now = parts.feed.status, parts.clock.monotonic_ns()
        is_open = parts.engine.desk.session_open is True
        # Where not even the indices tick, quiet options are no news: only a connection that is lost is.
        live = feed.lines_live if self._canary_trades() else feed.connected
        alert = self._feed_news.look(now, live, feed.needed, feed.last_end, is_open=is_open)
        if alert is not None:
            parts.runner.carry_out((alert,))

    def _canary_trades(self) -> bool:
        parts = self._parts
        return parts.calendar.session_open(parts.clock.utc_ns(), Segment.IDX_I) is True

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
