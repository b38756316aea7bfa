"""The judge of prices, driven by hand: the feed is a dictionary, REST is what the test says."""

import itertools

from core.exits.price_trust import LOOKS, PriceTrust, TrustLimits, TrustState
from core.model.instrument import InstrumentKey, Segment
from core.model.market import QuoteSource
from tests.unit.exits.builders import MS, S, key, quote

A, B, C = key(1), key(2), key(3)
T = 1_795_000_000


class Judged:
    def __init__(self, *keys, is_open=True, live=True, limits=None):
        self.quotes, self.live, self.asked_feed = {}, live, 0
        self.now = 1_000 * S
        self.trust = PriceTrust(limits or TrustLimits(), self)
        self.trust.market(is_open, self.now)
        self.trust.set_wanted(keys or (A,), self.now)

    def feed_quote(self, one):
        self.asked_feed += 1
        return self.quotes.get(one)

    def line_is_live(self, one):
        return self.live if isinstance(self.live, bool) else one in self.live

    def packet(self, last=100, one=A, *, time=T, **terms):
        self.quotes[one] = quote(one.security_id, last, at=self.now, exchange_time=time, **terms)

    def check(self, after=0):
        """Let the time pass in beats; what all the checks have found."""
        found = [self.trust.check(self.now)]
        end = self.now + int(after)
        while self.now < end:
            self.now = min(self.now + 100 * MS, end)
            found.append(self.trust.check(self.now))
        return found

    def rest(self, last=100, one=A, *, time=T, rtt=100 * MS, **terms):
        """A request for it now, and its answer."""
        requested, self.now = self.now, self.now + rtt
        arrived = quote(one.security_id, last, at=self.now, exchange_time=time, source=QuoteSource.REST, **terms)
        return self.trust.on_answer((one,), (arrived,), requested, self.now)

    def state(self, one=A):
        return self.trust.state_of(one)


def all_of(found, name):
    return [item for each in found for item in getattr(each, name)]


def quiet(**terms):
    """One instrument that was live and whose price REST has confirmed once: at +2.6 s."""
    judged = Judged(**terms)
    judged.check(100 * MS)
    judged.packet()
    judged.check(2_500 * MS)
    judged.check(100 * MS)
    assert judged.trust.next_batch(10) == (A,)
    judged.rest()
    judged.check()
    return judged


def test_packets_that_flow_are_live_and_ask_nothing():
    judged = Judged()
    for _ in range(40):
        judged.packet()
        judged.check(500 * MS)
        assert judged.state() is TrustState.LIVE
    assert not judged.trust.has_due
    assert judged.asked_feed < 40, "one that flows is looked at every 2.5 s"


def test_the_first_packet_ends_the_asking():
    judged = Judged()
    judged.check(4 * S)
    assert judged.trust.has_due
    judged.packet()
    judged.check(300 * MS)
    assert not judged.trust.has_due


def test_silence_of_2_5_s_is_a_question_and_the_same_answer_doubles_the_interval_up_to_30_s():
    judged = quiet()
    due_s = []
    for _ in range(5):
        began = judged.now
        while not judged.trust.has_due:
            judged.check(100 * MS)
        due_s.append(round((judged.now - began) / S))
        assert judged.state() is TrustState.ASKED
        judged.trust.next_batch(1)
        judged.rest()
        judged.check()
        assert judged.state() is TrustState.QUIET
    assert due_s == [5, 10, 20, 30, 30]
    judged.packet()
    judged.check(2_600 * MS)
    assert judged.trust.has_due, "a packet begins anew"


def test_what_differs_only_in_sizes_or_has_no_book_is_the_same():
    judged = quiet()
    judged.check(6 * S)
    judged.trust.next_batch(1)
    judged.rest(book=False)
    judged.check(600 * MS)
    assert judged.state() is TrustState.QUIET
    index = InstrumentKey(Segment.IDX_I, 13)
    judged = Judged(index)
    judged.check()
    judged.quotes[index] = quote(13, 100, at=judged.now, exchange_time=T, book=False)._replace(key=index)
    judged.check(3 * S)
    answer = quote(13, 100, at=judged.now, exchange_time=T, source=QuoteSource.REST)._replace(key=index)
    judged.trust.on_answer((index,), (answer,), judged.now, judged.now)
    judged.check(600 * MS)
    assert judged.state(index) is TrustState.QUIET


