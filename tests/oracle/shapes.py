"""The shapes of strategies that a generated book holds. Imports nothing of the monitor."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """A leg: right, place among the chosen strikes, lots (signed), place among the expiries (0 the nearer)."""

    right: str
    strike: int
    lots: int
    expiry: int = 0


class Shape(NamedTuple):
    name: str
    parts: tuple[Part, ...]

    @property
    def strikes(self) -> int:
        return max(part.strike for part in self.parts) + 1

    @property
    def expiries(self) -> int:
        return max(part.expiry for part in self.parts) + 1


def _shape(name: str, *parts: tuple[str, int, int] | tuple[str, int, int, int]) -> Shape:
    return Shape(name, tuple(Part(*part) for part in parts))


SINGLES = (
    _shape("Long Call", ("CE", 0, 1)),
    _shape("Long Put", ("PE", 0, 1)),
    _shape("Short Call", ("CE", 0, -1)),
    _shape("Short Put", ("PE", 0, -1)),
)
SPREADS = (
    _shape("Iron Condor", ("PE", 0, 1), ("PE", 1, -1), ("CE", 2, -1), ("CE", 3, 1)),
    _shape("Iron Butterfly", ("PE", 0, 1), ("PE", 1, -1), ("CE", 1, -1), ("CE", 2, 1)),
    _shape("Short Strangle", ("PE", 0, -1), ("CE", 1, -1)),
    _shape("Long Strangle", ("PE", 0, 1), ("CE", 1, 1)),
    _shape("Short Straddle", ("PE", 0, -1), ("CE", 0, -1)),
    _shape("Long Straddle", ("PE", 0, 1), ("CE", 0, 1)),
    _shape("Bull Call Spread", ("CE", 0, 1), ("CE", 1, -1)),
    _shape("Bear Call Spread", ("CE", 0, -1), ("CE", 1, 1)),
    _shape("Bear Put Spread", ("PE", 0, -1), ("PE", 1, 1)),
    _shape("Bull Put Spread", ("PE", 0, 1), ("PE", 1, -1)),
    _shape("Butterfly", ("CE", 0, 1), ("CE", 1, -2), ("CE", 2, 1)),
    _shape("Butterfly", ("PE", 0, 1), ("PE", 1, -2), ("PE", 2, 1)),
    _shape("Broken Wing Butterfly", ("CE", 0, 1), ("CE", 1, -3), ("CE", 2, 2)),
    _shape("Call Ratio", ("CE", 0, 1), ("CE", 1, -2)),
    _shape("Put Ratio", ("PE", 0, -2), ("PE", 1, 1)),
    _shape("Jade Lizard", ("PE", 0, -1), ("CE", 1, -1), ("CE", 2, 1)),
)
CALENDARS = (
    _shape("Calendar", ("CE", 0, -1, 0), ("CE", 0, 1, 1)),
    _shape("Calendar", ("PE", 0, -1, 0), ("PE", 0, 1, 1)),
    _shape("Diagonal", ("CE", 1, -1, 0), ("CE", 0, 1, 1)),
    _shape("Diagonal", ("PE", 0, -1, 0), ("PE", 1, 1, 1)),
)
