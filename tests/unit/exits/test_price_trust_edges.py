"""The judge of all instruments: who is looked at when, asked when, and what an opening or a close leaves of yesterday."""

import pytest

from core.exits.price_trust import LOOKS, TrustState
from core.model.market import QuoteSource
from tests.unit.exits.builders import MS, S, key, quote
from tests.unit.exits.test_price_trust import A, B, Judged, T, all_of, muted, quiet


def looks(judged, at=None) -> int:
    """How many instruments one check looks at, at a given time."""
    judged.now = judged.now if at is None else at
    before = judged.asked_feed
    judged.trust.check(judged.now)
    return judged.asked_feed - before


def answered(judged, *, last=100, one=A, **terms):
    judged.trust.next_batch(10)
    return judged.rest(last, one, **terms)


def live():
    judged = Judged()
    judged.packet()
    judged.check()
    return judged


def on_rest():
    judged = quiet()
    judged.live = False
    judged.trust.lines_changed()
    judged.check()
    return judged


def with_news():
    judged = quiet()
    judged.check(6 * S)
    answered(judged, last=101)
    judged.check()
    return judged


def doubted():
    judged = quiet()
    judged.check(40 * S)
    assert judged.state() is TrustState.STALE
    return judged


@pytest.mark.parametrize(
    ("made", "next_ns"),
    [
        (live, 2_500 * MS + 1),
        (on_rest, 250 * MS),
        (with_news, 50 * MS),
        (doubted, 250 * MS),
        (lambda: muted(last=101)[0], 50 * MS),
        (Judged, 250 * MS),
    ],
    ids=["live", "on REST", "news", "doubted", "muted", "without any price"],
)
def test_an_instrument_is_looked_at_again_when_it_may_have_changed_and_never_at_once(made, next_ns):
    judged = made()
    judged.trust.lines_changed()
    assert looks(judged) == 1
    began = judged.now
    assert looks(judged) == 0
    assert looks(judged, began + next_ns - 1) == 0
    assert looks(judged, began + next_ns) == 1


def test_a_quiet_instrument_is_looked_at_every_second_and_when_it_is_due():
    judged = quiet()
    judged.trust.lines_changed()
    assert looks(judged) == 1
    began = judged.now
    assert looks(judged, began + S - 1) == 0
    assert looks(judged, began + S) == 1
    confirmed = judged.trust._watched[A].rest.received_ns
    due_ns = confirmed + 5 * S
    for at in range(began + 2 * S, due_ns, S):
        assert looks(judged, at) == 1
    assert looks(judged, due_ns - 1) == 0
    assert judged.state() is TrustState.QUIET
    assert looks(judged, due_ns) == 1
    assert judged.state() is TrustState.ASKED


def test_a_flowing_instrument_is_asked_for_from_two_and_a_half_seconds_of_silence_on():
    judged = live()
    told = judged.now
    judged.packet()
    judged.trust.check(told + 2_500 * MS)
    assert judged.state() is TrustState.LIVE
    judged.trust.check(told + 2_500 * MS + 1)
    assert judged.state() is TrustState.ASKED
    assert judged.trust.has_due


def test_with_five_thousand_instruments_those_without_packets_are_looked_at_half_as_often():
    for count, next_ns in ((4_999, 250 * MS), (5_000, 500 * MS)):
        judged = Judged(*(key(n) for n in range(1, count + 1)))
        while judged.trust.check(judged.now).is_more:
            pass
        began = judged.now
        assert looks(judged) == 0
        assert looks(judged, began + next_ns - 1) == 0
        assert looks(judged, began + next_ns) == LOOKS


def test_one_check_looks_at_three_hundred():
    judged = Judged(*(key(n) for n in range(1, 302)))
    found = judged.trust.check(judged.now)
    assert (judged.asked_feed, found.is_more) == (300, True)
    found = judged.trust.check(judged.now)
    assert (judged.asked_feed, found.is_more) == (301, False)


def test_a_late_feed_is_looked_at_at_once_and_four_times_a_second():
    judged = live()
    for _ in range(6):
        judged.packet()
        judged.check(500 * MS)
    assert looks(judged) == 0
    judged.trust.set_lagging(is_lagging=True)
    assert looks(judged) == 1
    assert judged.trust.has_due
    began = judged.now
    assert looks(judged, began + 250 * MS - 1) == 0
    assert looks(judged, began + 250 * MS) == 1


