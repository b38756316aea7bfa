"""The figures of a plan that come from the legs' own terms: payoff at expiry, Greeks, P&L after a move of the market."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.money import rupees_text
from core.view_tables import UNKNOWN, table

if TYPE_CHECKING:
    from core.exits.payoff import Payoff
    from core.monitor_view import Plan, Shocks

PERCENT: Final = 100


def payoff_line(payoff: Payoff) -> str:
    most = _limit(payoff.max_profit, is_unlimited=payoff.is_profit_unlimited)
    least = _limit(payoff.max_loss, is_unlimited=payoff.is_loss_unlimited)
    text = f"Most it can make: {most}   Most it can lose: {least}   Breaks even at: {_breakevens(payoff)}"
    more = "; ".join(part for part in (payoff.note, payoff.assumption) if part)
    return f"{text}   ({more})" if more else text


def _limit(amount: int | None, *, is_unlimited: bool) -> str:
    if amount is None:
        return "unlimited" if is_unlimited else UNKNOWN
    return rupees_text(amount)


def _breakevens(payoff: Payoff) -> str:
    if payoff.breakevens is None:
        return UNKNOWN
    return " and ".join(rupees_text(each) for each in payoff.breakevens) or "no price"


def greeks_line(shocks: Shocks) -> str:
    """Of the open legs together: delta in units of the underlying, gamma for a rupee, theta and vega in rupees."""
    greeks = shocks.greeks
    total = None if greeks is None else greeks.total
    if greeks is None or total is None:
        return f"Greeks: not known: {shocks.problem}"
    iv = "" if greeks.iv is None else f"   implied volatility {greeks.iv * PERCENT:.2f} %"
    return (
        f"Greeks: delta {total.delta:+,.1f} units   gamma {total.gamma:+,.3f} a rupee   theta "
        f"{rupees_text(round(total.theta))} a day   vega {rupees_text(round(total.vega))} a point{iv}"
    )


def shocks_table(plan: Plan) -> str:
    """Rows are changes of each leg's volatility, columns of the underlying, both in per cent of themselves.

    What has no options has no volatility: one row.
    """
    shocks = plan.shocks
    if not shocks.grid:
        return f"not known: {shocks.problem}"
    spots = list(dict.fromkeys(each.spot_percent for each in shocks.grid))
    has_volatility = shocks.greeks is not None and shocks.greeks.iv is not None
    widths = list(dict.fromkeys(each.volatility_percent for each in shocks.grid if has_volatility)) or [0]
    pnl = {(each.spot_percent, each.volatility_percent): each.pnl for each in shocks.grid}
    headers = ("Volatility", *(f"spot {spot:+g} %" if spot else "spot now" for spot in spots))
    rows = [
        (
            f"{width:+g} %" if width else "as now",
            *(_amount(pnl[spot, width], plan.realised) for spot in spots),
        )
        for width in widths
    ]
    return table(headers, rows)


def _amount(pnl: int | None, realised: int | None) -> str:
    return UNKNOWN if pnl is None or realised is None else rupees_text(pnl + realised)
