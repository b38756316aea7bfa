"""What real days did to monitors: a freak print, a real fall, an index that stood still, a hole of eighteen minutes."""

from dataclasses import replace
from datetime import date, datetime, time
from itertools import pairwise

import pytest

from core.model.commands import Severity
from tests.oracle.book import Contract, Leg, Levels, Position, Underlying
from tests.oracle.day import IST, Day
from tests.oracle.market import Shown
from tests.oracle.recorded import EXPIRY_DAY, FOLDER, NORMAL_DAY
from tests.oracle.timeline import Told
from tests.replay.book_run import by_position, recorded_day
from tests.replay.conversion import levels_of, position_of
from tests.replay.engine_day import EngineDay
from tests.replay.monitored_day import MonitoredDay

CALL, OTHER = "NSE_FNO:1", "NSE_FNO:2"
NOON_MS = int(datetime(2026, 11, 20, 12, 0, tzinfo=IST).timestamp()) * 1_000
LOT = 65
needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"NOT TESTED: the recorded market days are not here ({FOLDER})"
)


def leg(key, units, entry, row=1):
    return Leg(row, Contract(key, "NIFTY", "CE", 2_400_000, date(2026, 12, 24), LOT), units, entry)


def shown(at_ms, key, last, bid, ask, traded_s=None):
    return Shown(NOON_MS + at_ms, key, last, bid, ask, 650, 650, traded_s)


def engine_of(*positions):
    return EngineDay([(position_of(each), levels_of(each.levels)) for each in positions])


# The freak print: 135 -> 803 -> 135 within a second (prices in paise).

EVERYTHING = Levels(
    stop=20_00 * LOT,
    arm=5_00 * LOT,
    distance=3_00 * LOT,
    target=30_00 * LOT,
    premium_trailing=25_00 * LOT,
    lock=((5_00 * LOT, 0),),
    scaling=((10_00 * LOT, "CLOSE_25%"), (15_00 * LOT, "CLOSE_50%")),
    losing_time=60,
    adjustment=(10_00 * LOT, 19_00 * LOT),
)
FREAK_BOOKS = {
    "the book unchanged": (134_95, 135_05),
    "the asks swept": (134_95, 803_05),
    "the bids swept": (1_00, 135_05),
    "both sides swept": (1_00, 803_05),
}
HELD = {
    "long": (leg(CALL, 4 * LOT, 135_00),),
    "short": (leg(CALL, -4 * LOT, 135_00),),
    "spread": (leg(CALL, 4 * LOT, 135_00), leg(OTHER, -4 * LOT, 60_00, 2)),
    "sold spread": (leg(CALL, -4 * LOT, 135_00), leg(OTHER, 4 * LOT, 60_00, 2)),
}


@pytest.mark.parametrize("price", [803_00, 1_35], ids=["up", "down"])
@pytest.mark.parametrize("sides", FREAK_BOOKS.values(), ids=FREAK_BOOKS)
@pytest.mark.parametrize("legs", HELD.values(), ids=HELD)
@pytest.mark.parametrize("age_ms", [300, 10_000], ids=["soon after a quote", "after a quiet time"])
def test_a_freak_print_exits_nothing(legs, sides, price, age_ms):
    at = 1_000 + age_ms
    happenings = [
        Told(NOON_MS),
        shown(500, OTHER, 60_00, 59_95, 60_05, 1),
        shown(1_000, CALL, 135_00, 134_95, 135_05, 2),
        shown(at, CALL, price, *sides, 3),
        shown(at + 300, CALL, price, *sides, 3),
        shown(at + 700, CALL, 135_00, 134_95, 135_05, 4),
        Told(NOON_MS + at + 5_000),
    ]
    position = Position(1, legs, EVERYTHING)
    engine = engine_of(position)
    assert engine.run(happenings) == []
    guard = engine.engine.guards[1]
    assert guard.peak in {None, 0}, "the print has moved a trail"
    assert Day([position]).run(happenings) == []


@pytest.mark.parametrize("age_ms", [300, 10_000], ids=["too far to be clean", "clean"])
def test_a_real_fall_exits_on_its_first_believable_quote(age_ms):
    """From 135 to 90: with a tight book it is believed at once, however soon it comes after the last quote."""
    position = Position(1, (leg(CALL, LOT, 135_00),), Levels(stop=30_00 * LOT))
    at = 1_000 + age_ms
    happenings = [
        Told(NOON_MS),
        shown(1_000, CALL, 135_00, 134_95, 135_05, 1),
        shown(at, CALL, 90_00, 89_95, 90_05, 2),
        shown(at + 40, CALL, 88_00, 87_95, 88_05, 2),
    ]
    (decision,) = engine_of(position).run(happenings)
    assert (decision.at_ms - NOON_MS, decision.rule, decision.observed) == (at, "stop_loss", -45_00 * LOT)


