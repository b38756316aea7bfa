"""Turning rows and shares into rupees of the position's P&L. What is odd is noted, never guessed in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.exits.payoff import payoff_of
from core.exits.stored_basis import basis_of
from core.model.money import rupees_text
from core.model.profile import Base

if TYPE_CHECKING:
    from core.exits.payoff import Payoff
    from core.exits.stored_basis import Basis
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.trade_rows import LevelRow, RiskRow


@dataclass(slots=True)
class LevelAmounts:
    """The amounts of one position that its levels are shares of. `notes` gathers what was read oddly, in order.

    `premium` is |net premium|, `credit` the options' net credit; both paise, None while unknown or 0.
    """

    position: Position
    payoff: Payoff
    premium: Paise | None
    credit: Paise | None
    basis: Basis
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def profit_share(self, percent: float, base: Base = Base.PAYOFF) -> tuple[Paise | None, str]:
        """`percent` of max profit, or of the premium where profit is unlimited; and how it was read."""
        return self._share(percent, base, self.payoff.max_profit, "max profit")

    def loss_share(self, percent: float, base: Base = Base.PAYOFF) -> tuple[Paise | None, str]:
        return self._share(percent, base, self.payoff.max_loss, "max loss")

    def of_row(self, row: LevelRow, *, is_loss: bool) -> tuple[Paise | None, str]:
        """The row's level in paise of position P&L, None and noted when it cannot be read as one."""
        name = f"{row.exit_type} row {row.level_id}"
        value = abs(row.value or 0)
        match row.trigger_type.strip().lower():
            case "price":
                return self.of_stored(value)
            case "percentage":
                share = self.loss_share if is_loss else self.profit_share
                amount, how = share(value)
                if amount is None:
                    self.note(f"{name}: {value:g} % of an amount that is not known; not used")
                return amount, how
            case other:
                self.note(f"{name}: trigger type {other!r} is no P&L level; not used")
                return None, ""

    def of_stored(self, stored: float) -> tuple[Paise, str]:
        """A rupee amount of a row (paise), rescaled to the position."""
        self.note(self.basis.note)
        return self.basis.rescale(abs(stored)), f"{rupees_text(round(abs(stored)))} {self.basis.name}"

    def _share(self, percent: float, base: Base, finite: Paise | None, name: str) -> tuple[Paise | None, str]:
        if base is Base.CREDIT and self.credit is not None:
            whole, name = self.credit, "credit"
        elif base is Base.PAYOFF and finite:
            whole = finite
        elif self.premium is not None:
            whole, name = self.premium, "net premium"
        else:
            return None, ""
        return round(whole * percent / 100), f"{percent:g} % of {name} {rupees_text(whole)}"


def amounts_of(position: Position, risk: RiskRow | None) -> LevelAmounts:
    payoff = payoff_of(position)
    net = position.net_premium
    options = [leg for leg in position.legs if leg.instrument.right is not None]
    credit = -sum(leg.units * leg.entry for leg in options if leg.entry is not None)
    amounts = LevelAmounts(
        position,
        payoff,
        premium=abs(net) if net else None,
        credit=credit if net is not None and credit > 0 else None,
        basis=basis_of(position, _evidence(payoff, risk)),
    )
    if payoff.note:
        amounts.note(payoff.note)
    return amounts


def _evidence(payoff: Payoff, risk: RiskRow | None) -> list[tuple[str, float | None, Paise | None]]:
    """Stored max loss; stored max profit, which is only there as a target and the per cent that it is of it."""
    if risk is None:
        return []
    profit = None
    if risk.profit_target and risk.profit_target_percent:
        profit = risk.profit_target * 100 / risk.profit_target_percent
    return [("max loss", risk.max_capital_at_risk, payoff.max_loss), ("max profit", profit, payoff.max_profit)]
