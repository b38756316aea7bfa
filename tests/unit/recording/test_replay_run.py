"""One engine on the recording's own time: what is decided when, at which price, and what was not protected meanwhile."""

from dataclasses import replace
from datetime import time

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.market_calendar import AlwaysOpen, load_calendar
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ClockLevel, DaysLevel, ExitLevels, Rule, TrailingLevel
from core.model.journal_records import ExitFinished, ExitStarted
from core.model.market import QuoteSource
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from core.recording import facts as rec
from core.recording import replay_setup
from core.recording.file_format import Kind, Record, pack_time
from core.recording.outcomes import outcome_of
from core.recording.player import Played, RecordingPlayer
from core.recording.reader import open_parts
from core.recording.replay_result import differences, twin_of
from core.recording.replay_run import ReplayRun, RunPlan
from core.recording.silence import InstrumentSilence, LineSilence, NoSilence
from core.settings import load_settings
from tests.unit.recording.scene import (
    MS,
    SOURCE,
    S,
    fact,
    frame,
    full_packet,
    header,
    key,
    position,
    quote,
    stop_at,
    utc_ns,
    write_part,
)

NOON = utc_ns("12:00:00")
LONG = position(7, (501, 150, 100_00))
"""Two lots bought at ₹100."""
CALM = 60.0


def desk():
    return replay_setup._desk(load_settings({}, None))


def new_run(plan=None, silence=None, **changes):
    engine = Engine(PositionCacheManager(), GuardSettings(), desk(), Mode.SIMULATION)
    plan = plan or RunPlan(AlwaysOpen(), curve_s=1.0, **changes)
    plan.silence = NoSilence() if silence is None else silence(engine.cache)
    return ReplayRun(engine, plan)


def begun(*held, at=NOON, **changes):
    """A run whose clock is UTC, with positions and their levels held from the start."""
    run = new_run(**changes)
    run.begin(at, at)
    run.fact(at, ev.FeedStateChanged(is_live=True, at_ns=at))
    for each, levels in held:
        run.fact(at, ev.PositionOpened(each, levels, at))
    run.pass_time(at)
    return run


def prices(run, *rows):
    """`rows`: security id, paise, seconds after noon."""
    run.quotes([quote(security_id, last, NOON + round(after_s * S)) for security_id, last, after_s in rows])


def outcome(run, after_s=CALM, strategy_id=7):
    run.end(NOON + round(after_s * S))
    found = outcome_of(run, Played(NOON, NOON, 0), 0.0)
    return next(each for each in found.positions if each.strategy_id == strategy_id)


def decisions(run):
    return [
        (decided.started.signal.rule, decided.started.signal.observed, (decided.at_ns - NOON) / S)
        for decided in run.decided.values()
    ]


def test_a_clean_breach_fires_on_its_quote_and_is_filled_at_the_bid_at_once():
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1), (501, 90_00, 2), (501, 50_00, 3))
    assert decisions(run) == [(Rule.STOP_LOSS, -1_500_00, 2.0)]
    found = outcome(run)
    [seen] = found.exits
    [fill] = seen.fills
    assert (fill.side, fill.units, fill.price, fill.note, fill.waited_s) == ("SELL", 150, 89_95, "", 0.0)
    assert seen.finished_utc_ns == seen.decided_utc_ns == NOON + 2 * S
    assert (found.result, found.realised, found.is_open) == (150 * -10_05, 150 * -10_05, False)
    assert (found.curve.at_exit, found.curve.high) == (-1_500_00, 0)


def test_a_spread_settles_on_its_deadline_and_not_on_the_next_beat():
    spread = position(7, (501, -75, 100_00), (502, 75, 50_00))
    run = begun((spread, stop_at(500_00)))
    prices(run, (501, 100_00, 1), (502, 50_00, 1), (501, 108_00, 2.03))
    assert decisions(run) == []
    assert outcome(run).exits[0].decided_utc_ns == NOON + 2_130 * MS
    sides = [(fill.side, fill.price) for fill in outcome(run).exits[0].fills]
    assert sides == [("BUY", 108_05), ("SELL", 49_95)], "the short first"


