"""Rows of the trade store, typed but not yet judged. Columns as in design/database.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.model.exit_levels import Action
    from core.model.money import Paise


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One open row of `trades`, typed but not yet matched with the instrument master. Columns as in design/database.md.

    `entry` in paise, None while the executor has not patched it (0 or null). `quantity` in units, positive.
    `expiry` as text YYYY-MM-DD. `option_type` is CE, PE, FUT, EQ or "" when null.
    """

    row_id: int
    strategy_id: int
    strategy_name: str
    underlying: str
    security_id: int
    segment: str
    option_type: str
    is_buy: bool
    quantity: int
    entry: Paise | None
    strike: Paise | None
    expiry: str | None
    product: str
    opened_at: str
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """`strategies`. `strategy_type` as stored ("Directional", …), "" when null.

    `spot_price` is the underlying's when the strategy was made, paise per unit; None when null or 0. `exit_profile` names a
    set of `strategies.profiles`, "" none.
    """

    strategy_id: int
    strategy_name: str
    strategy_type: str
    underlying: str
    spread_type: str
    spot_price: Paise | None = None
    exit_profile: str = ""


@dataclass(frozen=True, slots=True)
class RiskRow:
    """`strategy_risk_management`. Amounts in paise as stored (not rescaled); None where null or 0 ("no level").

    `exit_conditions` to `adjustment_criteria` are JSON as text, not read yet. `exit_profile` as in `StrategyRow`.
    """

    strategy_id: int
    max_capital_at_risk: Paise | None = None
    stop_percent: float | None = None
    trailing_distance: Paise | None = None
    trailing_activation: Paise | None = None
    profit_target: Paise | None = None
    profit_target_percent: float | None = None
    time_stop_dte: int | None = None
    exit_conditions: str | None = None
    scaling_exits: str | None = None
    technical_stops: str | None = None
    greek_triggers: str | None = None
    adjustment_criteria: str | None = None
    exit_profile: str = ""


@dataclass(frozen=True, slots=True)
class LevelRow:
    """`strategy_exit_levels`. `value` is the magnitude as stored: rupees → paise for trigger_type "price", else as is.

    None when null or 0. `exit_type` and `trigger_type` are in small letters. `action` is None when its text could not be
    read into an action.
    """

    level_id: int
    strategy_id: int
    exit_type: str
    level_name: str
    value: float | None
    trigger_type: str
    action: Action | None
    action_text: str


@dataclass(frozen=True, slots=True)
class MonitoringRow:
    """`strategy_monitoring`. Prices of the underlying in paise, volatilities as stored; None where null or 0 ("none")."""

    strategy_id: int
    support: Paise | None = None
    resistance: Paise | None = None
    iv_upper: float | None = None
    iv_lower: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One row of `strategy_details`: a leg as it was planned. None where null or 0.

    `strike` in paise, `expiry` as text YYYY-MM-DD. `gamma` and `vega` are of one unit, unsigned; `volatility` as stored: a
    fraction of 1, or per cent.
    """

    strategy_id: int
    option_type: str
    strike: Paise | None = None
    expiry: str | None = None
    gamma: float | None = None
    vega: float | None = None
    volatility: float | None = None
