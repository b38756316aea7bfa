"""The line that tells a trader what the prices hang on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.connection_view import feed_detail
from core.monitor_view import ConnectionView
from core.view_tables import connection_line
from core.websocket_manager import FeedStatus

WELL = FeedStatus(
    is_live=True, lines_live=2, connected=2, needed=2, wanted=7_000, subscribed=7_001, unplaced=0, last_data_ns=1, packets=9,
    corrupt=0, unknown=0, bad_prices=0, text_frames=0, reconnects=0, resent=0, blocked_until_ns=None, last_end="",
)  # fmt: skip
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"lines_live": 1}, "1 of 2 connections live"),
        ({"blocked_until_ns": 65 * SECOND}, "Dhan blocks new ones for 60 s"),
        ({"blocked_until_ns": 5 * SECOND}, ""),
        ({"unplaced": 12}, "no room for 12 instruments, REST prices them"),
        ({"lines_live": 0, "unplaced": 1}, "0 of 2 connections live, no room for 1 instruments, REST prices them"),
    ],
)
def test_only_what_is_wrong_with_the_feed_is_said(change: dict[str, int], said: str) -> None:
    assert feed_detail(replace(WELL, **change), 5 * SECOND) == said


def test_the_line_names_how_prices_are_believed_the_token_and_redis() -> None:
    view = ConnectionView(
        "connected", "live", "connected", 13, 12, 1, 0.25,
        feed_detail="1 of 2 connections live", prices={"live": 9, "on REST": 4}, token="good until 21 Nov 08:45", redis="open",
    )  # fmt: skip

    assert connection_line(view) == (
        "Feed: live (1 of 2 connections live)   Data age: 0.2 s   Order updates: connected   Trades: connected   "
        "Cached prices: 12   Subscribed instruments: 13   Reconnects: 1   Prices: 9 live, 4 on REST   "
        "Token: good until 21 Nov 08:45   Redis: open"
    )
