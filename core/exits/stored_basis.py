"""Stored rupee levels are per unit, per lot or for the whole position: which, is found by comparing (exit_rules 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING, Final

from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.model.position import Position

TOLERANCE: Final = 20
"""Two amounts agree when they differ by at most one part in so many of the position's own: 5 %."""

_PER_UNIT: Final = frozenset(
    {
        "shortcall", "shortput", "shortstrangle", "longstrangle", "shortstraddle", "ironbutterfly", "jadelizard",
        "brokenwingbutterfly", "putratio",
    }
)  # fmt: skip
"""Strategies whose levels the builder stores for one unit, by the letters of their names."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Multiply a stored amount by `units` / `per` to get the whole position's. `note` says how that was found."""

    name: str
    units: int
    per: int
    note: str = ""

    @property
    def factor(self) -> Fraction:
        return Fraction(self.units, self.per)

    def rescale(self, stored: float) -> Paise:
        """To the nearest paisa, half to even. In whole numbers: a thousand positions have some ten amounts each."""
        numerator, denominator = self._exact(stored)
        whole, rest = divmod(numerator, denominator)
        return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))

    def agrees(self, stored: float, own: Paise) -> bool:
        numerator, denominator = self._exact(stored)
        return abs(numerator - own * denominator) * TOLERANCE <= own * denominator

    def _exact(self, stored: float) -> tuple[int, int]:
        numerator, denominator = stored.as_integer_ratio()
        return numerator * self.units, denominator * self.per


def basis_of(position: Position, pairs: Iterable[tuple[str, float | None, Paise | None]]) -> Basis:
    """The basis of the rows' rupee amounts.

    `pairs` are (name, stored amount, the position's own amount) in paise, best evidence first; a pair with a None or
    a 0 says nothing. The first that fits decides; what the others say against it is in the note, with both numbers.

    The position is `lots_of` lots, and so many times the largest lot units. Where lot and whole are the same it reads
    "per lot". Where nothing fits, what the builder does for a strategy of this name is assumed.
    """
    lots, doubt = lots_of(position), _odd_lot(position)
    lot = max((leg.instrument.lot for leg in position.legs), default=1)
    per_lot = Basis("per lot", lots.numerator, lots.denominator, doubt)
    per_unit = Basis("per unit", lots.numerator * lot, lots.denominator, doubt)
    bases = (per_lot, per_unit, Basis("whole position", 1, 1))
    found: Basis | None = None
    odd: list[str] = []
    for name, stored, own in pairs:
        if not stored or not own or (found is not None and found.agrees(stored, own)):
            continue
        fits = next((basis for basis in bases if basis.agrees(stored, own)), None)
        numbers = f"stored {name} {rupees_text(round(stored))}"
        if found is None and fits is not None:
            found = replace(fits, note=f"rupee levels read {fits.name}: {numbers}, own {rupees_text(own)}{fits.note}")
        else:
            why = "fits no reading of the own" if fits is None else f"reads {fits.name} against the own"
            odd.append(f"{numbers} {why} {rupees_text(own)}")
    if found is None:
        why = "; ".join(odd) or "nothing to compare with"
        name = "".join(filter(str.isalnum, position.strategy_name.lower())).removesuffix("spread")
        assumed = per_unit if name in _PER_UNIT else per_lot
        return replace(assumed, note=f"rupee levels assumed {assumed.name}: {why}{doubt}")
    return replace(found, note="; but ".join([found.note, *odd])) if odd else found


def lots_of(position: Position) -> Fraction:
    """How many sets of one lot the position is: the largest number that goes into every contract's lots, each by its own lot size.

    So 75 against 65 of two lot sizes are one lot, and 300 shares with a call of 250 too; a contract bought in two rows is one. A
    fraction where a leg is of no whole lots.
    """
    held: Counter[InstrumentKey] = Counter()
    for leg in position.legs:
        held[leg.instrument.key] += leg.units
    size = {leg.instrument.key: leg.instrument.lot for leg in position.legs}
    lots = [Fraction(units, size[key]) for key, units in held.items() if units] or [Fraction(1 if held else 0)]
    common = lcm(*(each.denominator for each in lots))
    return Fraction(gcd(*(int(each * common) for each in lots)), common)


def _odd_lot(position: Position) -> str:
    for leg in position.legs:
        terms = leg.instrument
        if leg.units % terms.lot:
            lots = float(lots_of(position))
            return f"; {abs(leg.units)} of {terms.symbol} are no whole lots of {terms.lot}: {lots:.4g} lots are assumed"
    return ""
