"""The legs of a calendar bear one symbol (Dhan's names the month only): each is shown with the day it expires on."""

import json
from datetime import date, datetime

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.guard_settings import GuardSettings
from core.json_view import document
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.session_time import IST, NS_PER_S
from core.model.signals import Mode
from core.plan_view import plan
from core.position_cache_manager import PositionCacheManager
from core.position_plan import PlanSources
from core.view_builder import exiting_views, planned_view
from core.why_text import record_text
from tests.unit.dashboard.views import view
from tests.unit.exits.builders import amount, call, position, quote

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST


def calendar(stop=9_000):
    """A week sold, a month bought, one strike: one symbol."""
    engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)
    legs = (call(1, -75, 26_000, 90, expiry=date(2026, 12, 8)), call(2, 75, 26_000, 150, expiry=date(2026, 12, 29)))
    for each in legs:
        object.__setattr__(each.instrument, "symbol", "NIFTY-Dec2026-26000-CE")
    engine.handle(ev.PositionOpened(position(*legs), ExitLevels(stop=amount(stop)), 0))
    now = ev.TimePassed(NS_PER_S, NOON, session_open=True, is_trading_day=True)
    for number, price in ((1, 90), (2, 150)):
        engine.handle(ev.QuoteArrived(quote(number, price, at=1)))
    return engine, now


def planned():
    engine, now = calendar()
    engine.handle(now)
    around = lambda guard, at: around_of(engine.judges, guard, at)  # noqa: E731
    return planned_view(engine.guards[1], PlanSources(now, engine.desk.settings.ladder, lambda _: None, around))


def test_a_plan_tells_the_legs_and_the_orders_of_a_calendar_apart():
    text = plan(view(positions=(planned(),)))
    assert "sold 75 NIFTY-Dec2026-26000-CE (expiry 2026-12-08) at" in text
    assert "bought 75 NIFTY-Dec2026-26000-CE (expiry 2026-12-29) at" in text
    assert "| NIFTY-Dec2026-26000-CE | 2026-12-08 |" in text
    assert "| NIFTY-Dec2026-26000-CE | 2026-12-29 |" in text


def test_so_does_the_document():
    [shown] = json.loads(document(view(positions=(planned(),)), with_plan=True))["positions"]
    for part in ("legs", "orders", "quotes"):
        assert [each["expiry"] for each in shown[part]] == ["2026-12-08", "2026-12-29"], part


def test_the_dashboard_says_which_leg_of_an_exit_is_filled():
    engine, now = calendar(stop=1)
    engine.handle(now)
    for at in (2, 3):
        engine.handle(ev.QuoteArrived(quote(1, 190, at=at * NS_PER_S)))
        engine.handle(ev.QuoteArrived(quote(2, 151, at=at * NS_PER_S)))
    [shown] = exiting_views(engine)
    assert "BUY 0/75 NIFTY-Dec2026-26000-CE (expiry 2026-12-08)" in shown.reason
    assert "SELL 0/75 NIFTY-Dec2026-26000-CE (expiry 2026-12-29)" in shown.reason


def test_a_record_from_before_has_no_expiry_and_is_shown_all_the_same():
    line = {"legs": [{"symbol": "X", "units": 1}, {"symbol": "X", "units": -1, "expiry": "2026-12-08"}], "rules": []}
    text = record_text(line, datetime(2026, 11, 20, 12, tzinfo=IST), "")
    assert "| X            | 2026-12-08 |" in text
    assert "| X            |            |" in text
