"""Sentences of the strategy builder's trees, as they stand in its rows."""

import pytest

from core.exits.condition_words import (
    days_words,
    greek_words,
    losing_words,
    step_words,
    stop_words,
    target_words,
)
from core.model.profile import Asked, Base
from core.model.special_levels import GreekKind

PAYOFF, PREMIUM, CREDIT = Base.PAYOFF, Base.PREMIUM, Base.CREDIT


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("50% of max profit", Asked(50)),
        ("50 % of the maximum profit", Asked(50)),
        ("62.5% profit", Asked(62.5)),
        ("50% of debit paid", Asked(50, PREMIUM)),
        ("50% of premium", Asked(50, PREMIUM)),
        ("50% of credit received", Asked(50, CREDIT)),
        ("1.5x credit", Asked(150, CREDIT)),
        ("2 times the debit", Asked(200, PREMIUM)),
    ],
)
def test_a_target_is_read(text, asked):
    assert target_words(text) == (asked, "")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("50-100% of debit paid", Asked(50, PREMIUM)),
        ("25-40% of max profit potential", Asked(25)),
        ("25 to 50% of max credit", Asked(25, CREDIT)),
        ("40–60% of max profit", Asked(40)),
    ],
)
def test_a_range_begins_with_its_lower_end_and_says_so(text, asked):
    found = target_words(text)
    assert found is not None
    assert found.asked == asked
    assert found.note == f"{asked.value:g} % of {text!r}, where the range begins"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Manual monitoring required",
        "At short strike or 50% of max profit",
        "0% of max profit",
        "0x credit",
        "50",
        "50% of max loss",
        "50% of max profit or 21 DTE",
        "50% of max profit!!",
        "٥٠% of max profit",
        "9999999% of max profit",
    ],
)
def test_a_target_that_is_not_certain_is_not_guessed(text):
    assert target_words(text) is None


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("2.0x credit received", Asked(200, CREDIT)),
        ("0.5x credit received", Asked(50, CREDIT)),
        ("2x debit paid", Asked(200, PREMIUM)),
        ("50% of max loss", Asked(50)),
        ("50% of max risk", Asked(50)),
        ("50% of premium", Asked(50, PREMIUM)),
        ("If position shows 50% of max loss", Asked(50)),
        ("If loss exceeds 50% of max risk", Asked(50)),
        ("If loss exceeds 2x credit received", Asked(200, CREDIT)),
        ("Exit if loss > 2x credit", Asked(200, CREDIT)),
        ("If debit loses 50% of value", Asked(50, PREMIUM)),
        ("If premium loses 50% of its value.", Asked(50, PREMIUM)),
    ],
)
def test_a_stop_is_read(text, asked):
    assert stop_words(text) == (asked, "")


@pytest.mark.parametrize(
    "text",
    [
        "If short put tested or loss > credit",
        "If underlying moves beyond breakeven points",
        "If spot drops below short strike by 3%",
        "50% of max profit",
        "2x",
        "0x credit",
        "If premium loses 0% of value",
        "Manual monitoring required",
    ],
)
def test_a_stop_that_is_not_certain_is_not_guessed(text):
    assert stop_words(text) is None


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("With 21 days to expiry", 21),
        ("7 DTE", 7),
        ("at 5 days", 5),
        ("0 DTE", None),
        ("Close before near-term expiry", None),
        ("50% time decay or 10 DTE", None),
        ("With 10 days to expiry or 50% time decay", None),
    ],
)
def test_days(text, days):
    assert days_words(text) == days


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Loss > 1838.43 with < 21 DTE", (1838_43, 21)),
        ("loss > ₹1000 with < 7 dte", (1000_00, 7)),
        ("Loss > 1838.43 with < 0 DTE", None),
        ("Loss > 1838.43", None),
        ("Loss > half with < 21 DTE", None),
    ],
)
def test_the_losing_time_stop(text, found):
    words = losing_words(text)
    assert words is None if found is None else (round(words.loss), words.days) == found


def test_a_step_has_a_profit_and_an_action():
    assert step_words("50% profit - close half position") == (Asked(50), "close half position")
    assert step_words("100% profit - Close 75% position") == (Asked(100), "close 75% position")
    assert step_words("0% profit - close half position") is None
    assert step_words("Trail stop on remainder") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Daily theta > 5% of position value", (GreekKind.THETA, 5)),
        ("IV contracts > 20%", (GreekKind.IV_DOWN, 20)),
        ("IV expands > 50 %", (GreekKind.IV_UP, 50)),
        ("Gamma risk doubles", (GreekKind.GAMMA, 2)),
        ("Theta income < expected", None),
        ("IV contracts > 0%", None),
        ("Position delta exceeds threshold", None),
    ],
)
def test_greeks(text, found):
    assert greek_words(text) == found
