"""What the monitor shows of its connections, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.dhan.token_facts import Standing
from core.exits.price_judgement import TrustState
from core.model.session_time import NS_PER_S, ist_datetime
from core.monitor_view import ConnectionView
from core.redis_prices import RedisState
from core.stores.base import StoreState

if TYPE_CHECKING:
    from core.monitor_parts import Parts
    from core.websocket_manager import FeedStatus

_REDIS_WORDS: Final = {RedisState.OFF: "connecting", RedisState.OPEN: "away", RedisState.CLOSED: "connected"}
_SHOWN_AS: Final = {TrustState.ASKED: TrustState.QUIET}
"""That REST is being asked about a quiet price is no news for a trader."""


def connection_of(parts: Parts) -> ConnectionView:
    feed = None if parts.feed is None else parts.feed.status
    now = parts.clock.monotonic_ns()
    state, age = "off", None
    if feed is not None:
        state = "live" if feed.is_live else "stale" if feed.connected else "connecting"
        age = None if feed.last_data_ns is None else (now - feed.last_data_ns) / NS_PER_S
    stream = parts.order_updates
    updates = "off" if stream is None else "connected" if stream.status.is_connected else "connecting"
    cached = sum(parts.price_cache.quote(key) is not None for key in parts.cache.keys())  # noqa: SIM118  a method, not a dict
    redis = parts.prices.redis
    return ConnectionView(
        store=_store(parts),
        feed=state,
        order_updates=updates,
        subscribed=0 if feed is None else feed.subscribed,
        cached_prices=cached,
        reconnects=0 if feed is None else feed.reconnects,
        data_age_s=age,
        feed_detail="" if feed is None else feed_detail(feed, now),
        prices=_prices(parts),
        token=_token(parts),
        redis="off" if redis is None else _REDIS_WORDS[redis.status.state],
        readers={
            each.name: {
                "lag_s": each.lag_ns / NS_PER_S,
                "worst_lag_s": each.lag_max_ns / NS_PER_S,
                "replaced": each.conflated,
            }
            for each in parts.prices.fanout.counts()
        },
    )


def feed_detail(feed: FeedStatus, now_ns: int) -> str:
    """What of the feed is not as it should be, "" for nothing. `now_ns` is monotonic."""
    found = []
    if feed.lines_live < feed.needed:
        found.append(f"{feed.lines_live} of {feed.needed} connections live")
    if feed.blocked_until_ns is not None and feed.blocked_until_ns > now_ns:
        found.append(f"Dhan blocks new ones for {(feed.blocked_until_ns - now_ns) / NS_PER_S:.0f} s")
    if feed.unplaced:
        found.append(f"no room for {feed.unplaced} instruments, REST prices them")
    return ", ".join(found)


def _prices(parts: Parts) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state, count in parts.prices.watch.trust.counts().items():
        if count:
            name = _SHOWN_AS.get(state, state).value
            counts[name] = counts.get(name, 0) + count
    return counts


def _token(parts: Parts) -> str:
    status = parts.token.status
    word = "good" if status.standing is Standing.TRUSTED else status.standing.name.lower()
    if status.expires_at is None or status.is_dead:
        return word
    return f"{word} until {ist_datetime(status.expires_at * NS_PER_S):%d %b %H:%M}"


def _store(parts: Parts) -> str:
    """connected, polling or unreadable, with the store's own words where it has some."""
    health = parts.store.health()
    if not parts.keeper.is_reading or health.state is StoreState.AWAY:
        state = "unreadable"
    else:
        state = "connected" if health.state is StoreState.LIVE else "polling"
    return f"{state} ({health.detail})" if health.detail else state
