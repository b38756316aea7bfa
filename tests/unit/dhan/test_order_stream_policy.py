"""The order-update connection's policy, in facts and dates."""

import pytest

from core.dhan.order_stream_policy import OrderStreamLimits, OrderStreamPolicy, Pause, Presence

S = 1_000_000_000
MS = 1_000_000


def policy(**limits):
    return OrderStreamPolicy(lambda: 1.0, OrderStreamLimits(**limits))


def lived(watched, from_ns, for_ns, reason="closed"):
    watched.logged_in(from_ns)
    return watched.ended(from_ns + for_ns, reason)


def test_the_default_limits_are_those_of_the_docstring():
    limits = OrderStreamLimits()
    assert (limits.settle_s, limits.refusals, limits.cap_s, limits.alarm_s) == (2.0, 2, 30.0, 60.0)


def test_two_resets_in_a_row_doubt_the_token_and_the_next_ones_not_again_for_a_minute():
    watched = policy()
    first = lived(watched, 0, 10 * MS)
    assert (first.was_refused, first.doubts_token, first.delay_ns) == (True, False, S // 2)
    second = lived(watched, 1 * S, 10 * MS)
    assert second == Pause(
        5 * S, "dropped right after the login, 2 times in a row", was_refused=True, doubts_token=True
    )
    asked = [lived(watched, at * S, 10 * MS).doubts_token for at in range(7, 140, 7)]
    assert [7 + 7 * n for n, doubts in enumerate(asked) if doubts] == [63, 126]


def test_refusals_are_not_hammered():
    watched, now, attempts = policy(), 0, 0
    while now < 600 * S:
        now += 10 * MS + lived(watched, now, 10 * MS).delay_ns
        attempts += 1
    assert attempts <= 30


@pytest.mark.parametrize("what", ["frame", "age"])
def test_a_connection_that_proved_itself_is_no_refusal(what):
    watched = policy()
    lived(watched, 0, 10 * MS)
    watched.logged_in(S)
    if what == "frame":
        watched.frame()
    end = watched.ended(S + (10 * MS if what == "frame" else 2 * S), "closed")
    assert not end.was_refused
    assert not lived(watched, 10 * S, 10 * MS).doubts_token, "the count began anew"


def test_a_failed_connect_is_no_refusal_and_does_not_clear_the_count():
    watched = policy()
    assert lived(watched, 0, 10 * MS).was_refused
    assert watched.ended(S, "no connection") == Pause(S, "no connection")
    assert lived(watched, 2 * S, 10 * MS).doubts_token


def test_the_back_off_starts_over_after_a_report_or_half_a_minute_but_not_after_less():
    watched = policy()
    delays = [watched.ended(n, "no connection").delay_ns for n in range(8)]
    assert delays == [S // 2, S, 2 * S, 4 * S, 8 * S, 16 * S, 30 * S, 30 * S]
    assert lived(watched, 0, 29 * S).delay_ns == 30 * S
    assert lived(watched, 0, 30 * S).delay_ns == S // 2
    watched.ended(0, "no connection")
    watched.logged_in(0)
    watched.report()
    assert watched.ended(10 * MS, "closed").delay_ns == S // 2
    for n in range(10_000):
        watched.ended(n, "no connection")
    assert watched.ended(0, "no connection").delay_ns == 30 * S
    assert OrderStreamPolicy(lambda: 0.0).ended(0, "x").delay_ns == 50 * MS


def test_http_answers_of_the_upgrade_each_have_their_pause():
    watched = policy()
    assert watched.refused_http(0, 503) == Pause(S // 2, "refused with HTTP 503")
    assert watched.refused_http(0, 429) == Pause(120 * S, "refused with HTTP 429", is_block=True)
    assert watched.refused_http(0, 401).was_refused
    assert watched.refused_http(0, 403).doubts_token


def test_a_new_token_begins_with_a_clean_slate():
    watched = policy()
    lived(watched, 0, 10 * MS)
    lived(watched, S, 10 * MS)
    watched.token_changed()
    again = lived(watched, 2 * S, 10 * MS)
    assert (again.doubts_token, again.delay_ns) == (False, S // 2)
    assert lived(watched, 3 * S, 10 * MS).doubts_token, "at once: it is another token"


def test_replacing_a_young_connection_for_its_token_is_no_refusal():
    watched = policy()
    watched.logged_in(0)
    watched.token_changed()
    assert not watched.ended(10 * MS, "the token has changed").was_refused


def test_a_person_hears_once_of_a_minute_away_and_once_of_the_return():
    watched = policy()
    assert [watched.look(at * S, is_open=True) for at in (0, 59)] == [None, None]
    assert [watched.look(at * S, is_open=True) for at in (60, 61, 3_600)] == [Presence.AWAY, None, None]
    watched.logged_in(3_601 * S)
    assert watched.look(3_601 * S, is_open=True) is None, "a bad token gets as far as this"
    assert watched.look(3_603 * S, is_open=True) is Presence.BACK
    assert watched.look(3_604 * S, is_open=True) is None


def test_resets_and_absence_at_night_are_no_news():
    watched = policy()
    for minute in range(600):
        lived(watched, minute * 60 * S, 50 * S)
        assert watched.look(minute * 60 * S + 59 * S, is_open=False) is None
    assert watched.look(36_000 * S, is_open=True) is None, "away counts from the opening"
    assert watched.look(36_059 * S, is_open=True) is None
    assert watched.look(36_060 * S, is_open=True) is Presence.AWAY
    assert watched.look(36_061 * S, is_open=False) is None
    watched.logged_in(36_070 * S)
    watched.frame()
    assert watched.look(36_070 * S, is_open=False) is Presence.BACK, "who was alarmed hears of the end, at any hour"


def test_a_stream_that_resets_every_login_counts_as_away():
    watched, told = policy(), []
    for at in range(70):
        watched.logged_in(at * S)
        told.append(watched.look(at * S + MS, is_open=True))
        watched.ended(at * S + 10 * MS, "closed")
    assert [at for at, word in enumerate(told) if word] == [60]


def test_the_books_are_due_every_half_minute_and_every_five_seconds_while_away():
    watched = policy()
    assert watched.is_reconcile_due(0)
    watched.reconciled(0)
    assert [watched.is_reconcile_due(at * S) for at in (4, 5)] == [False, True]
    watched.logged_in(10 * S)
    watched.frame()
    assert [watched.is_reconcile_due(at * S) for at in (15, 39, 40)] == [False, False, True]
    watched.reconciled(40 * S)
    assert not watched.is_reconcile_due(60 * S)
