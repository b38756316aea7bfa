"""Levels of the underlying against a slow judge of whole histories, written from the readings alone.

The oracle knows paise and milliseconds, and imports nothing of the monitor. It is asked anew for every history:
- A quote is clean when the one before it came less than a second earlier and is less than one per cent away; a repeat is what it
  repeats. It is believed when it is clean, or when its print has stood for a second.
- A tick level fires when the newest mark is at or beyond it and is clean, or another print has come since the breach began, or the
  breach has stood for a second. It is forgotten while the session is not known to be open, or while the price is doubted.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from core.model.exit_levels import Action
from tests.unit.exits.judge_rig import INDEX, JudgeRig, above, below, call, utc_ns

SECOND = 1_000
MINUTE = 60 * SECOND


class Print(NamedTuple):
    at_ms: int
    price: int
    traded: int | None = None


class Doubt(NamedTuple):
    at_ms: int


class Session(NamedTuple):
    at_ms: int
    is_open: bool | None


# The oracle


def is_reached(price, level, is_above):
    return price >= level if is_above else price <= level


def is_clean(prints, index):
    """Of the print at this place; a repeat is judged as the first of its run."""
    while index and prints[index][1:] == prints[index - 1][1:]:
        index -= 1
    if not index:
        return False
    now, before = prints[index], prints[index - 1]
    return now.at_ms - before.at_ms < SECOND and abs(now.price - before.price) * 100 < before.price


def standing_since(prints, index):
    while index and prints[index][1:] == prints[index - 1][1:]:
        index -= 1
    return prints[index].at_ms


class TickJudge:
    """One level. `take` every event, `look` after it and at `due_ms`."""

    def __init__(self, level, is_above):
        self.level, self.is_above = level, is_above
        self.prints, self.session, self.doubted_ms = [], True, -1
        self.breach = None  # when it began, and the print that began it

    @property
    def due_ms(self):
        return None if self.breach is None else self.breach[0] + SECOND

    def take(self, event):
        if isinstance(event, Print):
            self.prints.append(event)
        elif isinstance(event, Doubt):
            self.doubted_ms = event.at_ms
        else:
            self.session = event.is_open

    def look(self, now_ms):
        """The price at which it fires now."""
        newest = self.prints[-1] if self.prints else None
        usable = newest is not None and self.session is True and newest.at_ms > self.doubted_ms
        if not usable or not is_reached(newest.price, self.level, self.is_above):
            self.breach = None
            return None
        if self.breach is None:
            self.breach = now_ms, newest[1:]
        since_ms, first = self.breach
        is_repeated = any(one[1:] != first for one in self.prints if one.at_ms >= since_ms)
        is_believed = is_clean(self.prints, len(self.prints) - 1) or is_repeated or now_ms - since_ms >= SECOND
        return newest.price if is_believed else None


def tick_exit(history, level, is_above):
    """(milliseconds, price) at which the level fires; None when it does not."""
    judge = TickJudge(level, is_above)
    for event in history:
        due_ms = judge.due_ms
        if due_ms is not None and due_ms <= event.at_ms and judge.look(due_ms) is not None:
            return due_ms, judge.prints[-1].price
        judge.take(event)
        # A doubt is looked at when the clock is told, or the next quote comes.
        price = None if isinstance(event, Doubt) else judge.look(event.at_ms)
        if price is not None:
            return event.at_ms, price
    return None


def close_of(prints, start_ms, end_ms):
    """The price of the last quote of the candle that is believed as of its end; None when there is none."""
    known = [one for one in prints if one.at_ms < end_ms]
    until = end_ms
    for index in reversed(range(len(known))):
        if is_clean(known, index) or until - standing_since(known, index) >= SECOND:
            return known[index].price if known[index].at_ms >= start_ms else None
        if index and known[index][1:] != known[index - 1][1:]:
            until = known[index].at_ms
    return None


# Histories

GAPS = st.sampled_from([1, 50, 200, 400, 700, 999, 1_000, 1_001, 1_600, 4_000])
MOVES = st.one_of(
    st.integers(-3_000, 3_000), st.sampled_from([0, 0, 24_000, -24_000, 24_500, -24_500, 300_000, -300_000])
)


@st.composite
def histories(draw, *, has_troubles=True):
    """Prints around 24,000.00, near steps mostly, now and then a freak one that may or may not return."""
    now, price, traded = 250, 2_400_000, 100
    events = [Print(now, price, traded)]
    for _ in range(draw(st.integers(1, 14))):
        now += draw(GAPS)
        what = draw(st.integers(0, 11 if has_troubles else 8))
        if what <= 6:
            price = max(price + draw(MOVES), 2_000_000)
            traded += draw(st.integers(0, 1))
            events.append(Print(now, price, traded))
        elif what <= 8:
            events.append(Print(now, price, traded))
        elif what == 9:
            events.append(Doubt(now))
        else:
            events.append(Session(now, draw(st.sampled_from([True, True, False, None]))))
    return events


LEVELS = st.one_of(
    st.integers(2_370_000, 2_430_000), st.sampled_from([2_400_000, 2_376_000, 2_424_000, 2_397_000, 2_403_000])
)


def played(history, *levels, at="10:00:00", end_ms=0):
    rig = JudgeRig(at=at)
    rig.open(call(1), underlying=levels)
    start = rig.now
    for event in history:
        rig.wait((event.at_ms * 1_000_000 - (rig.now - start)) / 1e9)
        match event:
            case Print(_, price, traded):
                rig.index(price / 100, traded=traded)
            case Doubt():
                rig.doubt(INDEX)
            case Session(_, is_open):
                rig.session_open = is_open
                rig.clock()
    rig.wait((end_ms * 1_000_000 - (rig.now - start)) / 1e9)
    return [((signal.decided_ns - start) // 1_000_000, signal.observed, signal.threshold) for signal in rig.signals]


@given(history=histories(), level=LEVELS, is_above=st.booleans())
def test_tick_levels_fire_when_the_slow_judge_says(history, level, is_above):
    end_ms = history[-1].at_ms + 2 * SECOND
    made = (above if is_above else below)(level / 100)
    expected = tick_exit(with_beats(history, end_ms), level, is_above)
    fired = played(history, made, end_ms=end_ms)
    assert [found[:2] for found in fired] == ([] if expected is None else [expected])


def with_beats(history, end_ms):
    """The clock is told four times a second and before every event, with what is known of the session."""
    times = {*range(0, end_ms, 250), end_ms, *(event.at_ms for event in history)}
    merged, is_open, left = [], True, list(history)
    for at_ms in sorted(times):
        merged.append(Session(at_ms, is_open))
        while left and left[0].at_ms == at_ms:
            event = left.pop(0)
            is_open = event.is_open if isinstance(event, Session) else is_open
            merged.append(event)
    return merged


@given(history=histories(), one=LEVELS, other=LEVELS, is_above=st.booleans())
def test_a_nearer_level_never_fires_later(history, one, other, is_above):
    near, far = sorted((one, other), reverse=not is_above)
    end_ms = history[-1].at_ms + 2 * SECOND
    make = above if is_above else below
    of_near, of_far = (played(history, make(level / 100), end_ms=end_ms) for level in (near, far))
    if of_far:
        assert of_near
        assert of_near[0][0] <= of_far[0][0]


@given(history=histories(has_troubles=False), levels=st.lists(LEVELS, min_size=1, max_size=3, unique=True))
def test_many_levels_of_one_sight_fire_as_each_would_alone(history, levels):
    end_ms = history[-1].at_ms + 2 * SECOND
    warnings = [below(level / 100, Action.ADJUST) for level in levels]
    together = played(history, *warnings, end_ms=end_ms)
    alone = [found for warning in warnings for found in played(history, warning, end_ms=end_ms)]
    assert sorted(together) == sorted(alone)


@given(
    history=histories(has_troubles=False),
    level=LEVELS,
    is_above=st.booleans(),
    minutes=st.sampled_from([1, 2, 5]),
    early_ms=st.integers(0, 20_000),
)
def test_candle_levels_fire_by_the_close_of_the_slow_judge(history, level, is_above, minutes, early_ms):
    """The history begins up to 20 s before 10:05, where candles of every length here but the two-minute ones end."""
    at_ms = 50 * MINUTE - early_ms // 250 * 250
    end_ms = at_ms + history[-1].at_ms + 90 * SECOND
    seconds, rest = divmod(at_ms, SECOND)
    at = f"{9 + (15 * 60 + seconds) // 3_600:02}:{(15 * 60 + seconds) % 3_600 // 60:02}:{seconds % 60:02}.{rest:03}"
    assert utc_ns(at) == utc_ns("09:15:00") + at_ms * 1_000_000
    make = above if is_above else below
    fired = played(history, make(level / 100, minutes=minutes), at=at, end_ms=end_ms - at_ms)
    prints = [one._replace(at_ms=one.at_ms + at_ms) for one in history]
    length = minutes * MINUTE
    expected = []
    for end in range(length, end_ms + 1, length):
        close = close_of(prints, end - length, end) if end > at_ms else None
        if close is not None and is_reached(close, level, is_above):
            expected = [(end - at_ms, close, level)]
            break
    assert fired == expected
