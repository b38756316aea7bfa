"""An exit and a recorded comparison as `--why` prints them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from core.model.exit_levels import UNITS, Rule, Unit
from core.view_tables import UNKNOWN, indented, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    Line = Mapping[str, object]

STEPS: Final = (
    ("tick_to_decision", "tick received → decided"),
    ("decision_to_durable", "decided → on disk"),
    ("durable_to_sent", "on disk → first order sent"),
    ("sent_to_filled", "first order sent → all filled"),
)
SECONDS_FROM_MS: Final = 10_000
ORDER_HEADERS: Final = ("Side", "Security id", "Ordered", "Filled", "Average price", "Order ids")
LEG_HEADERS: Final = (
    "Units",
    "Instrument",
    "Expiry",
    "Entry",
    "Mark",
    "Last",
    "Bid",
    "Ask",
    "From",
    "Age",
    "Last trade",
    "Quote",
)
RULE_HEADERS: Final = ("Rule", "Fires when", "Level", "Compared with", "Result", "Level from")


def exit_text(line: Line, at: datetime) -> str:
    """One line of `exit_executions.json`."""
    return "\n".join(
        (
            f"Strategy #{line.get('strategy_id')} {line.get('strategy_name')} {line.get('symbol')}",
            f"  Closed:         {at:%Y-%m-%d %H:%M:%S} IST, mode {line.get('mode')}",
            f"  Why:            {line.get('reason')}",
            f"  Rule:           {line.get('rule')}, action {line.get('action')}",
            f"  Compared:       {_compared(line)}",
            f"  Realised P&L:   {_rupees(line.get('realised_pnl'))}",
            *_latency_lines(line.get("latency_ms")),
            _orders(line.get("legs")),
        )
    )


def record_text(line: Line, at: datetime, apart: str) -> str:
    """One recorded comparison. `apart` says how far it is from what was asked for, "" when that needs no word."""
    days = line.get("days_to_expiry")
    parts = (
        f"P&L {_rupees(line.get('pnl'))}" + _percent(line.get("pnl_percent")),
        f"at the best sides of the books {_rupees(line.get('pnl_at_best_sides'))}",
        "" if line.get("peak") is None else f"peak {_rupees(line.get('peak'))}",
        "" if days is None else f"DTE {days}",
        "" if not line.get("realised") else f"{_rupees(line.get('realised'))} of it realised before",
    )
    name = f"#{line.get('strategy_id')} {line.get('strategy_name')} {line.get('symbol')}"
    lines = [
        f"{name}: what was compared at {at:%Y-%m-%d} {_clock(at)} IST{apart}",
        f"  Outcome:        {line.get('outcome')}",
        f"  Figures:        {'; '.join(part for part in parts if part)}",
    ]
    for title, key in (("Not judged", "not_judged"), ("Cannot see", "blind_spot")):
        if line.get(key):
            lines.append(f"  {title + ':':<15} {line.get(key)}")
    lines += [_legs(line.get("legs")), _rules(line.get("rules"))]
    return "\n".join(lines)


def history_text(rows: Sequence[tuple[datetime, Line, bool]]) -> str:
    """What was recorded before and after, one line each; True marks the one that is shown in full."""
    told = []
    days = ", ".join(dict.fromkeys(f"{at:%Y-%m-%d}" for at, _, _ in rows))
    for at, line, is_shown in rows:
        kind, pnl = str(line.get("kind")), _rupees(line.get("pnl"))
        told.append(f"  {'→' if is_shown else ' '} {_clock(at)}  {kind:<8}{pnl:>16}  {line.get('outcome')}")
    return "\n".join((f"  Recorded around it, on {days}:", *told))


def _compared(line: Line) -> str:
    observed, threshold = line.get("observed"), line.get("threshold")
    match _unit(line.get("rule")):
        case _ if observed is None and threshold is None:
            return "the clock, an own rule or an operator's order, no number"
        case Unit.DAYS if line.get("rule") == Rule.DTE_EXIT:
            return f"{observed} days to expiry with the limit of {threshold} days"
        case Unit.DAYS:
            return f"held for {observed} days with the limit of {threshold} days"
        case Unit.TEN_THOUSANDTHS:
            return f"{observed} with the threshold {threshold}"
        case _:
            what = "the underlying's price" if line.get("rule") == Rule.UNDERLYING_LEVEL else "P&L"
            return f"{what} {_rupees(observed)} with the level {_rupees(threshold)}"


def _unit(rule: object) -> Unit:
    return next((unit for each, unit in UNITS.items() if each == rule), Unit.PAISE)


def _latency_lines(latency: object) -> list[str]:
    if not isinstance(latency, dict):
        return []
    known = [(text, latency.get(name)) for name, text in STEPS]
    return [f"  {text + ':':<31} {value:.1f} ms" for text, value in known if isinstance(value, Decimal | int)]


def _orders(legs: object) -> str:
    rows = [
        (
            str(leg.get("side")),
            str(leg.get("security_id")),
            str(leg.get("ordered")),
            str(leg.get("filled")),
            _rupees(leg.get("average_price")),
            _ids(leg.get("order_ids")),
        )
        for leg in _dicts(legs)
    ]
    return indented(table(ORDER_HEADERS, rows))


def _ids(ids: object) -> str:
    return ", ".join(str(each) for each in ids) if isinstance(ids, list) and ids else "none"


def _legs(legs: object) -> str:
    rows = [
        (
            f"{leg.get('units'):+}" if isinstance(leg.get("units"), int) else "",
            str(leg.get("symbol")),
            str(leg.get("expiry") or ""),
            *(_rupees(leg.get(name)) for name in ("entry", "mark", "last", "bid", "ask")),
            str(leg.get("source") or ""),
            "" if leg.get("age_ms") is None else _age(leg.get("age_ms")),
            str(leg.get("last_trade") or "")[11:19],
            f"suspect: {leg.get('suspect')}" if leg.get("suspect") else "clean",
        )
        for leg in _dicts(legs)
    ]
    return indented(table(LEG_HEADERS, rows))


def _rules(rules: object) -> str:
    rows = [
        (
            str(rule.get("rule")),
            str(rule.get("level")),
            _amount(rule, "threshold"),
            _amount(rule, "observed"),
            ": ".join(str(rule[part]) for part in ("state", "why") if rule.get(part)),
            str(rule.get("source") or ""),
        )
        for rule in _dicts(rules)
    ]
    return indented(table(RULE_HEADERS, rows))


def _amount(rule: Line, name: str) -> str:
    value = rule.get(name)
    if value is None:
        return ""
    return _rupees(value) if _unit(rule.get("rule")) is Unit.PAISE else str(value)


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


def _age(value: object) -> str:
    if not isinstance(value, Decimal | int):
        return UNKNOWN
    return f"{value:.0f} ms" if value < SECONDS_FROM_MS else f"{value / 1000:.0f} s"


def _percent(value: object) -> str:
    return f" ({value:.2f}%)" if isinstance(value, Decimal | int) else ""


def _dicts(value: object) -> list[Line]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _rupees(value: object) -> str:
    return f"₹{value:,.2f}" if isinstance(value, Decimal | int) else UNKNOWN
