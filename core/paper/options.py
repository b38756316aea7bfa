"""Everything that can be chosen about the local exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


class StopLossMarket(StrEnum):
    """What happens to STOP_LOSS_MARKET (dhan_v2_protocol 8.5)."""

    BROKEN = "broken"
    """The trigger is dropped and the order fills at once as a limit: seen live in July 2026."""
    REFUSED = "refused"
    """DH-906 "Trigger Price should be greater than Price": also seen live."""
    WORKING = "working"
    """As documented: triggers, then becomes a protected limit."""


class FeedRefusal(StrEnum):
    """How the market feed refuses a bad token (dhan_v2_protocol 1.5). All three are seen live."""

    CODE_50 = "code_50"
    RESET = "reset"
    HTTP_401 = "http_401"


class KeyCasing(StrEnum):
    """Key casing of order updates (dhan_v2_protocol 4.1)."""

    CAMEL = "camel"
    PASCAL = "pascal"
    BOTH = "both"


class PreviousClose(StrEnum):
    """After which subscriptions a previous-close packet is sent (dhan_v2_protocol 2.6)."""

    ALL = "all"
    INDICES = "indices"
    NONE = "none"


class TradeTime(StrEnum):
    """How the feed writes the time of the last trade (dhan_v2_protocol 2.6; reliability F25)."""

    IST = "ist"
    """The IST wall clock as if it were UTC: what was seen."""
    UTC = "utc"
    """The true epoch: what a reader of the documentation expects."""


class ReplayTime(StrEnum):
    """The trade times of a replay."""

    RECORDED = "recorded"
    """The row's own. At `speed` 60 they run 60 s in a wall second, and the day may be years ago."""
    NOW = "now"
    """The wall clock at which the row is sent: a live feed of today that moves `speed` times as fast."""


class TokenDeath(StrEnum):
    """What a feed connection sees when its token dies (1.5: not documented)."""

    STAY = "stay"
    """Nothing: open sockets live on, only new requests and connections are refused."""
    CODE_50 = "code_50"
    """Code-50 packet 807 (expired) or 809 (invalid), then close."""
    RESET = "reset"
    """TCP reset, without a word; order-update sockets too."""


@dataclass(slots=True)
class ExchangeOptions:
    """Mutable: tests and `/control/settings` change the quirks while the exchange runs.

    Times are in seconds unless the name says otherwise. `date` is the IST trading date of generated instruments, None
    for today. `speed` 0 replays as fast as the clients take it. `model_step_s` 0 stops the model's own clock: prices
    then move only by `LocalExchange.step()`. `pace` multiplies the model's variance.
    """

    seed: int = 1
    date: date | None = None
    strikes_each_side: int = 25
    """Up to 249; beyond that the ids of two underlyings would meet."""
    extra_instruments: int = 0
    """This many more NIFTY options, with expiries further away: 25,000 fill five connections."""
    contract_every: int = 2
    """Contracts of the model move on every n-th step: bounds the packets per second of a large exchange."""
    model_step_s: float = 0.25
    pace: float = 1.0
    replay: Path | None = None
    instruments: Path | None = None
    speed: float = 1.0
    replay_time: ReplayTime = ReplayTime.RECORDED
    replay_quiet_s: float = 0.2
    """The replay starts after this long without a new subscription: clients subscribe in several messages."""
    faults: Path | None = None
    log: Path | None = None
    log_limit: int = 100_000

    transit_s: float = 0.03
    cancel_status: int = 202
    order_by_id_as_array: bool = False
    stop_loss_market: StopLossMarket = StopLossMarket.BROKEN
    rate_limits: bool = True
    static_ip_matches: bool = True
    check_price_protection: bool = True
    data_plan_active: bool = True

    feed_refusal: FeedRefusal = FeedRefusal.CODE_50
    feed_ping_s: float = 10.0
    feed_silence_limit_s: float = 40.0
    feed_stacking: int = 1
    """Packets joined into one WebSocket message."""
    feed_unknown_codes: bool = False
    feed_first_quote: bool = True
    """Send the current quote right after a subscription. Never done while a recording is replayed."""
    previous_close: PreviousClose = PreviousClose.ALL
    ltt_encoding: TradeTime = TradeTime.IST
    order_update_casing: KeyCasing = KeyCasing.CAMEL
    order_update_copies: int = 1

    token_death: TokenDeath = TokenDeath.STAY
    token_validity_s: int = 86_400
    """Of the first token, of renewed and of minted ones."""
    totp_secret: str | None = None
    pin: str | None = None
