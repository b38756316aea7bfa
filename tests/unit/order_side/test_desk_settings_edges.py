"""The defaults of the order side, written down anew from the exit protocol (reliability 2.5, 2.7, 2.8)."""

from dataclasses import asdict
from datetime import time

import pytest

from core.exits.desk_settings import ANSWER_DUE_NS, MIN_ABSENCE_QUARANTINE_S, READ_DUE_NS, DeskSettings
from core.exits.order_plan import LadderSettings

S = 1_000_000_000
PROTOCOL = {
    "ladder": {"rungs_bps": (0, 50, 150, 400, 1_000), "ioc_rounds": 6},
    # Budgets: 8 orders a second, 12 attempts of a leg in a minute, 60 in a day.
    "orders_per_second": 8,
    "attempts_per_leg_per_minute": 12,
    "attempts_per_leg_per_day": 60,
    # Rounds, pauses, resting orders.
    "round_interval_ms": 300,
    "working_max_ms": 2_000,
    "day_order_max_ms": 5_000,
    "rate_limit_pause_ms": 1_000,
    "refusal_pause_ms": 1_000,
    "account_pause_s": 30,
    # What must be known of the positions.
    "position_max_age_ms": 500,
    "position_read_interval_ms": 150,
    "position_lag_ms": 3_000,
    "order_book_interval_ms": 2_000,
    "positions_unreadable_s": 10,
    "last_good_positions_s": 60,
    "flat_confirm_ms": 1_000,
    "mismatch_page_s": 5,
    "outside_confirm_s": 10,
    "new_row_grace_s": 60,
    # An order whose fate is not known.
    "absence_quarantine_s": 8.0,
    "absence_reads": 3,
    "unresolved_page_s": 30,
    # Prices to order by.
    "quote_max_age_ms": 1_000,
    "quote_wait_ms": 1_000,
    # Looking while nothing happens.
    "watch_interval_s": 5.0,
    "watch_near_ms": 400,
    # The broker squares off at 15:20 Indian time; nothing of our own from two minutes before.
    "intraday_last_send": time(15, 18),
}


def test_the_defaults_are_those_of_the_exit_protocol():
    assert asdict(DeskSettings()) == PROTOCOL


def test_the_first_rung_is_one_tick_and_each_next_one_dares_more():
    rungs = LadderSettings().rungs_bps
    assert rungs[0] == 0
    assert list(rungs) == sorted(set(rungs))


def test_an_answer_is_awaited_for_ten_seconds_and_a_read_for_fifteen():
    assert (ANSWER_DUE_NS, READ_DUE_NS) == (10 * S, 15 * S)


@pytest.mark.parametrize(("seconds", "is_taken"), [(4.999, False), (5.0, True), (5.001, True), (60.0, True)])
def test_absence_is_never_believed_in_less_than_five_seconds(seconds, is_taken):
    assert MIN_ABSENCE_QUARANTINE_S == 5.0
    if is_taken:
        assert DeskSettings(absence_quarantine_s=seconds).absence_quarantine_s == seconds
    else:
        with pytest.raises(ValueError, match="at least 5 s"):
            DeskSettings(absence_quarantine_s=seconds)
