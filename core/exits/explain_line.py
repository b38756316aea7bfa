"""One line of a plan, and what stands around a position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from core.model.exit_levels import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.model.exit_levels import LevelSource, Rule
    from core.model.money import Paise
    from core.model.special_levels import GreekLevel, UnderlyingLevel


class Sourced(Protocol):
    """What every level says of itself."""

    @property
    def source(self) -> LevelSource: ...

    @property
    def note(self) -> str: ...


class Threshold(NamedTuple):
    """Where one level fires. `pnl` is the P&L (paise) at which it does now, None when no P&L of the position makes it fire now.

    `threshold` and `observed` are what a signal of it would carry, in the unit of the rule (`UNITS`); for a line of P&L
    `threshold` is `pnl`, and `observed` is None: it is the P&L of the moment. `now` says how that stands which is compared;
    `waits` is not empty while the level cannot fire wherever the market goes. `underlying` is the underlying's price
    (paise) at which it fires. `is_above`: it fires at or above its threshold, else at or below it. `source` is None for what no
    level stands for. `name` names the level within its rule as signals do, "" where a rule has but one.
    """

    rule: Rule
    level: str
    pnl: Paise | None
    source: LevelSource | None
    note: str = ""
    action: Action = Action.CLOSE_POSITION
    threshold: int | None = None
    observed: int | None = None
    now: str = ""
    waits: str = ""
    underlying: Paise | None = None
    is_above: bool = False
    name: str = ""


class Measured(NamedTuple):
    """What another judge compares with a level: `value` in the unit of its rule (None: not known), `text` for a reader."""

    value: int | None
    text: str


UNKNOWN: Final = Measured(None, "not known")


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a position and is compared by the judges beside its guard.

    `underlying`: the mark, or the last candle's close, by level, in paise. `greeks`: the measures by level, in ten-thousandths.
    `resting`: own rules that rest after a failure, and what it was. `limits`: lines of the scopes that the position is in.
    """

    underlying: Mapping[UnderlyingLevel, Measured] = field(default_factory=dict)
    greeks: Mapping[GreekLevel, Measured] = field(default_factory=dict)
    resting: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[Threshold, ...] = ()


NOTHING_AROUND: Final = Around()
