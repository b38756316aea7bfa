"""What one guard had before it at one moment: taken in a few microseconds, put into words later, elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.exits.breach import waits_for
from core.exits.explain_line import NOTHING_AROUND
from core.exits.rules import PRICE_RULES

if TYPE_CHECKING:
    from core.exits.breach import Wait
    from core.exits.explain_line import Around
    from core.exits.guard_settings import GuardSettings
    from core.exits.position_guard import PositionGuard
    from core.exits.rules import RuleFacts
    from core.exits.safe_to_trade import SafeToTrade
    from core.model.exit_levels import Rule
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Leg, Position
    from core.model.signals import Signal


class LegSeen(NamedTuple):
    """`mark` paise per unit, None before the first quote. `is_held`: the quote came out of a backlog."""

    leg: Leg
    mark: Paise | None
    quote: Quote | None
    previous: Quote | None
    is_held: bool


class BreachSeen(NamedTuple):
    """`since_ns` monotonic. `waits_for` None: it waits for nothing any more."""

    rule: Rule
    since_ns: int
    waits_for: Wait | None


class Sighting(NamedTuple):
    """`at_ns` monotonic; `pnl` and `realised` paise. `signal`: what fired at this moment, None when nothing did.

    `blind_spot` is what another judge lacks to watch its levels, "" when nothing.
    """

    at_ns: int
    position: Position
    pnl: Paise | None
    realised: Paise | None
    facts: RuleFacts
    legs: tuple[LegSeen, ...]
    breaches: tuple[BreachSeen, ...]
    safe: SafeToTrade
    started_ns: int | None
    settings: GuardSettings
    blind_spot: str = ""
    around: Around = NOTHING_AROUND
    signal: Signal | None = None


def see(guard: PositionGuard, at_ns: int, signal: Signal | None = None, around: Around = NOTHING_AROUND) -> Sighting:
    """Take down what the guard has before it now. Nothing in a sighting changes afterwards."""
    booked = guard.booked
    backlog = booked.backlog
    legs = tuple(
        LegSeen(leg, slot.mark, slot.quote, slot.previous, slot.quote is not None and backlog.holds(slot.quote))
        for leg, slot in zip(booked.position.legs, booked.slots, strict=True)
    )
    return Sighting(
        at_ns,
        booked.position,
        booked.pnl,
        booked.realised,
        guard.facts,
        legs,
        _breaches(guard, at_ns),
        guard.safe_to_trade(at_ns),
        guard.started_ns,
        guard.settings,
        guard.blind_spot(at_ns) or "",
        around,
        signal,
    )


def _breaches(guard: PositionGuard, at_ns: int) -> tuple[BreachSeen, ...]:
    breaches = guard.breaches
    if not breaches:
        return ()
    suspects, settings = guard.suspects(), guard.settings
    return tuple(
        BreachSeen(rule.rule, breach.since_ns, waits_for(rule, guard.facts, breach, suspects, at_ns, settings))
        for rule in PRICE_RULES
        if (breach := breaches.get(rule.rule)) is not None
    )
