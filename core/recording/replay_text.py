"""What a replay prints for a person: tables. Times in IST."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from core.exit_records import compared
from core.model.commands import Severity
from core.model.exit_levels import UNITS, Unit
from core.model.session_time import ist_datetime
from core.recording.replay_result import differences, known_sum, twin_of
from core.view_tables import money_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.exit_levels import Rule
    from core.recording.replay_result import (
        Curve,
        RunOutcome,
        SeenExit,
    )

_BARS: Final = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH: Final = 40
_SHOWN_ALERTS: Final = 12


def text_of(name: str, base: RunOutcome, other: RunOutcome | None, curve_s: float) -> str:
    parts = [_headline(name, base), *_exits(base), _curves(base, curve_s), *_unprotected(base), *_recorded(base)]
    if other is not None:
        parts += _difference(base, other)
    parts += [*_alerts(base), *(f"Note: {note}." for note in base.notes)]
    return "\n\n".join(parts)


def sparkline(curve: Curve, width: int = _CURVE_WIDTH) -> str:
    """The samples in so many characters, the highest known one full; a blank where the P&L was not known."""
    pnls = [pnl for _, pnl in curve.points]
    if len(pnls) > width:
        pnls = [pnls[number * (len(pnls) - 1) // (width - 1)] for number in range(width)]
    known = [pnl for pnl in pnls if pnl is not None]
    if not known:
        return ""
    low, span = min(known), max(max(known) - min(known), 1)
    return "".join(" " if pnl is None else _BARS[(pnl - low) * (len(_BARS) - 1) // span] for pnl in pnls)


def _headline(name: str, run: RunOutcome) -> str:
    begun, over = ist_datetime(run.from_utc_ns), ist_datetime(run.to_utc_ns)
    speed = f"{run.ticks / run.took_s:,.0f} a second" if run.took_s > 0 else "at once"
    until = f"{over:%H:%M:%S}" if begun.date() == over.date() else f"{over:%Y-%m-%d %H:%M:%S}"
    return f"{name}: {begun:%Y-%m-%d %H:%M:%S} to {until} IST, {run.ticks:,} quotes in {run.took_s:.1f} s ({speed})"


def _exits(run: RunOutcome) -> list[str]:
    if not run.exits:
        return ["Exits: none."]
    headers = ("Decided", "Strategy", "Rule", "Threshold", "Observed", "Realised P&L", "Reason")
    rows = [
        (
            _clock(seen.decided_utc_ns),
            f"{seen.name} #{seen.strategy_id}",
            f"{seen.signal.rule.value} → {seen.signal.action.value}",
            _compared(seen.signal.rule, seen.signal.threshold),
            _compared(seen.signal.rule, seen.signal.observed),
            "not finished" if seen.finished_utc_ns is None else money_text(seen.realised),
            seen.signal.reason,
        )
        for seen in run.exits
    ]
    parts = [f"Exits\n{_table(headers, rows, (*[None] * 6, 60))}"]
    odd = [line for seen in run.exits for line in _odd_fills(seen)]
    if odd:
        parts.append("Fills to look at\n" + "\n".join(odd))
    return parts


def _odd_fills(seen: SeenExit) -> list[str]:
    """Each fill that was late, or at no executable side."""
    found = []
    for fill in seen.fills:
        late = f"the book had no such side for {fill.waited_s:.1f} s" if fill.waited_s else ""
        notes = "; ".join(filter(None, (late, fill.note)))
        if notes:
            what = f"{fill.side} {fill.units} {fill.symbol} at {money_text(fill.price)}"
            found.append(f"  {_clock(seen.decided_utc_ns)} {seen.name} #{seen.strategy_id}: {what}: {notes}")
    return found


def _curves(run: RunOutcome, curve_s: float) -> str:
    headers = ("Strategy", "Min", "Max", "Last", "At exit", "Result", "P&L over time")
    rows = [
        (
            f"{position.name} #{position.strategy_id}",
            money_text(position.curve.low),
            money_text(position.curve.high),
            money_text(position.curve.last),
            money_text(position.curve.at_exit) if position.exits else "",
            money_text(position.result) + (" (open)" if position.is_open else ""),
            sparkline(position.curve),
        )
        for position in run.positions
    ]
    total = f"Sum of the results: {money_text(run.total)}"
    return f"P&L of each position, sampled every {curve_s:g} s. {total}\n{_table(headers, rows)}"


def _unprotected(run: RunOutcome) -> list[str]:
    """One line for all positions that stood without protection in the same minutes."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for position in run.positions:
        for each in position.unprotected:
            over = "the end" if each.to_utc_ns is None else _clock(each.to_utc_ns)
            line = (_clock(each.from_utc_ns), over, each.reason)
            together.setdefault(line, []).append(f"{position.name} #{position.strategy_id}")
    if not together:
        return []
    headers = ("Not protected from", "to", "Why", "Positions")
    rows = [(*line, f"{len(names)}: {', '.join(names)}") for line, names in sorted(together.items())]
    return [f"Not protected while the market was open\n{_table(headers, rows, (None, None, 30, 70))}"]


def _recorded(run: RunOutcome) -> list[str]:
    """Whether the recording monitor decided the same."""
    if not run.recorded:
        return []
    pairs = [(decision, twin_of(decision, run.exits)) for decision in run.recorded]
    missing = [decision for decision, twin in pairs if twin is None]
    head = f"Recorded decisions: {len(pairs)}, the replay has {len(pairs) - len(missing)} of them"
    lines = [
        f"  not replayed: {_clock(decision.at_utc_ns)} strategy {decision.strategy_id}, {decision.rule}"
        for decision in missing
    ]
    return ["\n".join((f"{head}.", *lines))]


def _difference(base: RunOutcome, other: RunOutcome) -> list[str]:
    found = differences(base, other)
    headers = ("Strategy", "In force", "Exit", "Other levels", "Exit", "Difference")
    rows = [
        (
            f"{each.name} #{each.strategy_id}",
            money_text(each.base),
            _how(each.base_exit),
            money_text(each.other),
            _how(each.other_exit),
            money_text(each.change),
        )
        for each in found
    ]
    total = known_sum(each.change for each in found)
    return [f"With the other levels. Difference in sum: {money_text(total)}\n{_table(headers, rows)}"]


def _how(seen: SeenExit | None) -> str:
    return "none" if seen is None else f"{_clock(seen.decided_utc_ns)} {seen.signal.rule.value}"


def _alerts(run: RunOutcome) -> list[str]:
    counts = Counter(f"{alert.subject}: {alert.text}" for alert in run.alerts if alert.severity is not Severity.INFO)
    if not counts:
        return []
    lines = [f"  {text}" + (f" ({count} times)" if count > 1 else "") for text, count in counts.items()]
    more = [f"  and {len(lines) - _SHOWN_ALERTS} more"] if len(lines) > _SHOWN_ALERTS else []
    return ["\n".join(("The monitor would have said", *lines[:_SHOWN_ALERTS], *more))]


def _compared(rule: Rule, value: int | None) -> str:
    if value is not None and UNITS.get(rule, Unit.PAISE) is Unit.PAISE:
        return money_text(value)
    shown = compared(rule, value)
    return "" if shown is None else f"{shown:g}"


def _clock(utc_ns: int) -> str:
    return f"{ist_datetime(utc_ns):%H:%M:%S}"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None] | None = None) -> str:
    most = None if widths is None else list(widths)
    return tabulate(rows, headers=headers, tablefmt="outline", disable_numparse=True, maxcolwidths=most)
