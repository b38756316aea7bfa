"""Carries out what the engine commands: journal first, then the broker, the store and the log. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.broker_trouble import BrokerTrouble
from core.brokers.base import Accepted, Refused, Unknown
from core.exit_filing import ExitFiling
from core.model import commands as cmd
from core.model import events as ev
from core.model.errors import DecodeError, RefusedError, StoreError, TokenError, TransportError
from core.model.journal_records import ExitStarted
from core.model.orders import Refusal
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from core.brokers.base import Broker
    from core.clock import Clock
    from core.dhan.feed_connection import Retry
    from core.exit_journal import ExitJournal
    from core.exit_records import ExitRecords
    from core.exits.engine import Engine
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord
    from core.model.market import Quote
    from core.model.orders import OrderReport
    from core.model.signals import ExitRecord
    from core.stores.base import TradeStore

_log = logging.getLogger(__name__)
_READ_ERRORS = (TransportError, RefusedError, DecodeError)
_NOT_SENT_AFTER_S: Final = 0.2
_KEPT_ALERTS: Final = 200
_FOR_GOOD_NS: Final = 2**62
_TELL_FEED_AGAIN_NS: Final = 300 * NS_PER_S
_LEVELS = {
    cmd.Severity.INFO: logging.INFO,
    cmd.Severity.WARNING: logging.WARNING,
    cmd.Severity.PAGE: logging.CRITICAL,
}


class ExitRunner:
    """The one owner of the engine: every fact goes through `handle` or `on_quote`.

    `spawn` starts a supervised task; an exception in one ends the program. `ask_prices` asks REST for quotes.
    `in_flight` are the tasks that a clean end waits for: orders on the wire and what has to be written. `on_deadline` is
    called whenever the engine may want the time earlier than before. `alerts` keeps the newest, `alert_count` counts all.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        broker: Broker,
        journal: ExitJournal,
        store: TradeStore,
        records: ExitRecords,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self.engine = engine
        self.alerts: deque[cmd.Alert] = deque(maxlen=_KEPT_ALERTS)
        self.alert_count = 0
        self.changed = asyncio.Event()
        self.in_flight: set[asyncio.Task[None]] = set()
        self._broker = broker
        self._journal = journal
        self._filing = ExitFiling(store, records, self._alert)
        self.clock = clock
        self._spawn = spawn
        self.on_deadline: Callable[[], None] = lambda: None
        self.may_order: Callable[[], bool] = lambda: True
        self.on_remember: Callable[[int], None] = lambda _: None
        self.on_token_error: Callable[[str], None] = lambda _: None
        self.ask_prices: Callable[[Sequence[InstrumentKey]], None] = lambda _: None
        self._told_feed: dict[str, int] = {}
        self._trouble = BrokerTrouble()
        self._backlog: list[JournalRecord] = []
        self._is_journal_down = False
        self._journal_turn = asyncio.Lock()

    def on_quote(self, quote: Quote) -> None:
        """The tick path: returns after two comparisons for almost every quote."""
        engine = self.engine
        commands = engine.on_quote(quote)
        if engine.has_new_deadline:
            self.on_deadline()
        if commands:
            self.carry_out(commands)

    def handle(self, event: ev.Event) -> None:
        commands = self.engine.handle(event)
        self.changed.set()
        self.on_deadline()
        if commands:
            self.carry_out(commands)

    def on_report(self, report: OrderReport) -> None:
        """An order update, from whichever stream."""
        self.handle(ev.OrderReported(report, self.clock.monotonic_ns()))

    def on_feed_retry(self, retry: Retry) -> None:
        """Tell a person why the price feed ended: once per reason until it has been live again, and not every minute."""
        if not retry.alert or self._told_feed.get(retry.alert, 0) > self.clock.monotonic_ns():
            return
        self._told_feed[retry.alert] = _FOR_GOOD_NS
        self._alert(cmd.Alert(cmd.Severity.PAGE, "market feed", retry.alert))

    def forget_feed_alerts(self) -> None:
        """The feed is live again: what ends it after a while is news."""
        again_ns = self.clock.monotonic_ns() + _TELL_FEED_AGAIN_NS
        self._told_feed = {text: min(until_ns, again_ns) for text, until_ns in self._told_feed.items()}

    def reconcile(self) -> None:
        """Read what the order stream may not have told: who ordered what, and what is held."""
        self.carry_out((cmd.ReadOrderBook(), cmd.ReadPositions()))

    def carry_out(self, commands: Sequence[cmd.Command]) -> None:
        now = self.clock.monotonic_ns()
        records = [command.record for command in commands if isinstance(command, cmd.WriteJournal)]
        for record in records:
            if isinstance(record, ExitStarted):
                self.engine.note_decided(record.exit_id, now)
                name = f"{record.position.strategy_name} ({record.position.strategy_id})"
                _log.info("exit %s of %s begins: %s", record.exit_id, name, record.signal.reason)
        others: list[cmd.Command] = [c for c in commands if not isinstance(c, cmd.WriteJournal)]
        self.changed.set()
        if records:
            self._spawn(self._write_then(records, others))
        else:
            self._start(others, now)

    async def _write_then(self, records: list[JournalRecord], others: list[cmd.Command]) -> None:
        """Records that cannot be written are kept and go first next time; orders that depend on them are not sent."""
        self._wait_for_me()
        async with self._journal_turn:
            self._backlog.extend(records)
            durable_ns = await self._write_backlog()
        if durable_ns is not None:
            self._start(others, durable_ns)
            return
        self._start([command for command in others if not isinstance(command, cmd.SubmitOrder)], 0)
        await asyncio.sleep(_NOT_SENT_AFTER_S)
        for command in others:
            if isinstance(command, cmd.SubmitOrder):
                self._do_not_send(command, "its journal record is not on disk")

    async def flush(self) -> None:
        """Try again to write the records that could not be written. Raises nothing that a disk does."""
        if self._backlog:
            async with self._journal_turn:
                await self._write_backlog()

    async def _write_backlog(self) -> int | None:
        """Write what waits, in its order; the monotonic ns at which it was on disk, None when it is not."""
        batch = list(self._backlog)
        try:
            durable_ns = await self._journal.write(batch)
        except (TransportError, StoreError) as error:
            if not self._is_journal_down:
                text = f"no order is sent without it: {error}"
                self._alert(cmd.Alert(cmd.Severity.PAGE, "exit journal not writable", text))
            self._is_journal_down = True
            return None
        del self._backlog[: len(batch)]
        if self._is_journal_down:
            self._alert(cmd.Alert(cmd.Severity.INFO, "exit journal writable again", f"{len(batch)} records written"))
        self._is_journal_down = False
        return durable_ns

    def _do_not_send(self, command: cmd.SubmitOrder, reason: str) -> None:
        now = self.clock.monotonic_ns()
        self.handle(ev.OrderRefused(command.intent.correlation_id, Refusal.NOT_SENT, reason, now))

    def _wait_for_me(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)

    def _start(self, commands: Sequence[cmd.Command], durable_ns: int) -> None:
        for command in commands:
            match command:
                case cmd.Alert():
                    self._alert(command)
                case cmd.Remember(strategy_id):
                    self.on_remember(strategy_id)
                case cmd.RequestQuotes(keys):
                    self.ask_prices(keys)
                case cmd.SubmitOrder() if self.engine.desk.stopping:
                    self._do_not_send(command, "the monitor is stopping")
                case cmd.SubmitOrder() if not self.may_order():
                    self._do_not_send(command, "the lease is asked for first")
                case cmd.SubmitOrder():
                    self._spawn(self._submit(command, durable_ns))
                case cmd.CloseRows(record):
                    self._spawn(self._close_rows(record))
                case cmd.RecordExit(record):
                    self._spawn(self._write_line(record))
                case _:
                    self._spawn(self._ask_broker(command))

    def _alert(self, alert: cmd.Alert) -> None:
        self.alerts.append(alert)
        self.alert_count += 1
        _log.log(_LEVELS[alert.severity], "%s: %s", alert.subject, alert.text)

    async def _submit(self, command: cmd.SubmitOrder, durable_ns: int) -> None:
        self._wait_for_me()
        intent = command.intent
        corr = intent.correlation_id
        result = await self._broker.submit(intent)
        now = self.clock.monotonic_ns()
        if result.sent_ns is not None:
            self.handle(ev.OrderPosted(corr, durable_ns, result.sent_ns))
        match result.outcome:
            case Accepted(order_id):
                _log.info(
                    "order %s accepted as %s: %s %d %s", corr, order_id, intent.side, intent.quantity, intent.holding
                )
                self.handle(ev.OrderAccepted(corr, order_id, now))
            case Refused(refusal, reason):
                _log.warning("order %s refused (%s): %s", corr, refusal, reason)
                if refusal is Refusal.TOKEN:
                    self.on_token_error(reason)
                self.handle(ev.OrderRefused(corr, refusal, reason, now))
            case Unknown(reason):
                _log.warning("order %s: outcome unknown: %s", corr, reason)
                self.handle(ev.OrderOutcomeUnknown(corr, reason, now))

    async def ask(self, command: cmd.Command) -> str:
        """Put one question to the broker and hand the answer to the engine. "" when it was answered, else what failed.

        Every read ends in one event; an error ends in BrokerReadFailed, never in a guess.
        """
        correlation_id = getattr(command, "correlation_id", "")
        try:
            await self._read(command)
        except _READ_ERRORS as error:
            if isinstance(error, TokenError):
                self.on_token_error(str(error))
            now, question = self.clock.monotonic_ns(), type(command).__name__
            is_open = self.engine.desk.session_open is not False
            is_logged, page = self._trouble.failed(question, str(error), now, is_open=is_open)
            if is_logged:
                _log.warning("%s failed: %s", question, error)
            self._alert_if(page)
            self.handle(ev.BrokerReadFailed(question, str(error), now, correlation_id))
            return str(error)
        self._alert_if(self._trouble.answered(type(command).__name__, self.clock.monotonic_ns()))
        return ""

    def _alert_if(self, alert: cmd.Alert | None) -> None:
        if alert is not None:
            self._alert(alert)

    async def _ask_broker(self, command: cmd.Command) -> None:
        await self.ask(command)

    async def _read(self, command: cmd.Command) -> None:
        broker, clock = self._broker, self.clock
        requested = clock.monotonic_ns()
        match command:
            case cmd.ReadOrder(order_id, _):
                report = await broker.read_order(order_id)
                if report is None:
                    raise DecodeError(f"expected the order {order_id}, the broker does not know it")
                self.handle(ev.OrderReported(report, clock.monotonic_ns()))
            case cmd.ResolveOrder():
                await self._resolve(command, requested)
            case cmd.ReadOrderBook():
                reports = await broker.read_orders()
                self.handle(ev.OrderBookRead(reports, requested, clock.monotonic_ns()))
            case cmd.ReadTradeBook():
                trades = await broker.read_trades()
                self.handle(ev.TradeBookRead(trades, requested, clock.monotonic_ns()))
            case cmd.ReadPositions():
                positions = await broker.read_positions()
                self.handle(ev.PositionsRead(positions, clock.monotonic_ns()))
            case cmd.CancelOrder(order_id):
                await broker.cancel(order_id)
            case _:
                raise TypeError(f"expected a question to the broker, received {type(command).__name__}")

    async def _resolve(self, command: cmd.ResolveOrder, requested_ns: int) -> None:
        """Look for an order of unknown fate: by its id, in the whole book, and in the trades."""
        corr, clock = command.correlation_id, self.clock
        found = await self._broker.find_order(corr)
        if found is not None:
            if found.correlation_id not in {corr, ""}:
                raise DecodeError(f"expected the order with correlation id {corr}, received {found.correlation_id}")
            self.handle(ev.OrderReported(replace(found, correlation_id=corr), clock.monotonic_ns()))
            return
        reports = await self._broker.read_orders()
        self.handle(ev.OrderBookRead(reports, requested_ns, clock.monotonic_ns()))
        if any(report.correlation_id == corr for report in reports):
            return
        trades = await self._broker.read_trades()
        known = {report.order_id for report in reports}
        unexplained = any(t.holding == command.holding and t.order_id not in known for t in trades)
        self.handle(ev.OrderAbsenceSeen(corr, unexplained, requested_ns, clock.monotonic_ns()))

    async def _write_line(self, record: ExitRecord) -> None:
        self._wait_for_me()
        _log.info(
            "exit %s of %s (%d) is finished: %s",
            record.exit_id,
            record.strategy_name,
            record.strategy_id,
            record.reason,
        )
        await self._filing.write_line(record)

    async def _close_rows(self, record: ExitRecord) -> None:
        self._wait_for_me()
        await self._filing.close(record)
        self.handle(ev.RowsClosed(record.exit_id, self.clock.monotonic_ns()))
