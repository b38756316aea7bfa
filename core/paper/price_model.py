"""Seeded prices: underlyings walk at random, options are priced from them, so that a spread behaves like a spread.

Every price is a function of (seed, step, instrument) alone. Who subscribes, and when, changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time
from random import Random
from typing import TYPE_CHECKING, Final

from core.model.instrument import Right, Segment
from core.model.money import snap_down, snap_up
from core.model.session_time import IST
from core.paper.instruments import UNDERLYINGS, Instruments
from core.paper.market import LEVELS, MarketData

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.instrument import Instrument, InstrumentKey
    from core.model.money import Paise
    from core.paper.options import ExchangeOptions

SESSION_YEAR_S: Final = 252 * 22_500
YEAR_S: Final = 365 * 86_400
MODEL_STEP_S: Final = 0.25
OPEN_AT: Final = time(10, 0, tzinfo=IST)
EXPIRES_AT: Final = time(15, 30, tzinfo=IST)
EVERY_STEP: Final = frozenset({Segment.IDX_I, Segment.NSE_EQ})
REGIME_STEPS: Final = 240
REGIMES: Final = ((0.0, 0.6), (0.0, 1.0), (1.5, 1.0), (-1.5, 1.0), (0.0, 2.2))
"""(drift in standard deviations a minute, factor on volatility): calm, usual, rising, falling, wild."""


@dataclass(slots=True)
class Walk:
    """One underlying. `spot` in rupees; `forced` is what scripts still have to add: rupees a step, steps left."""

    name: str
    key: InstrumentKey
    spot: float
    volatility: float
    drift: float = 0.0
    roughness: float = 1.0
    forced_per_step: float = 0.0
    forced_steps: int = 0


def black_scholes(spot: float, strike: float, years: float, volatility: float, right: Right) -> float:
    """Price of a European option in rupees, no interest, no dividends. Intrinsic value at and after expiry."""
    sign = 1 if right is Right.CALL else -1
    deviation = volatility * math.sqrt(max(years, 0.0))
    if deviation <= 0:
        return max(sign * (spot - strike), 0.0)
    d1 = math.log(spot / strike) / deviation + deviation / 2
    d2 = d1 - deviation
    return sign * (spot * _normal(sign * d1) - strike * _normal(sign * d2))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def smile(volatility: float, spot: float, strike: float, years: float) -> float:
    """Implied volatility at a strike: a skew towards puts and a smile, flatter for longer expiries."""
    distance = math.log(strike / spot) / math.sqrt(max(years, 1 / 365) * 12)
    return volatility * min(max(1 - 1.2 * distance + 6 * distance * distance, 0.7), 2.5)


class PriceModel:
    def __init__(
        self, instruments: Instruments, today: date, options: ExchangeOptions, now_s: Callable[[], int]
    ) -> None:
        seed = options.seed
        self._instruments = instruments
        self._options = options
        self._seed = seed
        self._now_s = now_s
        self._random = Random(seed)  # noqa: S311  seeded prices; nothing is protected by them
        self._opened = datetime.combine(today, OPEN_AT)
        self._pace = math.sqrt(options.pace)
        self.step_number = 0
        spots = {listing.instrument.key: listing.open_price / 100 for listing in instruments}
        volatility = {u.name: u.volatility for u in UNDERLYINGS}
        self._walks = {
            listing.instrument.symbol: Walk(
                listing.instrument.symbol,
                key,
                spots[key] * (1 + self._random.uniform(-0.004, 0.004)),
                volatility.get(listing.instrument.symbol, 0.2),
            )
            for key, listing in instruments.by_key.items()
            if key.segment in {Segment.IDX_I, Segment.NSE_EQ, Segment.BSE_EQ} and spots[key]
        }
        self._years: dict[date, float] = {}

    def step(self) -> None:
        """Move every underlying by one step. Options follow when they are asked for."""
        self.step_number += 1
        self._years.clear()
        for walk in self._walks.values():
            if self.step_number % REGIME_STEPS == 1:
                walk.drift, walk.roughness = self._random.choice(REGIMES)
            deviation = walk.volatility * walk.roughness * math.sqrt(MODEL_STEP_S / SESSION_YEAR_S) * self._pace
            drift = walk.drift * deviation * math.sqrt(MODEL_STEP_S / 60)
            walk.spot *= math.exp(self._random.gauss(drift, deviation))
            if walk.forced_steps:
                walk.forced_steps -= 1
                walk.spot += walk.forced_per_step

    def move(self, name: str, rupees: float, steps: int) -> None:
        """Add `rupees` to an underlying, spread evenly over the next `steps`. 0 steps moves it at once.

        Raises KeyError for an unknown underlying.
        """
        walk = self._walks[name]
        if steps <= 0:
            walk.spot += rupees
            return
        walk.forced_per_step = rupees / steps
        walk.forced_steps = steps

    def spot(self, name: str) -> float:
        """Rupees. Raises KeyError for an unknown underlying."""
        return self._walks[name].spot

    def is_due(self, key: InstrumentKey) -> bool:
        """Indices and shares trade on every step, contracts on every `contract_every`-th one, spread evenly."""
        if key.segment in EVERY_STEP:
            return True
        return (key.security_id + self.step_number) % self._options.contract_every == 0

    def theoretical(self, contract: Instrument) -> float:
        """Fair value in rupees."""
        walk = self._walks[contract.underlying]
        if contract.right is None or contract.strike is None or contract.expiry is None:
            return walk.spot
        years = self._years_to(contract.expiry)
        strike = contract.strike / 100
        return black_scholes(walk.spot, strike, years, smile(walk.volatility, walk.spot, strike, years), contract.right)

    def _years_to(self, expiry: date) -> float:
        years = self._years.get(expiry)
        if years is None:
            now_s = self._opened.timestamp() + self.step_number * MODEL_STEP_S
            years = max(datetime.combine(expiry, EXPIRES_AT).timestamp() - now_s, 0) / YEAR_S
            self._years[expiry] = years
        return years

    def data(self, key: InstrumentKey) -> MarketData:
        """The instrument's market at this step."""
        contract = self._instruments.by_key[key].instrument
        fair = self.theoretical(contract) * 100
        if key.segment is Segment.IDX_I:
            return MarketData(key, max(round(fair), 1), (), (), self._now_s())
        noise = (hash((self._seed, self.step_number, key.security_id)) >> 3) & 0xFFFF
        tick = contract.tick
        half = max(fair * 0.0015, tick / 2)
        bid = max(snap_down(int(fair - half), tick), 0)
        ask = max(snap_up(math.ceil(fair + half), tick), bid + tick, tick)
        last = (ask, bid, ask, bid)[noise & 3] or tick
        lot = contract.lot
        bids = tuple((bid - n * tick, lot * (4 + (noise >> n) % 40)) for n in range(LEVELS) if bid - n * tick > 0)
        asks = tuple((ask + n * tick, lot * (4 + (noise >> (n + 5)) % 40)) for n in range(LEVELS))
        if contract.upper_limit is not None:
            bids, asks = _inside(bids, contract), _inside(asks, contract)
        volume = lot * (1_000 + self.step_number * (1 + key.security_id % 7))
        return MarketData(key, last, bids, asks, self._now_s(), volume, lot * (40_000 + noise % 64), lot)


def _inside(levels: tuple[tuple[Paise, int], ...], contract: Instrument) -> tuple[tuple[Paise, int], ...]:
    low, high = contract.lower_limit or 0, contract.upper_limit or 0
    return tuple(level for level in levels if low <= level[0] <= high)
