"""What becomes of an order that was sent: polled while it lives, cancelled when it rests, resolved when its fate is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from core.exits.desk_settings import ANSWER_DUE_NS, READ_DUE_NS
from core.exits.exit_lifecycle import AttemptState, AttemptTrigger, ExitState
from core.model.commands import CancelOrder, ReadOrder, ResolveOrder, Severity
from core.model.journal_records import AttemptAbsent
from core.model.orders import Validity
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.model.signals import Mode

if TYPE_CHECKING:
    from core.exits.desk_state import AttemptRef, DeskState
    from core.exits.running_exit import Attempt, RunningExit
    from core.model.events import OrderAbsenceSeen
    from core.model.position import PositionReport

_RESOLVE_AFTER_MS: Final = (200, 500, 1_000, 2_000, 3_000, 5_000)
_RESOLVE_EVERY_MS: Final = 2_000
_POLL_AFTER_MS: Final = (50, 150, 400, 800)
_POLL_EVERY_MS: Final = 1_000
_CANCEL_EVERY_NS: Final = 2 * NS_PER_S


def chase(desk: DeskState, running: RunningExit, attempt: Attempt, at_ns: int) -> None:
    """Do what is due for one order. One that lives on after its exit is over is cancelled at once."""
    match attempt.state:
        case AttemptState.PREPARED:
            _await_answer(desk, attempt, at_ns)
        case AttemptState.UNKNOWN:
            _resolve(desk, running, attempt, at_ns)
        case AttemptState.WORKING:
            _poll(desk, attempt, at_ns)
            _cancel_when_resting(desk, running, attempt, at_ns)
        case AttemptState.FILLED | AttemptState.DEAD | AttemptState.REFUSED | AttemptState.ABSENT:
            pass
        case _ as unreachable:
            assert_never(unreachable)


def _await_answer(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    due = attempt.prepared_ns + ANSWER_DUE_NS
    if at_ns >= due:
        attempt.reason = "no answer from our own sender"
        attempt.fire(AttemptTrigger.OUTCOME_LOST, at_ns)
        desk.note_sent(attempt.intent.correlation_id, at_ns)
        desk.wake_at(at_ns + _RESOLVE_AFTER_MS[0] * NS_PER_MS)
    else:
        desk.wake_at(due)


def _resolve(desk: DeskState, running: RunningExit, attempt: Attempt, at_ns: int) -> None:
    since = attempt.unknown_since_ns if attempt.unknown_since_ns is not None else at_ns
    if at_ns - since >= desk.settings.unresolved_page_s * NS_PER_S:
        desk.alert(
            running,
            Severity.PAGE,
            f"order {attempt.intent.correlation_id} unresolved",
            "its outcome is unknown; its quantity stays reserved; look for it in the broker's order book",
        )
    if attempt.absences_ns and _report_since(desk, attempt.absences_ns[0]) is None:
        desk.positions_wanted = True
    if _is_asking(desk, attempt, at_ns):
        return
    due = since + _after(_RESOLVE_AFTER_MS, _RESOLVE_EVERY_MS, attempt.polls)
    if at_ns >= max(due, attempt.next_poll_ns):
        attempt.polls += 1
        attempt.poll_asked_ns = at_ns
        desk.wake_at(at_ns + READ_DUE_NS)
        attempt.next_poll_ns = at_ns + _RESOLVE_AFTER_MS[0] * NS_PER_MS
        desk.say(ResolveOrder(attempt.intent.correlation_id, attempt.intent.holding))
    else:
        desk.wake_at(max(due, attempt.next_poll_ns))


def _poll(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    if _is_asking(desk, attempt, at_ns):
        return
    since = attempt.live_since_ns if attempt.live_since_ns is not None else at_ns
    due = max(since + _after(_POLL_AFTER_MS, _POLL_EVERY_MS, attempt.polls), attempt.next_poll_ns)
    if at_ns >= due:
        attempt.polls += 1
        attempt.poll_asked_ns = at_ns
        desk.wake_at(at_ns + READ_DUE_NS)
        attempt.next_poll_ns = at_ns + _POLL_AFTER_MS[0] * NS_PER_MS
        desk.say(ReadOrder(attempt.order_id, attempt.intent.correlation_id))
    else:
        desk.wake_at(due)


def _is_asking(desk: DeskState, attempt: Attempt, at_ns: int) -> bool:
    """A read of this order is under way and may still be answered."""
    asked_ns = attempt.poll_asked_ns
    if asked_ns is None or at_ns >= asked_ns + READ_DUE_NS:
        return False
    desk.wake_at(asked_ns + READ_DUE_NS)
    return True


def _cancel_when_resting(desk: DeskState, running: RunningExit, attempt: Attempt, at_ns: int) -> None:
    """An IOC that does not end, or a day limit that has rested long enough, makes room for a better price.

    A stopping monitor leaves its orders as they are, and one that only alerts touches none.
    """
    if attempt.live_since_ns is None or desk.stopping or desk.mode is Mode.ALERT:
        return
    settings = desk.settings
    if at_ns - attempt.live_since_ns >= settings.unresolved_page_s * NS_PER_S:
        text = "its cancel does not take effect; its quantity stays reserved; look at it in the broker's order book"
        desk.alert(running, Severity.PAGE, f"order {attempt.order_id} does not end", text)
    longest = settings.working_max_ms if attempt.intent.validity is Validity.IOC else settings.day_order_max_ms
    if running.state is ExitState.CLOSED:
        longest = 0
    due = attempt.live_since_ns + longest * NS_PER_MS
    if attempt.cancel_asked_ns is not None:
        due = max(due, attempt.cancel_asked_ns + _CANCEL_EVERY_NS)
    if at_ns >= due:
        attempt.cancel_asked_ns = at_ns
        desk.say(CancelOrder(attempt.order_id))
    else:
        desk.wake_at(due)


def _after(steps_ms: tuple[int, ...], every_ms: int, polls: int) -> int:
    """Nanoseconds after the start at which poll number `polls` (from 0) is due."""
    if polls < len(steps_ms):
        return steps_ms[polls] * NS_PER_MS
    return (steps_ms[-1] + (polls - len(steps_ms) + 1) * every_ms) * NS_PER_MS


def take_absence(desk: DeskState, ref: AttemptRef, event: OrderAbsenceSeen) -> None:
    """Count one negative. Enough of them, over long enough, with nothing else moved, prove the order never existed.

    A rate-limited order was refused in words: one negative after the pause is enough. Looking for one whose POST has not
    come to an end, or asking before its end, proves nothing.
    """
    attempt, settings = ref.attempt, desk.settings
    attempt.poll_asked_ns = None
    since = attempt.unknown_since_ns
    if attempt.state is not AttemptState.UNKNOWN or not attempt.answered or since is None or event.requested_ns < since:
        return
    if event.unexplained_trades:
        attempt.absences_ns.clear()
        return
    attempt.absences_ns.append(event.requested_ns)
    needed, quarantine = settings.absence_reads, int(settings.absence_quarantine_s * NS_PER_S)
    if attempt.rate_limited:
        needed, quarantine = 1, settings.rate_limit_pause_ms * NS_PER_MS
    long_enough = event.requested_ns - since >= quarantine
    if len(attempt.absences_ns) >= needed and long_enough and _net_is_unmoved(desk, attempt):
        attempt.fire(AttemptTrigger.PROVED_ABSENT, event.at_ns)
        desk.record(AttemptAbsent(ref.running.exit_id, attempt.intent.correlation_id))


def _net_is_unmoved(desk: DeskState, attempt: Attempt) -> bool:
    """The broker's net, read after the first negative, is where our model has it. Without a model the books decide."""
    model = desk.holdings.model(attempt.intent.holding)
    if model is None:
        return True
    report = _report_since(desk, attempt.absences_ns[0])
    if report is None:
        # A rate-limited order was refused in words already; the books' silence is enough.
        return attempt.rate_limited
    return model.lowest <= report.net(attempt.intent.holding) <= model.highest


def _report_since(desk: DeskState, at_ns: int) -> PositionReport | None:
    """The newest position report, if it was asked for at that time or later."""
    report = desk.holdings.report
    return report if report is not None and report.requested_ns >= at_ns else None