def muted(**news):
    judged = quiet()
    judged.check(6 * S)
    assert judged.trust.next_batch(1) == (A,)
    judged.rest(**news)
    found = judged.check(400 * MS)
    assert all_of(found, "muted") == [], "a packet may be on its way"
    found = judged.check(100 * MS)
    return judged, found


def test_f03_news_that_the_feed_does_not_bring_within_half_a_second_is_a_mute():
    for news in ({"last": 101}, {"bid": 99}, {"ask": 101}, {"time": T + 1}):
        judged, found = muted(**news)
        assert judged.state() is TrustState.MUTED, news
        assert all_of(found, "muted") == [A]
        assert all_of(found, "resubscribe") == [A]
        ((one, not_before, until),) = all_of(found, "held")
        assert (one, not_before, until) == (A, news.get("time", T), judged.now - 500 * MS + 3 * S)
        assert judged.trust.has_due, "as often as the pace allows"


def test_a_packet_in_the_grace_clears_the_news():
    judged = quiet()
    judged.check(6 * S)
    judged.trust.next_batch(1)
    judged.rest(last=101, time=T + 5)
    judged.check(300 * MS)
    judged.packet(101, time=T + 5)
    found = judged.check(5 * S)
    assert all_of(found, "muted") == []


def test_a_mute_ends_with_a_packet_that_is_not_older_than_rest():
    judged, _ = muted(last=101, time=T + 9)
    judged.packet(100, time=T + 7)
    assert all_of(judged.check(100 * MS), "unmuted") == []
    judged.packet(101, time=T + 8)
    found = judged.check(100 * MS)
    assert (all_of(found, "unmuted"), all_of(found, "released")) == ([A], [A])
    assert judged.state() is TrustState.LIVE
    assert not judged.trust.has_due


def test_a_mute_without_trade_times_ends_with_any_packet():
    judged, found = muted(last=101, time=None)
    assert all_of(found, "held") == []
    judged.packet(101, time=None)
    assert all_of(judged.check(100 * MS), "unmuted") == [A]


def test_three_answers_that_show_the_feeds_price_again_end_a_mute():
    judged, _ = muted(bid=99)
    for _ in range(2):
        assert judged.trust.next_batch(1) == (A,)
        judged.rest()
        judged.check(100 * MS)
        assert judged.state() is TrustState.MUTED
    judged.rest()
    found = judged.check(100 * MS)
    assert judged.state() is TrustState.QUIET
    assert (all_of(found, "unmuted"), all_of(found, "released")) == ([A], [A])


def test_a_mute_is_subscribed_again_every_10_s_and_driven_by_rest():
    judged, _ = muted(last=101)
    again = 0
    for _ in range(30):
        judged.trust.next_batch(1)
        answer = judged.rest(last=102)
        assert len(answer.taken) == 1
        assert len(answer.held) == 1
        again += len(all_of(judged.check(900 * MS), "resubscribe"))
    assert again == 3
    assert list(judged.trust.doubted()) == []


def test_a_mute_without_answers_is_doubted_after_5_s_and_recovers_with_the_next():
    judged, _ = muted(last=101)
    judged.trust.next_batch(1)
    judged.trust.on_failure((A,), judged.now)
    found = judged.check(4_300 * MS)
    assert all_of(found, "doubted") == []
    ((one, reason),) = all_of(judged.check(300 * MS), "doubted")
    assert (one, reason) == (A, "the feed is silent on it and REST has brought no price for 5 s")
    assert judged.state() is TrustState.STALE
    assert [one for one, _ in judged.trust.doubted()] == [A]
    assert all_of(judged.check(9 * S), "doubted") == [], "once an episode"
    judged.rest(last=103)
    assert all_of(judged.check(100 * MS), "recovered") == [A]
    assert len(all_of(judged.check(6 * S), "doubted")) == 1, "and again"


def test_a_quiet_price_is_doubted_when_it_cannot_be_verified_for_35_s():
    judged = quiet()
    found = judged.check(34 * S)
    assert all_of(found, "doubted") == []
    ((_, reason),) = all_of(judged.check(2 * S), "doubted")
    assert reason == "it is quiet on the feed and REST could not confirm its price"
    judged.packet()
    found = judged.check(300 * MS)
    assert all_of(found, "recovered") == [A]
    assert judged.state() is TrustState.LIVE


def test_an_instrument_without_any_price_is_asked_at_once_and_doubted_after_5_s():
    judged = Judged()
    judged.check()
    assert judged.trust.next_batch(1) == (A,)
    judged.trust.on_failure((A,), judged.now)
    judged.check(100 * MS)
    assert judged.trust.next_batch(1) == (A,)
    ((_, reason),) = all_of(judged.check(5_200 * MS), "doubted")
    assert reason == "neither the feed nor REST has brought a price for 5 s"
    assert all_of(judged.check(), "doubted") == []