def test_a_suspect_breach_is_decided_when_its_second_is_over():
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1))
    wide = quote(501, 90_00, NOON + 2 * S, bid=70_00, ask=120_00)
    run.quotes([wide])
    run.quotes([quote(501, 90_00, NOON + 4 * S, bid=70_00, ask=120_00)])
    assert decisions(run) == [(Rule.STOP_LOSS, -1_500_00, 3.0)]


def test_the_clock_is_told_on_the_dot_while_nothing_comes():
    levels = ExitLevels(square_off=ClockLevel(time(12, 7, 30), SOURCE))
    run = begun((LONG, levels))
    prices(run, (501, 100_00, 1), (501, 101_00, 3_600))
    assert decisions(run) == [(Rule.SQUARE_OFF, None, 450.0)]


def test_each_of_a_book_of_hundreds_is_asked_within_a_second():
    levels = {
        number: ExitLevels(square_off=ClockLevel(time(12, 0, 10), SOURCE)) for number in (0, 255, 256, 511, 512, 699)
    }
    run = begun(*((position(n + 1, (1_000 + n, 75, 100_00)), levels.get(n, ExitLevels())) for n in range(700)))
    run.quotes([quote(1_000 + number, 100_00, NOON + S + number) for number in range(700)])
    run.quotes([quote(1_000, 100_00, NOON + 9 * S + part * 200 * MS) for part in range(12)])
    run.pass_time(NOON + 12 * S)
    assert {decided.started.position.strategy_id - 1 for decided in run.decided.values()} == levels.keys()
    assert all(10 <= at_s <= 11 for _, _, at_s in decisions(run))


def test_a_position_that_breaches_from_the_start_is_decided_at_the_start():
    run = begun((LONG, ExitLevels(dte=DaysLevel(60, SOURCE))))
    assert decisions(run) == [(Rule.DTE_EXIT, 39, 0.0)]
    prices(run, (501, 97_00, 5))
    [seen] = outcome(run).exits
    assert seen.fills[0].price == 96_95
    assert seen.fills[0].waited_s == 5.0


def test_a_share_goes_first_and_the_rest_is_guarded_with_what_was_realised():
    levels = stop_at(900_00, target=AmountLevel(1_500_00, SOURCE), target_action=Action.CLOSE_50)
    run = begun((LONG, levels))
    prices(run, (501, 100_00, 1), (501, 110_00, 2), (501, 120_00, 3), (501, 70_00, 4), (501, 78_00, 5), (501, 77_00, 6))
    # Half is sold at 109.95: 75 × 9.95 = 746.25 in hand. The stop of the whole is at 746.25 + 75 × (P − 100) ≤ −900.
    found = outcome(run)
    assert decisions(run) == [
        (Rule.PROFIT_TARGET, 1_500_00, 2.0),
        (Rule.STOP_LOSS, 746_25 + 75 * -30_00, 4.0),
    ]
    assert [fill.units for seen in found.exits for fill in seen.fills] == [75, 75]
    assert found.realised == found.result == 746_25 + 75 * (69_95 - 100_00)


def test_a_share_that_is_sold_and_a_rest_that_is_open_make_the_result_together():
    levels = stop_at(9_000_00, target=AmountLevel(1_500_00, SOURCE), target_action=Action.CLOSE_50)
    run = begun((LONG, levels))
    prices(run, (501, 100_00, 1), (501, 110_00, 2), (501, 104_00, 3))
    found = outcome(run)
    assert (found.is_open, found.realised, found.result) == (True, 75 * 9_95, 75 * 9_95 + 75 * 4_00)


def test_a_share_that_is_gone_is_not_held_again_when_the_rows_are_told_again():
    levels = stop_at(9_000_00, target=AmountLevel(1_500_00, SOURCE), target_action=Action.CLOSE_50)
    run = begun((LONG, levels))
    prices(run, (501, 100_00, 1), (501, 110_00, 2))
    run.fact(NOON + 3 * S, ev.PositionOpened(LONG, stop_at(800_00), NOON + 3 * S))
    prices(run, (501, 109_00, 4), (501, 60_00, 5), (501, 59_00, 6))
    found = outcome(run)
    assert [fill.units for seen in found.exits for fill in seen.fills] == [75, 75]
    assert not found.is_open


