"""Commands carried out: journal first, one event for each question, nothing lost when disk, broker or store fail."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from core.brokers.base import Accepted, Refused, SubmitResult, Unknown
from core.model import commands as cmd
from core.model import events as ev
from core.model.errors import (
    BugError,
    DecodeError,
    RateLimitedError,
    RefusedError,
    StoreError,
    TokenError,
    TransportError,
)
from core.model.exit_levels import Rule
from core.model.journal_records import AttemptRefused, ExitStarted, RowsWritten
from core.model.orders import Refusal
from core.model.signals import Mode
from core.stores.base import RowOutcome
from tests.unit.journal.records import HOLDING, KEY, POSITION, SIGNAL
from tests.unit.shell.rig import Rig, exit_record, intent, order, prepared, report, trade

READ_ERRORS = [
    TransportError("reset"),
    RefusedError("no", "DH-905"),
    TokenError("expired"),
    RateLimitedError("429"),
    DecodeError("html"),
]


@pytest.fixture
def pauses(monkeypatch):
    """Every pause is over at once and noted."""
    noted: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds):
        if seconds:
            noted.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return noted


@pytest.fixture
async def rig(pauses):
    return Rig()


async def test_the_order_goes_out_only_after_its_record_is_durable(rig):
    rig.journal.gate.clear()
    rig.runner.carry_out(order())
    await rig.turn()
    assert rig.posted() == []
    rig.clock.pass_seconds(1)
    rig.journal.gate.set()
    await rig.settle()
    assert rig.log == [("disk", prepared()), ("post", "X1")]
    (posted,) = rig.engine.of(ev.OrderPosted)
    assert (posted.durable_ns, posted.at_ns) == (rig.clock.monotonic, 5)


@pytest.mark.parametrize("seed", range(20))
async def test_racing_batches_keep_their_order_and_no_order_overtakes_its_record(rig, seed):
    rng = random.Random(seed)
    wanted = [f"X{number}" for number in range(12)]
    for corr in wanted:
        if rng.random() < 0.2:
            rig.journal.problems.append(TransportError("EIO"))
        rig.runner.carry_out(order(corr))
        (rig.journal.gate.clear if rng.random() < 0.5 else rig.journal.gate.set)()
        await rig.turn(rng.randrange(4))
    rig.journal.gate.set()
    await rig.settle()
    records = [what.intent.correlation_id for kind, what in rig.log if kind == "disk"]
    assert records == wanted[: len(records)]
    for corr in rig.posted():
        assert rig.log.index(("disk", prepared(corr))) < rig.log.index(("post", corr))
    refused = [event.correlation_id for event in rig.engine.of(ev.OrderRefused)]
    assert sorted(refused + rig.posted()) == sorted(wanted), "every order ends as posted or as not sent"
    assert not set(refused) & set(rig.posted())


@pytest.mark.parametrize("error", [TransportError("EIO"), StoreError("corrupt")])
async def test_without_the_journal_nothing_is_posted_and_the_exit_hears_of_it(rig, error):
    rig.journal.problems.append(error)
    rig.runner.carry_out((*order("X1"), *order("X2"), cmd.ReadPositions()))
    await rig.settle()
    assert rig.posted() == []
    refused = rig.engine.of(ev.OrderRefused)
    assert [(event.correlation_id, event.refusal) for event in refused] == [
        ("X1", Refusal.NOT_SENT),
        ("X2", Refusal.NOT_SENT),
    ]
    assert len(rig.engine.of(ev.PositionsRead)) == 1, "what needs no record is done all the same"
    assert rig.subjects() == ["exit journal not writable"]


async def test_records_that_waited_go_first_and_the_next_order_goes_out(rig):
    rig.journal.problems.append(TransportError("EIO"))
    rig.runner.carry_out(order("X1"))
    await rig.settle()
    rig.runner.carry_out(order("X2"))
    await rig.settle()
    assert rig.journal.batches[-1] == [prepared("X1"), prepared("X2")]
    assert rig.posted() == ["X2"]


async def test_a_broken_journal_pages_once_and_says_when_it_is_over(rig):
    """Every retry of an exit writes records: a page for each would bury the one that counts."""
    rig.journal.is_broken = TransportError("EIO")
    refusals = [(cmd.WriteJournal(AttemptRefused("42-1-abc", f"X{n}", "")),) for n in range(30)]
    rig.engine.answers[ev.OrderRefused] = deque(refusals)
    for number in range(30):
        rig.runner.carry_out(order(f"X{number}"))
        await rig.settle()
    assert rig.subjects() == ["exit journal not writable"]
    rig.journal.is_broken = None
    await rig.runner.flush()
    assert rig.subjects() == ["exit journal not writable", "exit journal writable again"]
    assert len(rig.journal.on_disk) == 60
    rig.journal.is_broken = TransportError("EIO")
    rig.runner.carry_out(order("X99"))
    await rig.settle()
    assert rig.subjects()[-1] == "exit journal not writable"


async def test_flush_writes_what_waits_and_nothing_when_nothing_waits(rig):
    await rig.runner.flush()
    assert rig.journal.batches == []
    rig.journal.problems.append(TransportError("EIO"))
    rig.runner.carry_out((cmd.WriteJournal(RowsWritten("42-1-abc")),))
    await rig.settle()
    await rig.runner.flush()
    assert rig.journal.on_disk == [RowsWritten("42-1-abc")]
    await rig.runner.flush()
    assert len(rig.journal.batches) == 2


async def test_the_decision_time_of_an_exit_is_noted_before_its_record_is_written(rig):
    rig.journal.gate.clear()
    rig.runner.carry_out((cmd.WriteJournal(ExitStarted("42-1-abc", 1, SIGNAL, POSITION)),))
    assert rig.engine.decided == [("42-1-abc", rig.clock.monotonic)]
    rig.journal.gate.set()
    await rig.settle()


async def test_after_a_request_to_stop_a_prepared_order_is_not_sent(rig):
    rig.journal.gate.clear()
    rig.runner.carry_out(order())
    await rig.turn()
    rig.engine.desk.stopping = True
    rig.journal.gate.set()
    await rig.settle()
    assert rig.posted() == []
    (refused,) = rig.engine.of(ev.OrderRefused)
    assert refused.refusal is Refusal.NOT_SENT


async def test_no_order_leaves_while_another_monitor_may_hold_the_account(rig):
    rig.runner.may_order = lambda: False
    rig.runner.carry_out(order())
    await rig.settle()
    assert rig.posted() == []
    (refused,) = rig.engine.of(ev.OrderRefused)
    assert refused.refusal is Refusal.NOT_SENT
    rig.runner.may_order = lambda: True
    rig.runner.carry_out(order("X2"))
    await rig.settle()
    assert len(rig.posted()) == 1


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Accepted("1"), ev.OrderAccepted),
        (Refused(Refusal.VALIDATION, "DH-905"), ev.OrderRefused),
        (Refused(Refusal.NOT_SENT, "no connection"), ev.OrderRefused),
        (Unknown("reset"), ev.OrderOutcomeUnknown),
    ],
)
@pytest.mark.parametrize("sent_ns", [5, None])
async def test_an_order_ends_in_exactly_one_event(rig, outcome, kind, sent_ns):
    rig.broker.outcome = SubmitResult(outcome, sent_ns)
    rig.runner.carry_out((cmd.SubmitOrder(intent()),))
    await rig.settle()
    assert [type(event) for event in rig.engine.events] == [ev.OrderPosted, kind][sent_ns is None :]


QUESTIONS = [
    (cmd.ReadOrder("1", "X1"), "order", report(), ev.OrderReported),
    (cmd.ReadOrderBook(), "book", (report(),), ev.OrderBookRead),
    (cmd.ReadTradeBook(), "trades", (trade("1"),), ev.TradeBookRead),
    (cmd.ReadPositions(), "positions", None, ev.PositionsRead),
    (cmd.ResolveOrder("X1", HOLDING), "found", report(), ev.OrderReported),
]


@pytest.mark.parametrize(("command", "place", "answer", "kind"), QUESTIONS)
async def test_a_question_that_is_answered_ends_in_one_event(rig, command, place, answer, kind):
    if answer is not None:
        setattr(rig.broker, place, answer)
    rig.runner.carry_out((command,))
    await rig.settle()
    assert [type(event) for event in rig.engine.events] == [kind]


@pytest.mark.parametrize("error", READ_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("command", "place"), [*((c, p) for c, p, _, _ in QUESTIONS), (cmd.CancelOrder("1"), "cancelled")]
)
async def test_a_question_that_fails_ends_in_one_event_of_failure(rig, command, place, error):
    setattr(rig.broker, place, error)
    rig.runner.carry_out((command,))
    await rig.settle()
    (event,) = rig.engine.events
    assert isinstance(event, ev.BrokerReadFailed)
    assert event.what == type(command).__name__
    assert event.correlation_id == getattr(command, "correlation_id", "")


async def test_an_order_that_the_broker_does_not_know_by_its_id_is_a_failure_and_not_an_end(rig):
    rig.broker.order = None
    rig.runner.carry_out((cmd.ReadOrder("1", "X1"),))
    await rig.settle()
    (event,) = rig.engine.events
    assert isinstance(event, ev.BrokerReadFailed)


@pytest.mark.parametrize("command", [c for c, _, _, _ in QUESTIONS] + [cmd.SubmitOrder(intent())])
async def test_a_bug_ends_the_task_that_found_it(rig, command):
    """The monitor's task group turns this into exit code 1."""
    bug = BugError("never")
    for place in ("order", "book", "trades", "positions", "found", "outcome"):
        setattr(rig.broker, place, bug)
    rig.runner.carry_out((command,))
    with pytest.raises(BugError):
        await rig.settle()