def test_f04_no_packet_since_the_line_lives_is_subscribed_again_after_3_and_13_s():
    judged = Judged()
    judged.check()
    judged.rest()
    at = [round((judged.now - 1_000 * S) / S) for _ in range(60) if all_of(judged.check(500 * MS), "resubscribe")]
    assert at in ([3, 13], [4, 13])


def test_a_line_that_dies_leaves_its_instruments_to_rest_at_once():
    judged = quiet()
    judged.check(2 * S)
    judged.live = False
    judged.trust.lines_changed()
    judged.check()
    assert judged.state() is TrustState.ON_REST
    assert judged.trust.next_batch(1) == (A,)
    judged.rest(last=90, time=T + 3)
    judged.check()
    assert judged.trust.next_batch(1) == (A,), "as often as the pace allows"
    assert all_of(judged.check(5 * S), "doubted") == []
    ((_, reason),) = all_of(judged.check(500 * MS), "doubted")
    assert reason == "its feed connection is down and REST has brought no price for 5 s"
    judged.live = True
    judged.trust.lines_changed()
    assert all_of(judged.check(2 * S), "recovered") == [], "a line alone proves no price"
    judged.packet(90, time=T + 3)
    assert all_of(judged.check(100 * MS), "recovered") == [A]


def test_the_line_vouches_for_a_quiet_price_until_its_own_last_data():
    judged = quiet()
    judged.check(4 * S)
    judged.live = False
    judged.trust.lines_changed()
    assert all_of(judged.check(2_400 * MS), "doubted") == []
    assert len(all_of(judged.check(500 * MS), "doubted")) == 1


def test_a_line_that_flaps_without_bringing_anything_vouches_for_nothing():
    judged = quiet()
    found = []
    for _ in range(20):
        judged.live = not judged.live
        judged.trust.lines_changed()
        found += judged.check(500 * MS)
    assert len(all_of(found, "doubted")) == 1


def test_what_changed_while_the_line_was_down_is_no_mute():
    judged = quiet()
    judged.live = False
    judged.trust.lines_changed()
    judged.check()
    judged.rest(last=90, time=T + 3)
    judged.check(300 * MS)
    judged.live = True
    judged.trust.lines_changed()
    found = judged.check(2_600 * MS)
    judged.trust.next_batch(1)
    judged.rest(last=80, time=T + 4)
    found += judged.check(2 * S)
    assert all_of(found, "muted") == []
    judged.check(S)
    judged.trust.next_batch(1)
    judged.rest(last=70, time=T + 9)
    assert all_of(judged.check(600 * MS), "muted") == [A], "but what changes from then on is"


def test_without_a_packet_two_rest_answers_are_held_against_each_other():
    for news, is_muted in (({}, False), ({"last": 101}, True), ({"time": T + 1}, True), ({"time": None}, False)):
        judged = Judged()
        judged.check()
        judged.rest()
        judged.check(3 * S)
        judged.rest(**news)
        assert bool(all_of(judged.check(S), "muted")) is is_muted, news


def test_a_mute_that_ends_in_a_dead_line_is_one_episode():
    judged, _ = muted(last=101, time=T + 9)
    judged.live = False
    judged.trust.lines_changed()
    found = judged.check(300 * MS)
    assert (all_of(found, "released"), all_of(found, "unmuted")) == ([A], [])
    judged.live = True
    judged.trust.lines_changed()
    judged.packet(101, time=T + 9)
    assert all_of(judged.check(100 * MS), "unmuted") == [A]


def test_f32_a_contradiction_is_not_taken_unless_only_rest_brackets_its_last_price():
    judged = Judged()
    judged.check()
    judged.packet(100)
    answer = judged.rest(120)
    assert answer.taken == ()
    ((feed, rest, taken),) = answer.disputes
    assert (feed.last, rest.last, taken) == (10_000, 12_000, feed)
    assert judged.rest(120).disputes == (), "told once"
    assert judged.rest(100).taken != ()
    assert len(judged.rest(120).disputes) == 1, "and again after they agreed"
    judged.rest(100)
    judged.packet(100, bid=80, ask=90)
    (dispute,) = judged.rest(100).disputes
    assert dispute.taken is dispute.rest
    assert judged.trust.disputes == 3
    judged = Judged()
    judged.check()
    requested = judged.now - 50 * MS
    judged.packet(100, bid=80, ask=90)
    answer = quote(1, 100, at=judged.now, exchange_time=T, source=QuoteSource.REST)
    assert judged.trust.on_answer((A,), (answer,), requested, judged.now).taken == (), (
        "the book moved after REST was asked"
    )


