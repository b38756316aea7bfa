"""Faults that meet an exit: nobody on the other side, old trades, prices that come back far away, doubted and saved ones."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.leg_sender import BLIND_EVERY_NS
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ClockLevel, DaysLevel, ExitLevels, LevelSource, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.journal_records import AttemptPrepared, ExitStarted
from core.model.market import Quote, QuoteSource
from core.model.orders import OrderStatus, Side
from core.model.session_time import ist_datetime
from tests.unit.exits.builders import amount, trailing
from tests.unit.order_side.rig import MS, NOON, SHORT, Rig, S, leg, position

KEY = InstrumentKey(Segment.NSE_FNO, 501)
LONG = position(2, leg(21, 502, 75))
STOP = ExitLevels(stop=amount(1_000))
"""SHORT was sold at 90.00: the stop of ₹1,000 is at 103.33."""


def show(rig, last, bid, ask, security_id=501, source=QuoteSource.FEED, traded=None):
    key = InstrumentKey(Segment.NSE_FNO, security_id)
    quote = Quote(key, last, bid, ask, 75 if bid else 0, 75 if ask else 0, traded, rig.now, source)
    rig.tell(ev.QuoteArrived(quote))


def exits(rig):
    return [record.signal for record in rig.journal if isinstance(record, ExitStarted)]


def attempts(rig):
    return [record for record in rig.journal if isinstance(record, AttemptPrepared)]


def beats(rig, seconds, nets=None):
    """The engine's deadlines and the beat of a quarter of a second; positions are answered at once."""
    end = rig.now + round(seconds * S)
    while rig.now < end:
        due = rig.engine.next_wake_ns
        until = min(end, rig.now + 250 * MS, end if due is None or due <= rig.now else due)
        rig.wait((until - rig.now) / S)
        if nets is not None and any(isinstance(command, cmd.ReadPositions) for command in rig.out):
            rig.out[:] = [command for command in rig.out if not isinstance(command, cmd.ReadPositions)]
            rig.positions(nets)


@pytest.mark.parametrize(
    ("held", "security_id", "net", "side", "one_sided", "missing"),
    [
        (SHORT, 501, -75, Side.BUY, (10_000, None), "ask"),
        (LONG, 502, 75, Side.SELL, (None, 10_000), "bid"),
    ],
)
def test_f29_without_an_opposite_side_no_attempt_is_burnt_and_the_exit_goes_on_when_it_is_back(
    held, security_id, net, side, one_sided, missing
):
    rig = Rig()
    rig.open(held)
    rig.wait()
    rig.positions({security_id: net})
    show(rig, 10_000, *one_sided, security_id)
    rig.exit(held.strategy_id)
    assert attempts(rig) == []
    beats(rig, 600, {security_id: net})
    assert attempts(rig) == []
    asked = [command for command in rig.take(cmd.RequestQuotes) if command.keys[0].security_id == security_id]
    assert 500 <= len(asked) <= 601, "REST is asked about once a second"
    (page,) = [alert for alert in rig.alerts if alert.severity is cmd.Severity.PAGE]
    assert f"nobody to trade OPT-{security_id} with" in page.subject
    assert f"75 units to {side.value}" in page.text
    assert f"no {missing}" in page.text
    rig.positions({security_id: net})
    show(rig, 10_000, 9_995, 10_005, security_id)
    (order,) = rig.submitted()
    assert (order.side, order.quantity) == (side, 75)


def test_f29_the_page_waits_for_a_second_and_the_other_exits_go_on():
    rig = Rig()
    rig.open(SHORT, position(3, leg(31, 503, -75)))
    rig.wait()
    rig.positions({501: -75, 503: -75})
    show(rig, 10_000, 9_995, None)
    rig.exit(1)
    rig.exit(3)
    assert [order.holding.instrument.security_id for order in rig.submitted()] == [503]
    beats(rig, 0.9, {501: -75, 503: -75})
    assert "nobody to trade OPT-501 with" not in rig.subjects()
    beats(rig, 0.2, {501: -75, 503: -75})
    assert "nobody to trade OPT-501 with" in rig.subjects()


