"""Which kind of strategy a name stands for: its category picks the default exit levels."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Category(StrEnum):
    DIRECTIONAL = "directional"
    NEUTRAL = "neutral"
    VOLATILITY = "volatility"
    INCOME = "income"
    ADVANCED = "advanced"


MEMBERS: Final = {
    Category.DIRECTIONAL: ("Long Call", "Long Put", "Bull Call", "Bear Call", "Bull Put", "Bear Put"),
    Category.NEUTRAL: (
        "Iron Condor",
        "Iron Butterfly",
        "Butterfly",
        "Short Straddle",
        "Short Strangle",
        "Short Call",
        "Short Put",
    ),
    Category.VOLATILITY: ("Long Straddle", "Long Strangle"),
    Category.INCOME: ("Cash-Secured Put", "Covered Call", "Jade Lizard"),
    Category.ADVANCED: ("Calendar", "Diagonal", "Call Ratio", "Put Ratio", "Broken Wing Butterfly"),
}
"""The names that the strategy builder writes. Short Call and Short Put are in no category of its own: the neutral default
holds for them as for every unknown name."""


def category_of(strategy_name: str, strategy_type: str = "") -> Category:
    """The category by name, else by the stored type, else neutral. Case, punctuation and a final "Spread" do not matter."""
    found = _BY_NAME.get(_letters(strategy_name))
    if found is not None:
        return found
    try:
        return Category(strategy_type.strip().lower())
    except ValueError:
        return Category.NEUTRAL


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum()).removesuffix("spread")


_BY_NAME: Final = {_letters(name): category for category, names in MEMBERS.items() for name in names}