def test_f32_small_old_one_sided_and_late_differences_are_no_contradiction():
    for terms, later, answer in (
        ({"last": 100}, 0, {"last": 105}),
        ({"last": 1}, 0, {"last": 1.25}),
        ({"last": 100}, 30 * S, {"last": 120}),
        ({"last": 100}, 2 * S, {"last": 120, "time": T + 1}),
        ({"last": 100, "book": False}, 0, {"last": 120}),
        ({"last": 100}, 0, {"last": 120, "time": T + 2}),
    ):
        judged = Judged()
        judged.check()
        judged.packet(**terms)
        judged.now += later
        assert judged.rest(**answer).disputes == (), (terms, answer)


def test_an_answer_that_a_packet_has_overtaken_is_not_taken():
    """The book moves without a trade while REST's answer is on its way, or in the second before the request."""
    for time in (None, T):
        for packet_ns, request_ns in ((0, 0), (50 * MS, 0), (0, 900 * MS)):
            judged = Judged()
            judged.check()
            start = judged.now
            judged.now = start + packet_ns
            judged.packet(100, time=time)
            requested, judged.now = start + request_ns, start + S
            answer = quote(1, 100, bid=97, ask=97.1, at=judged.now, exchange_time=time, source=QuoteSource.REST)
            assert judged.trust.on_answer((A,), (answer,), requested, judged.now).taken == (), (time, packet_ns)
    judged = Judged()
    judged.check()
    judged.packet(100)
    judged.now += 1_100 * MS
    assert len(judged.rest(100, bid=97, ask=97.1).taken) == 1, "a second of silence: an exit may need it"
    judged.packet(100)
    assert len(judged.rest(100, bid=97, ask=97.1, time=T + 1).taken) == 1, "it tells of a later trade"
    judged.packet(100)
    judged.trust.set_lagging(is_lagging=True)
    assert len(judged.rest(100, bid=97, ask=97.1, time=T + 1).taken) == 1
    judged.packet(100, time=T + 1)
    assert len(judged.rest(100, bid=97, ask=97.1, time=T + 1).taken) == 1, "packets of a late feed overtake nothing"


def test_an_answer_from_a_cache_that_is_older_than_the_feed_is_not_taken():
    judged = quiet()
    judged.packet(105, time=T + 60)
    judged.check(3 * S)
    judged.trust.next_batch(1)
    assert judged.rest(100, time=T).taken == ()
    assert judged.trust.old_answers == 1
    assert judged.state() is TrustState.ASKED
    judged.check(900 * MS)
    assert not judged.trust.has_due
    judged.check(200 * MS)
    assert judged.trust.has_due
    assert len(judged.rest(105, time=T + 59).taken) == 1, "the same price is no cache"
    judged.check(30 * S)
    assert judged.rest(100, time=T).taken == (), "a frozen REST is as wrong after half a minute"
    judged.check(6 * S)
    assert judged.state() is TrustState.STALE
    assert len(judged.rest(100, time=T + 60 - 3_600).taken) == 1, "that is another way to tell the time"


def test_a_rest_that_goes_back_in_time_is_not_taken():
    judged = Judged(live=False)
    judged.check()
    judged.rest(101, time=T + 5)
    assert judged.rest(100, time=T).taken == ()
    assert len(judged.rest(101, time=T).taken) == 1, "the same price with an older stamp is no cache"
    judged.check(31 * S)
    assert len(judged.rest(99, time=T - 9).taken) == 1


def test_a_packet_younger_than_two_seconds_is_not_held_against_an_answer():
    judged = Judged()
    judged.check()
    judged.packet(bid=99)
    judged.check(S)
    judged.rest(ask=101)
    assert all_of(judged.check(S), "muted") == []
    judged.rest(ask=101, time=T + 1)
    assert all_of(judged.check(S), "muted") == [A], "a newer trade is in no cache"


