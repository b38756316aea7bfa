"""The close of candles: where they begin and end, which quote counts, and when there is none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.underlying_candles import Candle, candle_at
from core.exits.underlying_words import SightState
from core.model.exit_levels import Action, Urgency
from core.model.signals import Mode
from tests.unit.exits.judge_rig import DAY, INDEX, JudgeRig, S, above, below, call, put, utc_ns

FIVE = 5 * 60 * S


def rig_with(*levels, at="10:04:50", prices=(24_100, 24_100.5), **terms):
    rig = JudgeRig(at=at, **terms)
    rig.open(call(1), underlying=levels)
    rig.walk(*prices)
    return rig


# Where a candle begins and ends


@pytest.mark.parametrize(
    ("at", "minutes", "start", "end"),
    [
        ("09:15:00", 5, "09:15:00", "09:20:00"),
        ("09:19:59.999", 5, "09:15:00", "09:20:00"),
        ("09:20:00", 5, "09:20:00", "09:25:00"),
        ("15:39:59", 60, "15:15:00", "16:15:00"),
        ("15:29:59", 375, "09:15:00", "15:30:00"),
        ("10:14:00", 1, "10:14:00", "10:15:00"),
    ],
)
def test_candles_are_aligned_with_the_opening(at, minutes, start, end):
    assert candle_at(utc_ns(at), minutes) == Candle(utc_ns(start), utc_ns(end))


@pytest.mark.parametrize("at", ["00:00:00", "09:14:59.999"])
def test_before_the_opening_there_is_no_candle(at):
    assert candle_at(utc_ns(at), 5) is None
    assert candle_at(utc_ns("09:15:00") - 1, 5) is None


@given(seconds=st.integers(0, 16 * 3_600), minutes=st.integers(1, 375))
def test_every_time_of_the_session_is_in_exactly_one_candle(seconds, minutes):
    at = utc_ns("00:00:00") + seconds * S
    candle = candle_at(at, minutes)
    if seconds < (9 * 60 + 15) * 60:
        assert candle is None
        return
    assert candle.start_ns <= at < candle.end_ns
    assert candle.end_ns - candle.start_ns == minutes * 60 * S
    assert (candle.start_ns - utc_ns("09:15:00")) % (minutes * 60 * S) == 0
    assert candle_at(candle.end_ns - 1, minutes) == candle
    assert candle_at(candle.end_ns, minutes).start_ns == candle.end_ns


# At the level


@pytest.mark.parametrize(
    ("level", "mark", "fires"),
    [
        (below(24_000, minutes=5), 24_000.01, False),
        (below(24_000, minutes=5), 24_000, True),
        (below(24_000, minutes=5), 23_999.99, True),
        (above(24_200, minutes=5), 24_199.99, False),
        (above(24_200, minutes=5), 24_200, True),
        (above(24_200, minutes=5), 24_200.01, True),
    ],
)
def test_the_close_fires_at_the_level_and_beyond_when_the_candle_is_over(level, mark, fires):
    rig = rig_with(level, has_beat=False)
    rig.walk(mark)
    rig.wait(4)
    assert rig.signals == []
    rig.wait_until("10:05:00")
    assert rig.fired() == ([(1, level.name, level.price, round(mark * 100))] if fires else [])
    assert [signal.decided_ns + rig.ahead for signal in rig.signals] == ([utc_ns("10:05:00")] if fires else [])


def test_what_the_signal_of_a_close_says():
    rig = rig_with(below(24_000, minutes=5))
    rig.walk(23_990)
    rig.wait_until("10:05:00")
    (signal,) = rig.signals
    assert signal.level == "below, close of 5 min"
    assert signal.urgency is Urgency.HIGH
    assert signal.tick_received_ns is None
    assert signal.reason == (
        "underlying level: NIFTY closed the 5-minute candle 10:00–10:05 IST at ₹23,990.00 ≤ ₹24,000.00 "
        "(last quote 8.5 s before its end)"
    )


def test_only_the_close_counts_and_not_the_way_there():
    rig = rig_with(below(24_000, minutes=5))
    rig.walk(23_900, 23_900.5, 24_010, 24_010.5)
    rig.wait_until("10:05:01")
    assert rig.signals == []
    rig.wait_until("10:09:58")
    rig.walk(23_999, 23_999.5)
    rig.wait_until("10:10:00")
    assert [signal.observed for signal in rig.signals] == [2_399_950]


def test_candles_of_several_lengths_end_at_their_own_times():
    levels = (below(24_000, Action.ADJUST, minutes=1), below(24_001, Action.ADJUST, minutes=15))
    rig = rig_with(*levels, at="10:12:30", prices=(23_990, 23_990.5))
    rig.wait_until("10:12:59.999")
    assert rig.signals == []
    rig.wait_until("10:13:00")
    assert [signal.level for signal in rig.signals] == ["below, close of 1 min"]
    rig.wait_until("10:15:00")
    assert [signal.level for signal in rig.signals] == ["below, close of 1 min", "below, close of 15 min"]


def test_a_level_by_candles_and_one_by_ticks_do_not_touch_each_other():
    rig = rig_with(
        below(24_000, minutes=5),
        below(23_000),
        above(24_050, Action.ADJUST),
        above(24_010, minutes=9),
        prices=(24_000, 24_000.5),
    )
    rig.walk(23_999)
    assert rig.signals == []
    ((sight, _),) = rig.cache.slot_of(INDEX).holders
    assert (sight.lower, sight.upper) == (2_300_000, 2_405_000), "candles narrow no band"
    rig.wait_until("10:05:00")
    assert [signal.level for signal in rig.signals] == ["below, close of 5 min"]


def test_of_two_warnings_by_one_close_both_are_told_and_neither_again():
    rig = rig_with(below(24_000, Action.ADJUST, minutes=5), below(24_050, Action.ADJUST, minutes=5))
    rig.walk(23_990)
    rig.wait_until("10:05:00")
    assert sorted(signal.threshold for signal in rig.signals) == [2_400_000, 2_405_000]
    rig.wait_until("10:10:05")
    assert len(rig.signals) == 2


def test_in_live_mode_the_exit_begins_with_the_end_of_the_candle():
    rig = rig_with(below(24_000, minutes=5), mode=Mode.LIVE)
    rig.walk(23_990)
    rig.wait_until("10:05:00")
    assert rig.engine.guards == {}


# Which quote is the close


def test_a_quote_at_the_very_end_belongs_to_the_next_candle():
    rig = rig_with(below(24_000, minutes=5), has_beat=False)
    rig.wait_until("10:04:59.500")
    rig.walk(24_010, every=0)
    rig.now = utc_ns("10:05:00") - rig.ahead  # the quote is there before the clock is told
    rig.index(23_990)
    rig.clock()
    assert rig.signals == []
    rig.wait_until("10:10:00")
    assert [signal.observed for signal in rig.signals] == [2_399_000]


def test_one_nanosecond_before_it_belongs_to_the_old_one():
    rig = rig_with(below(24_000, minutes=5), has_beat=False)
    rig.wait_until("10:04:59.500")
    rig.walk(24_010, every=0)
    rig.now = utc_ns("10:05:00") - rig.ahead - 1
    rig.index(23_990)
    rig.now += 1
    rig.clock()
    assert [signal.observed for signal in rig.signals] == [2_399_000]


def test_what_comes_between_the_end_and_the_look_does_not_count():
    rig = rig_with(below(24_000, minutes=5), has_beat=False)
    rig.wait_until("10:04:59")
    rig.walk(23_990, 23_990.5, every=0.2)
    rig.now = utc_ns("10:05:00.300") - rig.ahead
    rig.index(24_010)
    rig.clock()
    assert [signal.observed for signal in rig.signals] == [2_399_050]


def test_a_candle_without_a_quote_has_no_close():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.session_open = None  # the first close is passed over, and the second candle brings nothing
    rig.wait_until("10:10:00")
    rig.session_open = True
    rig.wait_until("10:14:00")
    assert rig.signals == []
    (seen,) = rig.watch.sightings_of(1, rig.now)
    assert (seen.observed, seen.state) == (None, SightState.SHOWN)
    assert seen.text == "candle 10:05–10:10 IST: no close, no quote to be believed came in it"


def test_a_monitor_that_starts_within_a_candle_judges_its_close():
    rig = JudgeRig(at="10:04:57")
    rig.open(call(1), underlying=(below(24_000, minutes=5),))
    rig.walk(23_990, 23_990.5)
    rig.wait_until("10:05:00")
    assert len(rig.signals) == 1


def test_a_position_that_is_opened_within_a_candle_is_judged_by_all_of_it():
    rig = rig_with(below(20_000, minutes=5), prices=(23_990, 23_990.5))
    rig.open(put(2), strategy_id=2, underlying=(below(24_000, minutes=5),))
    rig.wait_until("10:05:00")
    assert [signal.strategy_id for signal in rig.signals] == [2]


def test_a_freak_print_at_the_end_is_no_close():
    rig = rig_with(below(24_000, minutes=5))
    rig.wait_until("10:04:59.5")
    rig.walk(24_099, 24_100, 12_000, every=0.1)
    rig.wait_until("10:05:00")
    rig.walk(24_100, every=0.2)
    rig.wait_until("10:05:05")
    assert rig.signals == []
    assert rig.watch.sightings_of(1, rig.now)[0].text == "candle 10:00–10:05 IST closed at ₹24,100.00"


def test_a_quote_that_nothing_vouches_for_is_a_close_once_it_has_stood_for_a_second():
    rig = rig_with(below(24_000, minutes=5), has_beat=False)
    rig.wait_until("10:04:58.5")
    rig.index(23_990)  # the mark before is seconds old
    rig.wait_until("10:05:00")
    assert [signal.observed for signal in rig.signals] == [2_399_000]


def test_and_not_before():
    rig = rig_with(below(24_000, minutes=5), has_beat=False)
    rig.wait_until("10:04:59.001")
    rig.index(23_990)
    rig.wait_until("10:05:03")
    assert rig.signals == []
    seen = rig.watch.sightings_of(1, rig.now)[0]
    assert (seen.observed, seen.age_ns) == (2_410_050, rig.now - (utc_ns("10:04:51") - rig.ahead))


def test_the_same_quote_again_is_believed_as_it_was_and_is_the_newest():
    rig = rig_with(below(24_000, minutes=5))
    rig.walk(23_990)
    rig.wait_until("10:04:59")
    rig.index(23_990)
    rig.wait_until("10:05:00")
    assert "(last quote 1.0 s before its end)" in rig.signals[0].reason


def test_what_comes_out_of_a_backlog_is_no_close_before_it_has_stood():
    rig = rig_with(below(24_000, minutes=5))
    rig.wait_until("10:04:55")
    rig.now += round(4.8 * S)  # a standstill
    rig.index(23_990)
    rig.index(23_989.5)
    rig.wait_until("10:05:02")
    assert rig.signals == []


# When there is none


def test_a_doubted_underlying_has_no_close():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.doubt(INDEX)
    rig.wait_until("10:05:00")
    assert rig.signals == []
    text = rig.watch.sightings_of(1, rig.now)[0].text
    assert text == "candle 10:00–10:05 IST: no close, no fresh price for the underlying NIFTY for 9 s"


def test_a_doubt_that_ends_after_the_candle_does_not_give_it_a_close():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5), has_beat=False)
    rig.doubt(INDEX)
    rig.now = utc_ns("10:05:00.100") - rig.ahead
    rig.index(23_990)
    rig.clock()
    assert rig.signals == []


def test_an_underlying_that_never_had_a_price_has_no_close():
    rig = JudgeRig(at="10:04:58")
    rig.open(call(1), underlying=(below(24_000, minutes=5),))
    rig.wait_until("10:05:00")
    assert rig.watch.sightings_of(1, rig.now)[0].text.endswith("no close, no price for the underlying NIFTY for 2 s")


def test_a_frozen_underlying_has_no_close():
    rig = rig_with(below(24_000, minutes=5), at="10:02:00", prices=(23_990, 23_990.5))
    rig.wait(130)
    rig.leg(1, 101)
    rig.wait_until("10:05:00")
    assert rig.signals == []
    assert "no close, the underlying NIFTY has stood still for 179 s" in rig.watch.sightings_of(1, rig.now)[0].text


@pytest.mark.parametrize("session_open", [False, None])
def test_a_session_that_is_not_known_to_be_open_fires_no_close(session_open):
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.session_open = session_open
    rig.wait_until("10:05:00")
    assert rig.signals == []


def test_a_session_that_is_known_again_within_a_candle_fires_the_close_then():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.session_open = None
    rig.wait_until("10:05:10")
    rig.session_open = True
    rig.clock()
    assert len(rig.signals) == 1


def test_a_close_as_old_as_its_candle_fires_nothing():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.session_open = None
    rig.wait_until("10:09:59")
    rig.now += S
    rig.session_open = True
    rig.clock()
    assert rig.signals == []


def test_the_last_close_before_a_night_asleep_fires_nothing_on_the_next_day():
    rig = rig_with(below(24_000, minutes=5), at="15:39:50", prices=(23_990, 23_990.5))
    rig.now = utc_ns("09:15:00", DAY + timedelta(days=1)) - rig.ahead
    rig.clock()
    assert rig.watch.sightings_of(1, rig.now)[0].text == "candle 15:35–15:40 IST closed at ₹23,990.50"
    assert rig.signals == []


@pytest.mark.parametrize(("after", "fires"), [(1, True), (1.001, False)])
def test_a_close_is_looked_at_for_a_second_and_not_for_who_comes_later(after, fires):
    rig = rig_with(below(20_000, minutes=5), prices=(23_990, 23_990.5), has_beat=False)
    rig.wait_until("10:05:00")
    rig.wait(after)
    rig.open(put(2), strategy_id=2, underlying=(below(24_000, minutes=5),))
    assert bool(rig.signals) is fires


def test_the_close_at_the_end_of_the_session_comes_too_late():
    rig = rig_with(below(24_000, minutes=5), at="15:39:50", prices=(23_990, 23_990.5))
    rig.wait_until("15:39:59.999")
    rig.session_open = False
    rig.wait_until("15:40:00")
    assert rig.signals == []


def test_quotes_before_the_opening_are_in_no_candle():
    rig = rig_with(below(24_000, minutes=5), at="09:14:50", prices=(23_990, 23_990.5))
    assert rig.watch.next_deadline_ns is None
    rig.wait_until("09:15:00")
    assert rig.watch.next_deadline_ns == utc_ns("09:20:00") - rig.ahead
    rig.wait_until("09:20:00")
    assert rig.signals == []


def test_a_clock_that_is_set_back_ends_its_candle_without_a_trace():
    rig = rig_with(below(24_000, minutes=5), prices=(23_990, 23_990.5))
    rig.ahead -= 600 * S
    rig.clock()
    assert rig.watch.next_deadline_ns == utc_ns("09:55:00") - rig.ahead
    assert rig.watch.sightings_of(1, rig.now)[0].text == "no candle has ended yet"
    rig.wait_until("09:55:00")
    assert len(rig.signals) == 1, "the quotes are in this one now"


def test_a_sleep_over_several_candles_judges_none_of_them():
    rig = rig_with(below(24_000, minutes=1), prices=(23_990, 23_990.5))
    rig.now += 600 * S
    rig.doubt(INDEX)
    rig.clock()
    rig.index(24_100)
    rig.clock()
    assert rig.signals == []


def test_the_engine_asks_to_be_woken_at_the_end_of_the_candle():
    rig = rig_with(below(24_000, minutes=5), below(24_000, minutes=3), has_beat=False)
    assert rig.engine.next_wake_ns == utc_ns("10:05:00") - rig.ahead
    rig.wait_until("10:05:00")
    assert rig.engine.next_wake_ns == utc_ns("10:06:00") - rig.ahead