def test_f29_an_empty_book_gets_one_order_a_minute():
    """Both sides gone, as in a halt of the exchange, looks like a quote that carries no book: one order tells them apart."""
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: -75})
    show(rig, 10_000, None, None)
    rig.exit()
    (order,) = rig.submitted()
    rig.accept(order)
    rig.now += 50 * MS
    rig.report(order, OrderStatus.CANCELLED)
    beats(rig, BLIND_EVERY_NS / S - 1, {501: -75})
    assert len(attempts(rig)) == 1
    beats(rig, 2, {501: -75})
    assert len(attempts(rig)) == 2
    show(rig, 10_000, 9_995, 10_005)
    assert len(attempts(rig)) == 2, "one is out already"


def test_f30_the_reason_names_the_side_of_the_book_that_an_old_trade_was_moved_to():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    show(rig, 9_000, 8_995, 9_005)
    rig.wait()
    two_hours_ago = NOON // S - 7_200
    beats(rig, 2)
    show(rig, 9_000, 10_400, 10_410, traded=two_hours_ago)
    (signal,) = exits(rig)
    assert signal.reason == (
        "stop loss: P&L ₹-1,050.00 ≤ ₹-1,000.00; OPT-501 counts at the bid, ₹104.00 "
        "(last traded ₹90.00 at 20 Nov 10:00:00 IST)"
    )
    assert signal.pnl == -75 * (10_400 - 9_000)


@pytest.mark.parametrize(
    ("last", "bid", "ask", "ago", "said"),
    [
        (10_400, 10_395, 10_405, 60, ""),
        (10_400, 10_395, 10_405, None, ""),
        (10_400, 10_395, 10_405, 62, "; OPT-501 counts at its last trade, ₹104.00 at 20 Nov 11:59:02 IST"),
        (10_500, 10_395, 10_405, None, "; OPT-501 counts at the ask, ₹104.05 (last traded ₹105.00)"),
    ],
)
def test_f30_the_reason_says_which_price_counted_when_it_is_no_fresh_trade(last, bid, ask, ago, said):
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    show(rig, 9_000, 8_995, 9_005)
    rig.wait()
    beats(rig, 4)
    show(rig, last, bid, ask, traded=None if ago is None else NOON // S + 4 - ago)
    rig.wait(1)
    (signal,) = exits(rig)
    assert signal.reason.partition("₹-1,000.00")[2] == said


def test_f30_a_wide_book_is_no_fair_price_and_a_stop_in_it_waits_its_second():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    show(rig, 9_000, 8_995, 9_005)
    rig.wait()
    rig.wait(0.25)
    show(rig, 10_400, 8_000, 14_000)
    assert exits(rig) == []
    beats(rig, 0.95)
    assert exits(rig) == []
    beats(rig, 0.1)
    assert len(exits(rig)) == 1


ORDER = (Rule.STOP_LOSS, Rule.TRAILING_STOP, Rule.SQUARE_OFF, Rule.DTE_EXIT, Rule.THETA_EXIT, Rule.PROFIT_TARGET)


def levels_of(rules):
    at = ist_datetime(NOON).time().replace(minute=1)
    made = ExitLevels()
    for rule in rules:
        made = replace(
            made,
            **{
                Rule.STOP_LOSS: {"stop": amount(1_000)},
                Rule.TRAILING_STOP: {"trailing": trailing(0, 500)},
                Rule.SQUARE_OFF: {"square_off": ClockLevel(at, LevelSource.PROFILE)},
                Rule.THETA_EXIT: {"theta": DaysLevel(60, LevelSource.PROFILE)},
                Rule.PROFIT_TARGET: {"target": amount(1_000)},
            }[rule],
        )
    return made


some_rules = st.sets(
    st.sampled_from([Rule.STOP_LOSS, Rule.TRAILING_STOP, Rule.SQUARE_OFF, Rule.THETA_EXIT, Rule.PROFIT_TARGET])
)


@given(some_rules, st.sampled_from([4_000, 20_000]), st.booleans(), st.booleans())
def test_f31_prices_that_come_back_beyond_several_levels_make_one_exit_by_precedence(
    rules, last, over_rest, tick_first
):
    """An outage of two minutes; the market is far away when the first price comes, over REST or from the feed."""
    rig = Rig()
    held = position(1, leg(11, 501, -75, expiry=ist_datetime(NOON).date().replace(month=12)))
    rig.tell(ev.PositionOpened(held, levels_of(rules), rig.now))
    show(rig, 8_900, 8_895, 8_905)
    rig.wait()
    rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now))
    beats(rig, 50)
    assert exits(rig) == []
    if not tick_first:
        beats(rig, 70)
        assert [one.rule for one in exits(rig)] == ([Rule.SQUARE_OFF] if Rule.SQUARE_OFF in rules else [])
    is_off = Rule.SQUARE_OFF in rules and not tick_first
    source = QuoteSource.REST if over_rest else QuoteSource.FEED
    if not over_rest:
        rig.tell(ev.FeedStateChanged(is_live=True, at_ns=rig.now))
    for _ in range(3):
        show(rig, last, last - 5, last + 5, source=source)
        beats(rig, 0.5)
        rig.now += 10 * MS
    lost = {Rule.STOP_LOSS, Rule.TRAILING_STOP, Rule.THETA_EXIT}
    breached = rules & (lost if last > 9_000 else {Rule.PROFIT_TARGET})
    winner = next((rule for rule in ORDER if rule in breached), None)
    expected = [Rule.SQUARE_OFF] if is_off else [winner] if winner else []
    assert [one.rule for one in exits(rig)] == expected