def test_without_the_other_side_the_exit_waits_for_it_and_says_so():
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1))
    run.quotes(
        [
            quote(501, 85_00, NOON + 2 * S, bid=None, bid_size=0),
            quote(501, 84_00, NOON + 3_200 * MS, bid=None, bid_size=0),
            quote(501, 83_00, NOON + 9 * S),
        ]
    )
    [seen] = outcome(run).exits
    [fill] = seen.fills
    assert fill.price == 82_95
    assert fill.waited_s == pytest.approx((NOON + 9 * S - seen.decided_utc_ns) / S)
    assert fill.waited_s > 5


def test_without_any_book_the_last_price_is_taken_and_the_fill_says_so():
    run = begun((LONG, stop_at(1_500_00)))
    bare = {"bid": None, "ask": None, "bid_size": 0, "ask_size": 0}
    run.quotes(
        [quote(501, last, NOON + at * S, **bare) for at, last in ((1, 100_00), (2, 80_00), (3, 79_00), (4, 79_50))]
    )
    [seen] = outcome(run).exits
    assert seen.fills[0].price in {79_00, 80_00, 79_50}
    assert "no bid in the book" in seen.fills[0].note


def test_what_never_finds_another_side_is_not_finished_and_stays_open():
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1))
    run.quotes([quote(501, 80_00 - at, NOON + at * S, bid=None, bid_size=0) for at in range(2, 6)])
    found = outcome(run)
    [seen] = found.exits
    assert (seen.finished_utc_ns, seen.realised, seen.fills) == (None, None, ())
    assert found.is_open
    assert found.result == 150 * (80_00 - 5 - 100_00)
    assert any("nobody to trade" in alert.subject for alert in run.alerts)


def test_silent_instruments_fire_nothing_and_are_named_until_they_are_back():
    run = begun((LONG, stop_at(1_500_00)), silence=lambda cache: InstrumentSilence(cache, 180 * S))
    prices(run, (501, 100_00, 1), (501, 99_00, 60), (501, 98_00, 1_000), (501, 97_00, 1_060))
    found = outcome(run, 1_100)
    [gap] = found.unprotected
    assert (gap.from_utc_ns - NOON) / S == pytest.approx(240, abs=1.1)
    assert (gap.to_utc_ns - NOON) / S == pytest.approx(1_000, abs=1.1)
    assert (gap.reason, gap.legs) == ("no fresh price", ("OPT-501",))


def test_a_position_without_a_price_is_not_protected_from_its_first_moment():
    run = begun((position(7, (501, 75, 100_00), (502, 75, 100_00)), stop_at(100_00)))
    prices(run, (501, 100_00, 1), (502, 100_00, 30), (502, 100_00, 40))
    [gap] = outcome(run).unprotected
    assert (gap.from_utc_ns, gap.reason, gap.legs) == (NOON, "no price", ("OPT-501", "OPT-502"))
    assert (gap.to_utc_ns - NOON) / S == pytest.approx(30, abs=1.1)


def test_prices_of_before_the_opening_fire_nothing():
    opening = utc_ns("09:15:00")
    run = new_run(RunPlan(load_calendar(), curve_s=60.0))
    at = opening - 30 * S
    run.begin(at, at)
    run.fact(at, ev.FeedStateChanged(is_live=True, at_ns=at))
    run.fact(at, ev.PositionOpened(LONG, stop_at(1_500_00), at))
    run.quotes([quote(501, 50_00, opening - 20 * S), quote(501, 50_00, opening - 10 * S)])
    run.pass_time(opening + 5 * S)
    assert decisions(run) == []
    run.quotes([quote(501, 50_00, opening + 6 * S)])
    assert [rule for rule, _, _ in decisions(run)] == [Rule.STOP_LOSS]
    run.end(opening + 7 * S)
    [gap] = run.ledger.found
    assert gap.from_utc_ns == opening


