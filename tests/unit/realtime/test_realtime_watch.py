"""One session's life: its table, its deadlines, its proof. On numbers, without a socket."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.realtime_changes import BeatEcho, LeaseKey
from core.realtime_watch import (
    DELIVERING,
    NO_CANARY,
    TRANSITIONS,
    Beat,
    Confirmed,
    Doubted,
    SessionState,
    SessionWatch,
    Trigger,
    WatchLimits,
)

S = 1_000_000_000
ME = LeaseKey("exit-monitor", "me")
LIMITS = WatchLimits(connect_s=5, join_s=4, settle_s=8, echo_s=2, unheard_s=6)
FACTS = {
    Trigger.OPENED: lambda watch: watch.opened(9 * S),
    Trigger.SUBSCRIBED: lambda watch: watch.subscribed(9 * S),
    Trigger.CONFIRMED: lambda watch: watch.confirmed(9 * S),
    Trigger.ECHOED: lambda watch: watch.echoed(BeatEcho(ME, 1_000), 9 * S),
    Trigger.ENDED: lambda watch: watch.ended("told so", 9 * S),
}


def in_state(state, canary=ME):
    watch = SessionWatch(0, LIMITS, canary)
    steps = [
        lambda: watch.opened(1 * S),
        lambda: watch.subscribed(2 * S),
        lambda: watch.confirmed(3 * S),
    ]
    reached = [SessionState.CONNECTING, SessionState.JOINING, SessionState.JOINED, SessionState.LIVE]
    if state is SessionState.UNPROVEN:
        for step in steps:
            step()
        assert isinstance(watch.check(9 * S), Doubted)
    elif state is SessionState.DEAD:
        watch.ended("killed by the test", 1)
    else:
        for step in steps[: reached.index(state)]:
            step()
    assert watch.state is state
    return watch


def live(canary=ME):
    return in_state(SessionState.LIVE, canary)


def beat(number, sent_s, answered_s):
    return Beat(number, int(sent_s * S), int(answered_s * S))


@pytest.mark.parametrize(("state", "trigger"), [pair for pair in TRANSITIONS if pair[1] in FACTS])
def test_every_row_of_the_table_is_a_step(state, trigger):
    watch = in_state(state)
    FACTS[trigger](watch)
    assert watch.state is TRANSITIONS[state, trigger]


@pytest.mark.parametrize(
    ("state", "trigger"), [pair for pair in itertools.product(SessionState, FACTS) if pair not in TRANSITIONS]
)
def test_every_other_pair_is_the_end(state, trigger):
    watch = in_state(state)
    assert FACTS[trigger](watch) == Doubted(f"{trigger} while {state}")
    assert watch.is_dead


def test_the_usual_life():
    watch = SessionWatch(0, LIMITS, ME)
    assert watch.opened(1 * S) is None
    assert watch.subscribed(2 * S) is None
    assert watch.state is SessionState.JOINED
    assert watch.confirmed(3 * S) == Confirmed()
    assert watch.confirmed_ns == 3 * S
    watch.beat_answered(beat(1, 4, 4.5))
    assert watch.deadline_ns() == int(6.5 * S)
    assert watch.echoed(BeatEcho(ME, 1), 5 * S) is None
    assert watch.deadline_ns() == 11 * S
    assert watch.ended("reset", 6 * S) == Doubted("reset")
    assert (watch.is_dead, watch.reason, watch.deadline_ns()) == (True, "reset", None)
    assert watch.ended("again", 7 * S) is None
    assert watch.confirmed(8 * S) is None
    assert watch.reason == "reset"


@pytest.mark.parametrize(
    ("state", "due_s", "word"),
    [
        (SessionState.CONNECTING, 5, "connection"),
        (SessionState.JOINING, 1 + 4, "joined"),
        (SessionState.JOINED, 2 + 8, "confirmed"),
    ],
)
def test_a_session_that_does_not_get_on_is_dead_at_its_deadline(state, due_s, word):
    watch = in_state(state)
    assert watch.deadline_ns() == due_s * S
    assert watch.check(due_s * S - 1) is None
    assert watch.state is state
    news = watch.check(due_s * S)
    assert isinstance(news, Doubted)
    assert word in news.reason
    assert watch.is_dead
    assert watch.check(99 * S) is None


def test_each_further_confirmation_is_told():
    watch = live()
    assert watch.confirmed(4 * S) == Confirmed()
    assert watch.confirmed_ns == 4 * S


def test_a_beat_that_does_not_come_back_is_the_end():
    watch = live()
    watch.beat_answered(beat(1, 4, 4.5))
    assert watch.check(int(6.5 * S) - 1) is None
    assert watch.check(int(6.5 * S)) == Doubted("a written beat did not come back within 2 s")
    assert watch.is_dead


@pytest.mark.parametrize(
    ("echo", "is_heard"),
    [
        (BeatEcho(ME, 6), False),
        (BeatEcho(ME, 7), True),
        (BeatEcho(ME, 8), True),
        (BeatEcho(LeaseKey("exit-monitor", "other"), 7), False),
        (BeatEcho(LeaseKey("other", "me"), 7), False),
    ],
)
def test_only_our_own_echo_of_the_awaited_beat_or_a_later_one_counts(echo, is_heard):
    watch = live()
    watch.beat_answered(beat(7, 4, 4))
    watch.echoed(echo, 5 * S)
    watch.check(6 * S)
    assert watch.is_dead is not is_heard


def test_an_echo_that_overtakes_the_answer_is_remembered():
    watch = live()
    watch.echoed(BeatEcho(ME, 1), 4 * S)
    watch.beat_answered(beat(1, 3.9, 4.5))
    assert watch.check(9 * S) is None


def test_a_beat_missing_before_a_later_echo_shows_a_gap():
    watch = live()
    watch.beat_answered(beat(1, 4, 4))
    watch.beat_answered(beat(2, 5.5, 5.5))
    assert watch.echoed(BeatEcho(ME, 2), int(5.6 * S)) == Confirmed()
    assert watch.state is SessionState.LIVE
    # Delivered late after all, out of order: nothing is awaited any more.
    assert watch.echoed(BeatEcho(ME, 1), int(5.7 * S)) is None
    watch.beat_answered(beat(3, 7, 7))
    assert watch.echoed(BeatEcho(ME, 3), int(7.1 * S)) is None


def test_a_beat_that_failed_and_never_comes_back_shows_no_gap():
    watch = live()
    watch.echoed(BeatEcho(ME, 1), 4 * S)
    watch.beat_answered(beat(3, 7, 7))
    assert watch.echoed(BeatEcho(ME, 3), 8 * S) is None


def test_the_oldest_awaited_beat_is_due_first():
    watch = live()
    watch.beat_answered(beat(1, 3, 4))
    watch.beat_answered(beat(2, 5, 5.5))
    assert watch.deadline_ns() == 6 * S
    watch.echoed(BeatEcho(ME, 1), 5 * S)
    assert watch.deadline_ns() == int(7.5 * S)


@pytest.mark.parametrize("state", [state for state in SessionState if state not in DELIVERING])
def test_a_beat_is_not_awaited_by_a_session_that_does_not_deliver(state):
    watch = in_state(state)
    due = watch.deadline_ns()
    watch.beat_answered(beat(1, 8, 8))
    assert watch.deadline_ns() == due


def test_a_beat_that_was_under_way_at_the_confirmation_is_not_awaited():
    watch = live()
    watch.beat_answered(beat(1, 2.9, 3.5))
    watch.beat_answered(beat(2, 3.2, 3.5))
    watch.confirmed(4 * S)
    assert watch.check(8 * S) is None


def test_a_beat_sent_before_the_confirmation_and_answered_after_it_is_not_awaited():
    watch = live()
    watch.beat_answered(beat(1, 2.5, 3.5))
    assert watch.check(6 * S) is None
    watch.beat_answered(beat(2, 3, 3.5))
    assert watch.check(6 * S) is not None


def test_a_session_without_canary_is_never_live():
    watch = in_state(SessionState.JOINED, canary=None)
    assert watch.confirmed(3 * S) == Doubted(NO_CANARY)
    assert watch.state is SessionState.UNPROVEN
    assert watch.confirmed(4 * S) == Doubted(NO_CANARY)
    watch.beat_answered(beat(1, 5, 5))
    assert watch.echoed(BeatEcho(ME, 1), 5 * S) is None
    assert (watch.state, watch.deadline_ns()) == (SessionState.UNPROVEN, None)


def test_while_no_beat_can_be_written_the_session_is_unproven_but_kept():
    watch = live()
    watch.echoed(BeatEcho(ME, 1), 5 * S)
    assert watch.deadline_ns() == 11 * S
    assert watch.check(11 * S) == Doubted("no beat was written and seen for 6 s")
    assert (watch.state, watch.deadline_ns()) == (SessionState.UNPROVEN, None)
    watch.beat_answered(beat(2, 20, 20))
    watch.beat_answered(beat(3, 21, 21))
    assert watch.echoed(BeatEcho(ME, 2), 21 * S) is None
    assert watch.state is SessionState.UNPROVEN
    assert watch.echoed(BeatEcho(ME, 3), 22 * S) == Confirmed()
    assert watch.state is SessionState.LIVE


def test_an_unproven_session_dies_of_a_missing_echo_too():
    watch = in_state(SessionState.UNPROVEN)
    watch.beat_answered(beat(2, 20, 20))
    assert isinstance(watch.check(22 * S), Doubted)
    assert watch.is_dead


def test_confirmations_alone_do_not_replace_the_proof():
    watch = in_state(SessionState.UNPROVEN)
    assert watch.confirmed(10 * S) == Confirmed()
    assert isinstance(watch.check(10 * S), Doubted)
    assert watch.state is SessionState.UNPROVEN


def test_the_canary_may_change_under_way():
    watch = live()
    watch.beat_answered(beat(50, 4, 4))
    watch.echoed(BeatEcho(ME, 49), 4 * S)
    assert watch.change_canary(None, 5 * S) == Doubted(NO_CANARY)
    assert watch.change_canary(None, 5 * S) is None
    assert (watch.state, watch.check(99 * S)) == (SessionState.UNPROVEN, None)
    other = LeaseKey("exit-monitor", "second")
    assert watch.change_canary(other, 6 * S) is None
    watch.beat_answered(beat(1, 7, 7))
    assert watch.echoed(BeatEcho(other, 1), 8 * S) == Confirmed()
    assert in_state(SessionState.JOINED).change_canary(None, 3 * S) is None


@given(echo_s=st.integers(1, 5), every_s=st.integers(1, 5), heard=st.integers(0, 20))
def test_a_silent_session_is_dead_within_one_beat_and_the_echo_time(echo_s, every_s, heard):
    """`heard` beats come back; from then on the server is silent while beats are written."""
    watch = SessionWatch(0, WatchLimits(echo_s=echo_s, unheard_s=1_000), ME)
    watch.opened(0)
    watch.subscribed(0)
    watch.confirmed(0)
    now = 0
    for number in range(1, heard + 1):
        now = number * every_s * S
        watch.beat_answered(Beat(number, now, now))
        watch.echoed(BeatEcho(ME, number), now)
        assert watch.state is SessionState.LIVE
    silent_since = now
    for number in itertools.count(heard + 1):
        # The watch is asked at each beat and at each deadline, as the supervisor does.
        beat_at = number * every_s * S
        due = watch.deadline_ns()
        if due is not None and due <= beat_at:
            watch.check(due)
            now = due
            if watch.is_dead:
                break
        watch.beat_answered(Beat(number, beat_at, beat_at))
    assert now - silent_since <= (every_s + echo_s) * S


class AnyFacts(RuleBasedStateMachine):
    """An independent account of what may be believed, against the watch, for any order of facts."""

    def __init__(self):
        super().__init__()
        self.now = 0
        self.number = 0
        self.canary = ME
        self.watch = SessionWatch(0, LIMITS, ME)
        # Since the latest doubt or start: did the server confirm, or one of our newest beats come back?
        self.is_assured = False
        self.was_confirmed = False

    def hear(self, news, *, assures=False):
        if isinstance(news, Doubted):
            self.is_assured = False
        elif assures and not self.watch.is_dead:
            self.is_assured = True

    @rule()
    def opened(self):
        self.hear(self.watch.opened(self.now))

    @rule()
    def subscribed(self):
        self.hear(self.watch.subscribed(self.now))

    @rule()
    def confirmed(self):
        was_dead = self.watch.is_dead
        news = self.watch.confirmed(self.now)
        self.hear(news, assures=True)
        self.was_confirmed |= not self.watch.is_dead
        assert was_dead or news is not None, "a confirmation must be told"

    @rule(seconds=st.floats(0, 4))
    def time_passes(self, seconds):
        self.now += int(seconds * S)
        self.hear(self.watch.check(self.now))

    @rule(took_s=st.floats(0, 3))
    def beat(self, took_s):
        self.number += 1
        self.watch.beat_answered(Beat(self.number, self.now - int(took_s * S), self.now))

    @rule(back=st.integers(0, 3), key=st.sampled_from([ME, LeaseKey("exit-monitor", "other")]))
    def echo(self, back, key):
        news = self.watch.echoed(BeatEcho(key, self.number - back), self.now)
        self.hear(news, assures=news == Confirmed())
        if news == Confirmed():
            assert key == self.canary, "another monitor's beat proves nothing"
            assert self.was_confirmed

    @rule(on=st.booleans())
    def canary(self, on):
        self.canary = ME if on else None
        self.hear(self.watch.change_canary(self.canary, self.now))

    @rule()
    def ended(self):
        self.hear(self.watch.ended("told so", self.now))

    @precondition(lambda self: self.watch.is_dead)
    @rule()
    def new_session(self):
        self.watch = SessionWatch(self.now, LIMITS, self.canary)
        self.is_assured = self.was_confirmed = False

    @invariant()
    def live_is_confirmed_and_assured(self):
        if self.watch.state is SessionState.LIVE:
            assert self.was_confirmed
            assert self.is_assured
            assert self.canary is not None

    @invariant()
    def nothing_waits_for_ever(self):
        if self.watch.state not in (SessionState.DEAD, SessionState.UNPROVEN):
            assert self.watch.deadline_ns() is not None


TestAnyFacts = AnyFacts.TestCase