def test_doubted_prices_stop_every_position_that_holds_the_instrument_and_no_other():
    rig = Rig()
    twin, other = position(4, leg(41, 501, -75)), position(5, leg(51, 505, -75))
    for held in (SHORT, twin, other):
        rig.tell(ev.PositionOpened(held, STOP, rig.now))
    for security_id in (501, 505):
        show(rig, 9_000, 8_995, 9_005, security_id)
    rig.wait()
    unknown = InstrumentKey(Segment.NSE_FNO, 999)
    rig.now += 100 * MS
    doubted_ns = rig.now
    rig.tell(ev.PricesDoubted((unknown, KEY), "no news of it", doubted_ns))
    assert [sorted(rig.engine.guards[n].stale_keys(rig.now)) for n in (1, 4, 5)] == [[KEY], [KEY], []]
    rig.tell(ev.QuoteArrived(Quote(KEY, 10_400, 10_395, 10_405, 75, 75, None, doubted_ns)))
    beats(rig, 2)
    assert exits(rig) == [], "received before the doubt"
    show(rig, 10_400, 10_395, 10_405, 505)
    assert [one.strategy_id for one in exits(rig)] == [5]
    show(rig, 10_400, 10_395, 10_405)
    beats(rig, 1)
    assert sorted(one.strategy_id for one in exits(rig)) == [1, 4, 5]


def test_a_doubt_outlives_an_edit_of_the_levels():
    """After a sleep everything is doubted and the rows are read again: the new guard must not believe the old price."""
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, ExitLevels(stop=amount(100_000)), rig.now))
    show(rig, 10_400, 10_395, 10_405)
    rig.wait()
    rig.now += 40 * S
    doubted_ns = rig.now
    rig.tell(ev.PricesDoubted((KEY,), "the machine slept", doubted_ns))
    rig.tell(ev.PricesDoubted((KEY,), "there is still no price", doubted_ns - 50 * S))
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    beats(rig, 2)
    assert exits(rig) == [], "fired by a price from before the sleep"
    show(rig, 10_400, 10_395, 10_405)
    beats(rig, 2)
    assert len(exits(rig)) == 1
    rig.engine.handle(ev.PricesDoubted((InstrumentKey(Segment.NSE_FNO, 999),), "unknown", rig.now))


