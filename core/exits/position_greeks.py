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
    from collections.abc import Iterable, Mapping
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
    """What an option leg is priced with. `forward` in paise at the leg's expiry, `spot` where the forward was made from it.

    `discount` is today's worth of 1 at expiry, `years` are to the close of the expiry day.
    """

    right: Right
    strike: Paise
    years: float
    discount: float
    forward: float
    spot: Paise | None


@dataclass(frozen=True, slots=True)
class Greeks:
    """Signed by units: a sold option has negative gamma and vega and gains by theta.

    `delta` in units of the underlying: paise of P&L for each paisa that it rises (that the forward of the expiry rises, where
    options are judged on one). `gamma`: change of that delta for each rupee. `theta`: paise for each calendar day, at the pace
    of this moment (on the last day it can exceed what an option is worth). `vega`: paise for each volatility point.
    """

    delta: float
    gamma: float
    theta: float
    vega: float


@dataclass(frozen=True, slots=True)
class LegGreeks:
    """One leg's share. `iv` per year, 1.0 is 100 %. None with a `note` is unknown, and the note says why.

    Stock and futures have no `terms` and no `iv`; their delta is 1 for each unit and the rest 0.
    """

    leg: Leg
    mark: Paise | None
    terms: OptionTerms | None = None
    iv: float | None = None
    greeks: Greeks | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PositionGreeks:
    """Each leg's share and the `total`, None while one leg's is unknown; `note` names the first such leg and why.

    `iv` is the volatility of the position: the average of its legs' implied volatilities, weighted by the size of each
    leg's vega (a sold leg weighs as much as a bought one, so that a spread has the volatility of its legs and not of
    their difference). None also for a position without options.
    """

    legs: tuple[LegGreeks, ...]
    iv: float | None
    total: Greeks | None
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
    delta = gamma = theta = vega = 0.0
    for of_leg in legs:
        if of_leg.greeks is None:
            return PositionGreeks(legs, None, None, f"{of_leg.leg.instrument.symbol}: {of_leg.note}")
        delta += of_leg.greeks.delta
        gamma += of_leg.greeks.gamma
        theta += of_leg.greeks.theta
        vega += of_leg.greeks.vega
    return PositionGreeks(legs, position_iv(legs), Greeks(delta, gamma, theta, vega))


def position_iv(legs: Iterable[LegGreeks]) -> float | None:
    """One volatility for the legs, as `PositionGreeks.iv` defines it. None while one leg is unknown."""
    weighted = weights = 0.0
    for of_leg in legs:
        if of_leg.greeks is None:
            return None
        if of_leg.iv is not None:
            weight = abs(of_leg.greeks.vega)
            weighted += weight * of_leg.iv
            weights += weight
    return weighted / weights if weights else None


def leg_greeks(leg: Leg, mark: Paise | None, moment: PricingMoment) -> LegGreeks:
    """One leg, with its price in paise per unit. A price half a tick off must not matter, else its volatility is unknown."""
    if leg.instrument.right is None:
        return LegGreeks(leg, mark, greeks=Greeks(float(leg.units), 0.0, 0.0, 0.0))
    terms = option_terms(leg, moment)
    if isinstance(terms, str):
        return LegGreeks(leg, mark, note=terms)
    if mark is None:
        return LegGreeks(leg, None, terms, note="no price")
    contract = terms.right, mark, terms.forward, terms.strike, terms.years, terms.discount
    iv = implied_volatility(*contract, leg.instrument.tick / 2)
    if iv is None:
        return LegGreeks(leg, mark, terms, note=why_undetermined(*contract))
    return LegGreeks(leg, mark, terms, iv, _greeks(leg.units, terms, iv, moment))


def option_terms(leg: Leg, moment: PricingMoment) -> OptionTerms | str:
    """What the option leg is priced with, or what is missing for it in words."""
    right, strike, expiry = leg.instrument.right, leg.instrument.strike, leg.instrument.expiry
    if right is None or strike is None or expiry is None:
        return "no right, strike or expiry in the instrument master"
    years = years_to_expiry(moment.now_ns, expiry_moment_ns(expiry, moment.closes_at))
    discount = discount_of(years, moment.rate)
    forward = moment.forwards.get(expiry)
    if forward is not None:
        return OptionTerms(right, strike, years, discount, forward, None)
    if moment.spot is None:
        return "no price of the underlying"
    forward = spot_forward(moment.spot, years, moment.rate, moment.dividend_yield)
    return OptionTerms(right, strike, years, discount, forward, moment.spot)


def position_shock(greeks: PositionGreeks, spot_percent: float, volatility_percent: float) -> Paise | None:
    """P&L of the open legs in paise, from their entries, if the market moved now: before any time has passed.

    The spot, every forward, and the marks of stock and futures legs move by `spot_percent` (≥ −100), each leg's implied
    volatility by `volatility_percent` of itself (≥ −100). None while a volatility, a mark or an entry is unknown.
    """
    total = 0.0
    move, widening = 1 + spot_percent / 100, 1 + volatility_percent / 100
    for of_leg in greeks.legs:
        price = _shocked_price(of_leg, move, widening)
        if price is None or of_leg.leg.entry is None:
            return None
        total += of_leg.leg.units * (price - of_leg.leg.entry)
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


def _greeks(units: int, terms: OptionTerms, iv: float, moment: PricingMoment) -> Greeks:
    if terms.spot is None:
        value = black_76(terms.right, terms.forward, terms.strike, terms.years, iv, moment.rate)
    else:
        rates = moment.rate, moment.dividend_yield
        value = black_scholes(terms.right, terms.spot, terms.strike, terms.years, iv, *rates)
    return Greeks(
        delta=units * value.delta,
        gamma=units * value.gamma * PAISE_PER_RUPEE,
        theta=units * value.theta_per_day,
        vega=units * value.vega_per_point,
    )


def _shocked_price(of_leg: LegGreeks, move: float, widening: float) -> float | None:
    if of_leg.terms is not None and of_leg.iv is not None:
        terms, deviation = of_leg.terms, of_leg.iv * widening * math.sqrt(of_leg.terms.years)
        return black_price(terms.right, terms.forward * move, terms.strike, deviation, terms.discount)
    if of_leg.mark is None or of_leg.greeks is None:
        return None
    return of_leg.mark * move
