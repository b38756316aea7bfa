"""One instrument's judge, answer by answer and look by look, where a nanosecond or one answer decides."""

from dataclasses import asdict

import pytest

from core.exits.price_judgement import PriceJudge, Taken, TrustLimits, TrustState, Watched
from core.model.market import Quote, QuoteSource
from tests.unit.exits.builders import MS, S, key

T = 1_795_000_000
LIMITS = TrustLimits()
NOW = 1_000 * S


def feed(last=10_000, bid=9_995, ask=10_005, *, at=NOW, time=T):
    return Quote(key(1), last, bid, ask, 75, 75, time, at)


def rest(last=10_000, bid=9_995, ask=10_005, *, at=NOW, time=T):
    return Quote(key(1), last, bid, ask, 75, 75, time, at, QuoteSource.REST)


def watched(state=TrustState.QUIET, line_ns=900 * S, **known) -> Watched:
    return Watched(key(1), 0, NOW, 0, state=state, line_ns=line_ns, **known)


@pytest.fixture
def judge() -> PriceJudge:
    return PriceJudge(LIMITS)


def test_the_limits_are_those_of_the_design():
    assert asdict(TrustLimits()) == {
        "stale_ns": 5 * S,
        "verify_ns": 30 * S,
        "silent_ns": 2_500 * MS,
        "grace_ns": 500 * MS,
        "first_resubscribe_ns": 3 * S,
        "resubscribe_ns": 10 * S,
        "unknown_ns": 60 * S,
        "hold_ns": 3 * S,
        "near_verify_ns": 5 * S,
    }
    chosen = TrustLimits.of_seconds(7.5, 20)
    assert (chosen.stale_ns, chosen.verify_ns) == (7_500 * MS, 20 * S)
    assert isinstance(chosen.stale_ns, int)
    assert isinstance(TrustLimits.of_seconds(7, 20.5).verify_ns, int)


def test_of_an_instrument_that_is_new_nothing_is_known():
    made = Watched(key(1), since_ns=1, looked_ns=2, due_ns=3)
    known = {name: getattr(made, name) for name in made.__slots__ if getattr(made, name)}
    assert known == {"key": key(1), "since_ns": 1, "looked_ns": 2, "due_ns": 3, "state": TrustState.UNJUDGED}


def test_a_muted_feed_shows_nothing():
    seen = feed(at=NOW)
    assert watched().proof_ns(seen) == NOW
    assert watched(TrustState.MUTED).proof_ns(seen) is None
    assert watched(TrustState.MUTED, rest=rest(at=NOW - S)).proof_ns(seen) == NOW - S
    assert watched(rest=rest(at=NOW - S)).proof_ns(seen) == NOW
    assert watched(rest=rest(at=NOW + S)).proof_ns(seen) == NOW + S


# --- Answers of REST ---