def test_f25_either_encoding_of_the_feeds_trade_time_is_found_out():
    for shift in (0, 19_800):
        judged = Judged()
        judged.check()
        judged.packet(time=T - shift)
        judged.check(3 * S)
        judged.rest()
        assert judged.trust.judge.shift_s == shift
        found = judged.check(5 * S)
        judged.rest()
        found += judged.check(S)
        assert all_of(found, "muted") == []
        judged.rest(101, time=T + 8)
        ((_, not_before, _),) = all_of(judged.check(600 * MS), "held")
        assert not_before == T + 8 - shift
        judged.packet(101, time=T + 8 - shift)
        assert all_of(judged.check(100 * MS), "unmuted") == [A]


def test_a_feed_that_lags_is_a_mute_although_packets_flow():
    judged = Judged()
    judged.check()
    judged.packet(time=T)
    judged.check()
    judged.trust.set_lagging(is_lagging=True)
    found = []
    for second in range(4):
        judged.packet(time=T + second - 40)
        found += judged.check(S)
    assert judged.trust.next_batch(1) == (A,)
    judged.rest(101, time=T + 4)
    judged.packet(time=T - 30)
    found += judged.check(600 * MS)
    assert all_of(found, "muted") == [A]
    judged.packet(time=T + 4)
    judged.trust.set_lagging(is_lagging=False)
    judged.trust.set_lagging(is_lagging=False)
    judged.check(100 * MS)
    assert not judged.trust.has_due


def test_while_it_lags_what_flows_is_asked_every_2_5_s_at_most():
    judged = Judged()
    judged.trust.set_lagging(is_lagging=True)
    asked = 0
    for _ in range(100):
        judged.packet()
        judged.check(100 * MS)
        if judged.trust.next_batch(1):
            asked += 1
            judged.rest(rtt=1)
    assert asked in {3, 4}


def test_what_rest_does_not_know_is_asked_ever_more_slowly_but_never_more_slowly_than_a_minute():
    judged = Judged()
    at = []
    for _ in range(4_000):
        judged.check(100 * MS)
        if judged.trust.next_batch(1):
            at.append(judged.now / S)
            judged.trust.on_answer((A,), (), judged.now, judged.now)
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(at)]
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_what_rest_knew_before_is_asked_again_within_5_s():
    judged = Judged(live=False)
    judged.check()
    judged.rest()
    at = []
    for _ in range(300):
        judged.check(100 * MS)
        if judged.trust.next_batch(1):
            at.append(judged.now / S)
            judged.trust.on_answer((A,), (), judged.now, judged.now)
    assert round(at[-1] - at[-2]) == 5


def test_the_worst_are_asked_first():
    judged = Judged(A, B, C, key(4))
    judged.check()
    for one in (B, C, key(4)):
        judged.packet(one=one)
    judged.check(3 * S)
    assert judged.trust.next_batch(1) == (A,), "no price at all"
    judged.live = {B, C}
    judged.trust.lines_changed()
    judged.check()
    judged.trust.set_near({C})
    assert judged.trust.next_batch(9) == (key(4), C, B), "driven by REST, then near a level, then the others"
    assert not judged.trust.has_due
    judged.check(9 * S)
    assert not judged.trust.has_due, "their answers are on the way"
    judged.trust.on_failure((key(4), C, B, key(9)), judged.now)
    assert judged.trust.next_batch(2) == (key(4), C), "stale, and near"


def test_f26_a_closed_market_is_silent_and_at_the_opening_every_age_begins_anew():
    judged, _ = muted(last=101)
    judged.trust.next_batch(1)
    judged.trust.market(False, judged.now)
    found = judged.check(600 * S)
    assert all_of(found, "released") == [A]
    assert not any(getattr(each, name) for each in found for name in ("doubted", "muted", "unmuted", "resubscribe"))
    assert not judged.trust.has_due
    assert judged.state() is TrustState.UNJUDGED
    assert len(judged.rest(77, time=T + 99).taken) == 1, "an answer that comes late is shown"
    assert judged.trust.on_answer((A,), (), judged.now, judged.now).taken == ()
    assert judged.check(S)[-1].is_more is False
    judged.trust.market(True, judged.now)
    judged.trust.market(True, judged.now)
    found = judged.check(4_900 * MS)
    assert all_of(found, "doubted") == []
    assert judged.trust.next_batch(1) == (A,)
    assert len(all_of(judged.check(200 * MS), "doubted")) == 1


def test_a_market_of_which_nothing_is_known_is_asked_and_not_doubted():
    judged = Judged(is_open=None)
    found = judged.check(60 * S)
    assert judged.trust.has_due
    assert all_of(found, "doubted") == []
    judged.trust.market(True, judged.now)
    assert len(all_of(judged.check(300 * MS), "doubted")) == 1


