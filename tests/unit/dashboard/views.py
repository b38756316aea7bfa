"""Hand-made views for the tests of what is shown."""

from datetime import date

from core.exits.explain_comparisons import LegCompared
from core.exits.explain_sighting import LegSeen
from core.exits.payoff import Payoff
from core.exits.position_greeks import Greeks, PositionGreeks, Shock
from core.model.commands import Alert, Severity
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.market import Quote
from core.model.orders import Side
from core.model.position import Leg, Position, Product
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.monitor_view import (
    ConnectionView,
    MonitorView,
    Plan,
    PlannedOrder,
    PositionView,
    RuleLine,
    Shocks,
    Statistics,
)

UTC_NS = 1_795_000_000_123_000_000
CALL = Instrument(
    InstrumentKey(Segment.NSE_FNO, 78165),
    "ASTRAL-Jul2025-1500-CE",
    "ASTRAL",
    lot=425,
    tick=5,
    strike=150_000,
    expiry=date(2026, 12, 29),
    right=Right.CALL,
)


def position(strategy_id=3359, units=425, entry=5_700):
    return Position(strategy_id, "Long Call", "ASTRAL", (Leg(1, CALL, Product.MARGIN, units, entry),))


def planned(**changed):
    quote = Quote(CALL.key, 5_460, 5_455, 5_465, 425, 425, None, 0)
    stop = RuleLine(
        "stop_loss", "P&L ≤ ₹-12,112.50", -1_211_250, 2_850, "category default", "₹11,092.50 away", "nothing",
        "50 % of max loss", "CLOSE_IMMEDIATELY", "all", "", -1_211_250, -102_000,
    )  # fmt: skip
    greeks = PositionGreeks((), 0.185, Greeks(212.5, 0.123456, -45_678.9, 12_345.6))
    facts = {
        "legs": (LegCompared(LegSeen(position().legs[0], 5_460, quote, None, is_held=False), 250_000_000, ""),),
        "rules": (stop,),
        "payoff": Payoff(None, 2_422_500, breakevens=(155_700,), is_profit_unlimited=True),
        "realised": 0,
        "underlying_price": 148_050,
        "underlying": "₹1,480.50, 0.3 s old",
        "shares": (),
        "shocks": Shocks(greeks, tuple(Shock(s, v, 100 * s + v) for v in (-20, 0, 20) for s in (-1, 0, 1)), ""),
    }
    return Plan(**(facts | changed))


def position_view(strategy_id=3359, **changed):
    facts = {
        "position": position(strategy_id),
        "levels": ExitLevels(
            stop=AmountLevel(1_211_250, LevelSource.CATEGORY_DEFAULT, "50 % of max loss"),
            max_profit=None,
            max_loss=2_422_500,
            notes=("no usable target row",),
        ),
        "state": "guarded",
        "pnl": -102_000,
        "pnl_percent": -4.2105,
        "action": Action.MONITOR,
        "urgency": Urgency.NORMAL,
        "reason": "No exit conditions triggered",
        "orders": (PlannedOrder(1, "SELL", 425, "ASTRAL-Jul2025-1500-CE", 5_455, 425),),
        "plan": planned(),
    }
    return PositionView(**(facts | changed))


def record(strategy_id=3359, **changed):
    facts = {
        "exit_id": f"E{strategy_id}",
        "strategy_id": strategy_id,
        "symbol": "ASTRAL",
        "strategy_name": "Long Call",
        "action": Action.CLOSE_IMMEDIATELY,
        "reason": "stop loss: P&L ₹-12,200.00 ≤ ₹-12,112.50",
        "rule": Rule.STOP_LOSS,
        "threshold": -1_211_250,
        "observed": -1_220_000,
        "legs": (LegExecution(1, 78165, "ASTRAL-Jul2025-1500-CE", Side.SELL, 425, 425, 2_830, ("1126",)),),
        "realised_pnl": -1_219_750,
        "latency": Latency(0.25, 1.5, 0.75, 40.0),
        "mode": Mode.LIVE,
        "finished_at_ns": UTC_NS,
    }
    return ExitRecord(**(facts | changed))


def statistics(**changed):
    facts = {
        "uptime_s": 3_725.0,
        "positions": 1,
        "price_updates": 12_345,
        "corrupt_packets": 2,
        "dropped_prices": 3,
        "rest_fetches": 4,
        "trade_updates": 5,
        "signals": 1,
        "exits_finished": 1,
        "exits_unresolved": 0,
        "alerts": 1,
        "realised_pnl": -1_219_750,
    }
    return Statistics(**(facts | changed))


def view(**changed):
    facts = {
        "mode": Mode.LIVE,
        "utc_ns": UTC_NS,
        "positions": (position_view(),),
        "connection": ConnectionView("connected", "live", "connected", 13, 12, 1, 0.25),
        "statistics": statistics(),
        "set_aside": (),
        "finished": (),
        "alerts": (),
    }
    return MonitorView(**(facts | changed))


def alert(text="token dies soon"):
    return Alert(Severity.WARNING, "token", text)
