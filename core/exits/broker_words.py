"""The broker's words on orders, positions and trades, folded into what the order side knows."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final, assert_never

from core.exits.attempt_chaser import take_absence
from core.exits.exit_finish import is_reversed
from core.exits.exit_lifecycle import LIVE, AttemptState, AttemptTrigger, LegState, LegTrigger
from core.exits.leg_sender import halt
from core.model import events as ev
from core.model.commands import ReadOrderBook, ReadPositions, ReadTradeBook, Severity
from core.model.journal_records import AttemptObserved, AttemptRefused
from core.model.orders import OrderReport, OrderStatus, Refusal
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.exits.desk_state import AttemptRef, DeskState
    from core.exits.running_exit import Attempt, RunningExit, RunningLeg
    from core.model.events import (
        BrokerReadFailed,
        BrokerWord,
        OrderAbsenceSeen,
        OrderAccepted,
        OrderBookRead,
        OrderOutcomeUnknown,
        OrderPosted,
        OrderRefused,
        OrderReported,
        PositionsRead,
        TradeBookRead,
    )
    from core.model.position import PositionReport

_REVERSE_WATCH_NS: Final = 60 * NS_PER_S
_MOST_NOT_SENT_PAUSES: Final = 10


def take(desk: DeskState, event: BrokerWord) -> None:
    match event:
        case ev.OrderPosted():
            on_posted(desk, event)
        case ev.OrderAccepted():
            on_accepted(desk, event)
        case ev.OrderRefused():
            on_refused(desk, event)
        case ev.OrderOutcomeUnknown():
            on_outcome_unknown(desk, event)
        case ev.OrderReported():
            on_reported(desk, event)
        case ev.OrderAbsenceSeen():
            on_absence(desk, event)
        case ev.OrderBookRead():
            on_order_book(desk, event)
        case ev.TradeBookRead():
            on_trade_book(desk, event)
        case ev.BrokerReadFailed():
            on_read_failed(desk, event)
        case _ as unreachable:
            assert_never(unreachable)


def on_posted(desk: DeskState, event: OrderPosted) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.durable_ns, ref.attempt.sent_ns = event.durable_ns, event.at_ns
        desk.note_sent(event.correlation_id, event.at_ns)


def on_accepted(desk: DeskState, event: OrderAccepted) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is None:
        return
    attempt, was = ref.attempt, ref.attempt.state
    attempt.answered = True
    desk.note_sent(event.correlation_id, event.at_ns)
    attempt.order_id = attempt.order_id or event.order_id
    desk.correlation_by_order[attempt.order_id] = event.correlation_id
    attempt.fire(AttemptTrigger.ACCEPTED, event.at_ns)
    _observe(desk, ref)
    _revive(desk, ref, was)


def on_outcome_unknown(desk: DeskState, event: OrderOutcomeUnknown) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.reason = event.reason
        _lose(desk, ref.attempt, event.at_ns)


def _lose(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    """The POST has ended without proof: the quarantine of its absence starts now, whatever was asked before."""
    attempt.answered = True
    desk.note_sent(attempt.intent.correlation_id, at_ns)
    attempt.fire(AttemptTrigger.OUTCOME_LOST, at_ns)
    if attempt.state is AttemptState.UNKNOWN:
        attempt.unknown_since_ns = at_ns
        attempt.polls = 0
        attempt.absences_ns.clear()


def on_refused(desk: DeskState, event: OrderRefused) -> None:
    """A refusal ends the attempt; what follows depends on its class. A rate limit must be confirmed by one look-up."""
    ref = desk.attempts.get(event.correlation_id)
    if ref is None:
        return
    attempt, settings, corr = ref.attempt, desk.settings, event.correlation_id
    attempt.reason = event.reason
    attempt.answered = True
    pause_ns = settings.refusal_pause_ms * NS_PER_MS
    match event.refusal:
        case Refusal.RATE_LIMITED:
            attempt.rate_limited, attempt.counts = True, False
            _lose(desk, attempt, event.at_ns)
            _pause(ref.leg, event.at_ns + settings.rate_limit_pause_ms * NS_PER_MS)
            return
        case Refusal.NOT_SENT:
            attempt.counts = False
            desk.unposted.discard(corr)
            ref.leg.minute_budget.give_back(attempt.prepared_ns)
            pause_ns = settings.round_interval_ms * NS_PER_MS * _not_sent_in_a_row(ref.leg)
        case Refusal.TOKEN | Refusal.STATIC_IP | Refusal.ACCOUNT:
            pause_ns = settings.account_pause_s * NS_PER_S
            if event.refusal is Refusal.TOKEN:
                attempt.token_refused = True
                # Another token is there within seconds, or not for long.
                pause_ns = min(pause_ns, NS_PER_S << min(max(_token_refusals_in_a_row(ref.leg) - 1, 0), 16))
            desk.alert(ref.running, Severity.PAGE, f"orders refused: {event.refusal.value}", event.reason)
        case Refusal.VALIDATION:
            desk.alert(ref.running, Severity.WARNING, "order refused", event.reason)
        case _ as unreachable:
            assert_never(unreachable)
    desk.note_sent(corr, event.at_ns)
    if attempt.fire(AttemptTrigger.REFUSED, event.at_ns):
        desk.record(AttemptRefused(ref.running.exit_id, corr, event.reason))
    _pause(ref.leg, event.at_ns + pause_ns)


def _pause(leg: RunningLeg, until_ns: int) -> None:
    leg.next_send_ns = max(leg.next_send_ns, until_ns)


def _not_sent_in_a_row(leg: RunningLeg) -> int:
    """How many of the newest attempts never left the machine, from 1 to ten: the pause grows with them."""
    count = 0
    for attempt in reversed(leg.attempts[-_MOST_NOT_SENT_PAUSES:]):
        if attempt.counts:
            break
        count += 1
    return max(count, 1)


def _token_refusals_in_a_row(leg: RunningLeg) -> int:
    return sum(1 for _ in takewhile(lambda attempt: attempt.token_refused, reversed(leg.attempts)))


def on_reported(desk: DeskState, event: OrderReported) -> None:
    take_report(desk, event.report, event.at_ns)


def take_report(desk: DeskState, report: OrderReport, at_ns: int) -> None:
    """Fold one order report into the attempt it belongs to; other people's orders are remembered as foreign."""
    corr = report.correlation_id if report.correlation_id in desk.attempts else ""
    corr = corr or desk.correlation_by_order.get(report.order_id, "")
    ref = desk.attempts.get(corr)
    if report.correlation_id:
        desk.used_correlation_ids.add(report.correlation_id)
    if ref is None:
        desk.holdings.take_foreign(report, at_ns)
        return
    attempt = ref.attempt
    attempt.poll_asked_ns = None
    if not attempt.is_live and report.filled <= attempt.filled and attempt.order_id == report.order_id:
        return
    before, was = attempt.filled, attempt.state
    if not attempt.fold(report, at_ns):
        return
    desk.correlation_by_order[attempt.order_id] = corr
    holding, gained = attempt.intent.holding, attempt.filled - before
    if gained:
        desk.holdings.add_own_fill(holding, attempt.intent.side.sign * gained)
    if gained or not attempt.is_live:
        desk.note_end(holding, at_ns)
    _observe(desk, ref, report.status)
    _revive(desk, ref, was)
    if report.status is OrderStatus.REJECTED:
        _pause(ref.leg, at_ns + desk.settings.refusal_pause_ms * NS_PER_MS)
        desk.alert(ref.running, Severity.WARNING, f"rejected: {report.reason[:60]}", report.reason)


