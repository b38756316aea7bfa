"""Implied volatility and Greeks of a position's legs and of the whole, and its P&L when the market moves at a stroke.

Pure numbers from marks. What cannot be computed is None with the reason in `note`, and so is every sum that it is part of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.model.money import PAISE_PER_RUPEE
from core.pricing.black import black_76, black_price, black_scholes
from core.pricing.expiry_time import expiry_moment_ns, years_to_expiry
from core.pricing.forward import discount_of, spot_forward
from core.pricing.implied_volatility import implied_volatility, why_undetermined

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, time

    from core.model.instrument import InstrumentKey, Right
    from core.model.money import Paise
    from core.model.position import Leg, Position

SPOT_SHOCKS: Final = (-3, -2, -1, 0, 1, 2, 3)
"""Per cent of the underlying's price."""
VOLATILITY_SHOCKS: Final = (-20, 0, 20)
"""Per cent of each leg's own implied volatility: +20 makes 15 % into 18 %."""


@dataclass(frozen=True, slots=True)
class PricingMoment:
    """What is needed beside the marks. `now_ns` is UTC; `closes_at` (IST) is when options end on their expiry day.

    `spot` in paise. `forwards` in paise by expiry, a future's mark or parity-implied: options of such an expiry are judged
    by Black-76 on it, the others by Black-Scholes on the spot. `rate` and `dividend_yield` per year, 1.0 is 100 %.
    """

    now_ns: int
    closes_at: time
    spot: Paise | None = None
    forwards: Mapping[date, float] = field(default_factory=dict)
    rate: float = 0.0
    dividend_yield: float = 0.0


@dataclass(frozen=True, slots=True)
class OptionTerms:
    """What an option leg is priced with. `forward` in paise at the leg's expiry; `is_on_spot`: it was made from the spot."""

    right: Right
    strike: Paise
    years: float
    forward: float
    discount: float
    is_on_spot: bool


@dataclass(frozen=True, slots=True)
class LegGreeks:
    """The leg's own share, signed by its units: a short option has negative gamma and vega and gains by theta.

    `iv` per year, 1.0 is 100 %; None also for stock and futures, which have none (`terms` is None, the Greeks are known).
    `delta` in units of the underlying: paise of P&L for each paisa that it rises (the forward of the expiry, where options are
    judged on one). `gamma`: change of that delta for each rupee. `theta`: paise for each calendar day, at the pace of this
    moment. `vega`: paise for each volatility point.
    """

    leg: Leg
    mark: Paise | None
    terms: OptionTerms | None = None
    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PositionGreeks:
    """Sums over the legs in the same units and signs. All are None while one leg's are; `note` names the first such leg.

    `iv` is the volatility of the position: the average of its legs' implied volatilities, weighted by the size of each
    leg's vega (a sold leg weighs as much as a bought one, so that a spread has the volatility of its legs and not of
    their difference). None also for a position without options.
    """

    legs: tuple[LegGreeks, ...]
    iv: float | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shock:
    """P&L in paise of the open legs, from their entries, after the underlying and the volatilities moved by per cents."""

    spot_percent: float
    volatility_percent: float
    pnl: Paise | None


def position_greeks(position: Position, marks: Mapping[InstrumentKey, Paise], moment: PricingMoment) -> PositionGreeks:
    """Greeks from marks in paise; an instrument without a mark is left out of `marks`."""
    legs = tuple(leg_greeks(leg, marks.get(leg.instrument.key), moment) for leg in position.legs)
    unknown = next((leg for leg in legs if leg.note), None)
    if unknown is not None:
        return PositionGreeks(legs, None, None, None, None, None, f"{unknown.leg.instrument.symbol}: {unknown.note}")
    return PositionGreeks(
        legs,
        position_iv(legs),
        delta=sum(leg.delta or 0.0 for leg in legs),
        gamma=sum(leg.gamma or 0.0 for leg in legs),
        theta=sum(leg.theta or 0.0 for leg in legs),
        vega=sum(leg.vega or 0.0 for leg in legs),
    )


