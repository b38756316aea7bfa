from datetime import datetime

import pytest

from core.model.exit_levels import Action, ExitLevels, Urgency
from core.model.market import QuoteSource
from core.model.session_time import IST
from tests.unit.exits.builders import MS, Desk, S, amount, days, leg

ONE = (leg(1, 75, 100),)
STOP = ExitLevels(stop=amount(3_000), target=amount(3_000))
PAIR = (leg(1, 75, 100), leg(2, -75, 50))


@pytest.mark.parametrize(
    ("last", "urgency", "used"),
    [
        (110, Urgency.NORMAL, 0),
        (76.05, Urgency.NORMAL, 1_796.25 / 3_000),
        (76, Urgency.MEDIUM, 0.6),
        (68, Urgency.HIGH, 0.8),
    ],
)
def test_urgency_follows_the_share_of_the_stop_used(last, urgency, used):
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, last)
    shown = desk.guard.assessment()
    assert (shown.action, shown.urgency, shown.reason) == (Action.MONITOR, urgency, "No exit conditions triggered")
    assert shown.stop_used == pytest.approx(used)
    assert shown.pnl == desk.booked.pnl
    assert shown.pnl_percent == pytest.approx(last - 100)


def test_an_unprotected_position_says_why():
    desk = Desk(*ONE, levels=STOP)
    desk.clock(7 * S)
    shown = desk.guard.assessment()
    assert (shown.urgency, shown.reason) == (Urgency.HIGH, "unprotected: no price for NSE_FNO:1 for 7 s")
    assert (shown.pnl, shown.pnl_percent, shown.stop_used) == (None, None, None)
    untold = type(desk.guard)(desk.booked, STOP, desk.guard._settings)
    assert untold.assessment().reason == "unprotected: no price for NSE_FNO:1"

    desk = Desk(leg(1, 75, None), levels=STOP)
    desk.tick(1, 100)
    assert desk.guard.assessment().reason == "unprotected: the entry price of NSE_FNO:1 is not known yet"

    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100)
    desk.clock(feed_live=False)
    desk.clock(6 * S)
    assert desk.guard.assessment().reason == "unprotected: no fresh price for NSE_FNO:1 for 6 s"
    desk.clock(session_open=False)
    assert desk.guard.assessment().reason == "No exit conditions triggered", (
        "F26: prices stand still in a closed market"
    )

    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100, source=QuoteSource.CACHE)
    assert desk.guard.assessment().reason == "unprotected: only a saved price for NSE_FNO:1, none of the market yet"
    assert desk.guard.why_unprotected(desk.at) == "only a saved price for NSE_FNO:1, none of the market yet"

    desk = Desk(*ONE)
    desk.tick(1, 100)
    assert desk.guard.assessment().reason == "unprotected: no stop loss is in force"


@pytest.mark.parametrize(
    ("session_open", "why"), [(False, "the market is closed"), (None, "whether the market is open is not known")]
)
def test_what_waits_for_the_market(session_open, why):
    desk = Desk(*ONE, levels=STOP, session_open=session_open)
    desk.tick(1, 50)
    shown = desk.guard.assessment()
    assert (shown.action, shown.urgency) == (Action.CLOSE_IMMEDIATELY, Urgency.HIGH)
    assert shown.reason == f"stop loss: P&L ₹-3,750.00 ≤ ₹-3,000.00; waiting, {why}"
    desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), dte=days(40)), session_open=session_open)
    desk.tick(1, 100)
    assert desk.guard.assessment().reason == f"DTE exit: 34 days to expiry ≤ 40; waiting, {why}"
    desk = Desk(*ONE, levels=STOP, session_open=session_open)
    desk.tick(1, 100)
    assert desk.guard.assessment().reason == "No exit conditions triggered"


def test_what_a_breach_waits_for():
    desk = Desk(*PAIR, levels=STOP)
    desk.tick(2, 50)
    desk.tick(1, 60)
    shown = desk.guard.assessment()
    assert (shown.action, shown.urgency) == (Action.CLOSE_IMMEDIATELY, Urgency.HIGH)
    assert shown.reason == "stop loss breached, waiting for the spread to settle"
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 60, book=False)
    assert desk.guard.assessment().reason == "stop loss breached, waiting for a second quote"
    desk.tick(1, 140, book=False, after=MS)
    shown = desk.guard.assessment()
    assert (shown.action, shown.urgency) == (Action.CLOSE_POSITION, Urgency.NORMAL)
    assert shown.reason == "profit target breached, waiting for a clean quote"


def test_one_day_is_singular():
    desk = Desk(*ONE, levels=ExitLevels(dte=days(7)))
    desk.ist = datetime(2026, 12, 23, 10, tzinfo=IST)
    assert desk.clock(S).reason == "DTE exit: 1 day to expiry ≤ 7"
