"""Rows, broker and bands before a session: by hand-made positions whose figures can be checked in the head."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pytest

from core import preflight_positions as checks
from core.model.errors import RowError
from core.model.exit_levels import AmountLevel, ClockLevel, DaysLevel, ExitLevels
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.market import Quote
from core.model.money import rupees_text
from core.model.position import BrokerPosition, HoldingKey, PositionReport, Product
from core.model.session_time import IST
from core.model.trade_rows import TradeRow
from core.position_book import Book, BookedPosition, BookRules, ChosenProfiles, build_book, wanted_keys
from core.preflight_checks import Finding, Verdict
from core.stores.base import Snapshot
from strategies.profiles import category_profile
from tests.unit.exits.builders import ROW, call, key, position, put, quote, stock

PASS, WARN, FAIL, UNKNOWN = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN
TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=IST)


def is_told(finding: Finding, verdict: Verdict, *words: str) -> bool:
    assert finding.verdict is verdict, finding
    assert bool(finding.remedy) is (verdict is not PASS), finding
    text = f"{finding.found} {finding.remedy}"
    assert all(word in text for word in words), text
    return True


def banded(leg, lower, upper):
    """The leg with the day's band, rupees."""
    paise = (None if limit is None else round(limit * 100) for limit in (lower, upper))
    low, high = paise
    return replace(leg, instrument=replace(leg.instrument, lower_limit=low, upper_limit=high))


def booked(legs, stop=None, **levels):
    amount = None if stop is None else AmountLevel(round(stop * 100), ROW)
    return BookedPosition(position(*legs), ExitLevels(stop=amount, **levels))


def report(*held):
    rows = tuple(BrokerPosition(HoldingKey(key(number), product), net, 0, 0) for number, net, product in held)
    return PositionReport(rows, 0, 0)


# Bought 75 at 100 with a band of 20 to 180: at worst (20 − 100) × 75 = −6,000.
LONG = banded(call(1, 75, 26_000, 100), 20, 180)
# Sold 75 at 90 with a band of 10 to 150: at worst (90 − 150) × 75 = −4,500.
SHORT = banded(put(2, -75, 26_000, 90), 10, 150)


@pytest.mark.parametrize(
    ("legs", "worst"),
    [
        ([LONG], -6_000),
        ([SHORT], -4_500),
        ([LONG, SHORT], -10_500),
        ([LONG, replace(LONG, row_id=3, units=-75, entry=110_00)], 75 * 10),
        ([LONG, replace(LONG, row_id=3, units=-150, entry=110_00)], 75 * (110 - 100) + 75 * (110 - 180)),
        ([banded(LONG, None, 180)], None),
        ([banded(SHORT, 10, None)], None),
        ([banded(LONG, 20, None)], -6_000),
        ([replace(LONG, entry=None)], None),
    ],
)
def test_the_worst_of_the_day_is_every_contract_at_the_limit_that_hurts(legs, worst):
    assert checks.worst_pnl(position(*legs)) == (None if worst is None else worst * 100)


@pytest.mark.parametrize(
    ("stop", "verdict", "words"),
    [
        (6_000, PASS, ("all 1",)),
        (6_000.01, WARN, (f"stop {rupees_text(-600_001)}, worst in today's bands {rupees_text(-600_000)}", "nearer")),
        (None, WARN, ("has no stop",)),
    ],
)
def test_a_stop_that_no_price_of_today_can_reach_is_told_with_its_numbers(stop, verdict, words):
    assert is_told(checks.bands([booked([LONG], stop)]), verdict, *words)


def test_a_stop_without_bands_is_not_known_and_one_that_is_beyond_goes_first():
    unknown = booked([banded(LONG, None, None)], 1_000)
    assert is_told(checks.bands([unknown]), UNKNOWN, "Iron Condor (1)")
    assert is_told(checks.bands([unknown, booked([LONG], 9_000)]), WARN, "worst")
    assert is_told(checks.bands([]), PASS)


@pytest.mark.parametrize(
    ("held", "is_live", "verdict", "words"),
    [
        ([(1, 75, Product.MARGIN), (2, -75, Product.MARGIN)], True, PASS, ("2 contracts",)),
        ([(1, 75, Product.MARGIN)], True, FAIL, ("NSE_FNO:2:MARGIN: the rows say -75, the broker holds +0",)),
        ([(1, 75, Product.MARGIN)], False, WARN, ("the rows say -75",)),
        ([(1, 74, Product.MARGIN), (2, -75, Product.MARGIN)], True, FAIL, ("the rows say +75, the broker holds +74",)),
        ([(1, 75, Product.MARGIN), (2, 75, Product.MARGIN)], True, FAIL, ("the rows say -75, the broker holds +75",)),
        ([(1, 75, Product.MARGIN), (2, 150, Product.MARGIN)], True, FAIL, ("the rows say -75, the broker holds +150",)),
        ([(1, 150, Product.MARGIN), (2, -75, Product.MARGIN)], True, WARN, ("the broker holds +150", "add rows")),
        ([(1, 75, Product.INTRADAY), (2, -75, Product.MARGIN)], True, FAIL, ("NSE_FNO:1:INTRADAY: +75 in no row",)),
        (
            [(1, 75, Product.MARGIN), (2, -75, Product.MARGIN), (9, -15, Product.MARGIN)],
            True,
            WARN,
            ("NSE_FNO:9:MARGIN: -15 in no row",),
        ),
        ([(1, 75, Product.MARGIN), (2, -75, Product.MARGIN), (9, 0, Product.MARGIN)], True, PASS, ()),
    ],
)
def test_rows_and_broker_are_compared_per_contract_and_product(held, is_live, verdict, words):
    assert is_told(checks.reconcile([position(LONG, SHORT)], report(*held), is_live=is_live), verdict, *words)


