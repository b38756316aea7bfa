"""What of the settings reaches the order desk."""

from __future__ import annotations

from datetime import time

import pytest

from core.exit_profiles import book_rules, desk_settings, square_off_times
from core.model.errors import ConfigurationError
from core.settings import load_settings


@pytest.mark.parametrize(
    ("environ", "last_send"),
    [
        ({}, time(15, 18)),
        ({"MARKET_HOURS": "always"}, time.max),
        ({"MARKET_HOURS": "always", "INTRADAY_LAST_SEND": "15:18"}, time(15, 18)),
        ({"INTRADAY_LAST_SEND": "15:10"}, time(15, 10)),
    ],
)
def test_a_market_that_is_always_open_has_a_last_intraday_order_only_when_asked_for(environ, last_send):
    assert desk_settings(load_settings(environ, None)).intraday_last_send == last_send


@pytest.mark.parametrize(
    ("product", "at", "more", "last"),
    [
        ("INTRADAY", "15:18", {}, "15:18:00"),
        ("INTRADAY", "15:11", {"INTRADAY_LAST_SEND": "15:10"}, "15:10:00"),
        ("INTRADAY", "15:45", {"INTRADAY_LAST_SEND": "15:50"}, "15:40:00"),
        ("INTRADAY", "15:18", {"INTRADAY_LAST_SEND": "15:18", "MARKET_HOURS": "always"}, "15:18:00"),
        ("MARGIN", "15:40", {}, "15:40:00"),
        ("CNC", "15:15", {}, "15:15:00"),
        ("MTF", "15:29:59", {}, "15:15:00"),
    ],
)
def test_a_square_off_that_could_send_no_order_is_refused(product, at, more, last):
    settings = load_settings({f"SQUARE_OFF_{product}": at, **more}, None)
    with pytest.raises(ConfigurationError) as caught:
        book_rules(settings)
    came = at if at.count(":") == 2 else f"{at}:00"
    assert caught.value.problem.startswith(f"SQUARE_OFF_{product} is {came}, expected a time before {last}: ")
    assert caught.value.remedy == "Set an earlier time, or leave it out."


@pytest.mark.parametrize(
    ("product", "at", "more"),
    [
        ("INTRADAY", "15:17:59", {}),
        ("INTRADAY", "23:30", {"MARKET_HOURS": "always"}),
        ("MARGIN", "15:39:59", {}),
        ("MARGIN", "23:30", {"MARKET_HOURS": "always"}),
        ("CNC", "15:14:59", {}),
        ("CNC", "23:30", {"MARKET_HOURS": "always"}),
    ],
)
def test_the_last_moment_before_is_taken(product, at, more):
    assert len(square_off_times(load_settings({f"SQUARE_OFF_{product}": at, **more}, None))) == 1
