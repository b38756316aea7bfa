"""Rows, profile and category defaults become the levels of one position (exit_rules 3, "Where a level comes from").

Per kind the first source that has a usable level wins: operator, level rows, risk columns, profile, category default.
Every row or column that is not used, and every default that stands in, is named in the notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.exits.level_amounts import amounts_of
from core.exits.partial_close import PERCENT_OF
from core.exits.row_kinds import RowsByKind, sort_rows
from core.model.exit_levels import (
    FULL_EXITS,
    Action,
    AmountLevel,
    ClockLevel,
    DaysLevel,
    ExitLevels,
    LevelSource,
    TrailingLevel,
)
from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import time

    from core.exits.level_amounts import LevelAmounts
    from core.model.money import Paise
    from core.model.position import Position, Product
    from core.model.profile import Profile
    from core.model.trade_rows import LevelRow, RiskRow

TRAILING_PERCENT: Final = 10
"""Distance of a trailing stop that names none: per cent of max profit."""
DEBIT_TEXT_TARGET: Final = 7_500
"""₹75: what the strategy builder stores for the text "50–100 % of debit" (trap 4)."""
LEAST_TARGET_PERCENT: Final = 5
"""An amount below this share of the premium is no target of a position with unlimited profit (trap 4)."""


@dataclass(frozen=True, slots=True)
class LevelInputs:
    """`category` is the default profile, `profile` a set the operator chose. `operator` overrides level by level.

    `square_off` are IST times per product from the settings; the earliest of the legs' products counts.
    `trailing_percent` of max profit is the distance of a trailing stop that names none.
    """

    position: Position
    category: Profile
    risk: RiskRow | None = None
    rows: tuple[LevelRow, ...] = ()
    profile: Profile | None = None
    operator: ExitLevels | None = None
    square_off: Mapping[Product, time] = field(default_factory=dict)
    trailing_percent: float = TRAILING_PERCENT

    @property
    def profiles(self) -> Iterator[tuple[Profile, LevelSource]]:
        if self.profile is not None:
            yield self.profile, LevelSource.PROFILE
        yield self.category, LevelSource.CATEGORY_DEFAULT


def read_levels(inputs: LevelInputs) -> ExitLevels:
    """The levels in force for the position. Never raises for a row: an unusable one is noted, the next source stands in.

    A stop beyond a finite max loss could never fire and gives way to the next source; if none is better it stays, and
    the note says so. A target beyond max profit, or one that means nothing on unlimited profit, gives way too.
    """
    amounts = amounts_of(inputs.position, inputs.risk)
    rows = sort_rows(inputs.rows, amounts)
    operator = inputs.operator or ExitLevels()
    target, action = _target(inputs, rows, amounts)
    levels = ExitLevels(
        stop=operator.stop or _stop(inputs, rows, amounts),
        trailing=operator.trailing or _trailing(inputs, rows, amounts),
        target=operator.target or target,
        target_action=operator.target_action if operator.target is not None else action,
        dte=operator.dte or _dte(inputs, rows),
        theta=operator.theta or _theta(inputs, rows),
        square_off=operator.square_off or _square_off(inputs),
        max_profit=amounts.payoff.max_profit,
        max_loss=amounts.payoff.max_loss,
    )
    _note_rest(inputs, levels, amounts)
    return ExitLevels(**{name: getattr(levels, name) for name in _FIELDS}, notes=tuple(amounts.notes))


_FIELDS: Final = tuple(name for name in ExitLevels.__slots__ if name != "notes")


def _stop(inputs: LevelInputs, rows: RowsByKind, amounts: LevelAmounts) -> AmountLevel | None:
    beyond: AmountLevel | None = None
    for level in _stop_candidates(inputs, rows, amounts):
        most = amounts.payoff.max_loss
        if most is None or level.amount <= most:
            return level
        amounts.note(f"stop {rupees_text(level.amount)} ({level.source}) is beyond the max loss {rupees_text(most)}")
        beyond = level
    if beyond is not None:
        amounts.note("no source has a stop within the max loss: the stop cannot fire")
    return beyond


def _stop_candidates(inputs: LevelInputs, rows: RowsByKind, amounts: LevelAmounts) -> Iterator[AmountLevel]:
    for row in rows.stops:
        yield from _amount(*amounts.of_row(row, is_loss=True), LevelSource.LEVEL_ROW)
    if inputs.risk is not None and inputs.risk.stop_percent:
        yield from _amount(*amounts.loss_share(abs(inputs.risk.stop_percent)), LevelSource.RISK_COLUMN)
    for profile, source in inputs.profiles:
        if profile.stop_percent is not None:
            yield from _amount(*amounts.loss_share(profile.stop_percent, profile.stop_base), source)


def _target(inputs: LevelInputs, rows: RowsByKind, amounts: LevelAmounts) -> tuple[AmountLevel | None, Action]:
    for level, row in _target_candidates(inputs, rows, amounts):
        nonsense = _nonsense(level, row, amounts)
        if nonsense:
            amounts.note(f"target {rupees_text(level.amount)} ({level.source}) not used: {nonsense}")
            continue
        if row is None or not row.action_text:
            return level, Action.CLOSE_POSITION
        if row.action is None:
            amounts.note(
                f"profit_target row {row.level_id}: action {row.action_text!r} is not clear; closes the position"
            )
        elif row.action not in FULL_EXITS and row.action not in PERCENT_OF:
            amounts.note(f"profit_target row {row.level_id}: {row.action.value} closes nothing; the level only alerts")
        return level, row.action or Action.CLOSE_POSITION
    return None, Action.CLOSE_POSITION


def _target_candidates(
    inputs: LevelInputs, rows: RowsByKind, amounts: LevelAmounts
) -> Iterator[tuple[AmountLevel, LevelRow | None]]:
    for row in rows.targets:
        for level in _amount(*amounts.of_row(row, is_loss=False), LevelSource.LEVEL_ROW):
            yield level, row
    risk = inputs.risk
    if risk is not None and risk.profit_target:
        for level in _amount(*amounts.of_stored(risk.profit_target), LevelSource.RISK_COLUMN):
            yield level, None
    if risk is not None and risk.profit_target_percent:
        for level in _amount(*amounts.profit_share(abs(risk.profit_target_percent)), LevelSource.RISK_COLUMN):
            yield level, None
    for profile, source in inputs.profiles:
        if profile.target_percent is not None:
            for level in _amount(*amounts.profit_share(profile.target_percent, profile.target_base), source):
                yield level, None


def _nonsense(level: AmountLevel, row: LevelRow | None, amounts: LevelAmounts) -> str:
    """Why the target cannot be meant, "" when it can. Shares of the position's own amounts always can."""
    most = amounts.payoff.max_profit
    if most is not None:
        return f"beyond the max profit {rupees_text(most)}" if level.amount > most else ""
    if amounts.payoff.note or row is None or row.trigger_type.strip().lower() != "price":
        return ""
    if row.value == DEBIT_TEXT_TARGET:
        return "₹75 stands for the text '50–100 % of debit'"
    if amounts.premium is not None and level.amount * 100 < LEAST_TARGET_PERCENT * amounts.premium:
        return f"below {LEAST_TARGET_PERCENT} % of the premium, with unlimited profit"
    return ""