def test_what_is_not_wanted_is_not_judged():
    judged = Judged(A, B)
    judged.check()
    assert judged.trust.has_due
    judged.trust.set_wanted((B,), judged.now)
    assert judged.trust.next_batch(9) == (B,)
    assert judged.state(A) is None
    answer = judged.rest(one=A)
    assert len(answer.taken) == 1, "somebody asked for it"
    judged.trust.on_answer((A,), (), judged.now, judged.now)
    judged.trust.set_wanted((), judged.now)
    assert judged.trust.check(judged.now).is_more is False


def test_a_check_looks_at_no_more_than_its_share_and_goes_on_where_it_stopped():
    keys = [key(n) for n in range(1, 3 * LOOKS)]
    judged = Judged(*keys)
    assert [judged.trust.check(judged.now).is_more for _ in range(3)] == [True, True, False]
    assert len(judged.trust.next_batch(9_999)) == len(keys)
    counts = judged.trust.counts()
    assert (counts[TrustState.ASKED], sum(counts.values())) == (len(keys), len(keys))


def test_doubted_ones_are_counted_as_stale():
    judged = Judged()
    judged.check(6 * S)
    assert judged.trust.counts()[TrustState.STALE] == 1


def test_limits_in_seconds():
    limits = TrustLimits.of_seconds(2.5, 10)
    assert (limits.stale_ns, limits.verify_ns) == (2_500 * MS, 10 * S)


def test_f26_what_was_quiet_at_the_close_is_shelved_without_a_word():
    judged = quiet()
    judged.trust.market(False, judged.now)
    assert judged.check(S)[-1] == type(judged.check()[0])()
    assert judged.state() is TrustState.UNJUDGED


def test_f25_a_feed_that_delivers_is_not_muted_for_good_by_a_clock_of_rest_that_runs_ahead():
    judged = Judged()
    judged.check(100 * MS)
    judged.packet()
    muted = 0
    for n in range(40):
        judged.check(3 * S)
        judged.trust.next_batch(9)
        judged.rest(time=T + 3 * n + 3)
        judged.packet(time=T + 3 * n)
        judged.check(700 * MS)
        muted += judged.state() is TrustState.MUTED
    assert muted < 6


def test_f32_rest_that_tells_the_last_trade_of_a_quiet_instrument_differently_is_not_believed():
    judged = Judged(A, B)
    judged.check()
    judged.packet(100, time=T - 60)
    judged.packet(100, B)
    judged.check(3 * S)
    answer = judged.rest(110, time=T - 60)
    assert answer.taken == ()
    assert len(answer.disputes) == 1


def test_f03_a_feed_that_turns_mute_within_the_second_of_a_trade_does_not_keep_the_news_of_rest_out():
    """Trade times are whole seconds: another trade may have followed in the same one. A stop waited 30 s for it."""
    judged = Judged(A, B)
    judged.check()
    judged.packet(100)
    judged.packet(100, B)
    judged.check(2_600 * MS)
    (taken,) = judged.rest(130).taken
    assert taken.last == 130_00
    judged.check(600 * MS)
    assert judged.state() is TrustState.MUTED


def test_a_quiet_instrument_near_a_level_is_verified_every_five_seconds():
    for is_near, most_s in ((True, 6.5), (False, 32)):
        judged = quiet()
        judged.trust.set_near((A,) if is_near else ())
        asked = []
        for _ in range(1_200):
            judged.check(100 * MS)
            if judged.trust.has_due:
                asked.append(judged.now)
                judged.trust.next_batch(1)
                judged.rest()
        gaps = [(b - a) / S for a, b in itertools.pairwise(asked)]
        assert max(gaps) <= most_s
        assert (max(gaps) > 25) is not is_near


def test_a_quiet_instrument_that_comes_near_a_level_is_asked_within_five_seconds():
    judged = quiet()
    for _ in range(6):
        judged.check(40 * S)
        judged.trust.next_batch(1)
        judged.rest()
    judged.trust.set_near((A,))
    judged.check(5_200 * MS)
    assert judged.trust.has_due


def test_what_is_near_and_not_wanted_changes_nothing_and_is_known_when_it_is_wanted():
    judged = Judged(A)
    judged.trust.set_near((A, B))
    judged.trust.set_wanted((A, B), judged.now)
    judged.trust.set_near((A,))
    judged.check(100 * MS)
    assert judged.trust.next_batch(9) == (A, B)
