"""The order side of the engine: takes the broker's words in, decides what every running exit does next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.attempt_chaser import chase, take_absence
from core.exits.desk_state import AttemptRef, DeskState
from core.exits.exit_finish import is_overfilled, is_reversed, judge_leg, release_longs, try_finish
from core.exits.exit_lifecycle import AttemptTrigger, ExitState, LegState, LegTrigger
from core.exits.leg_sender import halt, send_leg, take_base
from core.exits.order_gate import per_minute
from core.exits.order_plan import exit_id_of
from core.exits.running_exit import RunningExit, start_legs
from core.model.commands import CloseRows, Command, ReadOrderBook, ReadPositions, ReadTradeBook, Severity
from core.model.exit_levels import Rule, Urgency
from core.model.journal_records import AttemptObserved, AttemptRefused, ExitStarted
from core.model.orders import OrderReport, OrderStatus, Refusal
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.exits.running_exit import RunningLeg
    from core.model.events import (
        BrokerReadFailed,
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
    from core.model.position import Position
    from core.model.signals import Signal

_SLOW_READS_AFTER_NS = 5 * NS_PER_S
_SLOW_READ_NS = NS_PER_S


def start_exit(desk: DeskState, signal: Signal, position: Position, generation: int, at_ns: int) -> RunningExit:
    """Make a signal a durable exit. Its orders follow from `advance`."""
    limit = desk.settings.attempts_per_leg_per_minute
    running = RunningExit(
        exit_id=exit_id_of(position, generation),
        generation=generation,
        signal=signal,
        position=position,
        legs=start_legs(position, tuple(per_minute(limit) for _ in position.legs)),
        started_ns=at_ns,
    )
    desk.exits[running.exit_id] = running
    if signal.rule is not Rule.CLOSED_OUTSIDE:
        desk.record(ExitStarted(running.exit_id, generation, signal, position))
    return running


def advance(desk: DeskState, at_ns: int) -> None:
    """Let every running exit do what is due: chase orders, judge legs, release longs, send, finish, read positions."""
    desk.wake_ns = None
    desk.positions_wanted = False
    desk.awaited_keys.clear()
    running_exits = sorted(desk.exits.values(), key=_pressing)
    for running in running_exits:
        for leg in running.legs:
            for attempt in leg.live:
                chase(desk, running, attempt, at_ns)
            _judge(desk, running, leg, at_ns)
        release_longs(running)
    # Shorts of every exit before any long: the margin they free and the risk they carry come first.
    for buys_back in (True, False):
        for running in running_exits:
            if running.state is ExitState.EXECUTING:
                for leg in running.legs:
                    if (leg.leg.units < 0) is buys_back:
                        send_leg(desk, running, leg, at_ns)
    for running in running_exits:
        try_finish(desk, running, at_ns)
        if running.state is ExitState.CLOSED or running.abandoned:
            _forget(desk, running)
    if desk.positions_wanted:
        _read_positions(desk, at_ns)


def _pressing(running: RunningExit) -> tuple[bool, int]:
    return (running.signal.urgency is not Urgency.HIGH, running.signal.pnl or 0)


def _judge(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> None:
    if desk.holdings.is_fresh(desk.last_ended_ns(leg.leg.holding), at_ns, desk.settings):
        take_base(desk, leg, at_ns)
    judge_leg(desk, running, leg, at_ns)
    if is_overfilled(leg):
        halt(desk, running, f"{leg.leg.instrument.symbol}: filled {leg.filled} of {abs(leg.leg.units)}")


def _forget(desk: DeskState, running: RunningExit) -> None:
    # The attempts stay known by their ids: a late report must find its exit, not look like somebody else's order.
    del desk.exits[running.exit_id]


def _read_positions(desk: DeskState, at_ns: int) -> None:
    held = desk.holdings
    if held.read_in_flight:
        return
    interval = desk.settings.position_read_interval_ms * NS_PER_MS
    newest = max((max(r.started_ns, *(leg.last_change_ns for leg in r.legs)) for r in desk.exits.values()), default=0)
    if at_ns - newest > _SLOW_READS_AFTER_NS:
        interval = _SLOW_READ_NS
    due = 0 if held.last_asked_ns is None else held.last_asked_ns + interval
    if at_ns < due:
        desk.wake_at(due)
        return
    held.read_in_flight = True
    held.last_asked_ns = at_ns
    desk.say(ReadPositions())


def on_posted(desk: DeskState, event: OrderPosted) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.durable_ns, ref.attempt.sent_ns = event.durable_ns, event.at_ns


def on_accepted(desk: DeskState, event: OrderAccepted) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is None:
        return
    attempt = ref.attempt
    attempt.order_id = attempt.order_id or event.order_id
    desk.correlation_by_order[attempt.order_id] = event.correlation_id
    attempt.fire(AttemptTrigger.ACCEPTED, event.at_ns)
    _observe(desk, ref)


def on_outcome_unknown(desk: DeskState, event: OrderOutcomeUnknown) -> None:
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.reason = event.reason
        ref.attempt.fire(AttemptTrigger.OUTCOME_LOST, event.at_ns)


def on_refused(desk: DeskState, event: OrderRefused) -> None:
    """A refusal ends the attempt; what follows depends on its class. A rate limit must be confirmed by one look-up."""
    ref = desk.attempts.get(event.correlation_id)
    if ref is None:
        return
    attempt, settings = ref.attempt, desk.settings
    attempt.reason = event.reason
    pause_ns = settings.refusal_pause_ms * NS_PER_MS
    match event.refusal:
        case Refusal.RATE_LIMITED:
            attempt.rate_limited, attempt.counts, attempt.absence_reads_needed = True, False, 1
            attempt.fire(AttemptTrigger.OUTCOME_LOST, event.at_ns)
            ref.leg.next_send_ns = event.at_ns + settings.rate_limit_pause_ms * NS_PER_MS
            return
        case Refusal.NOT_SENT:
            attempt.counts = False
            pause_ns = settings.round_interval_ms * NS_PER_MS
        case Refusal.TOKEN | Refusal.STATIC_IP | Refusal.ACCOUNT:
            pause_ns = settings.account_pause_s * NS_PER_S
            desk.alert(ref.running, Severity.PAGE, f"orders refused: {event.refusal.value}", event.reason)
        case Refusal.VALIDATION:
            desk.alert(ref.running, Severity.WARNING, "order refused", event.reason)
    attempt.fire(AttemptTrigger.REFUSED, event.at_ns)
    ref.leg.next_send_ns = event.at_ns + pause_ns
    desk.record(AttemptRefused(ref.running.exit_id, event.correlation_id, event.reason))


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
        desk.holdings.take_foreign(report)
        return
    attempt = ref.attempt
    attempt.poll_in_flight = False
    if not attempt.is_live and report.filled <= attempt.filled and attempt.order_id == report.order_id:
        return
    before = attempt.filled
    was_live = attempt.is_live
    if attempt.fold(report, at_ns):
        desk.correlation_by_order[attempt.order_id] = corr
        gained = attempt.filled - before
        if gained:
            desk.holdings.add_own_fill(attempt.intent.holding, attempt.intent.side.sign * gained)
        _observe(desk, ref, report.status)
        if not was_live:
            _revive(desk, ref)
        if report.status is OrderStatus.REJECTED:
            desk.alert(ref.running, Severity.WARNING, f"rejected: {report.reason[:60]}", report.reason)


def _revive(desk: DeskState, ref: AttemptRef) -> None:
    """An order that we had written off is real after all: count it, look again, tell a person."""
    desk.exits.setdefault(ref.running.exit_id, ref.running)
    if ref.leg.state is LegState.FLAT and ref.running.state is not ExitState.CLOSED:
        ref.leg.fire(LegTrigger.LATE_ORDER)
    if ref.running.state is ExitState.CLOSED:
        del desk.exits[ref.running.exit_id]
    corr = ref.attempt.intent.correlation_id
    desk.alert(
        ref.running, Severity.PAGE, f"late order {corr}", "an order thought dead took effect; check the position"
    )


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
    for report in event.reports:
        take_report(desk, report, event.at_ns)


def on_positions(desk: DeskState, event: PositionsRead) -> None:
    """Take a good position report, and look for a position that our orders have turned round."""
    desk.holdings.take_report(event.report)
    for running in list(desk.exits.values()):
        for leg in running.legs:
            holding = leg.leg.holding
            if leg.live or event.report.requested_ns < desk.last_ended_ns(holding):
                continue
            net, model = event.report.net(holding), desk.holdings.model_net(holding)
            if is_reversed(leg, net) and model is not None and not is_reversed(leg, model):
                halt(desk, running, f"{leg.leg.instrument.symbol}: the broker's net is {net}, our fills leave {model}")


def on_trade_book(desk: DeskState, event: TradeBookRead) -> None:
    book = desk.trade_book
    book.trades, book.requested_ns, book.read_in_flight, book.failures = event.trades, event.requested_ns, False, 0


def on_read_failed(desk: DeskState, event: BrokerReadFailed) -> None:
    """An error is never "flat" and never "absent": it only frees the place for the next read."""
    ref = desk.attempts.get(event.correlation_id)
    if ref is not None:
        ref.attempt.poll_in_flight = False
    if event.what == ReadPositions.__name__:
        desk.holdings.take_failure(event.at_ns)
    if event.what == ReadTradeBook.__name__:
        desk.trade_book.read_in_flight = False
        desk.trade_book.failures += 1


def resume(desk: DeskState, at_ns: int) -> tuple[Command, ...]:
    """First commands after a restart: read everything, and have the rows of finished exits written."""
    desk.holdings.read_in_flight = True
    desk.holdings.last_asked_ns = at_ns
    return (ReadOrderBook(), ReadPositions(), *(CloseRows(record) for record in desk.unwritten.values()))