def test_the_closed_market_counts_nothing_as_unprotected_and_fires_nothing():
    closed = utc_ns("16:00:00")
    run = new_run(RunPlan(load_calendar(), curve_s=60.0))
    run.begin(closed, closed)
    run.fact(closed, ev.PositionOpened(LONG, stop_at(1), closed))
    run.quotes([quote(501, 50_00, closed + S)])
    run.end(closed + 100 * S)
    assert (decisions(run), run.ledger.found) == ([], [])


def test_the_curve_has_every_sample_and_its_extremes():
    run = begun((LONG, stop_at(90_000_00)))
    prices(run, *((501, 100_00 + at * 100, at + 0.5) for at in range(5)), (501, 99_00, 6.5))
    curve = outcome(run, 8).curve
    assert (curve.low, curve.high, curve.last, curve.at_exit) == (-150_00, 600_00, -150_00, None)
    assert [pnl for _, pnl in curve.points][:4] == [None, 0, 150_00, 300_00]
    assert [(at - NOON) / S for at, _ in curve.points][:3] == [0.0, 1.0, 2.0]


def test_only_the_wanted_strategies_are_played():
    run = begun((LONG, stop_at(1)), (replace(LONG, strategy_id=8), stop_at(1)), only=frozenset({8}))
    prices(run, (501, 90_00, 1), (501, 90_00, 2))
    assert [each.started.position.strategy_id for each in run.decided.values()] == [8]


def test_a_position_that_leaves_the_rows_counts_as_it_stood():
    run = begun((LONG, stop_at(90_000_00)))
    prices(run, (501, 104_00, 1))
    run.fact(NOON + 2 * S, ev.PositionGone(7, NOON + 2 * S))
    prices(run, (501, 50_00, 3))
    found = outcome(run)
    assert (found.is_open, found.result, found.exits) == (False, 600_00, ())


def test_an_operators_exit_is_replayed_too():
    run = begun((LONG, stop_at(90_000_00)))
    prices(run, (501, 104_00, 1))
    run.fact(NOON + 2 * S, ev.OperatorExitRequested(7, NOON + 2 * S))
    assert decisions(run) == [(Rule.OPERATOR, None, 2.0)]
    assert outcome(run).result == 150 * 3_95


def test_prices_over_rest_and_held_back_packets_count_as_they_did():
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1))
    at = NOON + 2 * S
    run.fact(at, rec.FeedHeldBack(key(501), 5_000, NOON + 10 * S))
    run.fact(at, rec.QuoteTaken(quote(501, 95_00, at, source=QuoteSource.REST, exchange_time=5_000)))
    run.quotes(
        [quote(501, 80_00, NOON + 3 * S, exchange_time=4_999), quote(501, 96_00, NOON + 4 * S, exchange_time=5_001)]
    )
    assert run.engine.cache.get(7).pnl == 150 * -4_00
    run.fact(NOON + 5 * S, rec.FeedHeldBack(key(501), 0, 0))
    run.quotes([quote(501, 97_00, NOON + 6 * S, exchange_time=5_001)])
    assert run.engine.cache.get(7).pnl == 150 * -3_00
    assert decisions(run) == []


def test_what_other_levels_would_have_made_is_told_position_by_position():
    rows = [(501, 100_00, 1), (501, 110_00, 2), (501, 120_00, 3), (501, 112_00, 4), (501, 104_00, 5)]

    def played(levels_of=None):
        run = begun((LONG, stop_at(3_000_00)), levels_of=levels_of)
        prices(run, *rows)
        run.end(NOON + 10 * S)
        return outcome_of(run, Played(), 0.0)

    trail = ExitLevels(trailing=TrailingLevel(0, 1_000_00, SOURCE))
    [found] = differences(played(), played(lambda _, __: trail))
    # Peak 120 → +3,000; the trail of 1,000 fires at ≤ +2,000: at 112, sold at the bid, 111.95.
    assert (found.base, found.base_exit) == (150 * 4_00, None)
    assert found.other == 150 * 11_95
    assert found.other_exit.signal.rule is Rule.TRAILING_STOP
    assert found.change == 150 * 7_95


# Recordings of ours


BASE = 10**15
OFFSET = NOON - BASE


