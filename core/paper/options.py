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
    model_step_s: float = 0.25
    pace: float = 1.0
    replay: Path | None = None
    instruments: Path | None = None
    speed: float = 1.0
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
    order_update_casing: KeyCasing = KeyCasing.CAMEL
    order_update_copies: int = 1

    totp_secret: str | None = None
    pin: str | None = None