@pytest.mark.parametrize(
    ("after", "at_ms"),
    [
        ([(2_040, 89_00, None, 90_00, 3)], 2_040),
        ([(2_040, 90_00, None, 90_05, 2)], 3_000),
        ([(2_700, 89_00, 88_95, 89_05, 2)], 2_700),
    ],
    ids=["a second trade", "nothing new for a second", "a whole book"],
)
def test_a_fall_without_bids_waits_for_the_first_witness(after, at_ms):
    position = Position(1, (leg(CALL, LOT, 135_00),), Levels(stop=30_00 * LOT))
    happenings = [
        Told(NOON_MS),
        shown(500, CALL, 135_00, 134_95, 135_05, 1),
        shown(2_000, CALL, 90_00, None, 90_05, 2),
        *(shown(at, CALL, *rest) for at, *rest in after),
    ]
    (decision,) = engine_of(position).run(happenings)
    assert decision.at_ms - NOON_MS == at_ms


# The recorded days


def at(day, text):
    return int(datetime.combine(day, time.fromisoformat(text), IST).timestamp()) * 1_000


def between(recording, keys, start, end):
    start_ms, end_ms = at(recording.day, start), at(recording.day, end)
    quotes = recorded_day(recording).quotes
    return [each for each in quotes if each.key in keys and start_ms <= each.at_ms <= end_ms], end_ms


def contract_of(recording, underlying, strike, right):
    """Of the nearest expiry."""
    found = [
        each
        for each in recorded_day(recording).contracts.values()
        if (each.underlying, each.strike, each.right) == (underlying, strike * 100, right)
    ]
    return min(found, key=lambda each: each.expiry)


def watched(positions, recording, start, end, outage=None):
    keys = {each.key for position in positions for each in position.legs}
    keys |= {each.contract.index for position in positions for each in position.legs}
    quotes, end_ms = between(recording, keys, start, end)
    day = MonitoredDay(engine_of(*positions), quotes, end_ms, outage)
    day.run()
    return day


@needs_recordings
@pytest.mark.replay
def test_the_put_of_the_expiry_day_is_bought_back_on_the_first_quote_beyond_its_stop():
    put = contract_of(EXPIRY_DAY, "NIFTY", 24_200, "PE")
    position = Position(1, (Leg(1, put, -LOT, 10_85),), Levels(stop=25_00 * LOT))
    day = watched([position], EXPIRY_DAY, "15:14:00", "15:30:00")
    beyond = next(each for each in day.quotes if each.key == put.key and each.last >= 35_85)
    (decision,) = day.engine.decisions
    assert (decision.at_ms, decision.rule) == (beyond.at_ms, "stop_loss")
    assert decision.observed == LOT * (10_85 - beyond.last)
    assert day.pages() == []


@needs_recordings
@pytest.mark.replay
def test_the_frozen_index_of_the_expiry_day_fires_nothing_and_a_person_is_told():
    """From 15:16 on the index stands at 24,166.35, and call and put say that it falls through 24,160."""
    put, call = (contract_of(EXPIRY_DAY, "NIFTY", 24_200, right) for right in ("PE", "CE"))
    levels = Levels(
        stop=500_00 * LOT,
        underlying=(
            Underlying(24_160_00, is_above=False),
            Underlying(24_170_00, is_above=False, minutes=5),
            Underlying(24_166_00, is_above=False, action="CLOSE_50%", minutes=1),
        ),
    )
    position = Position(7, (Leg(1, put, -2 * LOT, 13_95), Leg(2, call, -2 * LOT, 27_30)), levels)
    day = watched([position], EXPIRY_DAY, "15:08:00", "15:29:59")
    implied = [
        24_200_00 + c.last - p.last
        for c, p in zip(
            [each for each in day.quotes if each.key == call.key],
            [each for each in day.quotes if each.key == put.key],
            strict=True,
        )
    ]
    assert min(implied) < 24_160_00
    assert day.engine.decisions == []
    (first, *_) = day.pages()
    assert "15:18:00" <= first[0] <= "15:18:02"
    assert "S7 (7) is unprotected" in first[1].subject
    assert "NIFTY" in first[1].text
    assert "still" in first[1].text
    assert "NIFTY" in day.engine.engine.guards[7].why_unprotected(day._now_ns)
    assert Day([position]).run(day.happenings) == []