def test_rows_that_net_out_are_compared_as_their_sum():
    both = [position(LONG), position(replace(LONG, row_id=5, units=-75), strategy_id=2)]
    assert is_told(checks.reconcile(both, report(), is_live=True), PASS)
    assert is_told(checks.reconcile(both, report((1, 75, Product.MARGIN)), is_live=True), FAIL, "the rows say +0")


def test_two_strategies_on_one_contract_are_added():
    both = [position(LONG), position(replace(LONG, row_id=5), strategy_id=2)]
    assert is_told(checks.reconcile(both, report((1, 150, Product.MARGIN)), is_live=True), PASS)
    assert is_told(checks.reconcile(both, report((1, 75, Product.MARGIN)), is_live=True), FAIL, "the rows say +150")


def levels_now(each, *quotes: Quote, now=NOON, is_trading_day: bool | None = True) -> Finding:
    return checks.levels_now([each], {x.key: x for x in quotes}, now, is_trading_day=is_trading_day)


@pytest.mark.parametrize(
    ("each", "last", "verdict", "words"),
    [
        (booked([LONG], 3_000), 60.05, PASS, ()),
        (booked([LONG], 3_000), 60, WARN, ("Iron Condor (1) closes at once: stop loss",)),
        (booked([LONG], 3_000, target=AmountLevel(300_000, ROW)), 140, WARN, ("profit",)),
        (booked([LONG], 3_000, dte=DaysLevel(34, ROW)), 100, WARN, ("DTE exit: 34 days",)),
        (booked([LONG], 3_000, dte=DaysLevel(33, ROW)), 100, PASS, ()),
        (booked([LONG], 3_000, square_off=ClockLevel(NOON.time(), ROW)), 100, WARN, ("square-off",)),
        (booked([LONG], 3_000, theta=DaysLevel(40, ROW)), 99, WARN, ("theta",)),
    ],
)
def test_a_level_that_is_reached_already_is_told(each, last, verdict, words):
    assert is_told(levels_now(each, quote(1, last)), verdict, *words)


def test_without_a_price_time_levels_are_still_judged():
    each = booked([LONG, stock(7, 10, 50)], 3_000)
    assert is_told(levels_now(each, quote(1, 100)), UNKNOWN, "Iron Condor (1)")
    late = booked([LONG], 3_000, dte=DaysLevel(40, ROW))
    assert is_told(levels_now(late), WARN, "DTE exit")
    off = booked([LONG], 3_000, square_off=ClockLevel(NOON.time(), ROW))
    assert is_told(levels_now(off, quote(1, 100), is_trading_day=None), PASS)


def test_a_freak_last_price_outside_its_book_is_not_the_mark():
    assert is_told(levels_now(booked([LONG], 3_000), quote(1, 20, bid=99, ask=101)), PASS)


def test_instruments_without_a_price_are_listed():
    symbols = {key(1): "NIFTY-1", key(2): "NIFTY-2"}
    assert is_told(checks.quotes_answered([key(1), key(2)], {key(1), key(2)}, symbols), PASS, "all 2")
    assert is_told(checks.quotes_answered([key(1), key(2)], {key(1)}, symbols), WARN, "NIFTY-2 (NSE_FNO:2)")
    assert is_told(checks.quotes_refused("806"), FAIL, "806")


def test_the_master_and_the_store():
    assert is_told(checks.master(checks.MasterFacts(250_000, 7_200.0, "download", ())), PASS, "250000 rows, 2 h old")
    assert is_told(
        checks.master(checks.MasterFacts(9, None, "x.csv", ("it is old",))), WARN, "it is old", "unknown age"
    )
    assert is_told(checks.master_unusable("no file"), FAIL, "DHAN_INSTRUMENTS")
    assert is_told(checks.store_unusable("no table"), FAIL, "check_supabase.py")


CALL = Instrument(
    InstrumentKey(Segment.NSE_FNO, 61234),
    "NIFTY-Nov2026-26200-CE",
    "NIFTY",
    65,
    5,
    strike=26_200_00,
    expiry=date(2026, 11, 24),
    right=Right.CALL,
)
TRADE = TradeRow(
    row_id=1,
    strategy_id=7,
    strategy_name="Long Call",
    underlying="NIFTY",
    security_id=61234,
    segment="NSE_FNO",
    option_type="CE",
    is_buy=True,
    quantity=65,
    entry=100_00,
    strike=26_200_00,
    expiry="2026-11-24",
    product="MARGIN",
    opened_at="2026-11-19T10:00:00",
)


