"""When a leg is flat, when an exit is over, and what is recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.desk_settings import READ_DUE_NS
from core.exits.exit_lifecycle import EXIT_TRANSITIONS, ExitTrigger, LegState, LegTrigger, fire
from core.exits.holdings import is_listed
from core.exits.order_gate import reducible
from core.exits.order_plan import closing_side
from core.exits.reconcile import netting_with
from core.model.commands import CloseRows, ReadTradeBook, RecordExit, Severity
from core.model.exit_levels import Rule, Urgency
from core.model.journal_records import ExitFinished, ExitStarted
from core.model.orders import Side
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.model.signals import ExitRecord, Latency, LegExecution, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.exits.desk_state import DeskState
    from core.exits.running_exit import RunningExit, RunningLeg
    from core.model.money import Paise
    from core.model.position import Position, PositionReport
    from core.model.signals import Signal

OUTSIDE_REASON = "closed outside the monitor"
_TRADE_BOOK_TRIES = 3


def judge_leg(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> None:
    """Decide by the broker's positions whether an open or blocked leg is flat, blocked or still open.

    Needs no live order of ours on it.
    """
    if leg.live:
        return
    holding, held = leg.leg.holding, desk.holdings
    if held.report is None or held.report.requested_ns < desk.last_ended_ns(holding):
        desk.positions_wanted = True
        return
    net, model = held.report.net(holding), held.model(holding)
    open_at_broker = reducible(leg.side, net)
    against = [] if open_at_broker or leg.remaining <= 0 else netting_with(leg.leg, running.strategy_id, desk.held())
    if open_at_broker or against:
        leg.flat_seen_ns = None
    if running.signal.rule is Rule.CLOSED_OUTSIDE and (open_at_broker or against):
        running.abandoned = True
    elif leg.remaining <= 0:
        expected = None if model is None else reducible(leg.side, model.best(leg.side))
        _judge_filled(desk, running, leg, open_at_broker, expected, at_ns)
    elif against or (net and not open_at_broker):
        _block(desk, running, leg, net, against)
    elif net == 0:
        _judge_empty(desk, leg, held.report)
    elif leg.state is LegState.BLOCKED:
        leg.fire(LegTrigger.CLOSABLE)
    elif model is not None and reducible(leg.side, model.worst(leg.side)) == 0:
        text = f"the broker reports {net}, all fills seen leave {model.worst(leg.side)}"
        _wait_for_agreement(desk, running, leg, text, at_ns)
    else:
        leg.mismatch_since_ns = None


def _judge_filled(
    desk: DeskState, running: RunningExit, leg: RunningLeg, at_broker: int, by_model: int | None, at_ns: int
) -> None:
    """Our fills cover the leg: it is flat once the broker holds no more than they leave (other strategies share keys).

    Fills are the broker's own word. When his positions contradict them for long, a person is told, and the fills count:
    most often somebody has opened the contract anew meanwhile.
    """
    waited_ns = 0 if leg.mismatch_since_ns is None else at_ns - leg.mismatch_since_ns
    if by_model is None or at_broker <= by_model or waited_ns >= 2 * desk.settings.mismatch_page_s * NS_PER_S:
        leg.fire(LegTrigger.PROVED_FLAT)
        return
    text = f"filled {leg.filled}, but the broker still holds {at_broker}, expected {by_model}"
    _wait_for_agreement(desk, running, leg, text, at_ns)


def _judge_empty(desk: DeskState, leg: RunningLeg, report: PositionReport) -> None:
    """Nothing of the leg at the broker, and not by our fills alone. An empty report can be an error of his.

    Two are believed, a second apart, when they list the contract with a net of 0, as they do for what was closed today.
    Where it is missing altogether, the reports must span `outside_confirm_s`.
    """
    read_ns = report.received_ns
    if leg.flat_seen_ns is None:
        leg.flat_seen_ns = read_ns
    needed_ns = desk.settings.outside_confirm_s * NS_PER_S
    if is_listed(report, leg.leg.holding):
        needed_ns = desk.settings.flat_confirm_ms * NS_PER_MS
    if read_ns - leg.flat_seen_ns >= needed_ns:
        leg.fire(LegTrigger.PROVED_FLAT)
    else:
        desk.positions_wanted = True


def _block(desk: DeskState, running: RunningExit, leg: RunningLeg, net: int, against: Sequence[Position]) -> None:
    """An order would open something: what others of ours hold against the leg may be all that hides it in the account's net."""
    if leg.state is LegState.OPEN:
        leg.fire(LegTrigger.NOT_CLOSABLE)
    desk.positions_wanted = True
    symbol = leg.leg.instrument.symbol
    text = f"{leg.remaining} units to {leg.side.value}, but the broker's net is {net}: the order would add to it; "
    if against:
        names = ", ".join(f"{other.strategy_name} ({other.strategy_id})" for other in against)
        text += f"{names} holds the opposite, so nobody can tell whose units are left: settle both by hand and close their rows"
    else:
        text += "close it by hand"
    desk.alert(running, Severity.PAGE, f"{symbol} not closable", text)