def test_what_a_late_feed_delivers_is_asked_for_two_and_a_half_seconds_after_the_last_answer_and_once_at_a_time():
    judged = live()
    judged.trust.set_lagging(is_lagging=True)
    judged.now += 3 * S
    judged.packet()
    judged.check()
    assert judged.trust.next_batch(1) == (A,)
    judged.check(250 * MS)
    assert not judged.trust.has_due, "the answer is on its way"
    judged.rest(time=T)
    told = judged.now
    for at, is_due in ((told + 2_500 * MS - 1, False), (told + 2_500 * MS, True)):
        judged.now = at
        judged.packet()
        judged.trust.lines_changed()
        judged.trust.check(at)
        assert judged.trust.has_due is is_due


# --- Near a level ---


def quiet_for_long():
    """Confirmed by REST so often that it is asked for every thirty seconds only."""
    judged = quiet()
    for _ in range(4):
        while not judged.trust.has_due:
            judged.check(100 * MS)
        answered(judged)
        judged.check()
    return judged


def test_a_quiet_instrument_that_comes_near_a_level_is_verified_as_if_it_had_been_near_all_along():
    judged = quiet_for_long()
    told = judged.now
    judged.check(2 * S)
    judged.trust.set_near({A})
    assert judged.trust._watched[A].interval_ns == 5 * S
    judged.trust.lines_changed()
    judged.check()
    judged.trust.check(told + 5 * S - 1)
    assert not judged.trust.has_due
    judged.trust.lines_changed()
    judged.trust.check(told + 5 * S)
    assert judged.trust.has_due
    answered(judged)
    assert judged.trust._watched[A].interval_ns == 5 * S


def test_an_instrument_that_is_asked_for_often_anyway_is_not_asked_for_later_because_it_is_near():
    judged = Judged()
    judged.packet()
    told = judged.now
    judged.check(S)
    judged.trust.set_near({A})
    judged.trust.check(told + 2_500 * MS + 1)
    assert judged.trust.has_due


def test_an_instrument_that_leaves_the_neighbourhood_of_a_level_keeps_its_turn():
    judged = quiet_for_long()
    watched = judged.trust._watched[A]
    judged.trust.set_near({A})
    watched.interval_ns, watched.due_ns = 30 * S, judged.now + 30 * S
    judged.trust.set_near(())
    assert (watched.interval_ns, watched.due_ns, watched.is_near) == (30 * S, judged.now + 30 * S, False)


# --- The calendar ---


def test_what_the_calendar_says_again_changes_nothing():
    judged = live()
    judged.trust.market(True, judged.now)
    assert judged.state() is TrustState.LIVE
    judged = quiet()
    judged.check(6 * S)
    assert judged.trust.has_due
    judged.trust.market(True, judged.now)
    judged.trust.market(None, judged.now)
    assert judged.trust.has_due
    assert judged.state() is TrustState.ASKED


def test_at_the_close_nothing_is_asked_doubted_or_told_any_more():
    judged = doubted()
    assert judged.trust.has_due
    assert len(list(judged.trust.doubted())) == 1
    judged.trust.market(False, judged.now)
    assert not judged.trust.has_due
    assert list(judged.trust.doubted()) == []
    assert judged.state() is TrustState.UNJUDGED
    judged.trust.on_failure((A,), judged.now)
    assert not judged.trust.has_due


def test_an_answer_that_comes_after_the_close_is_taken_as_it_is_and_it_is_asked_for_again_at_the_opening():
    judged = quiet()
    judged.check(6 * S)
    assert judged.trust.next_batch(1) == (A,)
    judged.trust.market(False, judged.now)
    judged.packet(100)
    answer = judged.rest(150)
    assert (len(answer.taken), answer.disputes) == (1, ())
    assert not judged.trust.has_due
    judged.trust.market(True, judged.now)
    judged.check(3 * S)
    assert judged.trust.next_batch(1) == (A,)


def test_yesterdays_mute_and_dispute_are_not_todays():
    judged, _ = muted(last=101)
    judged.trust.market(False, judged.now)
    judged.check()
    judged.trust.market(True, judged.now)
    judged.packet(101)
    assert all_of(judged.check(S), "unmuted") == []

    judged = live()
    assert len(judged.rest(120).disputes) == 1
    judged.trust.market(False, judged.now)
    judged.trust.market(True, judged.now)
    judged.packet()
    judged.check()
    assert len(judged.rest(120).disputes) == 1, "told again on a new day"