@needs_recordings
@pytest.mark.replay
def test_an_index_that_moves_fires_the_same_levels():
    """The counter-proof: at 15:16 the index falls to 24,166.35, and still moves with its options."""
    put = contract_of(EXPIRY_DAY, "NIFTY", 24_200, "PE")
    levels = Levels(underlying=(Underlying(24_167_00, is_above=False),))
    position = Position(7, (Leg(1, put, -LOT, 13_95),), levels)
    day = watched([position], EXPIRY_DAY, "15:08:00", "15:20:00")
    (decision,) = day.engine.decisions
    assert decision.rule == "underlying_level"
    assert decision.at_ms == at(EXPIRY_DAY.day, "15:16:01")


@needs_recordings
@pytest.mark.replay
def test_the_hole_of_the_normal_day_is_survived_and_the_stale_positions_are_named():
    quotes = recorded_day(NORMAL_DAY).quotes
    seconds = sorted({each.at_ms for each in quotes})
    outage = max(pairwise(seconds), key=lambda pair: pair[1] - pair[0])
    assert outage[1] - outage[0] > 18 * 60_000
    positions = hole_positions()
    day = watched(positions, NORMAL_DAY, "10:10:00", "10:50:00", outage)
    decided = by_position(day.engine.decisions)
    assert decided == by_position(Day(positions).run(day.happenings))

    squared_off = decided[3]
    assert [each.rule for each in squared_off] == ["square_off"]
    assert outage[0] < squared_off[0].at_ms == at(NORMAL_DAY.day, "10:25:00") < outage[1]
    by_price = [each for decisions in decided.values() for each in decisions if each.rule != "square_off"]
    assert not [each for each in by_price if outage[0] < each.at_ms < outage[1]], (
        "a rule fired on a price of before the hole"
    )
    assert [(each.strategy_id, each.rule) for each in by_price if each.at_ms == outage[1]] == [(2, "stop_loss")]

    named = [alert for moment, alert in day.pages() if moment < "10:25:00"]
    assert {alert.subject for alert in named} == {f"S{number} ({number}) is unprotected" for number in (1, 2, 3)}
    assert all(
        any(leg.key in alert.text for leg in positions[0].legs + positions[1].legs + positions[2].legs)
        for alert in named
    )
    first = min(moment for moment, _ in day.pages())
    assert first <= f"{datetime.fromtimestamp(outage[0] / 1_000 + 10, IST):%H:%M:%S}"
    back = [alert.subject for moment, alert in day.told if alert.severity is Severity.INFO]
    assert back == ["S1 (1) is protected again"]


def hole_positions():
    """One that only waits, one whose stop is passed in the hole, one that is squared off in it."""
    market = recorded_day(NORMAL_DAY)
    start_ms, after_ms = at(NORMAL_DAY.day, "10:10:00"), at(NORMAL_DAY.day, "10:34:00")
    marks = {}
    for each in market.quotes:
        if each.at_ms <= start_ms:
            marks[each.key] = each.last
    moved = {}
    for each in market.quotes:
        if each.at_ms >= after_ms and each.key in market.contracts:
            moved.setdefault(each.key, each.last - marks[each.key])
    nifty = {key: contract for key, contract in market.contracts.items() if contract.underlying == "NIFTY"}
    fallen = min(nifty, key=lambda key: moved.get(key, 0))
    others = sorted(nifty.keys() - {fallen}, key=lambda key: abs(marks[key] - 100_00))[:3]
    held = [(fallen, 75), (others[0], -75), (others[1], 75)]
    never = 10_000_00
    stop = -moved[fallen] * 75 // 2
    return [
        Position(
            1,
            tuple(Leg(10 + i, nifty[key], units, marks[key]) for i, (key, units) in enumerate(held[1:])),
            Levels(stop=never),
        ),
        Position(2, (Leg(20, nifty[fallen], 75, marks[fallen]),), Levels(stop=stop)),
        replace(
            Position(3, (Leg(30, nifty[others[2]], -75, marks[others[2]]),)),
            levels=Levels(stop=never, square_off=time(10, 25)),
        ),
    ]
