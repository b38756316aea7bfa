"""The demo's trades: seven positions, one bad row, and the market moves that make three of the positions exit."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from core.model.exit_levels import Rule
from core.model.instrument import InstrumentKey, Right, Segment
from core.model.money import rupees, snap_up
from core.model.position import Product

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from core.model.instrument import Instrument
    from core.model.money import Paise

UNLISTED_ID: Final = 99_999_999
BAD_ROW_STRATEGY: Final = 108


class DemoMarket(Protocol):
    """What the book needs to know of the exchange it is made for."""

    def strike_near(self, underlying: str, points: float) -> Paise:
        """The listed strike nearest to the spot plus `points` (rupees), in paise."""

    def option(self, underlying: str, strike: Paise, right: Right) -> Instrument:
        """The contract of the latest expiry that has it."""

    def listed(self, key: InstrumentKey) -> Instrument: ...

    def worth(self, contract: Instrument, points: float) -> Paise:
        """Fair price (paise per unit) if the underlying moved by `points` (rupees) now."""


@dataclass(frozen=True, slots=True)
class DemoLeg:
    """`units` signed, `entry` paise per unit."""

    contract: Instrument
    units: int
    entry: Paise
    product: Product


@dataclass(frozen=True, slots=True)
class LevelText:
    """One row of strategy_exit_levels; `value` as it is stored."""

    exit_type: str
    level_name: str
    value: str
    trigger_type: str
    action: str


@dataclass(frozen=True, slots=True)
class DemoTrade:
    """`promise` is the rule that the script makes fire, None for a position that stays guarded to the end."""

    strategy_id: int
    name: str
    category: str
    underlying: str
    legs: tuple[DemoLeg, ...]
    levels: tuple[LevelText, ...] = ()
    trailing_distance: Paise | None = None
    promise: Rule | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """`at_s` after the first price subscription the underlying begins to move by `points`, evenly over `seconds`."""

    at_s: float
    underlying: str
    points: float
    seconds: float
    story: str


_CONDOR_MOVE: Final = 300.0
_TARGET_MOVE: Final = 550.0
_TRAIL_RISE: Final = 300.0
_DAYS: Final = LevelText("time_exit", "primary", "2", "dte", "Close entire position")

MOVES: Final = (
    Move(5, "FINNIFTY", _TRAIL_RISE, 10, "FINNIFTY rises: the trailing stop of #103 arms and follows"),
    Move(9, "BANKNIFTY", _TARGET_MOVE, 10, "BANKNIFTY rises: #102 runs to its profit target"),
    Move(15, "NIFTY", _CONDOR_MOVE, 12, "NIFTY rises through the short call: #101 runs into its stop"),
    Move(26, "FINNIFTY", -_TRAIL_RISE, 12, "FINNIFTY turns: #103 gives back and its trailing stop fires"),
)


def make_book(market: DemoMarket) -> tuple[DemoTrade, ...]:
    """Positions at today's prices, with levels that the scripted moves reach well before their end."""
    return (
        _iron_condor(market),
        _long_call(market),
        _trailed_spread(market),
        _bear_put_spread(market),
        _long_strangle(market),
        _stock(market),
        _without_rows(market),
    )


