"""The next orders of one leg: how many units may go, at which price, whether now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.desk_state import AttemptRef
from core.exits.exit_finish import shorts_are_over
from core.exits.exit_lifecycle import EXIT_TRANSITIONS, ExitTrigger, LegState, fire
from core.exits.order_gate import closable_quantity
from core.exits.order_plan import correlation_id_of, has_other_side, limit_price, slice_quantity
from core.exits.running_exit import Attempt
from core.model.commands import RequestQuotes, Severity, SubmitOrder
from core.model.exit_levels import Rule, Urgency
from core.model.journal_records import AttemptPrepared, ExitHalted
from core.model.orders import OrderIntent, Side, Validity
from core.model.position import Product
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.model.signals import Mode

if TYPE_CHECKING:
    from core.exits.desk_state import DeskState
    from core.exits.running_exit import RunningExit, RunningLeg
    from core.model.market import Quote
    from core.model.position import HoldingKey, PositionReport

BLIND_EVERY_NS: Final = 60 * NS_PER_S
"""How often an order goes out on quotes that show no book at all, in case they are of a kind that carries none."""


def send_leg(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> None:
    """Order whatever of the leg is neither closed nor reserved, if everything allows it now."""
    if leg.state is not LegState.OPEN or leg.free <= 0 or not _may_send(desk, running, leg, at_ns):
        return
    if at_ns < leg.next_send_ns:
        desk.wake_at(leg.next_send_ns)
        return
    wanted = _closable(desk, running, leg, at_ns)
    if wanted <= 0:
        return
    quote = _usable_quote(desk, running, leg, at_ns)
    if quote is None or not _can_trade(desk, running, leg, quote, at_ns):
        return
    is_new_round = not leg.live
    if _send_slices(desk, running, leg, wanted, quote, at_ns) and is_new_round:
        leg.quote_asked_ns = None
        leg.next_send_ns = at_ns + desk.settings.round_interval_ms * NS_PER_MS


def _may_send(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> bool:
    if desk.stopping or desk.mode is Mode.ALERT or running.signal.rule is Rule.CLOSED_OUTSIDE:
        return False
    if leg.leg.units > 0 and not shorts_are_over(desk, running, at_ns):
        # A short that was flat is open again: a late order, or one that the broker took back.
        return False
    is_cash = leg.leg.instrument.key.segment.is_cash
    if desk.session_open is not True or (is_cash and desk.cash_open is not True):
        if desk.ist_time is not None:
            # From 15:15 on a share may be in its closing auction: an order would be refused, round after round.
            market = "market of shares" if is_cash else "market"
            text = f"{leg.remaining} units of {leg.leg.instrument.symbol} are open and the {market} is not known to be open"
            desk.alert(running, Severity.PAGE, "exit waits for the market", text)
        return False
    is_late = desk.ist_time is not None and desk.ist_time >= desk.settings.intraday_last_send
    if is_late and leg.leg.product is Product.INTRADAY:
        # The broker squares off intraday positions himself from here on: a second order could reverse them.
        text = "the broker's square-off is due; check it"
        desk.alert(running, Severity.PAGE, "too late for an own intraday exit", text)
        return False
    return True


def _closable(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> int:
    """Units the gate lets through now; 0 when positions are not known well enough."""
    holding, held = leg.leg.holding, desk.holdings
    if not held.is_fresh(desk.last_ended_ns(holding), at_ns, desk.settings):
        desk.positions_wanted = True
        goes_on = running.signal.urgency is Urgency.HIGH and held.usable_when_unreadable(at_ns, desk.settings)
        if held.unreadable(at_ns, desk.settings):
            text = (
                "going on with the last good position report" if goes_on else "no order is sent until they can be read"
            )
            desk.alert(running, Severity.PAGE, "positions unreadable", text)
        if not goes_on:
            return 0
    take_base(desk, leg)
    model = held.model(holding)
    if model is None or held.report is None:
        desk.positions_wanted = True
        return 0
    side, net = leg.side, held.report.net(holding)
    reserved, stays = desk.reserved(holding, side.sign), _hedge_that_stays(desk, running, leg)
    units = closable_quantity(side, leg.free, net, model.worst(side), reserved + stays)
    if stays and units < closable_quantity(side, leg.free, net, model.worst(side), reserved):
        text = (
            f"the broker's net is {net}, and {stays} of it hedge the shorts that stay: somebody else has closed a part; the share "
            "waits, a level that closes everything still does; or close the rest by hand"
        )
        desk.alert(running, Severity.PAGE, f"the hedge {leg.leg.instrument.symbol} is short of units", text)
    if units == 0 and held.foreign_leaves(holding, side.sign):
        desk.order_book_wanted = True
        text = f"it may close {leg.leg.instrument.symbol} as well; the exit waits for its end"
        desk.alert(running, Severity.PAGE, "somebody else's order is in the way", text)
    return units


def _hedge_that_stays(desk: DeskState, running: RunningExit, leg: RunningLeg) -> int:
    """Units that the rows leave on the contract when the share of a hedge is closed; 0 for whatever hedges nothing.

    All rows count: what other strategies hold there stays as well, or is what hides units of this one. What other exits have
    filled is gone from the net, and not from the rows yet.
    """
    holding = leg.leg.holding
    if not running.is_share or leg.leg.units < 0 or all(each.leg.units > 0 for each in running.legs):
        return 0
    held = sum(each.units for position in desk.held() for each in position.legs if each.holding == holding)
    others = (each for other in desk.exits.values() if other is not running for each in other.legs)
    gone = sum(-each.side.sign * each.filled for each in others if each.leg.holding == holding)
    return max(held - gone - leg.leg.units, 0)


def take_base(desk: DeskState, leg: RunningLeg) -> None:
    """Start the model of the holding at the broker's net, while nothing of ours is in the way of reading it.

    The report must be younger than our last fill on the holding by more than position reports lag: of this exit, of another
    one on the same contract, or of one before a restart. A leg that has sent orders keeps its base, lowered to what
    the broker still holds.
    """
    holding, held = leg.leg.holding, desk.holdings
    if held.report is None or desk.has_live(holding):
        return
    is_settled = _is_settled(desk, held.report, holding)
    if is_settled and (holding not in held.bases or not leg.attempts):
        held.rebase(holding, held.report)
    else:
        held.admit_less(holding, leg.side, held.report)


def _is_settled(desk: DeskState, report: PositionReport, holding: HoldingKey) -> bool:
    ended_ns = desk.last_ended_ns(holding)
    return ended_ns == 0 or report.requested_ns - ended_ns > desk.settings.position_lag_ms * NS_PER_MS


def _usable_quote(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> Quote | None:
    """The quote to price with. Later rounds want a young one and wait a second for it; then the newest known serves."""
    settings = desk.settings
    quote = desk.quote_of(leg.leg.instrument.key)
    if quote is not None:
        if at_ns - quote.received_ns <= settings.quote_max_age_ms * NS_PER_MS:
            return quote
        if leg.rounds == 0 and desk.feed_live and not desk.is_doubted(quote.key):
            # A quiet option on a live feed has not changed since its last packet. Another connection's life shows nothing.
            return quote
    desk.awaited_keys.add(leg.leg.instrument.key)
    if leg.quote_asked_ns is None:
        leg.quote_asked_ns = at_ns
        desk.say(RequestQuotes((leg.leg.instrument.key,)))
    waited_until = leg.quote_asked_ns + settings.quote_wait_ms * NS_PER_MS
    if at_ns >= waited_until:
        if quote is not None:
            return quote
        desk.alert(running, Severity.PAGE, f"no price for {leg.leg.instrument.key}", "the exit waits for a first price")
        leg.quote_asked_ns = None
    desk.wake_at(max(waited_until, at_ns + NS_PER_MS))
    return None


def _can_trade(desk: DeskState, running: RunningExit, leg: RunningLeg, quote: Quote, at_ns: int) -> bool:
    """False while nobody is on the other side (a halt, a price band, an empty book): an order would only burn an attempt.

    REST is asked every `quote_wait_ms`, and the first quote with that side resumes the exit (fault F29). Without any book
    one order goes out all the same, and one more every `BLIND_EVERY_NS`.
    """
    if has_other_side(leg.side, quote):
        return True
    is_blind = quote.bid is None and quote.ask is None
    if is_blind and (not leg.attempts or at_ns - leg.last_change_ns >= BLIND_EVERY_NS):
        return True
    instrument, wait_ns = leg.leg.instrument, desk.settings.quote_wait_ms * NS_PER_MS
    desk.awaited_keys.add(instrument.key)
    if leg.quote_asked_ns is None or at_ns >= leg.quote_asked_ns + wait_ns:
        if leg.quote_asked_ns is not None:
            missing = "ask" if leg.side is Side.BUY else "bid"
            text = f"{leg.remaining} units to {leg.side.value}, and the book has no {missing}: the exit waits for one"
            desk.alert(running, Severity.PAGE, f"nobody to trade {instrument.symbol} with", text)
        leg.quote_asked_ns = at_ns
        desk.say(RequestQuotes((instrument.key,)))
    desk.wake_at(leg.quote_asked_ns + wait_ns)
    return False


def _send_slices(desk: DeskState, running: RunningExit, leg: RunningLeg, wanted: int, quote: Quote, at_ns: int) -> bool:
    """Send freeze slices until nothing is wanted or a budget says stop. True when at least one went out."""
    round_number = max(leg.rounds - 1, 0) if leg.live else leg.rounds
    price = limit_price(leg.side, quote, leg.leg.instrument, round_number, desk.settings.ladder)
    validity = Validity.IOC
    if round_number >= desk.settings.ladder.ioc_rounds and desk.holdings.failing_since_ns is None:
        validity = Validity.DAY
    sent = False
    while wanted > 0 and _within_budgets(desk, running, leg, at_ns):
        quantity = slice_quantity(wanted, leg.leg.instrument)
        number = _next_number(desk, running, leg)
        corr = correlation_id_of(running.exit_id, leg.leg.row_id, number)
        intent = OrderIntent(corr, leg.leg.holding, leg.side, quantity, price, validity=validity)
        _prepare(desk, running, leg, Attempt(intent, number, at_ns, leg.round_of_next()))
        wanted -= quantity
        sent = True
    return sent


def _within_budgets(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> bool:
    if leg.attempts_that_count >= desk.settings.attempts_per_leg_per_day:
        reason = f"{leg.attempts_that_count} attempts on {leg.leg.instrument.symbol} did not close it"
        halt(desk, running, reason, may_widen=True)
        return False
    free_at = max(desk.second_budget.free_at(at_ns, len(desk.unposted)), leg.minute_budget.free_at(at_ns))
    if free_at > at_ns:
        desk.wake_at(free_at)
        return False
    return True


def _next_number(desk: DeskState, running: RunningExit, leg: RunningLeg) -> int:
    # A lost journal would compute the same ids again; the broker's order book of today says which are taken.
    number = leg.attempts[-1].number + 1 if leg.attempts else 1
    while correlation_id_of(running.exit_id, leg.leg.row_id, number) in desk.used_correlation_ids:
        number += 1
    return number


def _prepare(desk: DeskState, running: RunningExit, leg: RunningLeg, attempt: Attempt) -> None:
    corr = attempt.intent.correlation_id
    leg.attempts.append(attempt)
    leg.minute_budget.take(attempt.prepared_ns)
    desk.unposted.add(corr)
    desk.add_attempt(AttemptRef(running, leg, attempt))
    desk.record(AttemptPrepared(running.exit_id, leg.index, attempt.number, attempt.intent))
    desk.say(SubmitOrder(attempt.intent))


def halt(desk: DeskState, running: RunningExit, reason: str, *, may_widen: bool = False) -> None:
    """Stop ordering for this exit until a person has looked. Its positions and orders are still watched.

    `may_widen` as in ExitHalted; a graver reason takes the place of such a one.
    """
    if running.halted_reason and (may_widen or not running.may_widen):
        return
    if not running.halted_reason:
        running.state = fire(EXIT_TRANSITIONS, running.state, ExitTrigger.HALT)
    running.halted_reason, running.may_widen = reason, may_widen
    desk.record(ExitHalted(running.exit_id, reason, may_widen))
    running.alerted.discard("exit halted")
    desk.alert(running, Severity.PAGE, "exit halted", reason)