def message(rupees, after_s, security_id=501):
    return full_packet(security_id, rupees, NOON // S + int(after_s))


def ticks(*rows, line=1):
    """`rows`: rupees, seconds."""
    return [frame(BASE + round(after_s * S), message(rupees, after_s), line) for rupees, after_s in rows]


OPENED = [
    fact(BASE, rec.LineWants(1, (key(501),))),
    fact(BASE, ev.FeedStateChanged(is_live=True, at_ns=BASE)),
    fact(BASE, ev.PositionOpened(LONG, stop_at(1_500_00), BASE)),
]


def play(*paths, book=None, **changes):
    parts = open_parts(paths)
    changes.setdefault("is_told", parts[0].header.source == "monitor")
    run = new_run(**changes)
    played = RecordingPlayer(parts, run, book).play()
    return run, outcome_of(run, played, 1.0)


def rules_of(found):
    return [(seen.signal.rule, (seen.decided_utc_ns - NOON) / S) for seen in found.exits]


def test_a_recording_is_played_with_the_book_that_is_in_it(tmp_path):
    path = write_part(
        tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1), (95.0, 2), (90.0, 3), (80.0, 4))], offset_ns=OFFSET
    )
    _, found = play(path)
    assert rules_of(found) == [(Rule.STOP_LOSS, 3.0)]
    assert (found.ticks, found.notes, found.from_utc_ns, found.to_utc_ns) == (4, (), NOON, NOON + 4 * S)
    assert found.total == 150 * -10_05


def test_a_position_that_is_opened_in_the_middle_of_the_day_gets_its_prices_from_then_on(tmp_path):
    at = BASE + 2 * S
    later = [
        fact(at, rec.LineWants(1, (key(502),))),
        fact(at, ev.PositionOpened(position(8, (502, 75, 50_00)), stop_at(500_00), at)),
    ]
    new = [
        frame(BASE + second * S, message(rupees, second, 502)) for second, rupees in ((1, 50.0), (3, 50.0), (4, 40.0))
    ]
    records = [*OPENED, *ticks((100.0, 1)), new[0], *later, *new[1:]]
    _, found = play(write_part(tmp_path / "a", header(), records, offset_ns=OFFSET))
    assert [(seen.strategy_id, (seen.decided_utc_ns - NOON) / S) for seen in found.exits] == [(8, 4.0)]
    without_line = [*OPENED, *ticks((100.0, 1)), new[0], later[1], *new[1:]]
    _, found = play(write_part(tmp_path / "b", header(), without_line, offset_ns=OFFSET))
    assert [seen.strategy_id for seen in found.exits] == [8]


def test_parts_are_one_day_and_a_later_part_alone_begins_with_what_held(tmp_path):
    state = [replace_kind(each) for each in OPENED]
    first = write_part(tmp_path / "a", header(1), [*OPENED, *ticks((100.0, 1))], offset_ns=OFFSET)
    late = [*ticks((70.0, 1.5)), *state, *ticks((96.0, 2), (89.0, 3))]
    second = write_part(tmp_path / "b", header(2), late, offset_ns=OFFSET)
    both, alone = play(first, second)[1], play(second)[1]
    assert rules_of(both) == [(Rule.STOP_LOSS, 1.5)]
    assert rules_of(alone) == [(Rule.STOP_LOSS, 3.0)]
    assert both.notes == ()
    assert "begins with part 2" in alone.notes[0]


def replace_kind(record):
    return record._replace(kind=Kind.STATE)


def test_what_is_missing_in_a_recording_is_said(tmp_path):
    gap = fact(BASE + 2 * S, rec.Gap(40, 1, BASE + S, BASE + 2 * S))
    first = write_part(tmp_path / "a", header(1), [*OPENED, *ticks((100.0, 1)), gap], offset_ns=OFFSET, is_ended=False)
    third = write_part(tmp_path / "c", header(3), ticks((99.0, 9)), offset_ns=OFFSET)
    _, found = play(first, third)
    notes = " | ".join(found.notes)
    assert "12:00:01 to 12:00:02: 40 frames and 1 facts are missing" in notes
    assert "a: it was cut off" in notes
    assert "between part 1 and part 3" in notes