def book_of(*trades: TradeRow, listed: tuple[Instrument, ...] = (CALL,), account: str | None = "11") -> Book:
    rules = BookRules(lambda _id, name, kind, _: ChosenProfiles(category_profile(name, kind)), account=account)
    snapshot = Snapshot(trades, (), (), (), (), frozenset())
    return build_book(snapshot, {each.key: each for each in listed}, rules, TODAY)


def rows_finding(*trades: TradeRow, listed: tuple[Instrument, ...] = (CALL,)) -> Finding:
    harmless = checks.harmless_rows(trades, {each.key: each for each in listed}, "11", TODAY)
    return checks.rows(book_of(*trades, listed=listed), harmless, "")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"option_type": "PE"}, "type is PE"),
        ({"strike": 26_300_00}, "strike_price is"),
        ({"expiry": "2026-12-01"}, "expiry_date is 2026-12-01"),
        ({"segment": "BSE_FNO"}, "BSE_FNO:61234 is not in today's instrument master"),
        ({"segment": "MOON"}, "is none of Dhan's"),
    ],
)
def test_f13_a_row_that_is_not_its_contract_is_set_aside_and_named_before_the_session(change, word):
    assert is_told(rows_finding(TRADE), PASS, "1 open positions with 1 legs")
    bad = replace(TRADE, row_id=2, **change)
    assert is_told(rows_finding(TRADE, bad), FAIL, "trades row 2", word, "not guarded")


def test_f13_ids_are_looked_up_inside_their_segment():
    other = replace(
        CALL, key=InstrumentKey(Segment.NSE_EQ, 61234), symbol="SHARE", strike=None, expiry=None, right=None
    )
    (found,) = book_of(TRADE, listed=(other, CALL)).positions
    assert found.position.legs[0].instrument is CALL
    assert wanted_keys([TRADE, replace(TRADE, segment="NSE_EQ")]) == {CALL.key, other.key}


def test_f14_a_contract_that_is_missing_or_over_is_refused_at_load_and_the_others_stay():
    gone = replace(TRADE, row_id=2, security_id=999, strategy_id=8)
    over = replace(CALL, key=InstrumentKey(Segment.NSE_FNO, 5), expiry=date(2026, 11, 19))
    old = replace(TRADE, row_id=3, security_id=5, expiry="2026-11-19", strategy_id=9)
    book = book_of(TRADE, gone, old, listed=(CALL, over))
    assert [each.position.strategy_id for each in book.positions] == [7]
    assert [error.row for error in book.set_aside] == [2, 3]
    assert "not in today's instrument master" in str(book.set_aside[0])
    assert "expired on 2026-11-19" in str(book.set_aside[1])
    assert is_told(checks.missing_legs([TRADE, gone], {CALL.key}), FAIL, "row 2 of strategy 8: NSE_FNO:999")
    assert is_told(checks.missing_legs([TRADE], {CALL.key}), PASS, "all 1")
    assert is_told(checks.missing_legs([replace(TRADE, segment="MOON")], {CALL.key}), FAIL, "MOON:61234")


def test_f14_an_id_that_was_given_to_a_new_contract_is_noticed_by_its_terms():
    reused = replace(
        CALL, symbol="NIFTY-Dec2026-25000-PE", strike=25_000_00, expiry=date(2026, 12, 29), right=Right.PUT
    )
    assert book_of(TRADE, listed=(reused,)).positions == ()


def test_a_contract_that_expires_today_is_still_guarded():
    today = replace(CALL, expiry=TODAY)
    assert len(book_of(replace(TRADE, expiry=TODAY.isoformat()), listed=(today,)).positions) == 1


def test_what_is_over_and_what_is_anothers_only_warns():
    over = replace(CALL, key=InstrumentKey(Segment.NSE_FNO, 5), expiry=date(2026, 11, 19))
    old = replace(TRADE, row_id=3, security_id=5, expiry=None)
    assert is_told(rows_finding(TRADE, old, listed=(CALL, over)), WARN, "expired", "Close or remove")
    assert is_told(rows_finding(TRADE, replace(TRADE, row_id=4, account_id="12")), WARN, "account_id is 12")


def test_a_level_row_that_cannot_be_read_only_warns_and_an_unreadable_trade_is_a_no_go():
    book = book_of(TRADE)
    level = RowError("strategy_exit_levels", 4, "trigger_value is abc")
    trade = RowError("trades", 5, "quantity is abc")
    assert is_told(checks.rows(replace(book, set_aside=(level,)), (), ""), WARN, "trigger_value", "Correct")
    assert is_told(checks.rows(replace(book, set_aside=(level, trade)), (), ""), FAIL, "quantity")
    assert is_told(checks.rows(book, (), "the table is empty"), WARN, "the table is empty")
