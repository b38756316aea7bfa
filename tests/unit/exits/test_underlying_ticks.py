"""Levels of the underlying that every tick is compared with: at the level, believed or not, and what blinds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.exits.guard_settings import GuardSettings
from core.exits.underlying_breach import Stillness
from core.exits.underlying_words import SightState
from core.model import events as ev
from core.model.commands import SubmitOrder
from core.model.exit_levels import Action, ExitLevels, Rule, Urgency
from core.model.instrument import InstrumentKey, Segment
from core.model.market import QuoteSource
from core.model.memory import PositionMemory, ToldLevel
from core.model.signals import Mode
from core.model.special_levels import GreekKind, GreekLevel
from tests.unit.exits import builders
from tests.unit.exits.judge_rig import INDEX, JudgeRig, S, above, below, call, on_index, put

SHARE = InstrumentKey(Segment.NSE_EQ, 1_333)


def rig_with(*levels, prices=(24_100, 24_100.5), **terms):
    """A guarded call, and an index that is believed."""
    rig = JudgeRig(**terms)
    rig.open(call(1), underlying=levels)
    rig.walk(*prices)
    assert rig.signals == []
    return rig


# At the level


@pytest.mark.parametrize(
    ("level", "mark", "fires"),
    [
        (below(24_000), 24_000.01, False),
        (below(24_000), 24_000, True),
        (below(24_000), 23_999.99, True),
        (above(24_200), 24_199.99, False),
        (above(24_200), 24_200, True),
        (above(24_200), 24_200.01, True),
    ],
)
def test_it_fires_at_the_level_and_beyond(level, mark, fires):
    rig = rig_with(level)
    rig.walk(mark)
    assert rig.fired() == ([(1, level.name, level.price, round(mark * 100))] if fires else [])


def test_what_a_signal_says():
    rig = rig_with(below(24_000))
    rig.walk(23_990)
    (signal,) = rig.signals
    assert (signal.rule, signal.action, signal.urgency) == (
        Rule.UNDERLYING_LEVEL,
        Action.CLOSE_POSITION,
        Urgency.HIGH,
    )
    assert (signal.threshold, signal.observed, signal.pnl) == (2_400_000, 2_399_000, 0)
    assert signal.tick_received_ns == signal.decided_ns == rig.now
    assert signal.reason == "underlying level: NIFTY ₹23,990.00 ≤ ₹24,000.00 (quote 0.0 s old)"


@pytest.mark.parametrize(
    ("action", "urgency"),
    [(Action.CLOSE_IMMEDIATELY, Urgency.HIGH), (Action.CLOSE_50, Urgency.HIGH), (Action.ADJUST, Urgency.NORMAL)],
)
def test_the_level_s_action_is_taken(action, urgency):
    rig = rig_with(below(24_000, action))
    rig.walk(23_990)
    assert [(signal.action, signal.urgency) for signal in rig.signals] == [(action, urgency)]


def test_no_price_of_the_legs_is_needed():
    rig = JudgeRig()
    rig.open(call(1), price=None, underlying=(below(24_000),))
    rig.walk(24_010, 24_000)
    assert [signal.pnl for signal in rig.signals] == [None]


def test_in_live_mode_the_exit_begins_with_the_tick():
    rig = rig_with(below(24_000), mode=Mode.LIVE)
    rig.walk(23_990)
    assert rig.engine.guards == {}
    assert [running.signal.rule for running in rig.engine.unresolved] == [Rule.UNDERLYING_LEVEL]


def test_a_level_that_is_passed_already_fires_when_the_position_is_opened():
    rig = rig_with(below(23_000))
    rig.wait(1.5)
    rig.open(call(2), strategy_id=2, underlying=(above(24_050),))
    assert rig.fired() == [(2, "above", 2_405_000, 2_410_050)]
    assert rig.signals[0].reason == "underlying level: NIFTY ₹24,100.50 ≥ ₹24,050.00 (quote 1.5 s old)"
    assert rig.signals[0].tick_received_ns is None, "the clock found it"


def test_one_sight_serves_every_position_of_the_underlying_and_only_the_breached_levels_fire():
    rig = JudgeRig()
    for number in range(1, 6):
        rig.open(call(number), strategy_id=number, underlying=(below(24_000 - 10 * number), above(25_000)))
    rig.open(call(9), strategy_id=9)
    rig.walk(24_100, 24_000, 23_975)
    assert sorted(found[0] for found in rig.fired()) == [1, 2]
    assert len(rig.cache.slot_of(INDEX).holders) == 1
    rig.walk(23_965)
    assert sorted(found[0] for found in rig.fired()) == [1, 2, 3]


# Belief


def test_a_quote_far_from_the_mark_before_waits_for_a_second_one():
    rig = rig_with(below(24_000), prices=(24_300, 24_300))
    rig.walk(23_999, every=0.2)  # 1.2 per cent away
    assert rig.signals == []
    rig.walk(23_998, every=0.3)
    assert [signal.observed for signal in rig.signals] == [2_399_800]
    assert rig.signals[0].tick_received_ns == rig.now - 300 * 1_000_000, "the tick that began the breach"


def test_a_second_quote_that_is_suspect_itself_is_a_witness_but_a_repeated_packet_is_none():
    rig = rig_with(below(24_000), prices=(24_300, 24_300))
    rig.walk(23_500, 23_500, every=0.2)
    assert rig.signals == []
    rig.walk(23_000, every=0.2)  # again more than a per cent away
    assert [signal.observed for signal in rig.signals] == [2_300_000]
    assert "confirmed by a second quote" in rig.signals[0].reason


def test_the_same_price_of_a_later_trade_is_a_second_quote():
    rig = rig_with(below(24_000), prices=(24_300, 24_300))
    rig.index(23_500, traded=1_000)
    assert rig.signals == []
    rig.index(23_500, traded=1_001)
    assert len(rig.signals) == 1


@pytest.mark.parametrize(("mark", "is_believed"), [(23_760, False), (23_760.01, True)])
def test_exactly_one_per_cent_is_too_far(mark, is_believed):
    rig = rig_with(below(23_900), prices=(24_000, 24_000))
    rig.walk(mark, every=0.2)
    assert bool(rig.signals) is is_believed


@pytest.mark.parametrize(("gap", "is_believed"), [(0.999, True), (1.0, False)])
def test_a_mark_as_old_as_a_second_vouches_for_nothing(gap, is_believed):
    rig = rig_with(below(24_000))
    rig.walk(23_999, every=gap)
    assert bool(rig.signals) is is_believed


def test_what_nothing_confirms_fires_after_a_second_and_the_engine_asks_to_be_woken():
    rig = rig_with(below(24_000), prices=(24_300, 24_300), has_beat=False)
    rig.walk(23_500, every=0.2)
    since = rig.now
    assert rig.was_woken
    assert rig.engine.next_wake_ns == since + S
    rig.wait(0.999)
    assert rig.signals == []
    rig.wait(0.001)
    assert [signal.decided_ns for signal in rig.signals] == [since + S]
    assert "it has stood 1.0 s" in rig.signals[0].reason
    assert rig.signals[0].tick_received_ns == since


def test_the_longest_wait_and_the_jump_are_settings():
    rig = JudgeRig(settings=GuardSettings(stop_confirm_max_ms=300, index_jump_percent=0.01))
    rig.open(call(1), underlying=(below(24_000),))
    rig.walk(24_003, 24_000, every=0.2)
    assert rig.signals == []
    rig.wait(0.3)
    assert len(rig.signals) == 1


def test_f12_a_freak_print_of_the_index_exits_nothing():
    rig = rig_with(below(24_000), above(24_400), prices=(24_200, 24_200))
    for freak in (12_000, 48_000):
        rig.walk(freak, 24_200, every=0.4)
        rig.wait(5)
        rig.walk(24_200.5)
    assert rig.signals == []


def test_a_mark_off_the_level_ends_the_breach_and_the_wait_begins_anew():
    rig = rig_with(below(24_000), prices=(24_300, 24_300))
    rig.walk(23_500, 24_300, every=0.4)
    rig.walk(23_500, every=0.4)
    rig.wait(0.9)
    assert rig.signals == []
    rig.wait(0.1)
    assert len(rig.signals) == 1


def test_the_breach_of_one_level_ends_while_another_stands():
    rig = rig_with(below(24_000), below(23_600), prices=(24_300, 24_300))
    rig.walk(23_500, 23_500, every=0.3)
    rig.index(23_900)  # a second print, beyond the first level only
    assert [signal.threshold for signal in rig.signals] == [2_400_000]


def test_what_has_ended_is_forgotten_although_another_level_stands():
    rig = rig_with(below(24_000), below(23_600), prices=(24_300, 24_300), mode=Mode.LIVE)
    rig.engine.desk.stopping = True  # what fires is let be
    ((sight, _),) = rig.cache.slot_of(INDEX).holders
    rig.walk(23_500, every=0.3)
    assert set(sight.breaches) == {(2_400_000, False), (2_360_000, False)}
    rig.walk(23_900, every=0.3)
    assert set(sight.breaches) == {(2_400_000, False)}


def test_what_comes_out_of_a_backlog_is_no_witness():
    rig = rig_with(below(24_000))
    rig.now += 5 * S  # the program stood still: no time was told
    rig.index(23_990)
    rig.index(23_989)
    assert rig.signals == []
    rig.wait(0.9)
    assert rig.signals == []
    rig.wait(0.1)
    assert "it has stood" in rig.signals[0].reason


def test_a_clean_quote_that_a_standstill_is_found_to_cover_waits_too():
    rig = rig_with(below(24_000))
    rig.session_open = None
    rig.walk(23_990)
    rig.engine.cache.backlog.begin(rig.now + 1, 10 * S)
    rig.session_open = True
    rig.now += 1
    rig.clock()
    assert rig.signals == []


def test_of_two_packets_of_one_frame_the_freak_one_is_not_believed_for_the_other_s_sake():
    rig = rig_with(above(50_000, minutes=1))
    rig.walk(24_101)
    rig.index(48_000)
    rig.index(48_000)
    assert rig.watch.spot_of(1, rig.now).mark is None
    rig.walk(48_000, every=0.1)
    assert rig.watch.spot_of(1, rig.now).mark is None


def share_rig(*levels, price=1_510, bid=1_509.5, ask=1_510):
    """A covered call on a share that has shown one quote with a book."""
    rig = JudgeRig()
    option = on_index(builders.call(1, -500, 1_500, 20), SHARE)
    rig.open(option, held(SHARE), price=None, underlying=levels)
    rig.leg(1, 20)
    rig.index(price, key=SHARE, bid=bid, ask=ask)
    rig.wait(3)
    return rig


def held(key):
    """The underlying itself, as a leg."""
    stock = builders.stock(key.security_id, 500, 1_500)
    return replace(stock, instrument=replace(stock.instrument, key=key))


@pytest.mark.parametrize(
    ("bid", "ask", "fires"),
    [
        (1_499, 1_500, True),
        (1_499.98, 1_500.01, True),
        (None, 1_500, False),
        (1_500, None, False),
        (1_200, 1_800, False),
    ],
    ids=["tight", "by the paisa", "no bid", "no ask", "wide"],
)
def test_a_share_s_book_is_judged_like_a_leg_s(bid, ask, fires):
    rig = share_rig(below(1_500))
    rig.index(1_510, key=SHARE, bid=1_509.5, ask=1_510)
    rig.wait(0.5)
    rig.index(1_500, key=SHARE, bid=bid, ask=ask)
    assert bool(rig.signals) is fires
    rig.wait(1)
    assert len(rig.signals) == 1


@pytest.mark.parametrize(("gap", "fires"), [(0.5, False), (1, True)])
def test_a_jump_of_a_share_s_mark_is_suspect_like_a_leg_s(gap, fires):
    rig = share_rig(below(1_300))
    rig.index(1_509, key=SHARE, bid=1_509, ask=1_510)
    rig.wait(gap)
    rig.index(1_200, key=SHARE, bid=1_200, ask=1_200.5)  # a fifth and more
    assert bool(rig.signals) is fires


def test_a_book_that_narrows_around_its_print_makes_it_clean():
    rig = share_rig(below(1_500))
    rig.index(1_500, key=SHARE, bid=1_200, ask=1_800)
    assert rig.signals == []
    rig.index(1_500, key=SHARE, bid=1_499.5, ask=1_500.5)
    assert len(rig.signals) == 1
    assert rig.signals[0].reason.endswith("(quote 0.0 s old)")


def test_a_mark_of_a_share_is_clamped_into_its_book():
    rig = share_rig(below(1_500), price=1_499, bid=1_501, ask=1_502)
    assert rig.signals == []
    assert rig.watch.spot_of(1, rig.now).mark == 150_100


@pytest.mark.parametrize(
    ("second", "is_believed"),
    [
        ({"rupees": 1_507, "bid": 1_400, "ask": 1_600}, True),  # another print, a third of a per cent away
        ({"rupees": 1_505, "bid": 1_390, "ask": 1_600}, False),  # the same print in another book
        ({"rupees": 1_489.9, "bid": 1_400, "ask": 1_600}, False),  # a per cent away
        ({"rupees": 1_505, "bid": 1_504.5, "ask": 1_505}, True),  # clean
    ],
)
def test_a_suspect_share_is_believed_by_a_second_print_near_the_first(second, is_believed):
    rig = share_rig(below(1_000))
    rig.index(1_505, key=SHARE, bid=1_400, ask=1_600)
    assert rig.watch.spot_of(1, rig.now).is_coming
    rig.wait(0.5)
    rig.index(second["rupees"], key=SHARE, bid=second["bid"], ask=second["ask"])
    assert (rig.watch.spot_of(1, rig.now).mark is not None) is is_believed


@pytest.mark.parametrize(("after", "is_believed"), [(0.3, False), (0.4, True)])
def test_a_print_stands_while_the_book_moves_around_it(after, is_believed):
    rig = share_rig(below(1_000))
    rig.index(1_505, key=SHARE, bid=1_400, ask=1_600)
    rig.wait(0.6)
    rig.index(1_505, key=SHARE, bid=1_390, ask=1_610)
    rig.wait(after)
    assert (rig.watch.spot_of(1, rig.now).mark is not None) is is_believed


def test_a_repeated_packet_of_what_has_stood_is_believed_and_not_clean():
    rig = rig_with(above(50_000))
    rig.index(40_000)
    rig.wait(2)
    rig.index(40_000)
    assert rig.watch.spot_of(1, rig.now).mark == 4_000_000
    rig.open(call(2), strategy_id=2, underlying=(above(39_000),))
    assert rig.signals == []
    rig.wait(1)
    assert len(rig.signals) == 1


def test_near_is_measured_between_marks_and_not_between_old_trades():
    """The share last traded long ago, far outside of its book."""
    rig = share_rig(below(1_000), price=1_300)
    rig.index(1_300, key=SHARE, bid=1_509.5, ask=1_700)
    rig.wait(0.5)
    rig.index(1_511, key=SHARE, bid=1_400, ask=1_600)
    assert rig.watch.spot_of(1, rig.now).mark == 151_100


def test_the_same_index_of_a_later_second_is_believed():
    rig = rig_with(above(50_000))
    rig.index(40_000, traded=1_000)
    assert rig.watch.spot_of(1, rig.now).mark is None
    rig.index(40_000, traded=1_001)
    assert rig.watch.spot_of(1, rig.now).mark == 4_000_000


@pytest.mark.parametrize(("after", "mark"), [(S - 1, None), (S, 4_000_000)])
def test_what_has_stood_for_a_second_is_believed(after, mark):
    rig = rig_with(above(50_000))
    rig.index(40_000)
    assert rig.watch.spot_of(1, rig.now + after).mark == mark


def test_a_witness_stays_one_when_the_first_print_comes_again():
    rig = rig_with(below(24_000), prices=(24_300, 24_300), settings=GuardSettings(stop_confirm_max_ms=60_000))
    rig.walk(23_500, every=0.2)
    rig.cache.backlog.begin(rig.now, S)
    rig.walk(23_400, 23_500, every=0.2)
    assert rig.signals == [], "from a backlog, and no witnesses"
    rig.wait(3)
    rig.index(23_500)
    assert len(rig.signals) == 1


# What it needs


@pytest.mark.parametrize("session_open", [False, None])
def test_a_session_that_is_not_known_to_be_open_fires_nothing(session_open):
    rig = rig_with(below(24_000))
    rig.session_open = session_open
    rig.clock()
    rig.walk(23_990, 23_989)
    rig.wait(3)
    assert rig.signals == []
    rig.session_open = True
    rig.walk(23_988)
    assert len(rig.signals) == 1


def test_nothing_fires_before_the_time_was_told():
    rig = JudgeRig()
    rig.has_timer = False
    rig.tell(ev.PositionOpened(builders.position(call(1)), ExitLevels(underlying=(below(24_000),)), rig.now))
    rig.index(24_010)
    rig.index(23_990)
    assert rig.signals == []
    assert rig.watch.next_deadline_ns is None
    rig.clock()
    assert len(rig.signals) == 1


def test_a_doubted_price_fires_nothing_until_a_newer_one_comes():
    rig = rig_with(below(24_000), prices=(24_300, 24_300))
    rig.walk(23_500, every=0.4)
    rig.doubt(INDEX, InstrumentKey(Segment.IDX_I, 25))
    rig.wait(5)
    assert rig.signals == []
    assert rig.blind_spot() == "no fresh price for the underlying NIFTY for 5 s"
    rig.index(23_501)
    assert rig.signals == [], "what had begun before is forgotten"
    rig.wait(1)
    assert len(rig.signals) == 1


def test_a_doubt_from_before_is_heard_by_a_new_sight():
    rig = JudgeRig()
    rig.open(held(INDEX), price=None, strategy_id=7)
    rig.index(23_990)
    rig.doubt(INDEX)
    rig.open(call(1), underlying=(below(24_000),))
    rig.wait(3)
    assert rig.signals == []
    rig.walk(23_989)
    rig.wait(1)
    assert len(rig.signals) == 1


def test_a_price_that_another_position_knows_already_counts_at_once():
    rig = JudgeRig()
    rig.open(held(INDEX), price=None, strategy_id=7)
    rig.index(23_990)
    rig.wait(2)
    rig.open(call(1), underlying=(below(24_000),))
    assert rig.signals == [], "found by the clock, and it was the first quote: nothing vouched for it"
    rig.wait(1)
    assert len(rig.signals) == 1


def test_an_old_price_fires_nothing_while_no_feed_is_live():
    rig = rig_with(below(24_000), prices=(24_300, 24_300.5))
    rig.feed(is_live=False)
    rig.wait(5.25)
    rig.open(call(2), strategy_id=2, underlying=(above(24_200),))
    rig.wait(2)
    assert rig.signals == []
    assert rig.blind_spot(2) == "no fresh price for the underlying NIFTY for 7 s"
    rig.feed(is_live=True)
    assert [signal.strategy_id for signal in rig.signals] == [2]


def test_a_saved_price_is_shown_and_fires_nothing():
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000),))
    rig.index(23_990, source=QuoteSource.CACHE)
    rig.wait(3)
    assert rig.signals == []
    assert rig.blind_spot() == "only a saved price for the underlying NIFTY, none of the market yet"
    assert rig.watch.sightings_of(1, rig.now)[0].state is SightState.SAVED
    rig.walk(23_990, 23_990.5)
    assert len(rig.signals) == 1
    rig.index(23_000, source=QuoteSource.CACHE)
    assert rig.cache.slot_of(INDEX).mark == 2_399_050


@pytest.mark.parametrize("other", [call(2), held(INDEX)], ids=["watched already", "held"])
def test_a_saved_price_of_another_position_is_no_price_of_the_market(other):
    rig = JudgeRig()
    rig.open(other, strategy_id=2, price=None, underlying=(below(23_000),) if other == call(2) else ())
    rig.index(23_990, source=QuoteSource.CACHE)
    rig.open(call(1), strategy_id=1, underlying=(below(24_000),))
    rig.wait(3)
    assert rig.signals == []
    assert rig.watch.sightings_of(1, rig.now)[0].text.startswith("only a saved price")


# Stillness


def still_rig(*levels, **terms):
    """The index has stood still for 121 s while the option moved."""
    rig = rig_with(*levels, prices=(24_100, 24_100), **terms)
    for step in range(1, 13):
        rig.wait(10)
        rig.leg(1, 100 + step)
        rig.index(24_100)
    rig.wait(1)
    rig.leg(1, 120)
    rig.wait(0.25)
    return rig


def test_an_index_that_stands_still_while_its_options_move_fires_nothing_and_blinds():
    rig = still_rig(below(24_000))
    assert rig.blind_spot() == "the underlying NIFTY has stood still for 121 s while its options move"
    rig.open(call(2), strategy_id=2, underlying=(above(24_050),))
    rig.wait(3)
    rig.index(24_100)
    assert rig.signals == []
    assert rig.watch.sightings_of(2, rig.now)[0].state is SightState.STILL
    assert rig.watch.spot_of(2, rig.now).mark is None
    rig.walk(24_100.5)
    assert rig.blind_spot() is None
    rig.wait(1)
    assert [signal.strategy_id for signal in rig.signals] == [2]


@pytest.mark.parametrize(("after", "is_still"), [(119.75, False), (120.0, True), (120.5, True)])
def test_a_leg_must_have_moved_as_long_after_the_underlying(after, is_still):
    rig = rig_with(below(24_000), prices=(24_100, 24_100.5))
    rig.wait(after)
    rig.leg(1, 101)
    rig.wait(10)
    assert (rig.blind_spot() is not None) is is_still


def test_an_index_that_rests_while_nothing_moves_is_no_fault():
    rig = rig_with(below(24_000), prices=(24_100, 24_100.5))
    for _ in range(10):
        rig.wait(60)
        rig.leg(1, 100)
    assert rig.blind_spot() is None


def test_the_first_price_of_a_leg_is_no_move():
    rig = JudgeRig()
    rig.open(call(1), price=None, underlying=(below(24_000),))
    rig.walk(24_100, 24_100.5)
    rig.wait(150)
    rig.leg(1, 100)
    rig.wait(5)
    assert rig.blind_spot() is None


def test_a_move_of_before_that_is_only_repeated_after_the_rest_is_none():
    rig = rig_with(below(24_000), prices=(24_100, 24_100.5))
    rig.wait(130)  # the legs' marks have been taken down
    rig.walk(24_101)
    rig.wait(1)
    rig.leg(1, 105)
    for _ in range(13):
        rig.wait(10)
        rig.leg(1, 105)
    assert rig.blind_spot() is None


def test_the_legs_are_looked_at_only_near_the_end_of_a_rest():
    def exploding():
        raise AssertionError("looked at")
        yield

    still = Stillness(120)
    still.moved(5 * S)
    still.look(5 * S + 119 * S - 1, exploding())
    with pytest.raises(AssertionError, match="looked at"):
        still.look(5 * S + 119 * S, exploding())
    still.is_still = True
    still.look(500 * S, exploding())


def test_how_long_is_a_setting():
    rig = rig_with(below(24_000), prices=(24_100, 24_100.5), settings=GuardSettings(underlying_still_s=30))
    rig.wait(31)
    rig.leg(1, 101)
    rig.wait(0.25)
    assert rig.blind_spot() == "the underlying NIFTY has stood still for 31 s while its options move"


def test_what_moves_while_the_market_is_closed_says_nothing():
    rig = rig_with(below(24_000), prices=(24_100, 24_100.5))
    rig.wait(200)
    rig.session_open = False
    rig.wait(1)
    rig.leg(1, 150)
    rig.wait(1)
    rig.session_open = True
    rig.wait(5)
    assert rig.blind_spot() is None


# Who is told


def test_no_price_at_all_blinds_after_its_first_moments_in_an_open_market():
    rig = JudgeRig()
    rig.session_open = False
    rig.open(call(1), underlying=(below(24_000),))
    rig.wait(60)
    assert rig.blind_spot() is None
    assert rig.watch.spot_of(1, rig.now).why == "no price for the underlying NIFTY"
    rig.session_open = True
    rig.clock()
    rig.wait(1.75)
    assert rig.blind_spot() is None, "its first price is on the way"
    rig.wait(0.25)
    assert rig.blind_spot() == "no price for the underlying NIFTY for 2 s"
    rig.wait(1)
    assert rig.blind_spot() == "no price for the underlying NIFTY for 3 s"
    assert rig.engine.guards[1].why_unprotected(rig.now) == "no stop loss is in force"
    assert rig.watch.spot_of(1, rig.now).why == "no price for the underlying NIFTY for 3 s"


def test_nobody_is_blind_while_the_market_is_closed_and_the_wait_begins_anew_with_it():
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000),))
    rig.wait(10)
    assert rig.blind_spot() is not None
    rig.session_open = False
    rig.clock()
    assert rig.blind_spot() is None
    rig.wait(10)
    assert rig.blind_spot() is None
    rig.session_open = True
    rig.clock()
    assert rig.blind_spot() is None


def test_a_level_that_only_warns_leaves_nobody_unprotected():
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000, Action.ADJUST),))
    rig.wait(10)
    assert rig.blind_spot() is None


def test_the_blind_spot_of_what_is_not_watched_any_more_is_none():
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000),))
    guard = rig.engine.guards[1]
    rig.wait(5)
    assert guard.blind_spot(rig.now) is not None
    rig.watch.gone(1)
    assert guard.blind_spot(rig.now) is None


def test_legs_without_a_known_underlying_cannot_be_watched():
    rig = JudgeRig()
    rig.open(builders.call(1, -75, 24_000, 100), underlying=(below(24_000), above(25_000, minutes=5)))
    assert rig.blind_spot() == (
        "its level of the underlying (below ₹24,000.00, above, close of 5 min ₹25,000.00) cannot be watched: the "
        "instrument master does not say what is behind NIFTY-1"
    )
    seen = rig.watch.sightings_of(1, rig.now)
    assert [(each.observed, each.age_ns, each.state) for each in seen] == [(None, None, None)] * 2
    assert seen[0].text == "the instrument master does not say what is behind NIFTY-1"
    assert INDEX not in rig.cache.keys()  # noqa: SIM118  a method, not a dict


def test_legs_of_two_underlyings_cannot_be_watched():
    rig = JudgeRig()
    bank = InstrumentKey(Segment.IDX_I, 25)
    rig.open(call(1), on_index(builders.put(2, -30, 50_000, 100), bank), underlying=(below(24_000),))
    assert rig.blind_spot().endswith("cannot be watched: its legs have different underlyings: IDX_I:13, IDX_I:25")


def test_a_future_and_options_share_their_index():
    rig = JudgeRig()
    future = on_index(builders.leg(3, 75, 24_000))
    rig.open(future, put(2), price=None, underlying=(below(24_000),))
    rig.walk(24_010, 23_999)
    assert len(rig.signals) == 1


# Told once, edited, gone


def test_a_level_that_warns_is_told_once_and_the_others_go_on():
    rig = rig_with(below(24_000, Action.ADJUST), below(23_900))
    rig.walk(23_990, 24_010, 23_985)
    assert [signal.action for signal in rig.signals] == [Action.ADJUST]
    assert any("ADJUST is all that is asked for" in alert.text for alert in rig.alerts)
    rig.walk(23_900)
    assert [signal.action for signal in rig.signals] == [Action.ADJUST, Action.CLOSE_POSITION]


def test_of_two_warnings_by_one_tick_both_are_told():
    rig = rig_with(below(24_000, Action.ADJUST), below(24_050, Action.ADJUST), prices=(24_400, 24_400))
    rig.walk(23_990, 23_989, every=0.3)  # confirmed by the second
    rig.clock()
    assert sorted(signal.threshold for signal in rig.signals) == [2_400_000, 2_405_000]
    assert {signal.decided_ns for signal in rig.signals} == {rig.now}


def test_what_was_told_before_a_restart_is_not_told_again():
    rig = rig_with(below(24_000, Action.ADJUST))
    rig.walk(23_990)
    told = rig.memory()
    assert told.told == (ToldLevel(Rule.UNDERLYING_LEVEL, "below", 2_400_000),)
    after = JudgeRig()
    after.open(call(1), underlying=(below(24_000, Action.ADJUST), below(23_950, Action.ADJUST)), memory=told)
    after.walk(23_990, 23_985)
    after.wait(2)
    assert after.signals == []
    after.walk(23_950)
    after.wait(1)
    assert [signal.threshold for signal in after.signals] == [2_395_000]


def test_a_position_that_is_opened_anew_without_levels_is_not_watched():
    rig = rig_with(below(24_000))
    bare = rig.engine.room.guard(rig.cache.get(1), ExitLevels(), None, rig.now)
    rig.watch.opened(bare, PositionMemory())
    assert rig.watch.sightings_of(1, rig.now) == ()
    rig.walk(23_990)
    assert rig.signals == []


def test_a_position_without_an_underlying_goes_like_the_others():
    rig = JudgeRig()
    rig.open(builders.call(1, -75, 24_000, 100), underlying=(below(24_000),))
    guard = rig.engine.guards[1]
    rig.watch.gone(1)
    assert guard.blind_spot(rig.now) is None
    assert rig.watch.sightings_of(1, rig.now) == ()


def test_an_edited_position_keeps_the_price_of_its_underlying():
    rig = rig_with(below(24_000))
    rig.open(call(1), underlying=(above(24_050),))
    assert [signal.threshold for signal in rig.signals] == [2_405_000]


def test_a_sight_that_nobody_needs_any_more_leaves_the_cache():
    rig = rig_with(below(24_000))
    assert INDEX in rig.cache.keys()  # noqa: SIM118  a method, not a dict
    rig.open(call(1))
    rig.wait(0.25)
    assert INDEX not in rig.cache.keys()  # noqa: SIM118
    rig.open(call(1), underlying=(below(24_000),))
    rig.walk(24_010, 24_000)
    assert len(rig.signals) == 1


def test_a_level_that_has_gone_costs_looks_and_fires_nothing():
    rig = rig_with(below(24_000))
    rig.open(call(2), strategy_id=2, underlying=(below(24_090),))
    rig.open(call(2), strategy_id=2, underlying=(below(23_000),))
    rig.walk(24_080, 24_081)
    assert rig.signals == []
    ((sight, _),) = rig.cache.slot_of(INDEX).holders
    assert (sight.lower, sight.pnl) == (2_400_000, 2_408_100)
    rig.walk(23_999)
    assert [signal.strategy_id for signal in rig.signals] == [1]


def test_a_stopping_engine_acts_on_nothing():
    rig = rig_with(below(24_000), mode=Mode.LIVE)
    rig.engine.desk.stopping = True
    rig.walk(23_990, 23_989)
    assert rig.signals == []
    assert not [command for command in rig.commands if isinstance(command, SubmitOrder)]
    assert rig.watch.next_deadline_ns == rig.now + S - 500 * 1_000_000
    rig.wait(0.5)
    assert rig.watch.next_deadline_ns is None, "what is due and done by nobody asks for no time again"
    rig.wait(1)
    assert rig.watch.next_deadline_ns is None


# What is shown


def test_how_each_level_stands():
    rig = rig_with(below(24_000), above(24_500, minutes=15))
    rig.wait(1)
    tick, candle = rig.watch.sightings_of(1, rig.now)
    assert (tick.observed, tick.age_ns, tick.state, tick.text) == (
        2_410_050, S, SightState.SHOWN, "NIFTY ₹24,100.50",
    )  # fmt: skip
    assert (candle.observed, candle.age_ns, candle.text) == (None, None, "no candle has ended yet")
    rig.walk(20_000, every=0.2)
    assert rig.watch.sightings_of(1, rig.now)[0].text == "its newest quote is not believed yet"
    spot = rig.watch.spot_of(1, rig.now)
    assert (spot.mark, spot.is_coming) == (None, True)
    assert spot.why == "the newest price of the underlying NIFTY is not believed yet"
    rig.doubt(INDEX)
    stale = rig.watch.sightings_of(1, rig.now)[0]
    assert (stale.state, stale.text) == (SightState.STALE, "no fresh price for the underlying NIFTY for 0 s")
    assert rig.watch.sightings_of(99, rig.now) == ()
    assert rig.watch.spot_of(99, rig.now).why == "its underlying is not watched"


def test_a_position_with_greek_levels_alone_has_its_underlying_watched():
    rig = JudgeRig()
    level = GreekLevel(GreekKind.DELTA, 0.8, Action.ADJUST, below(1).source)
    rig.open(call(1), greeks=(level,))
    rig.walk(24_000, 24_001)
    assert rig.watch.spot_of(1, rig.now).mark == 2_400_100
    assert rig.watch.sightings_of(1, rig.now) == ()


def test_it_remembers_nothing_of_its_own():
    rig = rig_with(below(24_000))
    memory = PositionMemory(peak=5)
    assert rig.watch.remember(1, memory) is memory
    rig.watch.finished(None)  # what was closed is no concern of its
    assert rig.watch.news == set()
