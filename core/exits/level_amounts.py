"""Turning what is asked for into rupees of the position's P&L. What is odd is noted, never guessed in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.exits.condition_leaves import whole_of_quarters
from core.exits.payoff import payoff_of
from core.exits.stored_basis import TOLERANCE, basis_of
from core.model.exit_levels import LevelSource
from core.model.money import rupees_text
from core.model.profile import Asked, Base

if TYPE_CHECKING:
    from core.exits.conditions import Conditions
    from core.exits.payoff import Payoff
    from core.exits.row_kinds import RowsByKind
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
        if text and text not in self.notes:
            self.notes.append(text)

    def of(self, asked: Asked, *, is_loss: bool = False, follows: bool = False) -> tuple[Paise | None, str]:
        """Paise of position P&L, and how that was read. None when what it is a share of is not known.

        Per cent of max loss for a loss, of max profit otherwise, each of the premium where it is not finite. Of what
        `follows` the profit (trailing, lock) not so where nothing is known of the payoff: only a stop or a target may.
        """
        if asked.base is Base.STORED:
            self.note(self.basis.note)
            return self.basis.rescale(asked.value), f"{rupees_text(round(asked.value))} {self.basis.name}"
        if asked.base is Base.POSITION:
            return round(asked.value), f"{rupees_text(round(asked.value))} of the position"
        whole, name = self._whole(asked.base, is_loss=is_loss)
        if whole is None or (follows and asked.base is Base.PAYOFF and not self.payoff.is_known):
            return None, ""
        if name.startswith("max "):
            self.note(_assumed(self.payoff))
        return round(whole * asked.value / 100), f"{asked.value:g} % of {name} {rupees_text(whole)}"

    def of_row(self, row: LevelRow, *, is_loss: bool = False, follows: bool = False) -> tuple[Paise | None, str]:
        """The row's level; None and noted when it cannot be read as an amount of P&L."""
        asked = asked_of(row)
        if asked is None:
            self.note(f"{named(row)}: trigger type {row.trigger_type!r} is no P&L level; not used")
            return None, ""
        amount, how = self.of(asked, is_loss=is_loss, follows=follows)
        if amount is None:
            self.note(f"{named(row)}: {asked.value:g} % of an amount that is not known; not used")
        return amount, how

    def within(self, amount: Paise, name: str, source: LevelSource, *, is_loss: bool = False) -> Paise | None:
        """The amount of a level as it is in force: inside the position's own max. None where it cannot be meant; noted.

        A row that means the whole of the plan lies a little beyond when the fills were worse than planned: up to 5 % it is
        read as the whole. What the operator wrote stays as it is, however far beyond.
        """
        most, of = (self.payoff.max_loss, "max loss") if is_loss else (self.payoff.max_profit, "max profit")
        if most is None or amount <= most:
            return amount
        text = f"{name} {rupees_text(amount)} ({source}) is beyond the {of} {rupees_text(most)}"
        if source is LevelSource.OPERATOR:
            self.note(f"{text}: kept as it is written, it may never be reached")
            return amount
        if (amount - most) * TOLERANCE > most:
            self.note(f"{text}: not used")
            return None
        when = "" if is_loss else ", which is reached at expiry only"
        self.note(f"{text} by no more than 5 %: read as the whole of it{when}")
        return most

    def _whole(self, base: Base, *, is_loss: bool) -> tuple[Paise | None, str]:
        finite, name = (self.payoff.max_loss, "max loss") if is_loss else (self.payoff.max_profit, "max profit")
        if base is Base.CREDIT and self.credit is not None:
            return self.credit, "credit"
        if base is Base.PAYOFF and finite:
            return finite, name
        return self.premium, "net premium"


def named(row: LevelRow) -> str:
    return f"{row.exit_type} row {row.level_id}"


def asked_of(row: LevelRow) -> Asked | None:
    """What the row asks for; None when its trigger type is no amount of P&L."""
    base = _BASE_OF.get(row.trigger_type)
    return None if base is None else Asked(abs(row.value or 0), base)


_BASE_OF: Final = {"price": Base.STORED, "percentage": Base.PAYOFF}


def amounts_of(position: Position, evidence: Evidence) -> LevelAmounts:
    payoff = payoff_of(position)
    net = position.net_premium
    options = [leg for leg in position.legs if leg.instrument.right is not None]
    credit = -sum(leg.units * leg.entry for leg in options if leg.entry is not None)
    pairs = [("max loss", evidence.max_loss, payoff.max_loss), ("max profit", evidence.max_profit, payoff.max_profit)]
    amounts = LevelAmounts(
        position,
        payoff,
        premium=abs(net) if net else None,
        credit=credit if net is not None and credit > 0 else None,
        basis=basis_of(position, pairs),
    )
    amounts.note(payoff.note)
    return amounts


@dataclass(frozen=True, slots=True)
class Evidence:
    """The writer's own max loss and max profit, in paise as stored; None where nothing tells them."""

    max_loss: float | None = None
    max_profit: float | None = None


def evidence_of(risk: RiskRow | None, columns: Conditions, tree: Conditions, rows: RowsByKind) -> Evidence:
    """Max loss: its column, or a stop of the tree and the per cent that it is. Max profit: a target and its per cent, or three
    scaling levels at a quarter, a half and three quarters of it."""
    loss = profit = None
    if risk is not None:
        loss = risk.max_capital_at_risk
        if risk.profit_target and risk.profit_target_percent:
            profit = risk.profit_target * 100 / risk.profit_target_percent
    steps = sorted(row.value for row in rows.scaling if row.value and asked_of(row) == Asked(row.value, Base.STORED))
    return Evidence(
        max_loss=loss or tree.max_loss,
        max_profit=profit or tree.max_profit or columns.max_profit or whole_of_quarters(steps),
    )


def _assumed(payoff: Payoff) -> str:
    return f"max profit and loss hold {payoff.assumption}" if payoff.assumption else ""
