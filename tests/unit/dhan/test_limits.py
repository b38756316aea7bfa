import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.limits import Budget, RateLimit
from core.model.errors import BugError

S = 1_000_000_000
ORDER_LIMITS = (RateLimit(8, S), RateLimit(250, 60 * S))


def test_eight_orders_fit_in_a_second_and_the_ninth_waits_for_the_first_to_leave():
    budget = Budget(ORDER_LIMITS)
    for call in range(8):
        assert budget.allows(call)
        budget.take(call)
    assert not budget.allows(8)
    assert budget.next_free_ns(8) == S
    assert not budget.allows(S - 1)
    budget.take(S)
    assert budget.next_free_ns(S) == S + 1


def test_a_call_too_early_is_a_bug_and_is_not_counted():
    budget = Budget((RateLimit(1, S),))
    budget.take(0)
    with pytest.raises(BugError):
        budget.take(S - 1)
    assert budget.next_free_ns(S - 1) == S
    budget.take(S)


def test_the_longer_window_holds_when_the_shorter_is_free():
    budget = Budget(ORDER_LIMITS)
    for call in range(250):
        budget.take(call * S // 8)
    last = 249 * S // 8
    assert budget.next_free_ns(last + 1) == 60 * S
    assert budget.allows(60 * S)


def test_a_budget_without_limits_allows_everything():
    budget = Budget(())
    budget.take(5)
    assert budget.allows(5)


@given(st.lists(st.integers(0, 40), max_size=80), st.integers(1, 5), st.integers(1, 50))
def test_no_window_ever_holds_more_than_its_limit_and_no_call_waits_without_need(gaps, calls, span):
    budget = Budget((RateLimit(calls, span), RateLimit(2 * calls, 3 * span)))
    now, taken = 0, []
    for gap in gaps:
        now += gap
        fits = all(
            sum(now - width < earlier for earlier in taken) < limit
            for limit, width in ((calls, span), (2 * calls, 3 * span))
        )
        assert budget.allows(now) is fits
        assert (budget.next_free_ns(now) == now) is fits
        if fits:
            budget.take(now)
            taken.append(now)
