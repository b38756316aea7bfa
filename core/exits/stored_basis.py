"""Stored rupee levels are per unit, per lot or for the whole position: which, is found by comparing (exit_rules 3)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING, Final

from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.money import Paise
    from core.model.position import Position

_TOLERANCE: Final = Fraction(5, 100)


@dataclass(frozen=True, slots=True)
class Basis:
    """Multiply a stored amount by `factor` to get the whole position's. `note` says how that was found."""

    name: str
    factor: Fraction
    note: str

    def rescale(self, stored: float) -> Paise:
        return round(Fraction(stored) * self.factor)


def basis_of(position: Position, pairs: Iterable[tuple[str, float | None, Paise | None]]) -> Basis:
    """The basis of the rows' rupee amounts.

    `pairs` are (name, stored amount, the position's own amount) in paise, best evidence first; a pair with a None or
    a 0 says nothing. One set of the strategy is the legs' units divided by their greatest common divisor: the position
    is that many units, and that divided by the lot many lots. Where lot and whole are the same it reads "per lot".
    """
    units = gcd(*(leg.units for leg in position.legs))
    lot = max((leg.instrument.lot for leg in position.legs), default=1)
    bases = (("per lot", Fraction(units, lot)), ("per unit", Fraction(units)), ("whole position", Fraction(1)))
    seen: list[str] = []
    for name, stored, own in pairs:
        if not stored or not own:
            continue
        for basis, factor in bases:
            if factor and abs(Fraction(stored) * factor - own) <= _TOLERANCE * own:
                note = f"rupee levels read {basis}: stored {name} {rupees_text(round(stored))}, own {rupees_text(own)}"
                return Basis(basis, factor, note)
        seen.append(f"stored {name} {rupees_text(round(stored))} fits no reading of the own {rupees_text(own)}")
    why = "; ".join(seen) or "nothing to compare with"
    return Basis("per lot", Fraction(units, lot), f"rupee levels assumed per lot: {why}")
