"""What `--plan` adds to a position: where every rule fires, what each share would order, payoff, Greeks, and shocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.explain_comparisons import compare
from core.exits.explain_sighting import see
from core.exits.greek_moment import pricing_moment
from core.exits.order_plan import closing_side, limit_price, slice_quantity
from core.exits.partial_close import PERCENT_OF, part_to_close
from core.exits.payoff import payoff_of
from core.exits.position_greeks import position_greeks, shock_grid
from core.exits.underlying_watch import underlying_key_of
from core.model.exit_levels import FULL_EXITS, UNITS, Action, Unit
from core.model.market import mark_of
from core.model.money import rupees_text, snap_down, snap_up
from core.model.session_time import NS_PER_S
from core.model.special_levels import TEN_THOUSAND
from core.monitor_view import Plan, PlannedOrder, PlannedShare, RuleLine, Shocks
from core.plan_standing import due_by_time, now_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.exits.explain_comparisons import Compared, RuleCompared
    from core.exits.explain_line import Around
    from core.exits.order_plan import LadderSettings
    from core.exits.position_guard import PositionGuard
    from core.model.events import TimePassed
    from core.model.instrument import Instrument, InstrumentKey
    from core.model.market import Quote
    from core.model.memory import ToldLevel
    from core.model.money import Paise
    from core.model.orders import Side
    from core.model.position import Position
    from core.position_cache_manager import BookedPosition

CANNOT_SPLIT: Final = "too small to split into whole lots: told, and nothing is closed"


class PlanSources(NamedTuple):
    """Where a plan looks. `quote_of` knows more instruments than positions hold.

    `around` gives what the judges beside the guard see, `told_of` the levels of a strategy id that have had their say.
    """

    now: TimePassed
    ladder: LadderSettings
    quote_of: Callable[[InstrumentKey], Quote | None]
    around: Callable[[PositionGuard, int], Around]
    told_of: Callable[[int], Iterable[ToldLevel]] = lambda _: ()


def plan_of(guard: PositionGuard, sources: PlanSources) -> Plan:
    booked, at_ns = guard.booked, sources.now.at_ns
    found = compare(see(guard, at_ns, around=sources.around(guard, at_ns)))
    due = frozenset(verdict.rule for verdict in due_by_time(guard, sources.now))
    shares = _shares(guard, found, sources)
    price, underlying = _underlying(booked.position, sources)
    return Plan(
        legs=found.legs,
        rules=tuple(_rule_line(each, booked, shares, now_text(each, due, sources.now)) for each in found.rules),
        payoff=payoff_of(booked.position),
        realised=booked.realised,
        underlying_price=price,
        underlying=underlying,
        shares=tuple(shares.values()),
        shocks=_shocks(booked, price, sources.now.utc_ns),
        told=tuple(told_text(level) for level in sources.told_of(booked.position.strategy_id)),
    )


def told_text(level: ToldLevel) -> str:
    name = f"{level.rule.value} {level.level}".rstrip()
    match UNITS.get(level.rule, Unit.PAISE):
        case Unit.PAISE if level.threshold is not None:
            return f"{name} at {rupees_text(level.threshold)}"
        case Unit.TEN_THOUSANDTHS if level.threshold is not None:
            return f"{name} at {level.threshold / TEN_THOUSAND:g}"
        case _:
            return name


def one_leg_price(position: Position, pnl: Paise | None, *, is_loss: bool, realised: Paise | None = 0) -> Paise | None:
    """The mark (paise per unit) at which a rule on this P&L fires for a one-leg position; None for other positions.

    It is on the tick grid, the first price there at which the P&L is at or below the line for a loss rule, at or above
    it for a profit rule. `realised` is what shares of it that are closed have brought, paise: it counts in the P&L.
    """
    if pnl is None or realised is None or len(position.legs) != 1:
        return None
    leg = position.legs[0]
    if leg.entry is None:
        return None
    pnl -= realised
    # A falling price makes a loss on bought units and a profit on sold ones.
    fires_falling = is_loss is (leg.units > 0)
    if fires_falling:
        return snap_down(leg.entry + pnl // leg.units, leg.instrument.tick)
    return snap_up(leg.entry - (-pnl // leg.units), leg.instrument.tick)


def orders_of(
    position: Position, quotes: Mapping[InstrumentKey, Quote | None], ladder: LadderSettings
) -> tuple[PlannedOrder, ...]:
    """What closing the position would send now: shorts first, in freeze slices, at the first rung of the ladder."""
    orders = []
    has_short = any(leg.units < 0 for leg in position.legs)
    for leg in position.legs:
        side, quote = closing_side(leg.units), quotes.get(leg.instrument.key)
        limit = None if quote is None else limit_price(side, quote, leg.instrument, 0, ladder)
        left = abs(leg.units)
        while left:
            quantity = slice_quantity(left, leg.instrument)
            phase = 2 if has_short and leg.units > 0 else 1
            orders.append(_order(phase, side, quantity, leg.instrument, limit))
            left -= quantity
    return tuple(sorted(orders, key=lambda order: order.phase))


def _order(phase: int, side: Side, quantity: int, instrument: Instrument, limit: Paise | None) -> PlannedOrder:
    return PlannedOrder(phase, side.value, quantity, instrument.symbol, limit, instrument.lot, instrument.expiry)


def quotes_of(booked: BookedPosition) -> dict[InstrumentKey, Quote | None]:
    return {slot.key: slot.quote for slot in booked.slots}


def _rule_line(
    found: RuleCompared, booked: BookedPosition, shares: Mapping[Action, PlannedShare], now: str
) -> RuleLine:
    line = found.threshold
    return RuleLine(
        rule=line.rule.value,
        level=line.level,
        pnl=line.pnl,
        price=one_leg_price(booked.position, line.pnl, is_loss=not line.is_above, realised=booked.realised),
        source="" if line.source is None else line.source.value,
        now=now,
        state=found.state.value,
        note=line.note,
        action=line.action.value,
        closes=_closes(line.action, shares),
        name=line.name,
        threshold=line.threshold,
        observed=found.observed,
    )


def _closes(action: Action, shares: Mapping[Action, PlannedShare]) -> str:
    if action in FULL_EXITS:
        return "all"
    share = shares.get(action)
    if share is None:
        return "nothing, told"
    if share.problem:
        return f"{PERCENT_OF[action]} %: cannot be split, told"
    lots = " + ".join(f"{order.quantity // order.lot}" for order in share.orders)
    return f"up to {PERCENT_OF[action]} %: {lots} lots"


def _shares(guard: PositionGuard, found: Compared, sources: PlanSources) -> dict[Action, PlannedShare]:
    """What each share would close now, of those that some level asks for; smallest first."""
    wanted = {rule.threshold.action for rule in found.rules} & PERCENT_OF.keys()
    return {action: _share(guard, action, sources) for action in sorted(wanted, key=lambda each: PERCENT_OF[each])}


def _share(guard: PositionGuard, action: Action, sources: PlanSources) -> PlannedShare:
    booked, original = guard.booked, guard.original
    left = {leg.row_id: abs(leg.units) for leg in booked.position.legs}
    closed = {leg.row_id: abs(leg.units) - left.get(leg.row_id, 0) for leg in original.legs}
    part = part_to_close(original, action, closed)
    if part is None:
        return PlannedShare(action.value, (), CANNOT_SPLIT)
    return PlannedShare(action.value, orders_of(part, quotes_of(booked), sources.ladder))


def _underlying(position: Position, sources: PlanSources) -> tuple[Paise | None, str]:
    """The price of what is behind the position (paise), and a text for a reader."""
    key = underlying_key_of(position)
    if isinstance(key, str):
        return None, f"not known: {key}"
    quote = sources.quote_of(key)
    if quote is None:
        return None, f"not known: no price of {key} yet"
    price = mark_of(quote.last, quote.bid, quote.ask)
    age_s = (sources.now.at_ns - quote.received_ns) / NS_PER_S
    return price, f"{rupees_text(price)}, {age_s:.1f} s old"


def _shocks(booked: BookedPosition, spot: Paise | None, utc_ns: int) -> Shocks:
    marks = {slot.key: slot.mark for slot in booked.slots if slot.mark is not None}
    missing = next(
        (leg.instrument.dated_symbol for leg in booked.position.legs if leg.instrument.key not in marks), None
    )
    if missing is not None:
        return Shocks(None, (), f"no price of {missing}")
    moment = pricing_moment(booked.position, marks, spot, utc_ns)
    if isinstance(moment, str):
        return Shocks(None, (), moment)
    greeks = position_greeks(booked.position, marks, moment)
    if greeks.note:
        return Shocks(greeks, (), greeks.note)
    grid = shock_grid(greeks)
    if any(each.pnl is None for each in grid):
        return Shocks(greeks, (), "an entry price is not known")
    return Shocks(greeks, grid, "")
