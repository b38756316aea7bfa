"""The faults the exchange can inject, by name. `where` chooses the occasion; the fields of each stand beside it.

At a request or a subscription: `nth`, `every`, `probability`, `times` of `where` count the occasions that fit.
At a time: now, or `after_s` after the first subscription, then each `every_s` (wall seconds, whatever the speed of a
replay); `where` then counts these moments. `where.connection` is the number of a feed connection in the order of
arrival (see `/control/statistics`), or "oldest", "newest", "random"; without it all are meant. A fault with `seconds`
ends by itself, with `seconds` 0 it takes the earlier one back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FaultKind(StrEnum):
    DROP_RESPONSE = "drop_response_after_accept"
    """TCP reset after the request took effect."""
    LOSE = "lose_before_accept"
    """TCP reset, the request never takes effect."""
    LATE_ARRIVAL = "late_arrival"
    """TCP reset at once; the request takes effect `seconds` later."""
    DELAY = "delay_response"
    """The answer comes `seconds` later; the request took effect at once."""
    HTTP_5XX = "http_5xx"
    """`status` (default 502) with an HTML body, before the request takes effect unless `after_accept` is true."""
    GARBAGE = "garbage_200"
    """The request takes effect, the answer is 200 with an HTML body."""
    REFUSE = "refuse"
    """Refused before it takes effect: `status`, `code`, `message`. A numeric code has the shape of the data side."""
    RATE_LIMIT = "rate_limit"
    """429 DH-904."""
    REJECT = "reject"
    """Answered 200, then REJECTED with `message`."""

    REST_SKEW = "rest_skew"
    """For `seconds`, quotes over REST are `factor` times the truth (last price and book)."""
    REST_STALE = "rest_stale"
    """For `seconds`, quotes over REST stay what they are now, their trade time too."""
    REST_MISSING = "rest_missing"
    """For `seconds`, quotes over REST leave the instrument out (all, without `security_id`), still with success."""

    FEED_RESET = "feed_reset"
    """TCP reset of live connections. With `every_s`, a storm."""
    FEED_SILENCE = "feed_silence"
    """`seconds` without data while the socket stays open and pings flow, for new connections too; with `security_id`
    only that instrument, with `connection` only there."""
    FEED_DISCONNECT = "feed_disconnect"
    """Code-50 packet with `code` (default 800), then close."""
    FEED_429 = "feed_429"
    """For `seconds`, upgrades of the feed are answered 429 (or `status`)."""
    FEED_DROP_IN_HANDSHAKE = "feed_drop_in_handshake"
    """For `seconds`, new connections are reset instead of upgraded."""
    FEED_DROP_AFTER_101 = "feed_drop_after_101"
    """For `seconds`, new connections are reset right after the upgrade."""
    FEED_REFUSE = "feed_refuse"
    """For `seconds`, new connections are upgraded, told `code` (default 805) in a code-50 packet, and closed."""
    FEED_IGNORE_SUBSCRIBE = "feed_ignore_subscribe"
    """A subscribe message is lost. `security_id` fits a message that names it."""
    FEED_UNSUBSCRIBE = "feed_unsubscribe"
    """`security_id` is dropped from its connections, silently, until it is subscribed again."""
    FEED_LAG = "feed_lag"
    """For `seconds`, packets leave late, in order, with their true trade times. See `feed_lag.LagCurve`."""
    FEED_FREAK = "feed_freak"
    """One packet with a last price `factor` (default 2) times the truth; `with_book` moves its book along."""
    FEED_PACKET = "feed_packet"
    """One malformed or misplaced packet of `shape` to each subscriber. See `odd_packets.Shape`."""

    MARKET_HALT = "market_halt"
    """For `seconds`, nothing changes and nothing is sent: the exchange has halted (`security_id`: one contract)."""
    MARKET_ONE_SIDED = "market_one_sided"
    """For `seconds`, the book has no `without` side: "ask" (default), "bid" or "both". A circuit."""
    MARKET_FROZEN_LAST = "market_frozen_last"
    """For `seconds`, the book moves and nothing trades: last price and trade time stand still."""

    ORDER_UPDATES_RESET = "order_updates_reset"
    ORDER_UPDATES_SILENCE = "order_updates_silence"
    """`seconds` without updates while the socket stays open and pings flow. What happens meanwhile is never sent."""
    ORDER_UPDATES_REFUSE = "order_updates_refuse"
    """For `seconds`, a good login is taken and reset 10 ms later, as with a bad token."""
    ORDER_UPDATES_DISORDER = "order_updates_disorder"
    """For `seconds`, updates of `window_s` (default 0.05) leave together, newest first."""
    ORDER_UPDATES_FRAME = "order_updates_frame"
    """One frame of `shape` to every listener. See `order_update_frames.FrameShape`; with `message`, that text."""

    TOKEN_INVALIDATED = "token_invalidated"  # noqa: S105  the name of a fault
    """The current token dies. `sockets` ("stay", "code_50", "reset") overrides `ExchangeOptions.token_death`."""
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  the name of a fault
    """The current token is refused as expired (807) from now on. `sockets` as above."""


AT_A_REQUEST: Final = frozenset(
    {
        FaultKind.DROP_RESPONSE,
        FaultKind.LOSE,
        FaultKind.LATE_ARRIVAL,
        FaultKind.DELAY,
        FaultKind.HTTP_5XX,
        FaultKind.GARBAGE,
        FaultKind.REFUSE,
        FaultKind.RATE_LIMIT,
        FaultKind.REJECT,
        FaultKind.FEED_IGNORE_SUBSCRIBE,
    }
)
"""Wait for their occasion. All others happen at a time."""
OF_ORDERS: Final = frozenset({FaultKind.DROP_RESPONSE, FaultKind.LOSE, FaultKind.LATE_ARRIVAL, FaultKind.REJECT})
"""Without a path in `where`, these mean POST /orders."""
OF_NEW_CONNECTIONS: Final = frozenset(
    {FaultKind.FEED_429, FaultKind.FEED_DROP_IN_HANDSHAKE, FaultKind.FEED_DROP_AFTER_101, FaultKind.FEED_REFUSE}
)
"""In force for `seconds`; `where` counts the connections that arrive meanwhile, not the moments."""