def test_an_instrument_is_taken_from_the_connection_that_carries_it(tmp_path):
    canary = ticks((50.0, 2), line=2)
    path = write_part(
        tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1)), *canary, *ticks((99.0, 3))], offset_ns=OFFSET
    )
    _, found = play(path)
    assert (rules_of(found), found.ticks) == ([], 2)
    moved = [
        fact(BASE + 2 * S - 1, rec.LineWants(1, (), (key(501),))),
        fact(BASE + 2 * S - 1, rec.LineWants(2, (key(501),))),
    ]
    path = write_part(tmp_path / "b", header(), [*OPENED, *ticks((100.0, 1)), *moved, *canary], offset_ns=OFFSET)
    assert rules_of(play(path)[1]) == [(Rule.STOP_LOSS, 2.0)]


def test_a_silent_connection_makes_its_prices_stale_and_a_quiet_instrument_does_not(tmp_path):
    index = [frame(BASE + at * S, full_packet(13, 24_000.0, 0), line=1) for at in range(2, 40)]
    speaking = [*OPENED, *ticks((100.0, 1)), *index, *ticks((99.0, 40))]
    silent = [*OPENED, *ticks((100.0, 1)), *ticks((99.0, 40), (99.0, 45))]
    by_line = {"silence": lambda cache: LineSilence(cache, 5 * S)}
    _, found = play(write_part(tmp_path / "a", header(), speaking, offset_ns=OFFSET), **by_line)
    assert found.positions[0].unprotected == ()
    _, found = play(write_part(tmp_path / "b", header(), silent, offset_ns=OFFSET), **by_line)
    [gap] = found.positions[0].unprotected
    assert (gap.from_utc_ns - NOON) / S == pytest.approx(6, abs=1.1)
    assert (gap.to_utc_ns - NOON) / S == pytest.approx(40, abs=1.1)


def told(after_s, *, is_open=True):
    at = BASE + round(after_s * S)
    return Record(Kind.TIME, 0, at, pack_time(ev.TimePassed(at, at + OFFSET, is_open, True)))


def test_the_time_is_told_as_the_monitor_told_it_and_a_standstill_counts(tmp_path):
    beats = [told(at / 4) for at in range(1, 8)]
    # Nothing was told for three seconds: what is read then may have waited, and is suspect for two more.
    late = ticks((80.0, 4.8))
    records = [*OPENED, told(0.1), *ticks((100.0, 0.2)), *beats, *late, told(4.9), told(5.1), told(5.4), told(5.9)]
    path = write_part(tmp_path / "a", header(source="monitor"), records, offset_ns=OFFSET)
    _, found = play(path)
    assert rules_of(found) == [(Rule.STOP_LOSS, 5.9)], (
        "confirmed by time, when it was told, and not at 5.8 when it was due"
    )
    _, found = play(path, is_told=False)
    assert rules_of(found) == [(Rule.STOP_LOSS, 4.8)], "with the time of a replay there was no standstill"


def test_other_levels_get_their_own_deadlines_between_the_times_that_were_told(tmp_path):
    spread = position(7, (501, -75, 100_00), (502, 75, 50_00))
    opened = [*OPENED[:2], fact(BASE, ev.PositionOpened(spread, stop_at(90_000_00), BASE))]
    frames = [
        frame(BASE + at * S // 4, full_packet(number, rupees, 0))
        for at, number, rupees in ((2, 501, 100.0), (3, 502, 50.0), (5, 501, 108.0))
    ]
    wants = [fact(BASE, rec.LineWants(1, (key(502),)))]
    records = [*opened, *wants, told(0.1), *frames[:2], told(1.0), *frames[2:], told(1.6), told(2.0)]
    path = write_part(tmp_path / "a", header(source="monitor"), records, offset_ns=OFFSET)
    _, found = play(path, levels_of=lambda _, __: stop_at(500_00))
    assert rules_of(found) == [(Rule.STOP_LOSS, 1.35)]


def live_exit(at_ns):
    """What a monitor records of its own exit of LONG at that time."""
    run = begun((LONG, stop_at(1_500_00)))
    prices(run, (501, 100_00, 1), (501, 90_00, 2))
    [decided] = run.decided.values()
    signal = replace(decided.started.signal, decided_ns=at_ns)
    return ExitStarted(decided.started.exit_id, 1, signal, LONG), ExitFinished(decided.started.exit_id, decided.record)


def test_recorded_decisions_are_held_against_those_of_the_replay(tmp_path):
    started, finished = live_exit(BASE + 3 * S)
    own = [fact(BASE + 3 * S, started), fact(BASE + 3 * S, finished)]
    path = write_part(tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1), (90.0, 3)), *own], offset_ns=OFFSET)
    _, found = play(path)
    [decision] = found.recorded
    assert (decision.rule, decision.observed, decision.at_utc_ns) == ("stop_loss", -1_500_00, NOON + 3 * S)
    assert twin_of(decision, found.exits) is found.exits[0]
    assert twin_of(replace(decision, observed=1), found.exits) is None
    assert twin_of(replace(decision, at_utc_ns=NOON), found.exits) is None