def position_iv(legs: tuple[LegGreeks, ...]) -> float | None:
    """One volatility for the legs, as `PositionGreeks.iv` defines it. None while an option's is unknown."""
    weighted = weights = 0.0
    for leg in legs:
        if leg.note:
            return None
        if leg.iv is not None:
            weight = abs(leg.vega or 0.0)
            weighted += weight * leg.iv
            weights += weight
    return weighted / weights if weights else None


def leg_greeks(leg: Leg, mark: Paise | None, moment: PricingMoment) -> LegGreeks:
    if leg.instrument.right is None:
        return LegGreeks(leg, mark, delta=float(leg.units), gamma=0.0, theta=0.0, vega=0.0)
    terms = option_terms(leg, moment)
    if isinstance(terms, str):
        return LegGreeks(leg, mark, note=terms)
    if mark is None:
        return LegGreeks(leg, mark, terms, note="no price")
    right, strike, years, forward, discount = terms.right, terms.strike, terms.years, terms.forward, terms.discount
    iv = implied_volatility(right, mark, forward, strike, years, discount, leg.instrument.tick / 2)
    if iv is None:
        return LegGreeks(leg, mark, terms, note=why_undetermined(right, mark, forward, strike, years, discount))
    if terms.is_on_spot and moment.spot is not None:
        value = black_scholes(right, moment.spot, strike, years, iv, moment.rate, moment.dividend_yield)
    else:
        value = black_76(right, forward, strike, years, iv, moment.rate)
    units = leg.units
    return LegGreeks(
        leg,
        mark,
        terms,
        iv,
        delta=units * value.delta,
        gamma=units * value.gamma * PAISE_PER_RUPEE,
        theta=units * value.theta_per_day,
        vega=units * value.vega_per_point,
    )


def option_terms(leg: Leg, moment: PricingMoment) -> OptionTerms | str:
    """What the option leg is priced with, or what is missing for it in words."""
    right, strike, expiry = leg.instrument.right, leg.instrument.strike, leg.instrument.expiry
    if right is None or strike is None or expiry is None:
        return "no right, strike or expiry in the instrument master"
    years = years_to_expiry(moment.now_ns, expiry_moment_ns(expiry, moment.closes_at))
    discount = discount_of(years, moment.rate)
    forward = moment.forwards.get(expiry)
    if forward is not None:
        return OptionTerms(right, strike, years, forward, discount, is_on_spot=False)
    if moment.spot is None:
        return "no price of the underlying"
    forward = spot_forward(moment.spot, years, moment.rate, moment.dividend_yield)
    return OptionTerms(right, strike, years, forward, discount, is_on_spot=True)


def position_shock(greeks: PositionGreeks, spot_percent: float, volatility_percent: float) -> Paise | None:
    """P&L of the open legs in paise, from their entries, if the market moved now: before any time has passed.

    The spot, every forward, and the marks of stock and futures legs move by `spot_percent` (≥ −100), each leg's implied
    volatility by `volatility_percent` of itself (≥ −100). None while a volatility, a mark or an entry is unknown.
    """
    total = 0.0
    move, widening = 1 + spot_percent / 100, 1 + volatility_percent / 100
    for of_leg in greeks.legs:
        leg, terms = of_leg.leg, of_leg.terms
        if leg.entry is None or of_leg.mark is None or of_leg.note:
            return None
        price = of_leg.mark * move
        if terms is not None and of_leg.iv is not None:
            deviation = of_leg.iv * widening * math.sqrt(terms.years)
            price = black_price(terms.right, terms.forward * move, terms.strike, deviation, terms.discount)
        total += leg.units * (price - leg.entry)
    return round(total)


def shock_grid(
    greeks: PositionGreeks,
    spot_percents: tuple[float, ...] = SPOT_SHOCKS,
    volatility_percents: tuple[float, ...] = VOLATILITY_SHOCKS,
) -> tuple[Shock, ...]:
    """`position_shock` for every pair, volatilities in rows."""
    return tuple(
        Shock(spot, volatility, position_shock(greeks, spot, volatility))
        for volatility in volatility_percents
        for spot in spot_percents
    )
