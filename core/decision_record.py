"""One recorded comparison as a JSON object: amounts in rupees, times in ISO with the IST offset, null where not known.

The strategy id comes first, so that a reader finds the lines of one position without parsing the others.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

from core.exit_records import compared as as_read
from core.exit_records import in_rupees
from core.exits.explain_comparisons import compare
from core.model.session_time import NS_PER_MS, NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from core.exits.explain_comparisons import LegCompared, RuleCompared
    from core.exits.explain_sighting import Sighting
    from core.model.signals import Signal


class Kind(StrEnum):
    """Why something was recorded. CHANGED: a breach began or ended, or a trailing stop armed, or a floor was locked."""

    SAMPLE = "sample"
    CHANGED = "changed"
    FIRED = "fired"


def first_part(strategy_id: int) -> bytes:
    """How the line of every record of the strategy begins."""
    return f'{{"strategy_id": {strategy_id}, '.encode()


def line_of(sighting: Sighting, kind: Kind, utc_ns: int, skipped: int) -> bytes:
    """The record as one line. `skipped`: changes since the last record of this position that were too many to record."""
    return json.dumps(record_of(sighting, kind, utc_ns, skipped), ensure_ascii=False, allow_nan=False).encode()


def record_of(sighting: Sighting, kind: Kind, utc_ns: int, skipped: int = 0) -> dict[str, object]:
    found = compare(sighting)
    position, facts = sighting.position, sighting.facts
    return {
        "strategy_id": position.strategy_id,
        "time": iso(utc_ns),
        "kind": kind.value,
        "strategy_name": position.strategy_name,
        "symbol": position.underlying,
        "outcome": found.outcome,
        "pnl": in_rupees(sighting.pnl),
        "pnl_percent": None if found.pnl_percent is None else round(found.pnl_percent, 4),
        "pnl_at_best_sides": in_rupees(found.best_pnl),
        "realised": in_rupees(sighting.realised),
        "peak": in_rupees(facts.peak),
        "days_to_expiry": facts.days,
        "not_judged": found.hindrance or None,
        "blind_spot": sighting.blind_spot or None,
        "legs": [leg_line(leg) for leg in found.legs],
        "rules": [_rule(rule) for rule in found.rules],
        "fired": None if sighting.signal is None else _signal(sighting.signal),
        "skipped": skipped,
    }


def iso(utc_ns: int) -> str:
    return ist_datetime(utc_ns).isoformat(timespec="milliseconds")


def leg_line(compared: LegCompared) -> dict[str, object]:
    """A leg and the quote that it was judged by."""
    leg, quote = compared.seen.leg, compared.seen.quote
    trade = None if quote is None or quote.exchange_time is None else quote.exchange_time * NS_PER_S
    return {
        "symbol": leg.instrument.symbol,
        "expiry": None if leg.instrument.expiry is None else leg.instrument.expiry.isoformat(),
        "exchange_segment": leg.instrument.key.segment.value,
        "security_id": leg.instrument.key.security_id,
        "units": leg.units,
        "entry": in_rupees(leg.entry),
        "mark": in_rupees(compared.seen.mark),
        "last": None if quote is None else in_rupees(quote.last),
        "bid": None if quote is None else in_rupees(quote.bid),
        "ask": None if quote is None else in_rupees(quote.ask),
        "source": None if quote is None else quote.source.value,
        "age_ms": None if compared.age_ns is None else round(compared.age_ns / NS_PER_MS, 1),
        "last_trade": None if trade is None else iso(trade),
        "suspect": compared.suspect or None,
    }


def _rule(compared: RuleCompared) -> dict[str, object]:
    line = compared.threshold
    return {
        "rule": line.rule.value,
        "level": line.level,
        "threshold": as_read(line.rule, line.threshold),
        "observed": as_read(line.rule, compared.observed),
        "distance": as_read(line.rule, compared.distance),
        "now": line.now or None,
        "state": compared.state.value,
        "why": compared.why or None,
        "source": None if line.source is None else line.source.value,
        "action": line.action.value,
    }


def _signal(signal: Signal) -> dict[str, object]:
    tick_ns = signal.tick_received_ns
    return {
        "rule": signal.rule.value,
        "action": signal.action.value,
        "urgency": signal.urgency.value,
        "threshold": as_read(signal.rule, signal.threshold),
        "observed": as_read(signal.rule, signal.observed),
        "reason": signal.reason,
        "from_tick_ms": None if tick_ns is None else round((signal.decided_ns - tick_ns) / NS_PER_MS, 3),
    }