async def resolve(rig):
    rig.runner.carry_out((cmd.ResolveOrder("X1", HOLDING),))
    await rig.settle()
    return rig.engine.events


async def test_an_order_in_the_book_alone_is_found(rig):
    rig.broker.book = (report("9", "X9"), report("1", "X1"))
    events = await resolve(rig)
    assert [type(event) for event in events] == [ev.OrderBookRead]
    assert rig.broker.asked == ["find", "book"]


async def test_an_answer_about_another_order_proves_nothing(rig):
    rig.broker.found = report("1", "X2")
    (event,) = await resolve(rig)
    assert isinstance(event, ev.BrokerReadFailed)


async def test_an_answer_without_a_correlation_id_is_the_order_that_was_asked_for(rig):
    """Taken as it is, it would look like somebody else's order and ours would stay unknown."""
    rig.broker.found = report("1", "")
    (event,) = await resolve(rig)
    assert event.report == report("1", "X1")


@pytest.mark.parametrize(("trades", "is_unexplained"), [((), False), ((trade("9"),), False), ((trade("77"),), True)])
async def test_three_negatives_are_one_absence(rig, trades, is_unexplained):
    rig.broker.book = (report("9", "X9"),)
    rig.broker.trades = trades
    asked_at = rig.clock.monotonic
    events = await resolve(rig)
    assert [type(event) for event in events] == [ev.OrderBookRead, ev.OrderAbsenceSeen]
    assert (events[1].unexplained_trades, events[1].requested_ns) == (is_unexplained, asked_at)


