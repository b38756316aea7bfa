"""What `--plan` prints: for each position where each rule fires, where its level comes from, and what would be ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.money import rupees_text
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.plan_figures import greeks_line, payoff_line, shocks_table
from core.view_tables import UNKNOWN, headline, indented, money_text, not_found_line, pnl_text, set_aside_block, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.exits.explain_comparisons import LegCompared
    from core.monitor_view import MonitorView, Plan, PlannedOrder, PlannedShare, PositionView

RULE_HEADERS: Final = ("Rule", "Fires when", "At P&L", "At price", "Now", "Closes", "Level from")
ORDER_HEADERS: Final = ("Phase", "Order", "Units", "Instrument", "Expiry", "Limit now")
SHARE_HEADERS: Final = ("Share", *ORDER_HEADERS)
UNPROTECTED: Final = "NO RULE IS IN FORCE: this position is not protected."


def plan(view: MonitorView) -> str:
    """How many are unprotected, every open position in the order of its id, then the rows that were set aside."""
    shown = sorted(view.positions, key=lambda each: each.position.strategy_id)
    blocks = [_summary(view, shown), *(_position(each, view) for each in shown)]
    if view.set_aside:
        blocks.append(set_aside_block(view))
    return "\n\n".join(blocks) + "\n"


def _summary(view: MonitorView, shown: Sequence[PositionView]) -> str:
    blind = [each for each in shown if each.unprotected]
    lines = [headline(view) if shown else "No open position."]
    if blind:
        lines.append(f"UNPROTECTED: {len(blind)} of {len(shown)}")
        lines += [f"- #{each.position.strategy_id} {each.position.strategy_name}: {each.unprotected}" for each in blind]
    if view.not_found:
        lines.append(not_found_line(view))
    return "\n".join(lines)


def _position(view: PositionView, whole: MonitorView) -> str:
    position, plan = view.position, view.plan
    pnl = pnl_text(view.pnl, view.pnl_percent)
    state = f"{view.action.value}, {view.urgency.value}: {view.reason}"
    lines = [
        f"#{position.strategy_id} {position.strategy_name or 'Strategy'} {position.underlying}   P&L {pnl}   {state}"
    ]
    if plan is None:
        return "\n".join(lines)
    lines += [f"  {_leg(leg)}" for leg in plan.legs]
    if plan.realised:
        lines.append(f"  Of the P&L {rupees_text(plan.realised)} is realised by shares that are closed already.")
    lines += [
        f"  {payoff_line(plan.payoff)}",
        f"  Underlying: {position.underlying} {plan.underlying}",
        f"  {greeks_line(plan.shocks)}",
    ]
    lines.append(indented(_rules(plan)))
    if view.orders:
        rows = [_order_row(order) for order in view.orders]
        lines.append("  A full exit would send, phase by phase (the next phase waits for the fills of the one before):")
        lines.append(indented(table(ORDER_HEADERS, rows)))
    if plan.shares:
        lines.append("  A share would send, of the quantity that the rows say, whatever was closed of it before:")
        lines.append(indented(table(SHARE_HEADERS, [row for share in plan.shares for row in _share_rows(share)])))
    lines += ["  P&L if the market moved at this moment:", indented(shocks_table(plan))]
    lines += [f"  Has had its say, and is not in force any more: {told}" for told in plan.told]
    lines += [f"  NOT READ: {problem}" for each, problem in whole.not_read if each == position.strategy_id]
    lines += [f"  Note: {note}" for note in _notes(view)]
    return "\n".join(lines)


def _rules(plan: Plan) -> str:
    if not plan.rules:
        return UNPROTECTED
    rows = [
        (
            line.rule,
            line.level,
            "" if line.pnl is None else rupees_text(line.pnl),
            "" if line.price is None else rupees_text(line.price),
            line.now,
            line.closes,
            line.source,
        )
        for line in plan.rules
    ]
    if all(line.price is None for line in plan.rules):
        # Only a position of one leg has prices.
        place = RULE_HEADERS.index("At price")
        cut = [(*row[:place], *row[place + 1 :]) for row in (RULE_HEADERS, *rows)]
        return table(cut[0], cut[1:])
    return table(RULE_HEADERS, rows)


def _notes(view: PositionView) -> list[str]:
    """How each level was read, then what was read oddly or replaced."""
    rules = () if view.plan is None else view.plan.rules
    own = [f"{line.rule}: {line.note}" for line in rules if line.note]
    return list(dict.fromkeys([*own, *(() if view.levels is None else view.levels.notes)]))


def _leg(compared: LegCompared) -> str:
    leg, seen = compared.seen.leg, compared.seen
    side = "bought" if leg.units > 0 else "sold"
    text = f"{side} {abs(leg.units)} {leg.instrument.dated_symbol} at {money_text(leg.entry)} ({leg.holding})"
    if seen.quote is None or compared.age_ns is None:
        return f"{text}, no price yet"
    judged = f", suspect: {compared.suspect}" if compared.suspect else ""
    return f"{text}, now {money_text(seen.mark)} ({seen.quote.source.value}, {_age(compared.age_ns)} old{judged})"


def _age(age_ns: int) -> str:
    return f"{age_ns // NS_PER_MS} ms" if age_ns < NS_PER_S else f"{age_ns / NS_PER_S:.1f} s"


def _order_row(order: PlannedOrder) -> tuple[str, ...]:
    limit = UNKNOWN if order.limit is None else rupees_text(order.limit)
    expiry = "" if order.expiry is None else order.expiry.isoformat()
    return (str(order.phase), order.side, str(order.quantity), order.symbol, expiry, limit)


def _share_rows(share: PlannedShare) -> list[tuple[str, ...]]:
    if share.problem:
        return [(share.action, "", "", "", share.problem, "", "")]
    return [(share.action, *_order_row(order)) for order in share.orders]
