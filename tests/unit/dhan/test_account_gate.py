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
