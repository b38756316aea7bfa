"""What the connections of one account owe each other: a distance between attempts, and one wait for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.disconnect_policy import CONNECT_DISTANCE_NS, AccountGate, remedy_of_code, remedy_of_http

S = 1_000_000_000
MS = 1_000_000
BLOCKED = remedy_of_http(429)


def test_the_first_attempt_goes_at_once_and_the_next_ones_keep_their_distance():
    gate = AccountGate()
    assert gate.turn(5) == 0
    assert gate.turn(5) == 150 * MS
    assert gate.turn(5 + 100 * MS) == 50 * MS
    assert gate.turn(5 + 150 * MS) == 0
    assert gate.turn(5 + 150 * MS) == CONNECT_DISTANCE_NS


def test_asking_in_vain_takes_no_turn():
    gate = AccountGate()
    gate.turn(0)
    for now in range(0, 150, 10):
        gate.turn(now * MS)
    assert gate.turn(150 * MS) == 0


def test_a_block_holds_for_everyone_and_shows():
    gate = AccountGate()
    assert gate.blocked_until(0) is None
    assert gate.refused(BLOCKED, 0, 0, 0.0) == 60 * S
    assert gate.blocked_until(1) == 60 * S
    assert gate.turn(1 * S) == 59 * S
    assert gate.blocked_until(60 * S) is None


def test_a_refusal_during_the_block_neither_doubles_nor_shortens_it():
    gate = AccountGate()
    gate.refused(BLOCKED, 0, 300 * S, 0.0)
    assert gate.refused(BLOCKED, 10 * S, 0, 0.0) == 290 * S
    assert gate.refused(remedy_of_code(805), 290 * S, 0, 0.0) == 60 * S
    assert gate.refused(BLOCKED, 400 * S, 0, 0.0) == 120 * S


def test_the_wait_doubles_to_five_minutes_and_useful_data_end_that():
    gate = AccountGate()
    now, waits = 0, []
    for _ in range(5):
        waits.append(gate.refused(BLOCKED, now, 0, 0.0) // S)
        now += 400 * S
    assert waits == [60, 120, 240, 300, 300]
    gate.recovered(now - 400 * S)
    assert gate.refused(BLOCKED, now, 0, 0.0) == 300 * S
    gate.recovered(now + 1)
    assert gate.refused(BLOCKED, now + 400 * S, 0, 0.0) == 60 * S


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_only_prolongs_by_at_most_a_fifth(fraction):
    assert 60 * S <= AccountGate().refused(BLOCKED, 0, 0, fraction) <= 72 * S


@pytest.mark.parametrize("code", [800, 804, 806, 807, 808, 809, 810, 811, 812, 813, 814, 801, 9999])
def test_other_codes_concern_one_connection(code):
    assert not remedy_of_code(code).is_account_wide


def test_f18_f21_805_and_429_concern_the_account():
    assert remedy_of_code(805).is_account_wide
    assert BLOCKED.is_account_wide
    assert not any(remedy_of_http(status).is_account_wide for status in (400, 401, 403, 404, 500, 502, 503))


def barren(gate, now):
    gate.brought_nothing(now, 500 * MS, 8 * S)


def test_a_mute_feed_is_tried_ever_more_rarely_by_the_account_as_a_whole():
    gate = AccountGate()
    waits = []
    now = 0
    for _ in range(7):
        assert gate.turn(now) == 0
        now += 3 * S
        barren(gate, now)
        waits.append(gate.turn(now) / S)
        now += 8 * S
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_five_connections_of_a_mute_feed_make_few_attempts_together():
    """20 minutes; each connection is given up after 3 s and would try again after 0 to 30 s on its own."""
    gate, attempts, now = AccountGate(), 0, 0
    ends: list[int] = []
    free_at = [0] * 5
    while now < 1_200 * S:
        for end in [end for end in ends if end <= now]:
            ends.remove(end)
            barren(gate, now)
        for line in range(5):
            if free_at[line] <= now and gate.turn(now) == 0:
                attempts += 1
                ends.append(now + 3 * S)
                free_at[line] = now + 3 * S
        now += 100 * MS
    assert attempts < 180


def test_as_soon_as_one_connection_delivers_the_others_may_follow():
    gate = AccountGate()
    for now in (0, 10 * S, 20 * S, 30 * S, 40 * S):
        barren(gate, now)
    assert gate.turn(41 * S) == 7 * S
    assert gate.revived_ns is None
    gate.delivers(41 * S)
    assert gate.revived_ns == 41 * S
    assert gate.turn(41 * S) == 0


def test_a_barren_connection_costs_the_others_nothing_while_one_delivers():
    gate = AccountGate()
    gate.delivers(0)
    barren(gate, S)
    assert gate.turn(S) == 0
    gate.lost()
    barren(gate, 2 * S)
    assert gate.turn(2 * S) == 500 * MS


def test_a_revival_is_told_once_for_each_time_in_which_nothing_came():
    gate = AccountGate()
    gate.delivers(S)
    gate.delivers(2 * S)
    assert gate.revived_ns is None