def _iron_condor(market: DemoMarket) -> DemoTrade:
    lots = 2
    shape = ((150, Right.CALL, -lots), (950, Right.CALL, lots), (-150, Right.PUT, -lots), (-950, Right.PUT, lots))
    legs = tuple(_option(market, "NIFTY", *leg) for leg in shape)
    stop = -_pnl_after(market, legs, _CONDOR_MOVE) * 6 // 10
    levels = (
        LevelText("stop_loss", "primary", _rupees(stop // lots), "price", "Close entire position immediately"),
        LevelText("profit_target", "primary", "50", "percentage", "Close entire position"),
        _DAYS,
    )
    return DemoTrade(101, "Iron Condor", "Neutral", "NIFTY", legs, levels, promise=Rule.STOP_LOSS)


def _long_call(market: DemoMarket) -> DemoTrade:
    legs = (_option(market, "BANKNIFTY", 0, Right.CALL, 1),)
    target = _pnl_after(market, legs, _TARGET_MOVE) * 6 // 10
    levels = (
        LevelText("profit_target", "primary", _rupees(target), "price", "Close entire position"),
        LevelText("stop_loss", "primary", "50", "percentage", "Close entire position"),
        _DAYS,
    )
    return DemoTrade(102, "Long Call", "Directional", "BANKNIFTY", legs, levels, promise=Rule.PROFIT_TARGET)


def _trailed_spread(market: DemoMarket) -> DemoTrade:
    lots = 2
    legs = (_option(market, "FINNIFTY", 0, Right.CALL, lots), _option(market, "FINNIFTY", 600, Right.CALL, -lots))
    peak = _pnl_after(market, legs, _TRAIL_RISE)
    levels = (
        LevelText("profit_target", "trailing", _rupees(peak // 2 // lots), "price", "Close entire position"),
        LevelText("profit_target", "primary", "90", "percentage", "Close entire position"),
        LevelText("stop_loss", "primary", "75", "percentage", "Close entire position"),
        _DAYS,
    )
    distance = peak * 4 // 10 // lots
    return DemoTrade(103, "Bull Call Spread", "Directional", "FINNIFTY", legs, levels, distance, Rule.TRAILING_STOP)


def _bear_put_spread(market: DemoMarket) -> DemoTrade:
    legs = (_option(market, "MIDCPNIFTY", 0, Right.PUT, 2), _option(market, "MIDCPNIFTY", -300, Right.PUT, -2))
    levels = (
        LevelText("stop_loss", "primary", "60", "percentage", "Close entire position"),
        LevelText("profit_target", "primary", "60", "percentage", "Close entire position"),
        _DAYS,
    )
    return DemoTrade(104, "Bear Put Spread", "Directional", "MIDCPNIFTY", legs, levels)


def _long_strangle(market: DemoMarket) -> DemoTrade:
    legs = (_option(market, "SENSEX", 500, Right.CALL, 2), _option(market, "SENSEX", -500, Right.PUT, 2))
    levels = (LevelText("stop_loss", "primary", "50", "percentage", "Close entire position"), _DAYS)
    return DemoTrade(105, "Long Strangle", "Volatility", "SENSEX", legs, levels)


def _stock(market: DemoMarket) -> DemoTrade:
    reliance = market.listed(InstrumentKey(Segment.NSE_EQ, 2885))
    leg = DemoLeg(reliance, 40, _entry(market, reliance), Product.CNC)
    levels = (LevelText("stop_loss", "primary", "5", "percentage", "Close entire position"),)
    return DemoTrade(106, "Long Stock", "Directional", "RELIANCE", (leg,), levels)


def _without_rows(market: DemoMarket) -> DemoTrade:
    """No level rows at all: the category's defaults protect it (database.md, trap 5)."""
    legs = (_option(market, "BANKNIFTY", -800, Right.PUT, 1),)
    return DemoTrade(107, "Long Put", "Directional", "BANKNIFTY", legs)


def _option(market: DemoMarket, underlying: str, points: float, right: Right, lots: int) -> DemoLeg:
    contract = market.option(underlying, market.strike_near(underlying, points), right)
    return DemoLeg(contract, lots * contract.lot, _entry(market, contract), Product.MARGIN)


def _entry(market: DemoMarket, contract: Instrument) -> Paise:
    return snap_up(market.worth(contract, 0), contract.tick)


def _pnl_after(market: DemoMarket, legs: Iterable[DemoLeg], points: float) -> Paise:
    return sum(leg.units * (market.worth(leg.contract, points) - leg.entry) for leg in legs)


def _rupees(amount: Paise) -> str:
    return str(rupees(amount))


def write_rows(path: Path, trades: Iterable[DemoTrade], opened_at: str) -> None:
    """Put the trades, and one row that no instrument master knows, into tables that exist. `opened_at`: ISO, IST."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for trade in trades:
            _write_trade(connection, trade, opened_at)
        connection.execute(
            "INSERT INTO trades (strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action,"
            " quantity, price, order_status, timestamp, product_type)"
            " VALUES (?, 'demo-bad', ?, 'NSE_FNO', 'NIFTY', 'CE', 'Long Call', 'BUY', 65, 100, 'open', ?, 'MARGIN')",
            (BAD_ROW_STRATEGY, UNLISTED_ID, opened_at),
        )


def _write_trade(connection: sqlite3.Connection, trade: DemoTrade, opened_at: str) -> None:
    premium = -sum(leg.units * leg.entry for leg in trade.legs)
    connection.execute(
        "INSERT INTO strategies (id, stock_name, strategy_name, strategy_type, spread_type, net_premium)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            trade.strategy_id,
            trade.underlying,
            trade.name,
            trade.category,
            "NET_CREDIT" if premium > 0 else "NET_DEBIT",
            _rupees(abs(premium)),
        ),
    )
    if trade.levels:
        connection.execute(
            "INSERT INTO strategy_risk_management (strategy_id, trailing_stop) VALUES (?, ?)",
            (trade.strategy_id, None if trade.trailing_distance is None else _rupees(trade.trailing_distance)),
        )
    connection.executemany(
        "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (trade.strategy_id, each.exit_type, each.level_name, each.value, each.trigger_type, each.action)
            for each in trade.levels
        ],
    )
    connection.executemany(
        "INSERT INTO trades (strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action,"
        " quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?)",
        [_leg_values(trade, number, leg, opened_at) for number, leg in enumerate(trade.legs, start=1)],
    )


def _leg_values(trade: DemoTrade, number: int, leg: DemoLeg, opened_at: str) -> tuple[object, ...]:
    contract = leg.contract
    return (
        trade.strategy_id,
        f"demo-{trade.strategy_id}-{number}",
        contract.key.security_id,
        contract.key.segment.value,
        trade.underlying,
        "EQ" if contract.right is None else contract.right.value,
        trade.name,
        "BUY" if leg.units > 0 else "SELL",
        abs(leg.units),
        _rupees(leg.entry),
        None if contract.strike is None else _rupees(contract.strike),
        None if contract.expiry is None else contract.expiry.isoformat(),
        opened_at,
        leg.product.value,
    )
