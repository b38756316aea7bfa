"""Random lives of one instrument: packets, dying lines, every kind of REST answer. Judged by a diary that knows no rule.

The diary only remembers when something was shown to be true, and what is said of the price must follow from it.
"""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from core.exits.price_trust import PriceTrust, TrustLimits, TrustState
from core.model.market import QuoteSource
from tests.unit.exits.builders import MS, S, key, quote

A = key(1)
T = 1_795_000_000
BEAT = 100 * MS
LOOK = 350 * MS
"""A look every 0.25 s, and the beat."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.just("flow"), st.integers(1, 30)),
        st.tuples(st.just("packet"), st.sampled_from([100, 101, 99])),
        st.tuples(st.just("line"), st.booleans()),
        st.tuples(st.just("rest"), st.sampled_from(["same", "news", "older", "missing", "failure"])),
        st.tuples(st.just("answering"), st.booleans()),
    ),
    min_size=5,
    max_size=60,
)


class Diary:
    """The naive model: lists of what happened, asked anew every time."""

    def __init__(self, now):
        self.begin = now
        self.packets, self.answers, self.lines, self.news = [], [], [(now, True)], []

    def is_live(self):
        return self.lines[-1][1]

    def live_since(self):
        return self.lines[-1][0]

    def newest(self):
        return max([self.begin, *self.packets, *self.answers])

    def stretches(self, now):
        """(from, to) of each time in which the line was live."""
        ends = [at for at, _ in self.lines[1:]] + [now]
        return [(at, end) for (at, live), end in zip(self.lines, ends, strict=True) if live]

    def vouched(self, now):
        """The latest that a line with proof of its own could vouch for: any live stretch in which something was shown."""
        shown = (*self.packets, *self.answers)
        ends = [end for at, end in self.stretches(now) if any(at - LOOK <= each <= end for each in shown)]
        return max([self.begin, *ends])


class Life:
    def __init__(self):
        self.now = 1_000 * S
        self.live, self.feed, self.answering = True, None, False
        self.time = T
        self.diary = Diary(self.now)
        self.trust = PriceTrust(TrustLimits(), self)
        self.trust.market(True, self.now)
        self.trust.set_wanted((A,), self.now)
        self.doubted_at = None
        self.open_doubts = 0
        self.asked_at = []

    def feed_quote(self, _key):
        return self.feed

    def line_is_live(self, _key):
        return self.live

    def packet(self, last):
        if self.live:
            self.time += 1
            self.feed = quote(1, last, at=self.now, exchange_time=self.time)
            self.diary.packets.append(self.now)

    def line(self, live):
        if live is not self.live:
            self.live = live
            self.diary.lines.append((self.now, live))
            self.trust.lines_changed()
            self.beat()

    def rest(self, kind):
        if kind == "failure":
            self.trust.on_failure((A,), self.now)
            return
        shown = self.feed or quote(1, 100, at=0, exchange_time=self.time)
        last, time = {
            "same": (shown.last, shown.exchange_time),
            "news": (shown.last + 5, (shown.exchange_time or T) + 1),
            "older": (shown.last + 5, (shown.exchange_time or T) - 1),
            "missing": (0, 0),
        }[kind]
        quotes = ()
        if last:
            quotes = (quote(1, last / 100, at=self.now, exchange_time=time, source=QuoteSource.REST),)
        taken = self.trust.on_answer((A,), quotes, self.now, self.now).taken
        assert set(taken) <= set(quotes)
        if taken:
            self.diary.answers.append(self.now)
        if kind == "news":
            self.diary.news.append(self.now)

    def beat(self):
        found = self.trust.check(self.now)
        self.note(found)
        if self.answering and self.trust.next_batch(5):
            self.asked_at.append(self.now)
            self.rest("same")

    def note(self, found):
        diary, state = self.diary, self.trust.state_of(A)
        for doubt in found.doubted:
            assert doubt.key == A
            assert self.doubted_at is None, "once an episode"
            self.doubted_at = self.now
            assert self.now - diary.newest() > 5 * S, "there was a proof"
        if found.recovered:
            assert self.doubted_at is not None
            assert diary.newest() > self.doubted_at, "recovered without a proof"
            self.doubted_at = None
        assert (state is TrustState.STALE) is (self.doubted_at is not None)
        if found.muted:
            assert diary.news, "muted without news"
            assert self.live
        if state is not TrustState.STALE:
            base = max(diary.newest(), diary.vouched(self.now))
            assert self.now - diary.newest() <= 40 * S + LOOK or self.now - base <= 40 * S + LOOK, (
                "believed for too long"
            )
            if not self.live:
                assert self.now - base <= 5 * S + LOOK, "believed on a dead line"
        if state is TrustState.LIVE:
            assert self.live
            assert self.now - max(diary.packets) <= 2_500 * MS + LOOK

    def wait(self, beats):
        for _ in range(beats):
            self.now += BEAT
            self.beat()


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_what_is_believed_was_shown_and_what_was_shown_is_believed(steps):
    life = Life()
    life.beat()
    for what, how in steps:
        match what:
            case "wait":
                life.wait(how)
            case "flow":
                for _ in range(how):
                    life.packet(100)
                    life.wait(5)
            case "packet":
                life.packet(how)
            case "line":
                life.line(how)
            case "rest":
                life.rest(how)
            case _:
                life.answering = how


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_has_happened_it_comes_back(steps):
    """After any life: packets that flow on a live line make it live, ask nothing and leave no doubt."""
    life = Life()
    life.beat()
    for what, how in steps:
        if what == "wait":
            life.wait(how)
        elif what == "line":
            life.line(how)
        elif what == "rest":
            life.rest(how)
        elif what == "packet":
            life.packet(how)
    life.line(True)
    for _ in range(8):
        life.packet(100)
        life.wait(10)
    assert life.trust.state_of(A) is TrustState.LIVE
    assert not life.trust.has_due


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_a_rest_that_answers_leaves_nothing_in_doubt(steps):
    """Whatever the line does: as long as REST answers what it is asked, the price is never doubted."""
    life = Life()
    life.answering = True
    life.beat()
    for what, how in steps:
        if what == "wait":
            life.wait(how)
        elif what == "line":
            life.line(how)
        elif what == "packet":
            life.packet(how)
        assert life.doubted_at is None
    gaps = [later - earlier for earlier, later in itertools.pairwise(life.asked_at)]
    assert all(gap <= 31 * S for gap in gaps) or life.diary.packets
