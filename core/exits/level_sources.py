"""Everything that the levels of one position are read from, in one place and in the order of precedence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.exits.conditions import conditions_of
from core.exits.level_amounts import amounts_of, evidence_of
from core.exits.row_kinds import sort_rows
from core.model.exit_levels import LevelSource
from core.model.override import Override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import time

    from core.exits.conditions import Conditions
    from core.exits.level_amounts import LevelAmounts
    from core.exits.row_kinds import RowsByKind
    from core.model.money import Paise
    from core.model.override import Kind
    from core.model.position import Position, Product
    from core.model.profile import Profile
    from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow

TRAILING_PERCENT: Final = 10
"""Distance of a trailing stop that names none: per cent of max profit."""


class Technical(StrEnum):
    """What a broken support or resistance of strategy_monitoring does where the rows ask for nothing certain."""

    ALERT = "alert"
    CLOSE = "close"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class LevelSettings:
    """For all positions. `square_off` are IST times per product; the earliest of the legs' products counts.

    `trailing_percent` of max profit is the distance of a trailing stop that names none. `adjust_first` and `adjust_last`: per
    cent of |net premium| between which a loss is warned of; None is no warning. `holding_days` None: held as long as it likes.
    """

    square_off: Mapping[Product, time] = field(default_factory=dict)
    trailing_percent: float = TRAILING_PERCENT
    adjust_first: float | None = 25
    adjust_last: float = 50
    holding_days: int | None = None
    technical: Technical = Technical.ALERT


@dataclass(frozen=True, slots=True)
class LevelInputs:
    """`category` is the default profile, `profile` a set chosen for the strategy. `override` comes first, level by level.

    `spot` is the underlying's price when the strategy was made (paise), `planned` its legs as they were planned. `notes` is
    what is odd about the choice of the profile.
    """

    position: Position
    category: Profile
    risk: RiskRow | None = None
    rows: tuple[LevelRow, ...] = ()
    profile: Profile | None = None
    override: Override | None = None
    settings: LevelSettings = field(default_factory=LevelSettings)
    monitoring: MonitoringRow | None = None
    planned: tuple[PlannedLeg, ...] = ()
    spot: Paise | None = None
    notes: tuple[str, ...] = ()

    @property
    def profiles(self) -> Iterator[tuple[Profile, LevelSource]]:
        if self.profile is not None:
            yield self.profile, LevelSource.PROFILE
        yield self.category, LevelSource.CATEGORY_DEFAULT


@dataclass(frozen=True, slots=True)
class Sources:
    """The inputs, sorted and parsed. `columns` and `tree` are the JSON of the risk row; `amounts` also gathers the notes."""

    inputs: LevelInputs
    override: Override
    rows: RowsByKind
    columns: Conditions
    tree: Conditions
    amounts: LevelAmounts

    def note(self, text: str) -> None:
        self.amounts.note(text)

    def is_off(self, kind: Kind) -> bool:
        """The operator has switched it off: no source counts."""
        return kind in self.override.off


_NO_OVERRIDE: Final = Override()


def sources_of(inputs: LevelInputs) -> Sources:
    rows = sort_rows(inputs.rows)
    columns, tree = conditions_of(inputs.risk)
    amounts = amounts_of(inputs.position, evidence_of(inputs.risk, columns, tree, rows))
    for text in (*inputs.notes, *rows.notes, *columns.notes, *tree.notes):
        amounts.note(text)
    return Sources(inputs, inputs.override or _NO_OVERRIDE, rows, columns, tree, amounts)