def test_the_first_order_of_an_exit_asks_before_it_uses_a_doubted_quote():
    """Another connection's life does not vouch for this instrument."""
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.wait(30)
    rig.positions({501: -75})
    rig.tell(ev.PricesDoubted((KEY,), "its connection is down and REST is silent", rig.now))
    rig.exit()
    assert not any(isinstance(command, cmd.SubmitOrder) for command in rig.out)
    (asked,) = rig.take(cmd.RequestQuotes)
    assert asked.keys == (KEY,)
    show(rig, 9_500, 9_495, 9_505)
    (order,) = rig.submitted()
    assert order.price == 9_510


def test_doubts_about_a_position_that_exits_or_is_gone_change_nothing():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    (order,) = rig.submitted()
    rig.tell(ev.PricesDoubted((KEY,), "no news of it", rig.now))
    assert rig.take(cmd.CancelOrder) == []
    rig.fill(order)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert len(rig.take(cmd.RecordExit)) == 1
    rig.tell(ev.PositionGone(1, rig.now))
    rig.tell(ev.PricesDoubted((KEY,), "no news of it", rig.now))
    assert rig.engine.guards == {}


def test_a_saved_price_is_shown_and_fires_nothing():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    show(rig, 20_000, 19_995, 20_005, source=QuoteSource.CACHE)
    beats(rig, 3)
    assert exits(rig) == []
    assert rig.engine.guards[1].assessment().pnl == -75 * (20_000 - 9_000)
    assert not rig.engine.guards[1].safe_to_trade(rig.now).is_safe
    show(rig, 10_300, 10_295, 10_305)
    beats(rig, 3)
    assert exits(rig) == []
    show(rig, 10_400, 10_395, 10_405)
    assert len(exits(rig)) == 1


@pytest.mark.parametrize("last", [50, 900_000])
def test_a_saved_price_is_no_measure_for_the_first_real_one(last):
    """Neither a jump away from it nor a hundred times it is odd: it is of another time."""
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    rig.wait()
    show(rig, 5 if last > 9_000 else 90_000, None, None, source=QuoteSource.CACHE, traded=NOON // S + 9)
    show(rig, last, last - 5, last + 5, traded=NOON // S)
    assert rig.engine.cache.slot_of(KEY).mark == last
    assert (rig.engine.cache.absurd, rig.engine.cache.late) == (0, 0)
    assert len(exits(rig)) == (1 if last > 9_000 else 0)


def test_the_first_real_price_is_no_jump_from_a_saved_one():
    """The bid does not breach the stop, so that only a clean quote fires at once."""
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    rig.wait()
    show(rig, 5_000, 4_995, 5_005, source=QuoteSource.CACHE)
    show(rig, 10_335, 10_330, 10_340)
    assert len(exits(rig)) == 1


def test_a_saved_price_never_replaces_a_real_one_and_may_replace_a_saved_one():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    slot = rig.engine.cache.slot_of(KEY)
    for last in (8_000, 8_100, 3):
        show(rig, last, None, None, source=QuoteSource.CACHE)
    assert (slot.mark, slot.updates) == (8_100, 0)
    show(rig, 9_000, 8_995, 9_005, source=QuoteSource.REST)
    show(rig, 20_000, None, None, source=QuoteSource.CACHE)
    assert (slot.mark, slot.quote.source, slot.updates) == (9_000, QuoteSource.REST, 1)


def test_an_exit_that_knows_only_a_saved_price_asks_for_one_first():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    rig.wait()
    show(rig, 9_000, 8_995, 9_005, source=QuoteSource.CACHE)
    rig.positions({501: -75})
    rig.exit()
    assert attempts(rig) == []
    assert [command.keys for command in rig.take(cmd.RequestQuotes)] == [(KEY,)]
    rig.positions({501: -75})
    show(rig, 9_500, 9_495, 9_505, source=QuoteSource.CACHE)
    assert attempts(rig) == []
    show(rig, 9_500, 9_495, 9_505, source=QuoteSource.REST)
    (order,) = rig.submitted()
    assert order.price == 9_510