def test_a_row_that_the_monitor_closed_stays_open_under_levels_that_had_not_fired(tmp_path):
    started, finished = live_exit(BASE + 3 * S)
    gone = fact(BASE + 4 * S, ev.PositionGone(7, BASE + 4 * S))
    records = [*OPENED, *ticks((100.0, 1), (90.0, 3)), fact(BASE + 3 * S, started), fact(BASE + 3 * S, finished), gone]
    path = write_part(tmp_path / "a", header(), [*records, *ticks((120.0, 6))], offset_ns=OFFSET)
    _, found = play(path, levels_of=lambda _, __: stop_at(90_000_00))
    assert found.positions[0].is_open
    assert found.total == 150 * 20_00


def test_a_decision_of_alert_mode_is_its_record(tmp_path):
    _, finished = live_exit(BASE)
    path = write_part(
        tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1)), fact(BASE + S, finished)], offset_ns=OFFSET
    )
    assert [each.rule for each in play(path)[1].recorded] == ["stop_loss"]


def test_what_was_closed_before_the_recording_is_not_held(tmp_path):
    started, finished = live_exit(BASE)
    before = fact(BASE, rec.ClosedBefore(started, finished))
    path = write_part(tmp_path / "a", header(), [before, *OPENED, *ticks((50.0, 1), (50.0, 2))], offset_ns=OFFSET)
    run, found = play(path)
    assert (rules_of(found), run.engine.guards) == ([], {})


def test_after_the_monitor_stopped_nothing_fires_until_the_next_run_of_it(tmp_path):
    stopped = fact(BASE + 2 * S, ev.StopRequested(BASE + 2 * S))
    first = write_part(
        tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1)), stopped, *ticks((80.0, 3))], offset_ns=OFFSET
    )
    again = [fact(BASE + 60 * S, ev.PositionOpened(LONG, stop_at(1_500_00), BASE + 60 * S))]
    second = write_part(tmp_path / "b", header(1, "bbbb"), [*again, *ticks((101.0, 61), (85.0, 62))], offset_ns=OFFSET)
    assert rules_of(play(first)[1]) == []
    assert rules_of(play(first, second)[1]) == [(Rule.STOP_LOSS, 62.0)]


def test_a_book_of_ones_own_takes_the_place_of_the_recorded_one(tmp_path):
    path = write_part(tmp_path / "a", header(), [*OPENED, *ticks((100.0, 1), (90.0, 2))], offset_ns=OFFSET)
    other = (replace(LONG, strategy_id=9), stop_at(90_000_00))
    _, found = play(path, book=[other])
    assert [(each.strategy_id, each.result) for each in found.positions] == [(9, 150 * -10_00)]


def test_a_recording_in_which_nothing_is_held_has_no_position(tmp_path):
    _, found = play(write_part(tmp_path / "a", header(), ticks((100.0, 1)), offset_ns=OFFSET))
    assert (found.positions, found.total) == ((), 0)


def test_the_desk_of_a_replay_has_no_pace():
    assert (desk().orders_per_second, desk().position_read_interval_ms) == (1_000_000, 0)
    assert desk().intraday_last_send == DeskSettings().intraday_last_send
