"""What each kind of Greek level compares: one number of the whole position, in the kind's unit and in ten-thousandths of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.explain_line import Measured
from core.model.money import rupees_text
from core.model.special_levels import TEN_THOUSAND, GreekKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.exits.position_greeks import Greeks
    from core.model.money import Paise
    from core.model.position import Position

_PERCENT: Final = 100
NO_OPTIONS: Final = Measured(None, "a position without options has no volatility")


class GreekFacts(NamedTuple):
    """`iv` is None for a position without options. `value` is |sum of units × mark| in paise.

    `reference`: gamma of what is left of the position (per rupee), or volatility (1.0 is 100 %).
    """

    total: Greeks
    iv: float | None
    position: Position
    value: Paise
    reference: float | None = None


def measure(kind: GreekKind, facts: GreekFacts) -> Measured:
    """The measure of this kind in ten-thousandths; None with the reason where it has none."""
    return _MEASURES[kind](facts)


def is_beyond(kind: GreekKind, value: int, threshold: int) -> bool:
    """Both in ten-thousandths: what a signal shows is what was compared."""
    return value <= threshold if kind is GreekKind.IV_BELOW else value >= threshold


def _in_units(value: float) -> int:
    return round(value * TEN_THOUSAND)


def _delta(facts: GreekFacts) -> Measured:
    delta = facts.total.delta
    largest = max(abs(leg.units) for leg in facts.position.legs)
    value = abs(delta) / largest
    return Measured(_in_units(value), f"|delta| {value:.4g} per unit of the largest leg ({delta:+,.1f} units in all)")


def _gamma(facts: GreekFacts) -> Measured:
    gamma, reference = abs(facts.total.gamma), facts.reference
    if not reference:
        return Measured(None, "no gamma to compare with: it was 0 when it was first computed")
    value = gamma / reference
    return Measured(
        _in_units(value), f"|gamma| {value:.4g} × its reference ({gamma:.5g} per rupee, reference {reference:.5g})"
    )


def _theta(facts: GreekFacts) -> Measured:
    theta, value = facts.total.theta, facts.value
    if theta >= 0:
        return Measured(0, "time passing costs the position nothing")
    if not value:
        return Measured(None, "the position is worth nothing, and decay is no per cent of that")
    share = -theta / value * _PERCENT
    return Measured(
        _in_units(share),
        f"decay of one day {share:.4g} % of the value ({rupees_text(round(-theta))} of {rupees_text(value)})",
    )


def _vega(facts: GreekFacts) -> Measured:
    vega, premium = abs(facts.total.vega), facts.position.net_premium
    if not premium:
        return Measured(None, "the net premium is 0 or unknown, and vega is no per cent of that")
    share = vega / abs(premium) * _PERCENT
    return Measured(
        _in_units(share),
        f"|vega| of one point {share:.4g} % of |net premium| "
        f"({rupees_text(round(vega))} of {rupees_text(abs(premium))})",
    )


def _iv_change(facts: GreekFacts, sign: int) -> Measured:
    iv, reference = facts.iv, facts.reference
    if iv is None or not reference:
        return NO_OPTIONS
    change = (iv - reference) / reference * _PERCENT
    return Measured(
        _in_units(sign * change),
        f"volatility {iv * _PERCENT:.2f} %, {change:+.2f} % from its reference {reference * _PERCENT:.2f} %",
    )


def _iv(facts: GreekFacts) -> Measured:
    iv = facts.iv
    return NO_OPTIONS if iv is None else Measured(_in_units(iv * _PERCENT), f"volatility {iv * _PERCENT:.2f} % a year")


_MEASURES: Final[dict[GreekKind, Callable[[GreekFacts], Measured]]] = {
    GreekKind.DELTA: _delta,
    GreekKind.GAMMA: _gamma,
    GreekKind.THETA: _theta,
    GreekKind.VEGA: _vega,
    GreekKind.IV_DOWN: lambda facts: _iv_change(facts, -1),
    GreekKind.IV_UP: lambda facts: _iv_change(facts, 1),
    GreekKind.IV_BELOW: _iv,
    GreekKind.IV_ABOVE: _iv,
}
