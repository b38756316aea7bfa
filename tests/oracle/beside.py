"""What stands beside the level rows of a strategy: the operator's word, a named set, the tables that may be absent.

Written from .env.example, README "Exit levels" and design/exit_rules.md 3. Settings are names and texts. Imports nothing of the
monitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from tests.oracle.amounts import Amounts, Row, stored_paise


class NamedSet(NamedTuple):
    """Per cent of max profit and max loss, days; None is left to the category."""

    target: int | None = None
    arm: int | None = None
    distance: int | None = None
    stop: int | None = None
    dte: int | None = None
    is_scaling: bool = False


NAMED = {
    "aggressive_profits": NamedSet(target=30, arm=15, distance=10, dte=10),
    "conservative_losses": NamedSet(stop=30, dte=14, is_scaling=True),
}
NO_SET = NamedSet()
TECHNICAL = {"alert": "ADJUST", "close": "CLOSE_POSITION", "off": ""}


@dataclass(frozen=True, slots=True)
class Beside:
    """`said`: the parts of the override by their word; `off`: what it switches off. `technical`: what a broken level does."""

    said: Mapping[str, str] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    named: NamedSet = NO_SET
    technical: str = "ADJUST"
    monitoring: Row = field(default_factory=dict)
    planned: Sequence[Row] = ()
    spot: int = 0

    def days(self, word: str) -> int | None:
        return int(self.said[word]) if word in self.said else None


class BesideTables(NamedTuple):
    """The rows that a strategy has beside trades and levels."""

    strategies: Sequence[Row]
    risks: Sequence[Row]
    monitoring: Sequence[Row]
    details: Sequence[Row]


def beside_of(strategy_id: int, tables: BesideTables, settings: Mapping[str, str]) -> Beside:
    strategy = _row_of(strategy_id, tables.strategies, "id")
    risk = _row_of(strategy_id, tables.risks)
    said = _parts(settings.get(f"EXIT_OVERRIDE_{strategy_id}", ""))
    off = said.pop("none", "")
    name = (
        settings.get(f"EXIT_PROFILE_{strategy_id}")
        or risk.get("exit_profile")
        or strategy.get("exit_profile")
        or settings.get("DEFAULT_PROFILE")
        or ""
    )
    return Beside(
        said=said,
        off=frozenset(word.strip().rstrip("!") for word in off.split(",")),
        named=NAMED.get(str(name).lower(), NO_SET),
        technical=TECHNICAL[settings.get("TECHNICAL_LEVELS", "alert")],
        monitoring=_row_of(strategy_id, tables.monitoring),
        planned=[row for row in tables.details if row["strategy_id"] == strategy_id],
        spot=stored_paise(strategy.get("spot_price")),
    )


def _row_of(strategy_id: int, rows: Sequence[Row], key: str = "strategy_id") -> Row:
    return next((row for row in rows if row[key] == strategy_id), {})


def _parts(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.split(";") if part.strip())
    return {word.strip().lower(): value.strip() for word, _, value in parts}


def asked_amount(text: str, amounts: Amounts, *, is_loss: bool = False) -> int:
    """Rupees of the position, per cent of max profit or loss, per cent of the net premium, a multiple of the net credit."""
    if text.endswith("x"):
        return round((amounts.credit or amounts.premium) * Fraction(text[:-1]))
    if text.endswith("%premium"):
        return round(amounts.premium * Fraction(text.removesuffix("%premium")) / 100)
    if text.endswith("%"):
        percent = Fraction(text[:-1])
        return amounts.of_loss(percent) if is_loss else amounts.of_profit(percent)
    return int(Decimal(text) * 100)