def _wait_for_agreement(desk: DeskState, running: RunningExit, leg: RunningLeg, what: str, at_ns: int) -> None:
    desk.positions_wanted = True
    if leg.mismatch_since_ns is None:
        leg.mismatch_since_ns = at_ns
        return
    waited = at_ns - leg.mismatch_since_ns
    if waited >= desk.settings.mismatch_page_s * NS_PER_S:
        desk.alert(running, Severity.PAGE, f"{leg.leg.instrument.symbol} disagrees with the broker", what)
    is_long = waited >= 2 * desk.settings.mismatch_page_s * NS_PER_S
    if is_long and desk.holdings.report is not None and not desk.has_live(leg.leg.holding):
        # Position reports lag by seconds at most: one that stands this long is the truth, and our arithmetic is not.
        desk.holdings.rebase(leg.leg.holding, desk.holdings.report)
        leg.mismatch_since_ns = None


def shorts_are_over(desk: DeskState, running: RunningExit, at_ns: int) -> bool:
    """Every short is proved flat; by our fills alone only while a pressing exit goes on without readable positions."""
    if running.shorts_are_flat:
        return True
    if running.signal.urgency is not Urgency.HIGH or not desk.holdings.usable_when_unreadable(at_ns, desk.settings):
        return False
    shorts = [leg for leg in running.legs if leg.leg.units < 0]
    return all(leg.state is LegState.FLAT or (leg.remaining <= 0 and not leg.live) for leg in shorts)


def release_longs(desk: DeskState, running: RunningExit, at_ns: int) -> list[RunningLeg]:
    """Open the long legs once every short is over. Returns those that were opened."""
    waiting = [leg for leg in running.legs if leg.state is LegState.WAITING]
    if not shorts_are_over(desk, running, at_ns):
        return []
    for leg in waiting:
        leg.fire(LegTrigger.SHORTS_FLAT)
    return waiting


def try_finish(desk: DeskState, running: RunningExit, at_ns: int) -> None:
    """Close the exit when every leg is flat: record it durably, then have the rows and the log line written."""
    if not running.is_flat or not _outside_prices_known(desk, running, at_ns):
        return
    desk.trade_book.failures = 0
    running.state = fire(EXIT_TRANSITIONS, running.state, ExitTrigger.ALL_FLAT)
    record = build_record(desk, running)
    if running.signal.rule is Rule.CLOSED_OUTSIDE:
        desk.record(ExitStarted(running.exit_id, running.generation, running.signal, running.position))
    desk.record(ExitFinished(running.exit_id, record))
    desk.say(RecordExit(record))
    desk.say(CloseRows(record))
    desk.unwritten[running.exit_id] = record


def _outside_prices_known(desk: DeskState, running: RunningExit, at_ns: int) -> bool:
    """True when the trade book was read after the last leg was seen flat, or is not needed, or cannot be had."""
    seen = [leg.flat_seen_ns for leg in running.legs if leg.remaining > 0 and leg.flat_seen_ns is not None]
    book = desk.trade_book
    if not seen or book.failures >= _TRADE_BOOK_TRIES:
        return True
    if book.requested_ns is not None and book.requested_ns >= max(seen):
        return True
    if not book.read.is_reading(at_ns):
        book.read.ask(at_ns)
        desk.say(ReadTradeBook())
    desk.wake_at(at_ns + READ_DUE_NS)
    return False


def build_record(desk: DeskState, running: RunningExit) -> ExitRecord:
    legs = tuple(_leg_execution(desk, leg) for leg in running.legs)
    by_others = all(leg.filled == 0 for leg in running.legs)
    signal = running.signal
    return ExitRecord(
        exit_id=running.exit_id,
        strategy_id=running.strategy_id,
        symbol=running.position.underlying,
        strategy_name=running.position.strategy_name,
        action=signal.action,
        reason=OUTSIDE_REASON if by_others else signal.reason,
        rule=Rule.CLOSED_OUTSIDE if by_others else signal.rule,
        threshold=signal.threshold,
        observed=signal.observed,
        legs=legs,
        realised_pnl=_realised(running, legs),
        latency=_latency(running),
        mode=desk.mode,
        finished_at_ns=desk.utc_ns,
        level=signal.level,
    )


