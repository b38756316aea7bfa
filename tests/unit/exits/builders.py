"""Positions, quotes and guards in one line each. Prices and amounts in rupees where the name does not say paise."""

from datetime import date, datetime

from core.exits.guard_settings import GuardSettings
from core.exits.position_guard import PositionGuard
from core.model.exit_levels import AmountLevel, DaysLevel, ExitLevels, LevelSource, TrailingLevel
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.market import Quote, QuoteSource
from core.model.position import Leg, Position, Product
from core.model.session_time import IST
from core.position_cache_manager import PositionCacheManager

ROW = LevelSource.LEVEL_ROW
MS = 1_000_000
S = 1_000_000_000
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=IST)
EXPIRY = date(2026, 12, 24)


def key(security_id, segment=Segment.NSE_FNO):
    return InstrumentKey(segment, security_id)


def leg(
    security_id,
    units,
    entry,
    *,
    strike=None,
    right=None,
    expiry=EXPIRY,
    lot=75,
    product=Product.MARGIN,
    underlying="NIFTY",
):
    """`entry` and `strike` in rupees; None is unknown."""
    instrument = Instrument(
        key(security_id),
        f"NIFTY-{security_id}",
        underlying,
        lot,
        5,
        strike=None if strike is None else round(strike * 100),
        expiry=expiry,
        right=right,
    )
    return Leg(security_id, instrument, product, units, None if entry is None else round(entry * 100))


def call(security_id, units, strike, entry, **terms):
    return leg(security_id, units, entry, strike=strike, right=Right.CALL, **terms)


def put(security_id, units, strike, entry, **terms):
    return leg(security_id, units, entry, strike=strike, right=Right.PUT, **terms)


def stock(security_id, units, entry):
    return leg(security_id, units, entry, expiry=None, lot=1)


def position(*legs, strategy_id=1, name="Iron Condor"):
    return Position(strategy_id, name, "NIFTY", legs)


def quote(security_id, last, *, bid=None, ask=None, at=0, exchange_time=None, source=QuoteSource.FEED, book=True):
    """Rupees; a tight book of one tick each side unless given or `book` is False. `at` is nanoseconds."""
    paise = round(last * 100)
    if book:
        bid_paise = paise - 5 if bid is None else round(bid * 100)
        ask_paise = paise + 5 if ask is None else round(ask * 100)
    else:
        bid_paise = None if bid is None else round(bid * 100)
        ask_paise = None if ask is None else round(ask * 100)
    return Quote(key(security_id), paise, bid_paise, ask_paise, 75, 75, exchange_time, at, source)


def amount(rupees):
    return AmountLevel(round(rupees * 100), ROW)


def trailing(arm, distance):
    return TrailingLevel(round(arm * 100), round(distance * 100), ROW)


def days(count):
    return DaysLevel(count, ROW)


class Desk:
    """One guarded position and its cache, driven by hand. `at` in nanoseconds moves on with each step."""

    def __init__(self, *legs, levels=None, peak=None, session_open=True, feed_live=True, settings=None, ist=NOON):
        self.cache = PositionCacheManager()
        self.booked = self.cache.put(position(*legs))
        self.guard = PositionGuard(self.booked, levels or ExitLevels(), settings or GuardSettings(), peak)
        self.told = {"session_open": session_open, "is_trading_day": True, "feed_live": feed_live}
        self.ist = ist
        self.at = 0
        self.clock(0)

    def clock(self, after=0, **told):
        """Tell the time `after` nanoseconds later."""
        self.at += after
        self.told |= told
        return self.guard.on_time(self.at, self.ist, **self.told)

    def tick(self, security_id, last, *, after=2 * S, **terms):
        """A quote `after` nanoseconds later, through the cache: the guard sees it only when the cache says so."""
        self.at += after
        arrived = quote(security_id, last, at=self.at, **terms)
        if self.booked in self.cache.apply(arrived):
            return self.guard.on_quote(arrived)
        return None
