"""Puts the parts of an exchange together from its options."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.model.errors import ConfigurationError
from core.paper import instruments as listed
from core.paper.accounts import Account
from core.paper.auth import Tokens
from core.paper.event_log import EventLog
from core.paper.faults import Faults
from core.paper.market import Market
from core.paper.matching import Matching
from core.paper.price_model import PriceModel
from core.paper.replay import Replay, instruments_beside, read_rows
from core.paper.rest_faults import QuoteFaults
from core.paper.statistics import Statistics
from core.paper.venue import Venue

if TYPE_CHECKING:
    from datetime import date

    from core.paper.options import ExchangeOptions
    from core.paper.wall_clock import WallClock


def compose(options: ExchangeOptions, clock: WallClock) -> Venue:
    """Needs a running event loop. Raises ConfigurationError for a faults or instruments file it cannot read."""
    today = options.date or clock.ist_now().date()
    instruments = _instruments(options, today)
    faults = Faults(options.seed)
    if options.faults:
        faults.load(options.faults)
    tokens = Tokens(options, clock)
    account = Account(tokens.client_id)
    market = Market(instruments, clock.utc_s)
    log = EventLog(clock, options.log_limit, options.log)
    matching = Matching(market, account, options, clock, log, asyncio.get_running_loop())
    venue = Venue(
        options,
        clock,
        log,
        instruments,
        market,
        account,
        matching,
        tokens,
        faults,
        QuoteFaults(market),
        Statistics(clock),
    )
    if options.replay:
        venue.replay = Replay(read_rows(options.replay, instruments), market, options, clock)
    else:
        venue.model = PriceModel(instruments, today, options, clock.utc_s)
    return venue


def _instruments(options: ExchangeOptions, today: date) -> listed.Instruments:
    try:
        path = options.instruments or (instruments_beside(options.replay) if options.replay else None)
        if path:
            return listed.load(path)
        return listed.generate(today, options.strikes_each_side, options.extra_instruments)
    except (OSError, KeyError, ValueError, StopIteration) as error:
        remedy = "Give a readable master with --instruments."
        raise ConfigurationError(f"The instruments cannot be read: {error!r}.", remedy) from error
