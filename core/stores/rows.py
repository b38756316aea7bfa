"""Rows as they come from a database → typed rows. A bad row is named and set aside; it never removes another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from core.exits.action_text import parse_action
from core.model.errors import RowError
from core.model.exit_levels import Action
from core.model.instrument import Segment
from core.model.position import Product
from core.stores.base import LevelRow, MonitoringRow, PlannedLeg, RiskRow, Snapshot, StrategyRow, TradeRow
from core.stores.columns import (
    Row,
    amount,
    day,
    integer,
    json_text,
    magnitude,
    one_of,
    price,
    required_integer,
    shown,
    text,
)

TRADES: Final = "trades"
STRATEGIES: Final = "strategies"
RISKS: Final = "strategy_risk_management"
LEVELS: Final = "strategy_exit_levels"
MONITORING: Final = "strategy_monitoring"
DETAILS: Final = "strategy_details"

MAX_QUANTITY: Final = 10_000_000
"""Units. Above this a quantity is a mistake, not a position."""

_SIDES: Final = frozenset({"BUY", "SELL"})
_TYPES: Final = frozenset({"CE", "PE", "FUT", "EQ", ""})
_PRODUCTS: Final = frozenset(Product)
_SEGMENTS: Final = frozenset(Segment)
_EXIT_TYPES: Final = frozenset({"PROFIT_TARGET", "STOP_LOSS", "TIME_EXIT", "GREEK_TRIGGER"})
_TRIGGER_TYPES: Final = frozenset({"PRICE", "PERCENTAGE", "DTE", "GREEK_VALUE"})
_T = TypeVar("_T")


def key_column(columns: Iterable[str]) -> str:
    """`new_id`, or `id` where a trades table has no `new_id`."""
    return "new_id" if "new_id" in set(columns) else "id"


def read_trade(row: Row) -> TradeRow:
    """One open row of trades. Raises RowError naming the row's key and the column."""
    key = key_column(row)
    return _named(TRADES, row.get(key), lambda: _trade(row, key))


def read_strategy(row: Row) -> StrategyRow:
    return _named(STRATEGIES, row.get("id"), lambda: _strategy(row))


def read_risk(row: Row) -> RiskRow:
    return _named(RISKS, row.get("strategy_id"), lambda: _risk(row))


def read_level(row: Row) -> tuple[LevelRow, RowError | None]:
    """The level, and what is wrong with its action text if it could not be read. Raises RowError for all else.

    A row without a value is no level, and of a Greek a doubtful text is an alert: neither is a mistake of the row.
    """
    level = _named(LEVELS, row.get("id"), lambda: _level(row))
    is_level = level.value is not None and level.exit_type != "greek_trigger"
    if is_level and level.action is None and level.action_text:
        problem = f"action: expected what part to close, received {shown(level.action_text)}"
        return level, RowError(LEVELS, level.level_id, problem, level.strategy_id)
    return level, None


def read_monitoring(row: Row) -> MonitoringRow:
    return _named(MONITORING, row.get("strategy_id"), lambda: _monitoring(row))


def read_planned(row: Row) -> PlannedLeg:
    return _named(DETAILS, row.get("strategy_id"), lambda: _planned(row))


def snapshot_of(
    trades: Iterable[Row],
    strategies: Iterable[Row],
    risks: Iterable[Row],
    levels: Iterable[Row],
    monitoring: Iterable[Row] = (),
    details: Iterable[Row] = (),
) -> Snapshot:
    """Everything that can be read, and a named problem for everything that cannot."""
    problems: list[RowError] = []
    damaged: set[int] = set()
    good: dict[int, TradeRow] = {}
    for row in trades:
        try:
            trade = read_trade(row)
            _refuse_twice(trade, good)
        except RowError as problem:
            problem.strategy_id = _strategy_of(row)
            problems.append(problem)
            if problem.strategy_id is not None:
                damaged.add(problem.strategy_id)
        else:
            good[trade.row_id] = trade
    kept_levels = _readable(levels, read_level, problems)
    problems += [problem for _, problem in kept_levels if problem is not None]
    return Snapshot(
        trades=tuple(good.values()),
        strategies=tuple(_readable(strategies, read_strategy, problems, "id")),
        risks=tuple(_readable(risks, read_risk, problems)),
        levels=tuple(level for level, _ in kept_levels),
        monitoring=tuple(_readable(monitoring, read_monitoring, problems)),
        details=tuple(_readable(details, read_planned, problems)),
        problems=tuple(problems),
        damaged=frozenset(damaged),
    )


def _readable(
    rows: Iterable[Row], read: Callable[[Row], _T], problems: list[RowError], strategy_column: str = "strategy_id"
) -> Sequence[_T]:
    kept = []
    for row in rows:
        try:
            kept.append(read(row))
        except RowError as problem:
            problem.strategy_id = _strategy_of(row, strategy_column)
            problems.append(problem)
    return kept


def _refuse_twice(trade: TradeRow, good: dict[int, TradeRow]) -> None:
    if trade.row_id in good:
        raise RowError(TRADES, trade.row_id, "the key occurs twice; only the first row is watched")