def test_an_answer_ends_the_counting_of_misses(judge):
    one = watched()
    waits = []
    for answered in (False, False, False, True, False):
        if answered:
            judge.take(one, None, rest(), NOW, NOW)
            assert one.retry_ns == 0
        else:
            judge.miss(one, NOW)
            waits.append((one.retry_ns - NOW) // S)
    assert waits == [1, 2, 4, 1]


def test_what_rest_never_had_is_missed_ever_more_slowly_to_the_end_of_the_scale():
    patient = PriceJudge(TrustLimits(unknown_ns=10_000 * S))
    one = watched()
    for _ in range(20):
        patient.miss(one, NOW)
    assert one.retry_ns - NOW == 1_024 * S


def test_an_answer_told_in_another_way_of_telling_time_waits_for_half_a_minute(judge):
    """More than an hour older is no older trade, but REST's memory is not excluded for thirty seconds."""
    for after_ns, expected in ((30 * S - 1, Taken.OLD), (30 * S, Taken.YES)):
        answer = rest(10_010, time=T - 4_000, at=NOW + after_ns)
        assert judge.take(watched(), feed(at=NOW), answer, NOW + after_ns, NOW + after_ns) is expected


def test_an_answer_one_second_older_than_the_one_before_is_a_memory(judge):
    one = watched(rest=rest(10_000, time=T, at=NOW))
    assert judge.take(one, None, rest(9_990, time=T - 1, at=NOW + S), NOW + S, NOW + S) is Taken.OLD
    assert judge.take(one, None, rest(9_990, time=T, at=NOW + S), NOW + S, NOW + S) is Taken.YES


def test_without_a_line_there_is_nothing_to_contradict_or_to_overtake(judge):
    answer = rest(12_000, 11_995, 12_005)
    assert judge.take(watched(line_ns=None), feed(), answer, NOW, NOW) is Taken.YES
    assert judge.take(watched(TrustState.ON_REST, None), feed(), rest(bid=9_990), NOW, NOW) is Taken.YES
    assert judge.take(watched(), feed(), answer, NOW, NOW) is Taken.DISPUTED
    assert judge.take(watched(), feed(), rest(bid=9_990), NOW, NOW) is Taken.OLD


def test_the_packets_of_a_muted_instrument_overtake_nothing(judge):
    assert judge.take(watched(TrustState.MUTED), feed(), rest(bid=9_990), NOW, NOW) is Taken.YES


@pytest.mark.parametrize(("later_ns", "expected"), [(1_500 * MS, Taken.DISPUTED), (1_500 * MS - 1, Taken.YES)])
def test_the_second_of_a_trade_is_over_one_and_a_half_seconds_after_the_usual_delay(judge, later_ns, expected):
    judge.look(watched(), feed(time=T - 1, at=NOW - S), NOW, on_line=True)
    told = feed(time=T, at=NOW + later_ns)
    answer = rest(12_000, 11_995, 12_005, at=NOW + 10 * S)
    assert judge.take(watched(), told, answer, NOW + 10 * S, NOW + 10 * S) is expected


def test_against_a_torn_feed_only_a_whole_answer_asked_for_after_it_is_taken(judge):
    torn, whole, torn_too = feed(10_000, 8_000, 9_000), rest(10_000), rest(10_000, 11_000, 12_000)
    assert judge.take(watched(), torn, whole, NOW, NOW) is Taken.AGAINST_FEED
    assert judge.take(watched(), torn, whole, NOW - 1, NOW) is Taken.DISPUTED, "the packet came after the question"
    assert judge.take(watched(), torn, torn_too, NOW, NOW) is Taken.DISPUTED
    judge.is_lagging = True
    assert judge.take(watched(), torn, whole, NOW - 1, NOW) is Taken.AGAINST_FEED, "a late packet shows no later market"


def test_answers_equal_to_a_packet_told_since_the_one_before_are_counted_in_a_row(judge):
    one, now = watched(TrustState.MUTED), NOW
    counted = []
    for told_ns, last in ((1, 10_000), (1, 10_000), (0, 10_000), (1, 10_000), (1, 10_010), (1, 10_000)):
        told = feed(at=one.rest_asked_ns + told_ns)
        now += 10 * S
        assert judge.take(one, told, rest(last, at=now), now, now) is Taken.YES
        counted.append(one.same)
    assert counted == [1, 2, 0, 1, 0, 1]
    judge.take(one, None, rest(at=now + S), now + S, now + S)
    assert one.same == 0


def test_the_lateness_of_the_feed_needs_both_trade_times(judge):
    assert judge.late_s(feed(time=T), rest(time=T + 3)) == 3
    assert judge.late_s(None, rest()) is None
    assert judge.late_s(feed(), None) is None
    assert judge.late_s(feed(time=None), rest()) is None
    assert judge.late_s(feed(), rest(time=None)) is None


@pytest.mark.parametrize(
    ("apart_s", "shift_s"), [(-3, 0), (-2, 0), (2, 0), (19_797, 0), (19_798, 19_800), (19_802, 19_800), (19_803, 0)]
)
def test_f25_each_answer_votes_for_one_of_two_ways_to_tell_the_time(judge, apart_s, shift_s):
    judge.take(watched(), feed(time=T, at=NOW - 10 * S), rest(time=T + apart_s), NOW, NOW)
    assert judge.shift_s == shift_s
    judge.take(watched(), feed(time=None, at=NOW - 10 * S), rest(), NOW, NOW)
    assert judge.shift_s == shift_s


# --- What an answer shows ---


def test_the_first_answer_of_a_line_that_has_brought_nothing_is_only_a_base(judge):
    one = watched(interval_ns=30 * S)
    judge.take(one, None, rest(), NOW, NOW)
    assert (one.news_ns, one.interval_ns, one.due_ns) == (None, 0, NOW + 2_500 * MS)


def test_news_that_is_taken_back_three_times_was_rests_mistake_also_without_a_packet(judge):
    one, now = watched(), NOW
    for last in (10_000, 10_100):
        now += 3 * S
        judge.take(one, None, rest(last, time=None, at=now), now, now)
    assert one.news_ns == now
    judge.look(one, None, now + 500 * MS, on_line=True)
    assert one.state is TrustState.MUTED
    for left in (2, 1, 0):
        now += S
        judge.take(one, None, rest(10_000, time=None, at=now), now, now)
        assert (one.news_ns is None) is (left == 0)


def test_the_same_price_without_a_time_on_one_side_is_no_news(judge):
    for seen, answer in ((feed(time=None, at=NOW - 5 * S), rest()), (feed(at=NOW - 5 * S), rest(time=None))):
        one = watched()
        judge.take(one, seen, answer, NOW, NOW)
        assert one.news_ns is None
    one = watched(rest=rest(time=None, at=NOW - 5 * S), rest_asked_ns=NOW - 5 * S)
    judge.take(one, None, rest(), NOW, NOW)
    assert one.news_ns is None


# --- Looks at the feed ---


def test_silence_begins_after_two_and_a_half_seconds(judge):
    one = watched()
    judge.look(one, feed(at=NOW), NOW + 2_500 * MS, on_line=True)
    assert one.state is TrustState.LIVE
    judge.look(one, feed(at=NOW), NOW + 2_500 * MS + 1, on_line=True)
    assert one.state is TrustState.ASKED


def test_a_packet_begins_the_intervals_anew(judge):
    one = watched(interval_ns=20 * S)
    one.due_ns = NOW + 20 * S
    judge.look(one, feed(at=NOW), NOW + S, on_line=True)
    assert (one.interval_ns, one.due_ns) == (0, NOW + 2_500 * MS)


def test_a_line_that_comes_to_life_begins_anew(judge):
    for seen, told, due_ns in (
        (None, None, NOW),
        (feed(at=NOW - S), None, NOW + 1_500 * MS),
        (None, rest(at=NOW - 2 * S), NOW + 500 * MS),
    ):
        one = watched(TrustState.ON_REST, None, interval_ns=20 * S, resubscribed=2, rest=told)
        one.due_ns, one.looked_ns = NOW + 9 * S, NOW - 250 * MS
        judge.look(one, seen, NOW, on_line=True)
        assert (one.line_ns, one.resubscribed, one.interval_ns) == (NOW - 250 * MS, 0, 0)
        assert one.due_ns == due_ns


def test_a_line_that_comes_to_life_asks_no_later_than_was_due(judge):
    one = watched(TrustState.ON_REST, None)
    one.due_ns = NOW - S
    judge.look(one, None, NOW, on_line=True)
    assert one.due_ns == NOW - S


def test_news_is_over_when_the_feed_delivers_it(judge):
    one = watched(rest=rest(10_100, time=T + 5), rest_asked_ns=NOW, news_ns=NOW, news_asked_ns=NOW)
    judge.look(one, feed(10_100, time=T + 5, at=NOW), NOW + 100 * MS, on_line=True)
    assert one.news_ns == NOW, "a packet as old as the question delivers nothing"
    judge.look(one, feed(10_100, time=T + 5, at=NOW + 1), NOW + 100 * MS, on_line=True)
    assert (one.news_ns, one.state) == (None, TrustState.LIVE)


@pytest.mark.parametrize(("same", "is_over"), [(4, False), (5, True)])
def test_five_equal_answers_in_a_row_end_a_mute_of_clocks_that_differ(judge, same, is_over):
    one = watched(TrustState.MUTED, rest=rest(time=T + 60), news_ns=NOW, news_asked_ns=NOW, same=same)
    judge.look(one, feed(time=T, at=NOW + S), NOW + 2 * S, on_line=True)
    assert (one.news_ns is None) is is_over


@pytest.mark.parametrize(("late_s", "is_over"), [(2, False), (1, True)])
def test_a_packet_delivers_news_when_its_trade_is_less_than_two_seconds_older(judge, late_s, is_over):
    one = watched(TrustState.MUTED, rest=rest(time=T + late_s), news_ns=NOW, news_asked_ns=NOW)
    judge.look(one, feed(time=T, at=NOW + S), NOW + S, on_line=True)
    assert (one.news_ns is None) is is_over


def test_a_line_that_leaves_vouches_for_what_it_had_shown(judge):
    for proof_ns, vouched_ns in ((900 * S, NOW - 2_500 * MS), (900 * S - 1, None)):
        one = watched(line_ns=900 * S)
        judge.look(one, feed(at=proof_ns), NOW, on_line=False)
        assert (one.vouched_ns, one.line_ns, one.due_ns) == (vouched_ns, None, NOW)
        assert one.state is TrustState.ON_REST


def test_a_line_that_leaves_does_not_vouch_for_what_it_kept_back(judge):
    one = watched(TrustState.MUTED, rest=rest(at=NOW - S), news_ns=NOW - 2 * S)
    judge.look(one, feed(at=NOW - 3 * S), NOW, on_line=False)
    assert one.vouched_ns is None


@pytest.mark.parametrize(
    ("state", "seen", "answer", "words"),
    [
        (TrustState.ON_REST, None, None, "neither the feed nor REST has brought a price"),
        (TrustState.ON_REST, feed(), None, "its feed connection is down"),
        (TrustState.ON_REST, None, rest(), "its feed connection is down"),
        (TrustState.MUTED, feed(), rest(), "the feed is silent on it"),
        (TrustState.QUIET, feed(), None, "REST could not confirm its price"),
        (TrustState.QUIET, None, rest(), "REST could not confirm its price"),
    ],
)
def test_a_doubt_says_what_is_missing(judge, state, seen, answer, words):
    assert words in judge.reason(watched(state, rest=answer), seen)
