"""Rows that name another contract than their security id, and contracts that are gone."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.profile import Profile
from core.model.trade_rows import TradeRow
from core.position_book import BookRules, ChosenProfiles, build_book, guarded_rows
from core.stores.base import Snapshot

TODAY = date(2026, 11, 20)
EXPIRY = date(2026, 12, 29)
CALL = Instrument(
    InstrumentKey(Segment.NSE_FNO, 501), "NIFTY-Dec2026-26000-CE", "NIFTY", 65, 5, None, 26_000_00, EXPIRY, Right.CALL
)
FUTURE = Instrument(InstrumentKey(Segment.NSE_FNO, 502), "NIFTY-Dec2026-FUT", "NIFTY", 65, 5, expiry=EXPIRY)
SHARE = Instrument(InstrumentKey(Segment.NSE_EQ, 501), "TCS", "TCS", 1, 5)
MASTER = {one.key: one for one in (CALL, FUTURE, SHARE)}
ROW = TradeRow(
    row_id=11, strategy_id=7, strategy_name="Condor", underlying="NIFTY", security_id=501, segment="NSE_FNO",
    option_type="CE", is_buy=True, quantity=65, entry=100_00, strike=26_000_00, expiry="2026-12-29", product="MARGIN",
    opened_at="2026-11-19T10:00:00",
)  # fmt: skip


def book(*rows, master=MASTER, last_good=None):
    rules = BookRules(lambda *_: ChosenProfiles(Profile("default")))
    snapshot = Snapshot(trades=rows, strategies=(), risks=(), levels=(), problems=(), damaged=frozenset())
    return build_book(snapshot, master, rules, TODAY, last_good or {})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"strike": 26_100_00}, ("strike_price", "₹26,100.00", "₹26,000.00")),
        ({"option_type": "PE"}, ("type", "PE", "CE")),
        ({"option_type": "FUT"}, ("type", "FUT", "CE")),
        ({"option_type": "EQ", "strike": None, "expiry": None}, ("type", "EQ", "CE")),
        ({"expiry": "2026-11-24"}, ("expiry_date", "2026-11-24", "2026-12-29")),
        ({"security_id": 502}, ("type", "CE", "FUT")),
        ({"segment": "NSE_EQ"}, ("type", "CE", "EQ")),
        ({"underlying": "BANKNIFTY"}, ("symbol", "BANKNIFTY", "NIFTY")),
        ({"underlying": "NIFTY-Dec2026-26100-CE", "strike": None}, ("symbol", "₹26,100.00", "₹26,000.00")),
        ({"underlying": "NIFTY-Dec2026-26000-PE", "option_type": ""}, ("symbol", "PE", "CE")),
        ({"underlying": "FINNIFTY-Dec2026-26000-CE"}, ("symbol", "FINNIFTY", "NIFTY")),
        ({"underlying": "NIFTY 29 DEC 26100 CALL", "strike": None}, ("symbol", "₹26,100.00", "₹26,000.00")),
    ],
)
def test_f13_a_row_that_names_another_contract_than_its_id_is_set_aside_with_both_named(changes, named):
    found = book(replace(ROW, **changes))
    (problem,) = found.set_aside
    assert found.positions == ()
    assert problem.row == 11
    assert all(part in str(problem) for part in named), str(problem)
    instrument = MASTER[InstrumentKey(Segment(changes.get("segment", "NSE_FNO")), changes.get("security_id", 501))]
    assert instrument.symbol in str(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strike": None, "expiry": None, "option_type": ""},
        {"underlying": "Nifty 50"},
        {"underlying": "nifty"},
        {"underlying": ""},
        {"underlying": "NIFTY-Dec2026-26000-CE"},
        {"underlying": "NIFTY 29 DEC 26000 CALL"},
        {"underlying": "NIFTY26DEC26100CE"},
        {"security_id": 502, "option_type": "FUT", "strike": None},
        {"segment": "NSE_EQ", "underlying": "TCS", "option_type": "EQ", "strike": None, "expiry": None},
        {"segment": "NSE_EQ", "underlying": "Tata Consultancy", "option_type": "", "strike": None, "expiry": None},
    ],
)
def test_f13_another_spelling_of_the_same_contract_is_guarded(changes):
    found = book(replace(ROW, **changes))
    assert found.set_aside == ()
    assert len(found.positions) == 1


def test_f13_the_same_id_in_two_segments_is_two_instruments():
    share = replace(
        ROW, row_id=12, segment="NSE_EQ", underlying="TCS", option_type="EQ", strike=None, expiry=None, strategy_id=8
    )
    found = book(ROW, share)
    assert [one.position.legs[0].instrument for one in found.positions] == [CALL, SHARE]


def test_f14_a_contract_that_is_gone_is_refused_by_name():
    late = build_book(
        Snapshot(trades=(ROW,), strategies=(), risks=(), levels=(), problems=(), damaged=frozenset()),
        MASTER,
        BookRules(lambda *_: ChosenProfiles(Profile("default"))),
        EXPIRY + timedelta(days=1),
    )
    assert late.positions == ()
    assert "NIFTY-Dec2026-26000-CE expired on 2026-12-29" in str(late.set_aside[0])
    missing = book(ROW, master={})
    assert missing.positions == ()
    assert "NSE_FNO:501 is not in today's instrument master" in str(missing.set_aside[0])


def test_f14_an_id_that_names_another_contract_today_does_not_move_the_position():
    """The id was given to a new strike over night: yesterday's row stays guarded as what it was, and is named."""
    known = guarded_rows([book(ROW).positions[0].position])
    reused = {CALL.key: replace(CALL, symbol="NIFTY-Jan2027-27000-CE", strike=27_000_00)}
    found = book(ROW, master=reused, last_good=known)
    assert found.positions[0].position.legs[0].instrument == CALL
    assert "NIFTY-Jan2027-27000-CE" in str(found.set_aside[0])