def _strategy_of(row: Row, column: str = "strategy_id") -> int | None:
    try:
        return required_integer(row, column)
    except ValueError:
        return None


def _named(table: str, key: object, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except ValueError as error:
        raise RowError(table, _name_of(key), str(error)) from None


def _name_of(key: object) -> object:
    """The key as a number where it is one: some tables keep it as text, and the row is known by its number."""
    try:
        number = integer({"key": key}, "key")
    except ValueError:
        number = None
    return shown(key) if number is None else number


def _trade(row: Row, key: str) -> TradeRow:
    option_type = one_of(row, "type", _TYPES, default="")
    # A stock leg without a segment cannot be looked up among derivatives: security ids repeat across segments.
    default_segment = Segment.NSE_FNO if option_type in {"CE", "PE", "FUT"} else Segment.NSE_EQ
    quantity = required_integer(row, "quantity", minimum=1)
    if quantity > MAX_QUANTITY:
        raise ValueError(f"quantity: expected at most {MAX_QUANTITY} units, received {quantity}")
    return TradeRow(
        row_id=required_integer(row, key),
        strategy_id=required_integer(row, "strategy_id"),
        strategy_name=text(row, "strategy"),
        underlying=text(row, "symbol"),
        security_id=required_integer(row, "security_id", minimum=1),
        segment=one_of(row, "exchange_segment", _SEGMENTS, default=default_segment),
        option_type=option_type,
        is_buy=one_of(row, "action", _SIDES) == "BUY",
        quantity=quantity,
        entry=price(row, "price"),
        strike=price(row, "strike_price"),
        expiry=day(row, "expiry_date"),
        product=one_of(row, "product_type", _PRODUCTS),
        opened_at=text(row, "timestamp"),
        account_id=text(row, "account_id") or None,
    )


def _strategy(row: Row) -> StrategyRow:
    return StrategyRow(
        strategy_id=required_integer(row, "id"),
        strategy_name=text(row, "strategy_name"),
        strategy_type=text(row, "strategy_type"),
        underlying=text(row, "stock_name"),
        spread_type=text(row, "spread_type"),
        spot_price=_if_readable(price, row, "spot_price"),
        exit_profile=_if_readable(text, row, "exit_profile") or "",
    )


def _if_readable(read: Callable[[Row, str], _T], row: Row, column: str) -> _T | None:
    """The value where it can be read: what only helps to judge other columns must not cost them their row."""
    try:
        return read(row, column)
    except ValueError:
        return None


def _risk(row: Row) -> RiskRow:
    days = integer(row, "time_stop_dte")
    if days is not None and days < 0:
        raise ValueError(f"time_stop_dte: expected days of at least 0, received {days}")
    return RiskRow(
        strategy_id=required_integer(row, "strategy_id"),
        max_capital_at_risk=amount(row, "max_capital_at_risk"),
        stop_percent=magnitude(row, "strategy_level_stop"),
        trailing_distance=amount(row, "trailing_stop"),
        trailing_activation=amount(row, "trailing_stop_activation"),
        profit_target=amount(row, "profit_target_primary"),
        profit_target_percent=magnitude(row, "profit_target_pct"),
        time_stop_dte=days or None,
        exit_conditions=json_text(row, "exit_conditions"),
        scaling_exits=json_text(row, "scaling_exits"),
        technical_stops=json_text(row, "technical_stops"),
        greek_triggers=json_text(row, "greek_triggers"),
        adjustment_criteria=json_text(row, "adjustment_criteria"),
        exit_profile=_if_readable(text, row, "exit_profile") or "",
    )


def _monitoring(row: Row) -> MonitoringRow:
    return MonitoringRow(
        strategy_id=required_integer(row, "strategy_id"),
        support=price(row, "support_level"),
        resistance=price(row, "resistance_level"),
        iv_upper=magnitude(row, "iv_upper_limit"),
        iv_lower=magnitude(row, "iv_lower_limit"),
    )


def _planned(row: Row) -> PlannedLeg:
    return PlannedLeg(
        strategy_id=required_integer(row, "strategy_id"),
        option_type=(_if_readable(text, row, "option_type") or "").upper(),
        strike=_if_readable(price, row, "strike_price"),
        expiry=_if_readable(day, row, "expiry_date"),
        gamma=_if_readable(magnitude, row, "gamma"),
        vega=_if_readable(magnitude, row, "vega"),
        volatility=_if_readable(magnitude, row, "implied_volatility"),
    )


def _level(row: Row) -> LevelRow:
    trigger_type = one_of(row, "trigger_type", _TRIGGER_TYPES).lower()
    value = amount(row, "trigger_value") if trigger_type == "price" else magnitude(row, "trigger_value")
    action_text = text(row, "action")
    action: Action | None = parse_action(action_text) if action_text else None
    return LevelRow(
        level_id=required_integer(row, "id"),
        strategy_id=required_integer(row, "strategy_id"),
        exit_type=one_of(row, "exit_type", _EXIT_TYPES).lower(),
        level_name=text(row, "level_name"),
        value=value,
        trigger_type=trigger_type,
        action=action,
        action_text=action_text,
    )
