"""The connection's table, its back-off and its remedies, on a clock the test owns."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.disconnect_policy import REASONS, AccountGate
from core.dhan.feed_connection import (
    TRANSITIONS,
    FeedConnection,
    FeedPolicy,
    FeedState,
    Retry,
    Silence,
    Trigger,
    next_state,
)
from core.model.errors import BugError

S = 1_000_000_000
ALL_PAIRS = list(itertools.product(FeedState, Trigger))


def connection(fraction=0.5, policy=None):
    return FeedConnection(lambda: fraction, policy)


def opened(now=0, fraction=0.5):
    feed = connection(fraction)
    feed.market(now, is_open=True)
    feed.connecting(now)
    feed.opened(now)
    return feed


def live(now=0, fraction=0.5):
    feed = opened(now, fraction)
    feed.data_received(now)
    return feed


@pytest.mark.parametrize(("pair", "state"), list(TRANSITIONS.items()))
def test_every_row_of_the_table_is_a_step(pair, state):
    assert next_state(*pair) is state


@pytest.mark.parametrize("pair", [pair for pair in ALL_PAIRS if pair not in TRANSITIONS])
def test_every_other_pair_is_a_bug_and_changes_nothing(pair):
    with pytest.raises(BugError, match=pair[1].name):
        next_state(*pair)


def test_the_usual_life_of_a_connection():
    feed = connection()
    assert (feed.state, feed.since_ns) == (FeedState.DISCONNECTED, None)
    feed.market(0, is_open=True)
    feed.connecting(1)
    assert feed.state is FeedState.CONNECTING
    feed.opened(2)
    assert (feed.state, feed.is_live) == (FeedState.SUBSCRIBING, False)
    feed.data_received(3)
    assert feed.is_live
    feed.data_received(4)
    assert (feed.state, feed.since_ns) == (FeedState.LIVE, 3)
    assert feed.closed(5, "reset") == Retry(S // 4, "reset")
    assert (feed.state, feed.since_ns, feed.failures) == (FeedState.BACKING_OFF, 5, 1)
    feed.connecting(6)
    assert feed.state is FeedState.CONNECTING


@pytest.mark.parametrize(
    "step",
    [
        lambda feed: feed.opened(9),
        lambda feed: feed.data_received(9),
        lambda feed: feed.closed(9, "x"),
        lambda feed: feed.disconnect_code(805, 9),
        lambda feed: feed.disconnect_code(800, 9),
        lambda feed: feed.refused_http(429, 9),
    ],
)
def test_an_impossible_step_is_a_bug_and_changes_nothing(step):
    feed = connection()
    with pytest.raises(BugError):
        step(feed)
    assert (feed.state, feed.since_ns, feed.failures) == (FeedState.DISCONNECTED, None, 0)
    feed.connecting(10)
    with pytest.raises(BugError):
        feed.connecting(11)


def delays(feed, rounds, data=False):
    found = []
    for now in range(rounds):
        feed.connecting(now)
        feed.opened(now)
        if data:
            feed.data_received(now)
        found.append(feed.closed(now, "reset").delay_ns)
    return found


def test_the_back_off_doubles_up_to_30_seconds():
    nearly_one = delays(connection(0.999999), 10)
    assert [round(delay / S, 2) for delay in nearly_one] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_the_back_off_never_ends_and_never_overflows():
    assert delays(connection(0.999999), 2000)[-1] == pytest.approx(30 * S, rel=1e-3)


def test_full_jitter_goes_down_to_the_least_delay():
    assert delays(connection(0.0), 20) == [S // 10] * 20


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30))
def test_every_delay_is_within_its_bounds(fractions):
    draws = iter(fractions)
    feed = FeedConnection(lambda: next(draws))
    for delay in delays(feed, len(fractions)):
        assert S // 10 <= delay <= 30 * S


def test_accepting_and_dropping_does_not_reset_the_back_off():
    assert delays(connection(0.5), 4, data=True) == [S // 4, S // 2, S, 2 * S]


def test_only_30_seconds_of_data_reset_the_back_off():
    feed = connection(0.5)
    delays(feed, 3, data=True)
    feed.connecting(100 * S)
    feed.opened(100 * S)
    feed.data_received(100 * S)
    feed.data_received(130 * S - 1)
    assert feed.failures == 3
    feed.data_received(130 * S)
    assert feed.failures == 0
    assert feed.closed(131 * S, "reset").delay_ns == S // 4


def test_a_silence_starts_the_30_seconds_again():
    feed = connection(0.5)
    delays(feed, 1, data=True)
    feed.market(0, is_open=True)
    feed.connecting(100 * S)
    feed.opened(100 * S)
    feed.data_received(100 * S)
    assert feed.check_silence(104 * S) is Silence.STALE
    feed.data_received(105 * S)
    feed.data_received(131 * S)
    assert feed.failures == 1
    feed.data_received(135 * S)
    assert feed.failures == 0


STALE_NS = 2_500_000_000


def test_f02_silence_makes_the_feed_stale_and_then_dead():
    feed = live()
    assert feed.check_silence(STALE_NS - 1) is Silence.FINE
    assert feed.state is FeedState.LIVE
    assert feed.check_silence(STALE_NS) is Silence.STALE
    assert feed.state is FeedState.STALE
    assert feed.check_silence(10 * S - 1) is Silence.STALE
    assert feed.check_silence(10 * S) is Silence.DEAD
    assert feed.closed(10 * S, "silent").delay_ns == S // 4
    assert feed.state is FeedState.BACKING_OFF


def test_f02_a_silent_canary_ends_the_patience_early():
    feed = live()
    feed.carries_canary = True
    feed.canary_heard()
    assert feed.check_silence(3 * S - 1) is Silence.STALE
    assert feed.check_silence(3 * S) is Silence.DEAD


def test_f02_connected_and_wholly_mute_is_given_up_early_when_a_canary_was_asked_for():
    feed = opened()
    feed.carries_canary = True
    assert feed.check_silence(3 * S) is Silence.DEAD


def test_a_canary_that_was_never_heard_while_others_were_proves_nothing():
    feed = live()
    feed.carries_canary = True
    assert feed.check_silence(3 * S) is Silence.STALE
    assert feed.check_silence(10 * S) is Silence.DEAD


def test_f26_a_canary_whose_own_market_is_closed_proves_nothing_and_quiet_options_are_waited_for():
    """From 15:30 to 15:40 derivatives trade and the indices do not; REST drives what is silent."""
    feed = live()
    feed.carries_canary = True
    feed.canary_heard()
    feed.canary_trades = False
    assert feed.check_silence(STALE_NS) is Silence.STALE
    assert feed.check_silence(300 * S - 1) is Silence.STALE
    assert feed.check_silence(300 * S) is Silence.DEAD


def test_f02_wholly_mute_since_it_was_opened_is_given_up_also_without_a_trading_canary():
    feed = opened()
    feed.carries_canary = True
    feed.canary_trades = False
    assert feed.check_silence(10 * S - 1) is Silence.STALE
    assert feed.check_silence(10 * S) is Silence.DEAD


def test_a_canary_must_be_heard_anew_on_each_connection():
    feed = live()
    feed.carries_canary = True
    feed.canary_heard()
    feed.closed(1, "reset")
    feed.connecting(2)
    feed.opened(2)
    assert not feed.has_heard_canary
    feed.data_received(2)
    assert feed.check_silence(3 * S + 2) is Silence.STALE


def test_data_revives_a_stale_feed():
    feed = live()
    feed.check_silence(5 * S)
    feed.data_received(6 * S)
    assert feed.is_live
    assert feed.check_silence(6 * S) is Silence.FINE


def test_silence_after_the_handshake_counts_from_the_handshake():
    feed = opened(50 * S)
    assert not feed.is_silent(50 * S + STALE_NS - 1)
    assert feed.check_silence(50 * S + STALE_NS) is Silence.STALE
    assert feed.check_silence(60 * S) is Silence.DEAD


def test_no_silence_while_the_market_is_closed():
    feed = live()
    feed.market(0, is_open=False)
    assert feed.check_silence(3600 * S) is Silence.FINE
    assert feed.silent_ns(3600 * S) == 0


def test_silence_is_measured_from_the_opening():
    feed = live()
    feed.market(0, is_open=False)
    feed.market(1000 * S, is_open=True)
    feed.market(1001 * S, is_open=True)
    assert feed.check_silence(1000 * S + STALE_NS - 1) is Silence.FINE
    assert feed.check_silence(1000 * S + STALE_NS) is Silence.STALE


def test_without_a_socket_nothing_is_silent():
    feed = live()
    feed.closed(1, "reset")
    assert feed.silent_ns(3600 * S) == 0
    feed.connecting(2)
    assert feed.silent_ns(3600 * S) == 0


def test_limits_of_silence_are_settings():
    feed = connection(policy=FeedPolicy(stale_after_ns=S, quiet_reconnect_after_ns=2 * S))
    feed.market(0, is_open=True)
    feed.connecting(0)
    feed.opened(0)
    assert [feed.check_silence(t * S // 2) for t in (1, 2, 4)] == [Silence.FINE, Silence.STALE, Silence.DEAD]


def test_being_told_twice_of_one_end_gives_one_answer():
    feed = live()
    first = feed.closed(5, "reset")
    assert feed.closed(6, "closed too") is first
    assert feed.failures == 1


def test_three_drops_without_data_put_the_token_in_doubt():
    feed = connection()
    doubts = []
    for now in range(4):
        feed.connecting(now)
        feed.opened(now)
        doubts.append(feed.closed(now, "reset").check_token)
    assert doubts == [False, False, True, True]
    feed.connecting(9)
    feed.opened(9)
    feed.data_received(9)
    assert feed.closed(9, "reset").check_token is False
    for now in (10, 11):
        feed.connecting(now)
        feed.opened(now)
        assert feed.closed(now, "reset").check_token is False


TOKEN = {"needs_token": True, "use_rest": True}
REST = {"needs_token": False, "use_rest": True}


@pytest.mark.parametrize(
    ("code", "least_s", "flags"),
    [
        (804, 5, REST),
        (805, 60, REST),
        (806, 30, REST),
        (807, 1, TOKEN),
        (808, 1, TOKEN),
        (809, 1, TOKEN),
        (810, 1, TOKEN),
        (811, 5, REST),
        (812, 5, REST),
        (813, 5, REST),
        (814, 5, REST),
    ],
)
def test_a_documented_code_has_its_remedy(code, least_s, flags):
    feed = live(fraction=0.0)
    retry = feed.disconnect_code(code, 7)
    assert feed.state is FeedState.REFUSED
    assert retry.delay_ns == least_s * S
    assert {"needs_token": retry.needs_token, "use_rest": retry.use_rest} == flags
    assert retry.reason == f"disconnect {code}: {REASONS[code]}"
    # Of a token its owner tells a person, when he knows more.
    assert retry.alert.startswith(retry.reason) is not retry.needs_token
    assert feed.closed(8, "closed by the server") is retry
    feed.connecting(9)
    assert feed.state is FeedState.CONNECTING


@pytest.mark.parametrize("code", [0, 800, 801, 803, 815, 65535])
def test_another_code_is_an_ordinary_loss(code):
    feed = live()
    retry = feed.disconnect_code(code, 7)
    assert feed.state is FeedState.BACKING_OFF
    assert retry == Retry(S // 4, f"disconnect {code}: {REASONS.get(code, 'not documented')}")
    assert feed.closed(8, "closed by the server") is retry
    assert feed.failures == 1


@pytest.mark.parametrize(
    ("status", "least_s", "needs_token"),
    [(429, 60, False), (401, 1, True), (403, 1, True), (400, 1, True), (404, 5, False)],
)
def test_a_refused_upgrade_has_its_remedy(status, least_s, needs_token):
    feed = connection(0.0)
    feed.connecting(0)
    retry = feed.refused_http(status, 1)
    assert feed.state is FeedState.REFUSED
    assert (retry.delay_ns, retry.needs_token, retry.use_rest) == (least_s * S, needs_token, True)
    assert (f"HTTP {status}" in retry.alert) is not needs_token


@pytest.mark.parametrize("status", [500, 502, 503, 418])
def test_a_server_fault_on_the_upgrade_is_an_ordinary_loss(status):
    feed = connection()
    feed.connecting(0)
    assert feed.refused_http(status, 1) == Retry(S // 4, f"HTTP {status} instead of a WebSocket")
    assert feed.state is FeedState.BACKING_OFF


def refusals(step, rounds):
    feed = connection(0.0)
    found = []
    for now in range(0, rounds * 400 * S, 400 * S):
        feed.connecting(now)
        feed.opened(now)
        found.append(step(feed, now).delay_ns // S)
    return found


def test_f21_429_waits_from_one_minute_to_five():
    assert refusals(lambda feed, now: feed.refused_http(429, now), 6) == [60, 120, 240, 300, 300, 300]


def test_f18_too_many_connections_wait_from_one_minute_to_five():
    assert refusals(lambda feed, now: feed.disconnect_code(805, now), 4) == [60, 120, 240, 300]


def test_f19_f20_a_dead_token_is_no_hot_loop():
    assert refusals(lambda feed, now: feed.disconnect_code(807, now), 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_f19_no_data_plan_is_tried_every_30_seconds():
    assert refusals(lambda feed, now: feed.disconnect_code(806, now), 40) == [30] * 40


def test_f21_a_longer_retry_after_is_kept_and_an_absurd_one_is_not_believed():
    feed = connection(0.0)
    for now, told_s, waited_s in ((0, 90, 90), (1000, 5, 120), (2000, 86_400, 600)):
        feed.connecting(now * S)
        assert feed.refused_http(429, now * S, told_s).delay_ns == waited_s * S
    feed.connecting(3000 * S)
    assert feed.refused_http(503, 3000 * S, 7).delay_ns == 7 * S


def test_what_a_person_must_know_of_a_failed_connect_is_in_the_answer():
    feed = connection()
    feed.connecting(0)
    assert feed.closed(1, "no connection", "the certificate has expired").alert == "the certificate has expired"


def test_f18_a_refusal_of_the_account_is_kept_by_every_connection():
    gate = AccountGate()
    first, second = (FeedConnection(lambda: 0.0, None, gate) for _ in range(2))
    first.connecting(0)
    assert first.refused_http(429, 0).delay_ns == 60 * S
    assert gate.turn(60 * S - 1) == 1
    assert gate.turn(60 * S) == 0
    second.connecting(60 * S)
    assert second.refused_http(429, 60 * S).delay_ns == 120 * S
    assert gate.turn(61 * S) == 119 * S


def test_f18_data_of_a_connection_from_before_the_block_do_not_end_the_severity():
    gate = AccountGate()
    old, new = (FeedConnection(lambda: 0.0, None, gate) for _ in range(2))
    old.connecting(0)
    old.closed(0, "reset")
    old.connecting(S)
    old.opened(S)
    new.connecting(2 * S)
    new.refused_http(429, 2 * S)
    for second in range(40):
        old.data_received((2 + second) * S)
    new.connecting(100 * S)
    assert new.refused_http(429, 100 * S).delay_ns == 120 * S


def test_useful_data_forget_the_refusals():
    feed = connection(0.0)
    for now in (0, 1):
        feed.connecting(now)
        feed.refused_http(429, now)
    feed.connecting(200 * S)
    feed.opened(200 * S)
    for second in range(31):
        feed.data_received((200 + second) * S)
    assert feed.disconnect_code(805, 240 * S).delay_ns == 60 * S


def test_the_first_reason_of_a_refusal_stays():
    feed = live()
    first = feed.disconnect_code(805, 1)
    assert feed.disconnect_code(807, 2) is first
    feed.data_received(3)
    assert feed.state is FeedState.REFUSED


def test_a_code_read_after_the_close_still_counts():
    feed = live(fraction=0.0)
    feed.closed(1, "reset")
    feed.data_received(2)
    assert feed.state is FeedState.BACKING_OFF
    assert feed.disconnect_code(805, 3).delay_ns == 60 * S
    assert feed.state is FeedState.REFUSED


def test_a_lost_code_after_a_close_changes_nothing():
    feed = live()
    first = feed.closed(1, "reset")
    assert feed.disconnect_code(800, 2) is first


STEPS = {
    Trigger.CONNECT: lambda feed, now: feed.connecting(now),
    Trigger.OPENED: lambda feed, now: feed.opened(now),
    Trigger.DATA: lambda feed, now: feed.data_received(now),
    Trigger.SILENCE: lambda feed, now: feed.check_silence(now),
    Trigger.CLOSED: lambda feed, now: feed.closed(now, "x"),
    Trigger.REFUSAL: lambda feed, now: feed.disconnect_code(806, now),
}


@given(st.lists(st.tuples(st.sampled_from(list(Trigger)), st.integers(0, 20 * S)), max_size=60))
def test_a_random_walk_follows_the_table_and_can_always_connect_again(walk):
    feed = connection()
    feed.market(0, is_open=True)
    now = 0
    for trigger, gap in walk:
        now += gap
        before = feed.state
        if (before, trigger) not in TRANSITIONS:
            continue
        expected = TRANSITIONS[before, trigger]
        if trigger is Trigger.SILENCE and not feed.is_silent(now):
            expected = before
        STEPS[trigger](feed, now)
        assert feed.state is expected
    if feed.state in {FeedState.CONNECTING, FeedState.SUBSCRIBING, FeedState.LIVE, FeedState.STALE}:
        assert 0 < feed.closed(now, "end").delay_ns <= 30 * S
    feed.connecting(now)
    assert feed.state is FeedState.CONNECTING


def test_a_server_that_is_not_reached_is_tried_again_within_eight_seconds():
    connection = FeedConnection(lambda: 0.999)
    waits = []
    for attempt in range(12):
        connection.connecting(attempt * 60 * S)
        waits.append(connection.closed(attempt * 60 * S + 1, "no connection").delay_ns / S)
    assert 7.9 < max(waits) <= 8


def test_a_server_that_accepts_and_drops_is_tried_again_within_thirty_seconds():
    connection = FeedConnection(lambda: 0.999)
    waits = []
    for attempt in range(12):
        connection.connecting(attempt * 60 * S)
        connection.opened(attempt * 60 * S)
        waits.append(connection.closed(attempt * 60 * S + 1, "dropped").delay_ns / S)
    assert 29 < max(waits) <= 30


@pytest.mark.parametrize("brings_data", [True, False])
def test_the_account_hears_whether_a_connection_has_brought_anything(brings_data):
    gate = AccountGate()
    connection = FeedConnection(lambda: 0.5, gate=gate)
    connection.market(0, is_open=True)
    gate.turn(0)
    connection.connecting(0)
    connection.opened(0)
    if brings_data:
        connection.data_received(S)
    connection.closed(2 * S, "dropped")
    connection.closed(2 * S, "told twice")
    assert gate.turn(2 * S) == (0 if brings_data else 500_000_000)
    gate.delivers(3 * S)
    assert gate.revived_ns == (None if brings_data else 3 * S)


def test_a_closed_market_brings_nothing_and_that_is_no_fault():
    gate = AccountGate()
    connection = FeedConnection(lambda: 0.5, gate=gate)
    connection.connecting(0)
    connection.opened(0)
    connection.closed(2 * S, "dropped")
    assert gate.turn(2 * S) == 0
