"""What `--once` waits for, whether it has seen everything it was run for, and whom `--positions` names in vain."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from core.exits.exit_lifecycle import ExitState
from core.model.commands import Alert, Severity
from core.model.errors import ConfigurationError
from core.run_statistics import unseen_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.exits.position_guard import PositionGuard
    from core.exits.running_exit import RunningExit
    from core.monitor_parts import Parts

_log = logging.getLogger(__name__)
_FIRST_PRICES_S: Final = 6.0
_UNDERLYINGS_S: Final = 2.0
_AT_MOST_S: Final = 300.0


def missing_positions(parts: Parts) -> tuple[Alert, ...]:
    """What is to be told of strategies that `--positions` names and that have no open position.

    Raises ConfigurationError when a run that prints once has nothing else to look at.
    """
    missing = sorted(unseen_of(parts))
    if not missing:
        return ()
    ids = ", ".join(map(str, missing))
    bad = "; ".join(str(error) for error in parts.keeper.set_aside if error.strategy_id in missing)
    has_work = parts.keeper.known or parts.engine.unresolved or parts.engine.desk.unwritten
    if parts.options.prints_once and not has_work:
        raise ConfigurationError(
            f"--positions: there is no open position of strategy {ids}{f': {bad}' if bad else ''}.",
            "Mend the rows named." if bad else "Correct the ids; without --positions every open position is looked at.",
        )
    text = bad or "--positions names it; it is guarded as soon as its rows are there"
    return (Alert(Severity.WARNING, f"no open position of strategy {ids}", text),)


class OnceRun:
    """`stop` is set when a person asks for the end."""

    def __init__(self, parts: Parts, stop: asyncio.Event) -> None:
        self._parts = parts
        self._stop = stop

    async def run(self) -> None:
        """Wait for prices, let spreads settle and suspects be confirmed, finish the exits that were started."""
        parts = self._parts
        await self._wait(_FIRST_PRICES_S, lambda: all(parts.price_cache.quote(key) for key in parts.cache.keys()))  # noqa: SIM118  a method, not a dict
        settle_ms = max(parts.settings.leg_settle_ms, parts.settings.stop_confirm_max_ms) + 300
        if parts.options.plan:
            # A plan shows the underlyings too, which nothing has to wait for but its figures.
            await self._wait(_UNDERLYINGS_S, lambda: all(map(parts.price_cache.quote, parts.prices.interest.wanted)))
        await self._wait(settle_ms / 1_000, lambda: parts.options.plan)
        await self._wait(_AT_MOST_S, self._is_settled)

    def name_unjudged(self) -> bool:
        """Whether a position could not be judged in an open market. Nobody looks again after `--once`: that is no clean end."""
        engine, now = self._parts.engine, self._parts.clock.monotonic_ns()
        if engine.desk.session_open is not True:
            return False
        blind = {each: why for each, guard in engine.guards.items() if (why := _why_unjudged(guard, now)) is not None}
        for strategy_id, why in blind.items():
            _log.critical("strategy %d could not be judged: %s", strategy_id, why)
        return bool(blind)

    def _is_settled(self) -> bool:
        """Every exit is finished and written, or waits for a person or for the market."""
        desk = self._parts.engine.desk
        return not desk.unwritten and all(self._is_stuck(running) for running in desk.exits.values())

    def _is_stuck(self, running: RunningExit) -> bool:
        is_waiting = running.state is ExitState.HALTED or self._parts.engine.desk.session_open is not True
        return is_waiting and not any(attempt.is_live for attempt in running.attempts) and not running.is_flat

    async def _wait(self, limit_s: float, is_done: Callable[[], object]) -> None:
        """Until `is_done`, the limit, or a request to stop."""
        changed = self._parts.runner.changed
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not is_done() and not self._stop.is_set():
                    changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await changed.wait()


def _why_unjudged(guard: PositionGuard, now: int) -> str | None:
    """None: every price was believed, and no other judge lacked what its levels need."""
    return guard.blind_spot(now) if guard.safe_to_trade(now).is_safe else guard.why_unprotected(now)
