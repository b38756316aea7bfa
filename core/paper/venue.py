"""The parts of one exchange, as its servers see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.paper.accounts import Account
    from core.paper.auth import Tokens
    from core.paper.event_log import EventLog
    from core.paper.faults import Faults
    from core.paper.instruments import Instruments
    from core.paper.market import Market
    from core.paper.matching import Matching
    from core.paper.options import ExchangeOptions
    from core.paper.price_model import PriceModel
    from core.paper.replay import Replay
    from core.paper.rest_faults import QuoteFaults
    from core.paper.statistics import Statistics
    from core.paper.wall_clock import WallClock


@dataclass(slots=True)
class Venue:
    """`model` is None while a recording is replayed, `replay` is None otherwise."""

    options: ExchangeOptions
    clock: WallClock
    log: EventLog
    instruments: Instruments
    market: Market
    account: Account
    matching: Matching
    tokens: Tokens
    faults: Faults
    quote_faults: QuoteFaults
    statistics: Statistics
    model: PriceModel | None = None
    replay: Replay | None = None
