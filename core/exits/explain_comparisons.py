"""What was compared with what, for one position at one moment: on which quotes, how old, and what came of it (exit_rules 4)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.breach import previous_mark
from core.exits.explain import NOTHING_FIRES, reason_text
from core.exits.explain_levels import list_thresholds
from core.exits.explain_line import Threshold
from core.exits.explain_quote import FROM_A_BACKLOG, why_suspect
from core.exits.profit_and_loss import best_side_pnl, pnl_percent
from core.exits.quote_check import is_two_sided
from core.exits.rules import PRICE_RULES
from core.model.exit_levels import UNITS, Rule, Unit
from core.model.money import rupees_text
from core.model.session_time import NS_PER_MS

if TYPE_CHECKING:
    from core.exits.explain_sighting import LegSeen, Sighting
    from core.exits.quote_check import QuoteLimits
    from core.model.money import Paise
    from core.model.signals import Signal

WOULD_FIRE: Final = "would fire too"
_PRICED: Final = frozenset(rule.rule for rule in PRICE_RULES)


class State(StrEnum):
    """What came of one comparison. UNJUDGED: prices, or the session, forbade it. WAITING: the level is not in force yet."""

    NOTHING = "nothing"
    BREACHED = "breached"
    FIRED = "fired"
    WAITING = "not in force"
    UNJUDGED = "not judged"


class LegCompared(NamedTuple):
    """A leg and its quote. `age_ns`: since receipt, None without a quote. `suspect` says why, "" for a clean quote."""

    seen: LegSeen
    age_ns: int | None
    suspect: str


class RuleCompared(NamedTuple):
    """`observed` and `distance` in the unit of the rule; `distance` is how far away the level is, ≤ 0 when it is reached.

    `why` goes on where `state` ends: for whom a breach waits, why nothing was judged.
    """

    threshold: Threshold
    observed: int | None
    distance: int | None
    state: State
    why: str


class Compared(NamedTuple):
    """`best_pnl`: P&L at the side of the books that flatters the position, paise, None unless all are two-sided.

    `hindrance`: why no price rule was judged, "" when they were.
    """

    sighting: Sighting
    pnl_percent: float | None
    best_pnl: Paise | None
    hindrance: str
    legs: tuple[LegCompared, ...]
    rules: tuple[RuleCompared, ...]

    @property
    def outcome(self) -> str:
        """One line: what came of it all."""
        signal = self.sighting.signal
        if signal is not None:
            return signal.reason
        waiting = next((each for each in self.rules if each.state is State.BREACHED), None)
        if waiting is not None:
            return f"{waiting.threshold.rule.value} breached, {waiting.why}"
        if self.hindrance:
            return f"not judged: {self.hindrance}"
        return NOTHING_FIRES


def compare(sighting: Sighting) -> Compared:
    hindrance = _hindrance(sighting)
    legs = tuple(_leg(seen, sighting.at_ns, sighting.settings.quote_limits) for seen in sighting.legs)
    rules = [_rule(line, sighting, hindrance) for line in list_thresholds(sighting.facts, sighting.around)]
    signal = sighting.signal
    if signal is not None and all(each.state is not State.FIRED for each in rules):
        rules.insert(0, _unlisted(signal))
    return Compared(
        sighting,
        pnl_percent(sighting.pnl, sighting.position.net_premium),
        _best_pnl(sighting),
        hindrance,
        legs,
        tuple(rules),
    )


def _hindrance(sighting: Sighting) -> str:
    reasons = sighting.safe.reasons
    return reason_text(reasons[0], sighting.at_ns, sighting.started_ns) if reasons else ""


def _leg(seen: LegSeen, at_ns: int, limits: QuoteLimits) -> LegCompared:
    quote = seen.quote
    if quote is None:
        return LegCompared(seen, None, "no quote yet")
    if seen.is_held:
        return LegCompared(seen, at_ns - quote.received_ns, FROM_A_BACKLOG)
    before, before_age_ns = previous_mark(quote, seen.previous)
    return LegCompared(
        seen, at_ns - quote.received_ns, why_suspect(quote, before, before_age_ns, seen.leg.instrument.tick, limits)
    )


def _best_pnl(sighting: Sighting) -> Paise | None:
    quotes = {}
    for seen in sighting.legs:
        if seen.quote is None or seen.is_held or not is_two_sided(seen.quote):
            return None
        quotes[seen.leg.instrument.key] = seen.quote
    return best_side_pnl(sighting.position, quotes, sighting.realised)


def _rule(line: Threshold, sighting: Sighting, hindrance: str) -> RuleCompared:
    is_priced = line.rule in _PRICED
    observed = sighting.pnl if is_priced and line.pnl is not None else line.observed
    distance = None
    if observed is not None and line.threshold is not None:
        distance = line.threshold - observed if line.is_above else observed - line.threshold
    state, why = _state(line, sighting, hindrance, distance)
    return RuleCompared(line, observed, distance, state, why)


def _state(line: Threshold, sighting: Sighting, hindrance: str, distance: int | None) -> tuple[State, str]:
    if _is_fired(line, sighting.signal):
        return State.FIRED, ""
    if line.waits:
        return State.WAITING, line.waits
    if line.rule in _PRICED:
        if hindrance:
            return State.UNJUDGED, hindrance
        breach = next((each for each in sighting.breaches if each.rule is line.rule), None)
        if breach is not None and distance is not None and distance <= 0:
            waited_ms = (sighting.at_ns - breach.since_ns) // NS_PER_MS
            what = WOULD_FIRE if breach.waits_for is None else f"waits for {breach.waits_for.value}"
            return State.BREACHED, f"{what} ({waited_ms} ms)"
    elif not sighting.safe.is_session_open:
        return State.UNJUDGED, hindrance
    return State.NOTHING, _away(line, distance)


def _is_fired(line: Threshold, signal: Signal | None) -> bool:
    if signal is None or signal.rule is not line.rule or signal.level != line.name:
        return False
    return signal.threshold == line.threshold


def _away(line: Threshold, distance: int | None) -> str:
    if distance is None:
        return line.now
    if distance <= 0:
        # Beyond the last line of a warning, or what its judge has still to look at, or waits to believe.
        return "beyond it, and not yet believed" if line.rule is not Rule.ADJUSTMENT else "below the band"
    unit = UNITS.get(line.rule, Unit.PAISE)
    if unit is Unit.DAYS:
        return f"{line.now}, {distance} to go"
    if unit is not Unit.PAISE:
        return line.now
    away = f"{rupees_text(distance)} away"
    return f"{line.now}, {away}" if line.now else away


def _unlisted(signal: Signal) -> RuleCompared:
    """Of a signal that no level of the position stands for: an operator's, a latched limit, what was closed outside."""
    line = Threshold(
        signal.rule,
        signal.reason,
        None,
        None,
        action=signal.action,
        threshold=signal.threshold,
        observed=signal.observed,
    )
    return RuleCompared(line, signal.observed, None, State.FIRED, "")