@pytest.mark.parametrize("place", ["found", "book", "trades"])
@pytest.mark.parametrize("error", READ_ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_in_any_of_the_three_is_no_absence(rig, place, error):
    setattr(rig.broker, place, error)
    events = await resolve(rig)
    assert not rig.engine.of(ev.OrderAbsenceSeen)
    failed = events[-1]
    assert isinstance(failed, ev.BrokerReadFailed)
    assert (failed.what, failed.correlation_id) == ("ResolveOrder", "X1")


async def test_rows_are_closed_again_and_again_until_the_store_confirms(rig, pauses):
    rig.store.problems.extend([StoreError("locked"), *[TransportError("away")] * 8])
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    assert rig.store.closed == ["42-1-abc"]
    assert pauses == [0.2, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert [type(event) for event in rig.engine.events] == [ev.RowsClosed]
    assert rig.subjects() == [
        "rows of 42-1-abc still not written",
        "rows of 42-1-abc not written",
        "rows of 42-1-abc written",
    ]
    severities = [alert.severity for alert in rig.runner.alerts]
    assert severities == [cmd.Severity.PAGE, cmd.Severity.WARNING, cmd.Severity.INFO]


async def test_rows_that_are_not_written_for_long_are_paged(rig, pauses):
    rig.store.problems.extend([TransportError("away")] * 12)
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    told = [(alert.severity, alert.subject) for alert in rig.runner.alerts]
    assert told == [
        (cmd.Severity.WARNING, "rows of 42-1-abc not written"),
        (cmd.Severity.PAGE, "rows of 42-1-abc still not written"),
        (cmd.Severity.INFO, "rows of 42-1-abc written"),
    ]


async def test_rows_count_as_closed_only_when_the_exit_is_in_the_file_of_exits(rig):
    """A restart says CloseRows again and RecordExit never: whoever closes the rows must have written the line."""
    rig.records.problems.extend([TransportError("full")] * 3)
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    assert rig.records.appended == ["42-1-abc"]
    assert rig.engine.of(ev.RowsClosed)
    assert rig.subjects() == ["exit record of 42-1-abc not written"]


async def test_a_risk_event_that_cannot_be_written_keeps_no_exit_open(rig):
    rig.store.event_problems.extend([StoreError("no such column")] * 99)
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    assert rig.store.closed == ["42-1-abc"]
    assert rig.engine.of(ev.RowsClosed)
    assert rig.subjects() == ["risk event of 42-1-abc not written"]


async def test_simulation_closes_no_row_and_says_so_all_the_same(rig):
    rig.store.problems.append(StoreError("must not be touched"))
    rig.runner.carry_out((cmd.CloseRows(exit_record(Mode.SIMULATION)),))
    await rig.settle()
    assert (rig.store.closed, rig.store.events) == ([], [])
    assert rig.engine.of(ev.RowsClosed)


async def test_a_record_is_written_when_the_disk_takes_it_again_and_told_once(rig):
    rig.records.problems.extend([TransportError("full")] * 7)
    rig.runner.carry_out((cmd.RecordExit(exit_record(Mode.ALERT)),))
    await rig.settle()
    assert rig.records.appended == ["42-1-abc"]
    assert rig.subjects() == ["exit record of 42-1-abc not written"]


@pytest.mark.parametrize(
    "commands", [order(), (cmd.RecordExit(exit_record()),), (cmd.CloseRows(exit_record(Mode.SIMULATION)),)]
)
async def test_a_clean_end_can_wait_for_orders_and_for_what_has_to_be_written(rig, commands):
    rig.broker.gate.clear()
    rig.records.problems.append(TransportError("full"))
    rig.runner.carry_out(commands)
    await asyncio.sleep(0)
    seen = 0
    while rig.runner.in_flight:
        seen += 1
        rig.broker.gate.set()
        await asyncio.wait(set(rig.runner.in_flight))
    assert seen
    assert all(task.done() for task in rig.tasks)


async def test_alerts_are_bounded_and_counted(rig):
    for number in range(5_000):
        rig.runner.carry_out((cmd.Alert(cmd.Severity.INFO, f"{number}", ""),))
    assert len(rig.runner.alerts) <= 500
    assert rig.runner.alert_count == 5_000
    assert rig.runner.alerts[-1].subject == "4999"
    assert rig.tasks == []


async def test_a_feed_problem_is_told_once_until_the_feed_has_been_live_for_a_while(rig):
    retry = SimpleNamespace(alert="token refused")
    for _ in range(3):
        rig.runner.on_feed_retry(retry)
    rig.runner.on_feed_retry(SimpleNamespace(alert=""))
    assert len(rig.runner.alerts) == 1
    rig.runner.forget_feed_alerts()
    for _ in range(4):
        rig.clock.pass_seconds(60)
        rig.runner.on_feed_retry(retry)
        rig.runner.forget_feed_alerts()
    assert len(rig.runner.alerts) == 1
    rig.clock.pass_seconds(60)
    rig.runner.on_feed_retry(retry)
    rig.runner.on_feed_retry(retry)
    assert len(rig.runner.alerts) == 2


async def test_asked_prices_go_to_the_fetcher(rig):
    asked = []
    rig.runner.ask_prices = asked.extend
    rig.runner.carry_out((cmd.RequestQuotes((KEY,)),))
    assert asked == [KEY]


async def test_a_deadline_is_looked_at_after_every_event_and_after_a_quote_that_sets_one(rig):
    looks = []
    rig.runner.on_deadline = lambda: looks.append(1)
    rig.runner.handle(ev.StopRequested(1))
    rig.runner.on_quote(None)
    assert len(looks) == 1
    rig.engine.has_new_deadline = True
    rig.engine.answers["quote"] = deque([order()])
    rig.runner.on_quote(None)
    assert len(looks) == 2
    await rig.settle()
    assert rig.posted() == ["X1"]


@pytest.mark.parametrize("outcome", [RowOutcome.OTHERS, RowOutcome.GONE])
async def test_a_row_that_somebody_else_closed_first_is_told(rig, outcome):
    rig.store.outcomes = {7: outcome, 8: RowOutcome.CLOSED}
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    assert rig.subjects() == ["rows of 42-1-abc closed by somebody else"]
    assert "row 7 " in rig.runner.alerts[-1].text
    assert "8" not in rig.runner.alerts[-1].text


@pytest.mark.parametrize("outcome", [RowOutcome.CLOSED, RowOutcome.OURS])
async def test_a_row_of_ours_is_nothing_to_tell(rig, outcome):
    rig.store.outcomes = {7: outcome}
    rig.runner.carry_out((cmd.CloseRows(exit_record()),))
    await rig.settle()
    assert rig.subjects() == []


async def test_rows_of_a_position_closed_by_hand_may_be_closed_by_hand_too(rig):
    rig.store.outcomes = {7: RowOutcome.OTHERS}
    rig.runner.carry_out((cmd.CloseRows(replace(exit_record(), rule=Rule.CLOSED_OUTSIDE)),))
    await rig.settle()
    assert rig.subjects() == []
