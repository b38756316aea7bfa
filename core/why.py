"""What `--why` prints: what was compared with what for a past exit, from the records in `exit_executions.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from core.exit_records import FILE_NAME, read_lines
from core.model.errors import ConfigurationError
from core.model.session_time import IST
from core.view_tables import UNKNOWN, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DAY_S: Final = 86_400
STEPS: Final = (
    ("tick_to_decision", "tick received → decided"),
    ("decision_to_durable", "decided → on disk"),
    ("durable_to_sent", "on disk → first order sent"),
    ("sent_to_filled", "first order sent → all filled"),
)
LEG_HEADERS: Final = ("Side", "Security id", "Ordered", "Filled", "Average price", "Order ids")


@dataclass(frozen=True, slots=True)
class RecordedExit:
    """One line of the file, as it was written, and when (IST)."""

    at: datetime
    line: Mapping[str, object]


def explain(log_dir: Path, strategy_id: int, at: time | None, *, as_json: bool) -> str:
    """The newest exit of the strategy, or the one whose time of day is nearest to `at` (IST).

    Raises ConfigurationError when there is no record of it.
    """
    path = log_dir / FILE_NAME
    found = _exits_of(path, strategy_id)
    if not found:
        raise ConfigurationError(
            f"{path} has no exit of strategy {strategy_id}.",
            "Check the id; --plan explains positions that are still open, and LOG_DIR says where the records are.",
        )
    # Among equally near ones the newest is meant.
    chosen = found[-1] if at is None else min(reversed(found), key=lambda each: _distance_s(each.at.time(), at))
    if as_json:
        return json.dumps(chosen.line, ensure_ascii=False, indent=2, default=float)
    return _text(chosen, found)


def _exits_of(path: Path, strategy_id: int) -> list[RecordedExit]:
    found = []
    for line in read_lines(path):
        written = _when(line.get("timestamp"))
        if line.get("strategy_id") == strategy_id and written is not None:
            found.append(RecordedExit(written, line))
    return sorted(found, key=lambda each: each.at)


def _when(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at.astimezone(IST) if at.tzinfo is not None else at.replace(tzinfo=IST)


def _distance_s(one: time, other: time) -> float:
    apart = abs(_second_of_day(one) - _second_of_day(other))
    return min(apart, DAY_S - apart)


def _second_of_day(at: time) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1_000_000


def _text(chosen: RecordedExit, found: Sequence[RecordedExit]) -> str:
    line = chosen.line
    lines = [
        f"Strategy #{line.get('strategy_id')} {line.get('strategy_name')} {line.get('symbol')}",
        f"  Closed:         {chosen.at:%Y-%m-%d %H:%M:%S} IST, mode {line.get('mode')}",
        f"  Why:            {line.get('reason')}",
        f"  Rule:           {line.get('rule')}, action {line.get('action')}",
        f"  Compared:       {_compared(line)}",
        f"  Realised P&L:   {_rupees(line.get('realised_pnl'))}",
        *_latency_lines(line.get("latency_ms")),
        _legs(line.get("legs")),
    ]
    others = [f"{each.at:%Y-%m-%d %H:%M:%S}" for each in found if each is not chosen]
    if others:
        lines.append(f"  Other exits of this strategy (choose with --at): {', '.join(others)}")
    return "\n".join(lines)


def _compared(line: Mapping[str, object]) -> str:
    observed, threshold = line.get("observed"), line.get("threshold")
    if observed is None and threshold is None:
        return "the clock or an operator's order, no number"
    if line.get("rule") == "dte_exit":
        return f"{observed} days to expiry with the limit of {threshold} days"
    return f"P&L {_rupees(observed)} with the level {_rupees(threshold)}"


def _latency_lines(latency: object) -> list[str]:
    if not isinstance(latency, dict):
        return []
    known = [(text, latency.get(name)) for name, text in STEPS]
    return [f"  {text + ':':<31} {value:.1f} ms" for text, value in known if isinstance(value, Decimal | int)]


def _legs(legs: object) -> str:
    rows = [
        (
            str(leg.get("side")),
            str(leg.get("security_id")),
            str(leg.get("ordered")),
            str(leg.get("filled")),
            _rupees(leg.get("average_price")),
            ", ".join(str(each) for each in leg.get("order_ids") or ()) or "none",
        )
        for leg in (legs if isinstance(legs, list) else ())
        if isinstance(leg, dict)
    ]
    return "\n".join(f"  {line}" for line in table(LEG_HEADERS, rows).splitlines())


def _rupees(value: object) -> str:
    return f"₹{value:,.2f}" if isinstance(value, Decimal | int) else UNKNOWN
