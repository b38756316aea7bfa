"""What `--plan` prints: for each position where each rule fires, where its level comes from, and what would be ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.money import rupees_text
from core.view_tables import UNKNOWN, money_text, pnl_text, set_aside_block, table

if TYPE_CHECKING:
    from core.model.position import Leg
    from core.monitor_view import MonitorView, PlannedOrder, PositionView

RULE_HEADERS: Final = ("Rule", "Fires when", "At P&L", "At price", "Level from")
ORDER_HEADERS: Final = ("Phase", "Order", "Units", "Instrument", "Limit now")


def plan(view: MonitorView) -> str:
    """Every open position in the order of its id, then the rows that were set aside."""
    blocks = [_position(each) for each in sorted(view.positions, key=lambda each: each.position.strategy_id)]
    if not blocks:
        blocks.append("No open position.")
    if view.set_aside:
        blocks.append(set_aside_block(view))
    return "\n\n".join(blocks) + "\n"


def _position(view: PositionView) -> str:
    position = view.position
    pnl = pnl_text(view.pnl, view.pnl_percent)
    state = f"{view.action.value}, {view.urgency.value}: {view.reason}"
    lines = [
        f"#{position.strategy_id} {position.strategy_name or 'Strategy'} {position.underlying}   P&L {pnl}   {state}",
        *(f"  {_leg(leg)}" for leg in position.legs),
    ]
    if view.levels is not None:
        lines.append(
            f"  Most it can make: {_limit(view.levels.max_profit)}   Most it can lose: {_limit(view.levels.max_loss)}"
        )
    lines.append(_indented(_rules(view)))
    if view.orders:
        rows = [_order_row(order) for order in view.orders]
        lines.append("  A full exit would send, phase by phase (the next phase waits for the fills of the one before):")
        lines.append(_indented(table(ORDER_HEADERS, rows)))
    if view.levels is not None:
        lines.extend(f"  Note: {note}" for note in _notes(view))
    return "\n".join(lines)


def _rules(view: PositionView) -> str:
    if not view.rules:
        return "NO RULE IS IN FORCE: this position is not protected."
    return table(
        RULE_HEADERS,
        [
            (
                line.rule,
                line.level,
                "" if line.pnl is None else rupees_text(line.pnl),
                "" if line.price is None else rupees_text(line.price),
                line.source,
            )
            for line in view.rules
        ],
    )


def _notes(view: PositionView) -> list[str]:
    if view.levels is None:
        return []
    levels = view.levels
    each = (levels.stop, levels.trailing, levels.target, levels.dte, levels.theta, levels.square_off)
    own = [level.note for level in each if level is not None and level.note]
    return list(dict.fromkeys([*own, *levels.notes]))


def _leg(leg: Leg) -> str:
    side = "bought" if leg.units > 0 else "sold"
    return f"{side} {abs(leg.units)} {leg.instrument.symbol} at {money_text(leg.entry)} ({leg.holding})"


def _order_row(order: PlannedOrder) -> tuple[str, ...]:
    limit = UNKNOWN if order.limit is None else rupees_text(order.limit)
    return (str(order.phase), order.side, str(order.quantity), order.symbol, limit)


def _limit(amount: int | None) -> str:
    return "unlimited or unknown" if amount is None else rupees_text(amount)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