def alert_record(exit_id: str, signal: Signal, position: Position, utc_ns: int) -> ExitRecord:
    """What alert-only mode writes down: the decision, with nothing ordered and nothing filled."""
    return ExitRecord(
        exit_id=exit_id,
        strategy_id=position.strategy_id,
        symbol=position.underlying,
        strategy_name=position.strategy_name,
        action=signal.action,
        reason=signal.reason,
        rule=signal.rule,
        threshold=signal.threshold,
        observed=signal.observed,
        legs=tuple(
            LegExecution(
                leg.row_id,
                leg.instrument.key.security_id,
                leg.instrument.symbol,
                closing_side(leg.units),
                0,
                0,
                None,
                (),
            )
            for leg in position.legs
        ),
        realised_pnl=None,
        latency=Latency(None if signal.tick_received_ns is None else _ms(signal.tick_received_ns, signal.decided_ns)),
        mode=Mode.ALERT,
        finished_at_ns=utc_ns,
    )


def _leg_execution(desk: DeskState, leg: RunningLeg) -> LegExecution:
    average = leg.average_price() if leg.filled else _outside_price(desk, leg)
    return LegExecution(
        row_id=leg.leg.row_id,
        security_id=leg.leg.instrument.key.security_id,
        symbol=leg.leg.instrument.symbol,
        side=leg.side,
        ordered=abs(leg.leg.units) if leg.attempts else 0,
        filled=leg.filled,
        average_price=average,
        order_ids=tuple(attempt.order_id for attempt in leg.attempts if attempt.order_id),
    )


def _outside_price(desk: DeskState, leg: RunningLeg) -> Paise | None:
    """Average price of the newest trades that closed the leg, from the trade book; None when they do not cover it."""
    wanted, total = abs(leg.leg.units), 0
    for trade in reversed(desk.trade_book.trades):
        if trade.holding == leg.leg.holding and trade.side is leg.side:
            part = min(trade.quantity, wanted)
            wanted -= part
            total += part * trade.price
    return None if wanted else round(total / abs(leg.leg.units))


def _realised(running: RunningExit, legs: Sequence[LegExecution]) -> Paise | None:
    """P&L of the closed legs in paise; None when a price is unknown or a leg was not closed whole by known fills.

    Of a share only our own fills count, be they more or fewer: all else stays in the rows, and so does its P&L.
    """
    total = 0
    for running_leg, execution in zip(running.legs, legs, strict=True):
        leg = running_leg.leg
        units = leg.units
        if running.is_share:
            units = -running_leg.side.sign * execution.filled
        elif execution.filled not in {0, abs(units)}:
            return None
        if not units:
            continue
        if execution.average_price is None or leg.entry is None:
            return None
        total += units * (execution.average_price - leg.entry)
    return total


def _latency(running: RunningExit) -> Latency:
    signal = running.signal
    decided = signal.decided_ns if running.decided_ns is None else running.decided_ns
    own = [a for leg in running.legs for a in leg.own_attempts]
    sent = [a for a in own if a.sent_ns is not None and a.durable_ns is not None]
    first = min(sent, key=lambda a: a.prepared_ns, default=None)
    tick = None if signal.tick_received_ns is None else _ms(signal.tick_received_ns, decided)
    if first is None:
        return Latency(tick_to_decision=tick)
    last_fill = max((a.ended_ns for a in own if a.filled and a.ended_ns is not None), default=None)
    return Latency(
        tick_to_decision=tick,
        decision_to_durable=_ms(decided, first.durable_ns),
        durable_to_sent=_ms(first.durable_ns, first.sent_ns),
        sent_to_filled=_ms(first.sent_ns, last_fill),
    )


def _ms(start_ns: int | None, end_ns: int | None) -> float | None:
    return None if start_ns is None or end_ns is None else round((end_ns - start_ns) / NS_PER_MS, 3)


def is_overfilled(leg: RunningLeg) -> bool:
    return leg.remaining < 0


def is_reversed(leg: RunningLeg, net: int) -> bool:
    """The broker's net is on the other side of the leg after own fills on it."""
    return leg.filled > 0 and (net > 0 if leg.side is Side.BUY else net < 0)
