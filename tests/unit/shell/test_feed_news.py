"""One warning for each time the feed is away, one word when it is back."""

from __future__ import annotations

from core.feed_news import FeedNews
from core.model.commands import Severity

S = 1_000_000_000


def told(looks, *, is_open=True):
    """What is said: (second, severity) of each alert. `looks`: live connections of 2, second by second."""
    news = FeedNews()
    found = ((at, news.look(at * S, live, 2, "closed by the server", is_open=is_open)) for at, live in enumerate(looks))
    return [(at, alert.severity) for at, alert in found if alert is not None]


def test_a_feed_that_is_away_for_five_seconds_is_told_once_and_its_return_once():
    assert told([2, *[0] * 300, *[2] * 60]) == [(6, Severity.WARNING), (311, Severity.INFO)]


def test_one_dead_connection_of_two_is_told():
    assert told([2, *[1] * 9]) == [(6, Severity.WARNING)]


def test_a_short_gap_is_not_worth_a_word():
    assert told([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2]) == []


def test_a_feed_that_comes_and_goes_is_one_episode():
    assert told([*[0] * 10, *([2] * 5 + [0] * 5) * 10, *[2] * 20]) == [(5, Severity.WARNING), (120, Severity.INFO)]


def test_nothing_is_told_while_the_market_is_closed_or_nothing_is_wanted():
    assert told([0] * 60, is_open=False) == []
    news = FeedNews()
    assert all(news.look(at * S, 0, 0, "", is_open=True) is None for at in range(60))


def test_the_reason_is_in_the_text():
    news = FeedNews()
    news.look(0, 0, 1, "HTTP 403 instead of a WebSocket", is_open=True)
    alert = news.look(6 * S, 0, 1, "HTTP 403 instead of a WebSocket", is_open=True)
    assert alert is not None
    assert "HTTP 403" in alert.text