def _trailing(inputs: LevelInputs, rows: RowsByKind, amounts: LevelAmounts) -> TrailingLevel | None:
    risk = inputs.risk
    for row in rows.trailing:
        arm, how = amounts.of_row(row, is_loss=False)
        if arm:
            return _trailing_level(inputs, arm, how, LevelSource.LEVEL_ROW, amounts)
    if risk is not None and risk.trailing_activation:
        arm, how = amounts.of_stored(risk.trailing_activation)
        return _trailing_level(inputs, arm, how, LevelSource.RISK_COLUMN, amounts)
    if risk is not None and risk.trailing_distance:
        return _trailing_level(inputs, 0, "entry: no activation is stored", LevelSource.RISK_COLUMN, amounts)
    for profile, source in inputs.profiles:
        if profile.trailing_arm_percent is None:
            continue
        arm, how = amounts.profit_share(profile.trailing_arm_percent)
        distance, far = amounts.profit_share(profile.trailing_distance_percent or inputs.trailing_percent)
        if arm is not None and distance:
            return TrailingLevel(arm, distance, source, f"arms at {how}, distance {far}")
    return None


def _trailing_level(
    inputs: LevelInputs, arm: Paise, how: str, source: LevelSource, amounts: LevelAmounts
) -> TrailingLevel | None:
    risk = inputs.risk
    if risk is not None and risk.trailing_distance:
        distance, far = amounts.of_stored(risk.trailing_distance)
    else:
        share, far = amounts.profit_share(inputs.trailing_percent)
        distance = share or 0
    if distance <= 0:
        amounts.note("trailing stop not in force: its distance is not known")
        return None
    return TrailingLevel(arm, distance, source, f"arms at {how}, distance {far}")


def _dte(inputs: LevelInputs, rows: RowsByKind) -> DaysLevel | None:
    for row in rows.days:
        return DaysLevel(int(row.value or 0), LevelSource.LEVEL_ROW)
    if inputs.risk is not None and inputs.risk.time_stop_dte:
        return DaysLevel(inputs.risk.time_stop_dte, LevelSource.RISK_COLUMN)
    for profile, source in inputs.profiles:
        if profile.dte_days is not None:
            return DaysLevel(profile.dte_days, source, profile.name)
    return None


def _theta(inputs: LevelInputs, rows: RowsByKind) -> DaysLevel | None:
    for row in rows.theta:
        return DaysLevel(int(row.value or 0), LevelSource.LEVEL_ROW)
    for profile, source in inputs.profiles:
        if profile.theta_days is not None:
            return DaysLevel(profile.theta_days, source, profile.name)
    return None


def _square_off(inputs: LevelInputs) -> ClockLevel | None:
    for profile, source in inputs.profiles:
        if profile.square_off is not None:
            return ClockLevel(profile.square_off, source, profile.name)
    products = {leg.product for leg in inputs.position.legs}
    at, product = min(
        ((inputs.square_off[product], product) for product in products & inputs.square_off.keys()), default=(None, None)
    )
    if at is None:
        return None
    return ClockLevel(at, LevelSource.PROFILE, f"setting for {product}")


def _amount(amount: Paise | None, how: str, source: LevelSource) -> Iterator[AmountLevel]:
    if amount is not None and amount > 0:
        yield AmountLevel(amount, source, how)


def _note_rest(inputs: LevelInputs, levels: ExitLevels, amounts: LevelAmounts) -> None:
    if inputs.risk is not None and inputs.risk.exit_conditions:
        amounts.note("exit_conditions are not read")
    if any(profile.is_scaling for profile, _ in inputs.profiles):
        amounts.note("scaling targets are not in force")
    for name, level in (("stop loss", levels.stop), ("profit target", levels.target), ("DTE exit", levels.dte)):
        if level is None:
            amounts.note(f"no {name} is in force: no source has a usable level")
        elif level.source is LevelSource.CATEGORY_DEFAULT:
            amounts.note(f"{name}: no usable row, the {inputs.category.name} default stands in ({level.note})")
