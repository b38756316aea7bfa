"""Whether a run from cron has judged every position."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.signals import Mode
from core.once import OnceRun
from core.position_cache_manager import PositionCacheManager
from tests.fakes.manual_clock import ManualClock
from tests.unit.exits.builders import amount, call, days, position, quote


def unjudged(levels: ExitLevels, *, has_price: bool, session_open: bool | None = True) -> bool:
    clock = ManualClock()
    engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT)
    engine.handle(ev.PositionOpened(position(call(1, 75, 26_400, 40), strategy_id=1), levels, clock.monotonic))
    if has_price:
        engine.on_quote(quote(1, 40, at=clock.monotonic))
    engine.handle(ev.TimePassed(clock.monotonic, clock.utc, session_open=session_open, is_trading_day=True))
    parts = SimpleNamespace(engine=engine, clock=clock)
    return OnceRun(parts, asyncio.Event()).name_unjudged()  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [ExitLevels(stop=amount(1_000)), ExitLevels(dte=days(1))])
def test_a_position_with_believed_prices_is_judged_whether_it_has_a_stop_or_not(levels):
    assert not unjudged(levels, has_price=True)
    assert unjudged(levels, has_price=False)


@pytest.mark.parametrize("session_open", [False, None])
def test_a_market_that_is_not_known_to_be_open_leaves_nothing_unjudged(session_open):
    assert not unjudged(ExitLevels(stop=amount(1_000)), has_price=False, session_open=session_open)
