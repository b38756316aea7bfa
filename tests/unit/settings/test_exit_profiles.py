"""What of the settings reaches the order desk."""

from __future__ import annotations

from datetime import time

import pytest

from core.exit_profiles import desk_settings
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