def _revive(desk: DeskState, ref: AttemptRef, was: AttemptState) -> None:
    """An order that we had written off is real after all: count it, look again, tell a person."""
    if was in LIVE:
        return
    running, leg, attempt = ref.running, ref.leg, ref.attempt
    corr = attempt.intent.correlation_id
    if running.exit_id not in desk.exits:
        if attempt.is_live:
            desk.strays[corr] = ref
    elif leg.state is LegState.FLAT:
        leg.fire(LegTrigger.LATE_ORDER)
    elif was is AttemptState.DEAD or was is AttemptState.FILLED:
        # A fill that raced the end of the order. Nothing was built on that end yet but the next order, which is halted
        # when both fill too much.
        return
    desk.alert(running, Severity.PAGE, f"late order {corr}", "an order thought dead took effect; check the position")


def _observe(desk: DeskState, ref: AttemptRef, status: OrderStatus = OrderStatus.TRANSIT) -> None:
    attempt = ref.attempt
    desk.record(
        AttemptObserved(
            ref.running.exit_id,
            attempt.intent.correlation_id,
            attempt.order_id,
            status,
            attempt.filled,
            attempt.average,
            attempt.reason,
        )
    )


def on_absence(desk: DeskState, event: OrderAbsenceSeen) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        take_absence(desk, ref, event)


def on_order_book(desk: DeskState, event: OrderBookRead) -> None:
    desk.order_book.in_flight = False
    for report in event.reports:
        take_report(desk, report, event.at_ns)


def on_positions(desk: DeskState, event: PositionsRead) -> None:
    """Take a good position report, and look for a position that our orders have turned round."""
    desk.holdings.take_report(event.report)
    for running in desk.exits.values():
        problem = _reversal(desk, running, event.report)
        if problem:
            halt(desk, running, problem)
    for running, closed_ns in reversed(desk.closed):
        if event.at_ns - closed_ns > _REVERSE_WATCH_NS:
            break
        problem = _reversal(desk, running, event.report)
        if problem:
            desk.alert(running, Severity.PAGE, "position reversed after the exit", problem)


def _reversal(desk: DeskState, running: RunningExit, report: PositionReport) -> str:
    """What shows that our orders turned a leg round: a net beyond zero that no fill we know of explains. "" for nothing."""
    for leg in running.legs:
        holding = leg.leg.holding
        net, model = report.net(holding), desk.holdings.model(holding)
        if leg.live or report.requested_ns < desk.last_ended_ns(holding) or model is None:
            continue
        if is_reversed(leg, net) and not is_reversed(leg, model.worst(leg.side)):
            return f"{leg.leg.instrument.symbol}: the broker's net is {net}, our fills leave {model.worst(leg.side)}"
    return ""


def on_trade_book(desk: DeskState, event: TradeBookRead) -> None:
    book = desk.trade_book
    book.trades, book.requested_ns, book.failures = event.trades, event.requested_ns, 0
    book.read.in_flight = False


def on_read_failed(desk: DeskState, event: BrokerReadFailed) -> None:
    """An error is never "flat" and never "absent": it only frees the place for the next read."""
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.poll_asked_ns = None
    if event.what == ReadPositions.__name__:
        desk.holdings.take_failure(event.at_ns)
    elif event.what == ReadOrderBook.__name__:
        desk.order_book.in_flight = False
    elif event.what == ReadTradeBook.__name__:
        desk.trade_book.read.in_flight = False
        desk.trade_book.failures += 1
