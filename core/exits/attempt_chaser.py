"""What becomes of an order that was sent: polled while it lives, cancelled when it rests, resolved when its fate is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.exit_lifecycle import AttemptState, AttemptTrigger
from core.model.commands import CancelOrder, ReadOrder, ResolveOrder, Severity
from core.model.journal_records import AttemptAbsent
from core.model.orders import Validity
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.exits.desk_state import AttemptRef, DeskState
    from core.exits.running_exit import Attempt, RunningExit
    from core.model.events import OrderAbsenceSeen

_RESOLVE_AFTER_MS: Final = (200, 500, 1_000, 2_000, 3_000, 5_000)
_RESOLVE_EVERY_MS: Final = 2_000
_POLL_AFTER_MS: Final = (50, 150, 400, 800)
_POLL_EVERY_MS: Final = 1_000
_CANCEL_EVERY_NS: Final = 2 * NS_PER_S
# The runner always answers within its own time-outs. Silence beyond this is our own fault, and the order may be out.
_ANSWER_DUE_NS: Final = 10 * NS_PER_S


def chase(desk: DeskState, running: RunningExit, attempt: Attempt, at_ns: int) -> None:
    match attempt.state:
        case AttemptState.PREPARED:
            _await_answer(desk, attempt, at_ns)
        case AttemptState.UNKNOWN:
            _resolve(desk, running, attempt, at_ns)
        case AttemptState.WORKING:
            _poll(desk, attempt, at_ns)
            _cancel_when_resting(desk, attempt, at_ns)
        case AttemptState.FILLED | AttemptState.DEAD | AttemptState.REFUSED | AttemptState.ABSENT:
            pass


def _await_answer(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    due = attempt.prepared_ns + _ANSWER_DUE_NS
    if at_ns >= due:
        attempt.fire(AttemptTrigger.OUTCOME_LOST, at_ns)
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
    if attempt.poll_in_flight:
        return
    due = since + _after(_RESOLVE_AFTER_MS, _RESOLVE_EVERY_MS, attempt.polls)
    if at_ns >= max(due, attempt.next_poll_ns):
        attempt.polls += 1
        attempt.poll_in_flight = True
        attempt.next_poll_ns = at_ns + _RESOLVE_AFTER_MS[0] * NS_PER_MS
        desk.say(ResolveOrder(attempt.intent.correlation_id, attempt.intent.holding))
    else:
        desk.wake_at(max(due, attempt.next_poll_ns))


def _poll(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    if attempt.poll_in_flight or not attempt.order_id:
        return
    since = attempt.live_since_ns if attempt.live_since_ns is not None else at_ns
    due = max(since + _after(_POLL_AFTER_MS, _POLL_EVERY_MS, attempt.polls), attempt.next_poll_ns)
    if at_ns >= due:
        attempt.polls += 1
        attempt.poll_in_flight = True
        attempt.next_poll_ns = at_ns + _POLL_AFTER_MS[0] * NS_PER_MS
        desk.say(ReadOrder(attempt.order_id, attempt.intent.correlation_id))
    else:
        desk.wake_at(due)


def _cancel_when_resting(desk: DeskState, attempt: Attempt, at_ns: int) -> None:
    """An IOC that does not end, or a day limit that has rested long enough, makes room for a better price."""
    if not attempt.order_id or attempt.live_since_ns is None:
        return
    settings = desk.settings
    longest = settings.working_max_ms if attempt.intent.validity is Validity.IOC else settings.day_order_max_ms
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
    """Count one negative. Enough of them, over long enough, with nothing else moved, prove the order never existed."""
    attempt = ref.attempt
    attempt.poll_in_flight = False
    if attempt.state is not AttemptState.UNKNOWN or attempt.unknown_since_ns is None:
        return
    if event.unexplained_trades:
        attempt.absences_ns.clear()
        return
    attempt.absences_ns.append(event.requested_ns)
    needed = desk.settings.absence_reads if attempt.absence_reads_needed is None else attempt.absence_reads_needed
    quarantine = 0 if attempt.absence_reads_needed is not None else int(desk.settings.absence_quarantine_s * NS_PER_S)
    long_enough = event.requested_ns - attempt.unknown_since_ns >= quarantine
    if len(attempt.absences_ns) >= needed and long_enough and _net_is_unmoved(desk, attempt):
        attempt.fire(AttemptTrigger.PROVED_ABSENT, event.at_ns)
        desk.record(AttemptAbsent(ref.running.exit_id, attempt.intent.correlation_id))


def _net_is_unmoved(desk: DeskState, attempt: Attempt) -> bool:
    """The broker's net, read after the first negative, is where our model has it. Without a model the books decide."""
    holding = attempt.intent.holding
    model, report = desk.holdings.model_net(holding), desk.holdings.report
    if model is None:
        return True
    if report is None or report.requested_ns < attempt.absences_ns[0]:
        desk.positions_wanted = True
        # A rate-limited order was refused in words already; the books' silence is enough.
        return attempt.rate_limited
    return report.net(holding) == model