def test_what_rest_could_not_answer_yesterday_is_asked_for_quickly_today():
    judged = Judged()
    for _ in range(5):
        judged.check(60 * S)
        judged.trust.next_batch(1)
        judged.trust.on_answer((A,), (), judged.now, judged.now)
    judged.trust.market(False, judged.now)
    judged.now += 1_000 * S
    judged.trust.market(True, judged.now)
    judged.check()
    assert judged.trust.next_batch(1) == (A,)
    judged.trust.on_answer((A,), (), judged.now, judged.now)
    missed = judged.now
    judged.trust.check(missed + S - 1)
    assert not judged.trust.has_due
    judged.trust.lines_changed()
    judged.trust.check(missed + S)
    assert judged.trust.has_due


# --- Mutes and subscriptions ---


def test_packets_that_do_not_bring_the_news_end_no_silence():
    judged = live()
    judged.packet(100, time=T)
    judged.check()
    judged.now += 2_200 * MS
    judged.rest(101, time=T + 9)
    told = judged.now
    judged.packet(100, time=T)
    judged.check()
    assert judged.state() is TrustState.LIVE
    judged.packet(100, time=T)
    found = judged.check(500 * MS)
    assert all_of(found, "muted") == [A]
    assert judged.now == told + 500 * MS


def test_a_mute_is_told_once_and_its_end_once():
    judged, _ = muted(last=101, time=T + 9)
    assert all_of(judged.check(3 * S), "muted") == []
    judged.packet(101, time=T + 9)
    assert all_of(judged.check(S), "unmuted") == [A]
    judged.packet(101, time=T + 9)
    assert all_of(judged.check(6 * S), "unmuted") == []
    assert all_of(quiet().check(3 * S), "unmuted") == [], "nor one that never was"


def test_a_second_mute_is_subscribed_again_at_once():
    judged, _ = muted(last=101, time=T + 9)
    judged.packet(101, time=T + 9)
    judged.check(2_600 * MS)
    answered(judged, last=102, time=T + 20)
    assert all_of(judged.check(600 * MS), "resubscribe") == [A]


def resubscribed_at(judged, seconds):
    began, found = judged.now, []
    for _ in range(seconds * 10):
        judged.now += 100 * MS
        judged.trust.lines_changed()
        if judged.trust.check(judged.now).resubscribe:
            found.append((judged.now - began) // MS)
    return found


def test_only_an_instrument_that_brings_nothing_since_its_line_lives_is_subscribed_again():
    judged = Judged()
    judged.check()
    assert resubscribed_at(judged, 30) == [3_000, 13_000]
    judged = Judged()
    judged.check()
    judged.packet()
    assert resubscribed_at(judged, 30) == []
    judged = on_rest()
    judged.check(10 * S)
    judged.live = True
    judged.trust.lines_changed()
    judged.check()
    assert judged.quotes, "its packets are from before the line died"
    assert resubscribed_at(judged, 30) == [2_900, 12_900], "it was found dead 100 ms before"


# --- What is asked first, and what is counted ---


def test_an_instrument_without_any_price_is_asked_for_before_one_that_rest_has_answered():
    judged = Judged(A)
    judged.check()
    judged.rest(100, A)
    judged.check(3 * S)
    judged.trust.set_wanted((A, B), judged.now)
    judged.check()
    assert judged.trust.next_batch(1) == (B,)
    assert judged.trust.next_batch(1) == (A,)


def test_what_rest_drives_is_due_again_with_its_answer():
    judged = on_rest()
    assert judged.trust.next_batch(1) == (A,)
    judged.rest(101, time=T + 5)
    assert judged.trust.has_due


def test_only_answers_that_are_not_taken_for_their_age_are_counted_as_old():
    judged = quiet()
    assert judged.trust.old_answers == 0
    judged.packet(105, time=T + 60)
    judged.check(3 * S)
    answered(judged, time=T)
    assert judged.trust.old_answers == 1
    judged.check(2 * S)
    answered(judged, last=105, time=T + 60)
    assert judged.trust.old_answers == 1


def test_an_answer_for_an_instrument_that_is_no_longer_wanted_is_passed_on():
    judged = Judged(A)
    other = quote(2, 50, at=judged.now, exchange_time=T, source=QuoteSource.REST)
    assert judged.trust.on_answer((A, B), (other,), judged.now, judged.now).taken == (other,)
    assert judged.trust.state_of(B) is None
