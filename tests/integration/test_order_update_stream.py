"""Order updates on real sockets: every connection asks for a reconcile, and no frame stops the stream."""

import asyncio
import contextlib
import json
import logging
import ssl
from dataclasses import replace

import pytest
from websockets.asyncio.server import serve

from core.backoff import Backoff
from core.brokers.dhan_broker import DhanBroker
from core.clock import SystemClock
from core.dhan.order_stream_policy import OrderStreamLimits
from core.feed_socket import SocketLimits
from core.host_names import HostNames
from core.model.commands import Severity
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderIntent, OrderStatus, Side
from core.model.position import HoldingKey, Product
from core.order_update_stream import OrderStreamLogin, OrderStreamSettings, OrderUpdateStream
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from tests.fakes.certificates import self_signed
from tests.fakes.feed_server import feed_server
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

TOKEN = "canary-token-4711"
QUICK = OrderStreamLimits(first_delay_s=0.01, cap_s=0.02, floor_s=0.001, refused_delay_s=0.01, settle_s=5.0)


def alert(order_no="11", status="Pending", traded=0):
    row = {
        "exchange": "NSE",
        "segment": "D",
        "securityId": "61234",
        "orderNo": order_no,
        "product": "I",
        "txnType": "S",
        "quantity": 130,
        "tradedQty": traded,
        "avgTradedPrice": 98.55 if traded else 0,
        "status": status,
        "reasonDescription": "CONFIRMED",
        "correlationId": "X-1",
    }
    return json.dumps({"Data": row, "Type": "order_alert"})


class Rig:
    def __init__(self, server, on_report=None, *, clock=None, settings=None, url=None, client_id="1100000042"):
        self.reports = []
        self.refused = []
        self.alerts = []
        self.connected = 0
        self.token = TOKEN
        login = OrderStreamLogin(url or server.url, client_id, lambda: self.token)
        self.stream = OrderUpdateStream(
            login,
            on_report or self.reports.append,
            self.count,
            clock or SystemClock(),
            on_refused=lambda reason, token: self.refused.append((reason, token)),
            alert=self.alerts.append,
            settings=settings or OrderStreamSettings(QUICK),
            fraction=lambda: 1.0,
        )

    def count(self):
        self.connected += 1

    @property
    def subjects(self):
        return [(alert.severity, alert.subject) for alert in self.alerts]


@contextlib.asynccontextmanager
async def running(server, **options):
    rig = Rig(server, **options)
    task = asyncio.create_task(rig.stream.run())
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_login_is_sent_and_alerts_become_reports():
    async with feed_server() as server, running(server) as rig:
        await eventually(lambda: server.messages)
        assert server.messages[0][1] == {
            "LoginReq": {"MsgCode": 42, "ClientId": "1100000042", "Token": TOKEN},
            "UserType": "SELF",
        }
        await server.newest.send(alert())
        await server.newest.send(alert(status="Traded", traded=130).encode())
        await eventually(lambda: len(rig.reports) == 2)
        assert [report.status for report in rig.reports] == [OrderStatus.PENDING, OrderStatus.TRADED]
        assert rig.connected == 1
        assert rig.stream.status.is_connected
        assert rig.stream.status.last_report_ns is not None


async def test_every_new_connection_asks_for_a_reconcile_and_logs_in_with_the_newest_token():
    async with feed_server() as server, running(server) as rig:
        await eventually(lambda: server.messages)
        rig.token = "fresh"
        server.newest.transport.abort()
        await eventually(lambda: rig.connected == 2 and len(server.messages) == 2)
        assert server.messages[1][1]["LoginReq"]["Token"] == "fresh"


async def test_unreadable_and_foreign_frames_are_counted_and_skipped():
    async with feed_server() as server, running(server) as rig:
        await eventually(lambda: server.messages)
        for frame in ("not json", "[]", '{"Type":"order_alert","Data":{}}', '{"Type":"hello"}', b"\xff\xfe"):
            await server.newest.send(frame)
        await server.newest.send(alert())
        await eventually(lambda: rig.reports)
        status = rig.stream.status
        assert (status.unreadable, status.other_frames, status.reports) == (4, 1, 1)


async def test_a_refused_login_is_retried_for_ever():
    async with feed_server() as server:
        server.drop_after_upgrade = True
        async with running(server):
            await eventually(lambda: len(server.connections) >= 6)
            server.drop_after_upgrade = False
            server.refuse_with = 401
            await eventually(lambda: len(server.paths) >= len(server.connections) + 3)
            server.refuse_with = None
            await eventually(lambda: server.messages)


async def test_a_bug_in_a_callback_ends_the_stream_loudly():
    def broken(_report):
        raise RuntimeError("a bug")

    async with feed_server() as server:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        rig = Rig(server, broken)
        task = asyncio.create_task(rig.stream.run())
        await eventually(lambda: server.messages)
        await server.newest.send(alert())
        with pytest.raises(RuntimeError, match="a bug"):
            await task


async def test_the_token_is_in_no_log_at_debug(caplog):
    caplog.set_level(logging.DEBUG)
    async with feed_server() as server, running(server) as rig:
        await eventually(lambda: server.messages)
        server.newest.transport.abort()
        await eventually(lambda: rig.connected == 2)
        assert TOKEN not in repr(rig.stream) + repr(rig.stream._login)
    ours = [record for record in caplog.records if record.name != "websockets.server"]
    assert not [record for record in ours if TOKEN in record.getMessage()]


async def test_b35_the_books_are_read_again_once_the_login_must_have_taken_effect():
    settings = OrderStreamSettings(replace(QUICK, settle_s=0.05))
    async with feed_server() as server, running(server, settings=settings) as rig:
        await eventually(lambda: rig.connected == 2)
        await asyncio.sleep(0.15)
        assert (rig.connected, len(server.connections)) == (2, 1)


async def test_b35_silence_ends_no_connection_and_has_the_books_read_every_half_minute():
    clock = ManualClock()
    async with feed_server() as server, running(server, clock=clock) as rig:
        await eventually(lambda: rig.connected == 1)
        for _ in range(600):
            clock.pass_seconds(1)
            rig.stream.market(is_open=True)
        await asyncio.sleep(0.05)
        assert len(server.connections) == 1
        assert rig.connected == 1 + 600 // 30
        assert rig.alerts == []
        for _ in range(600):
            clock.pass_seconds(1)
            rig.stream.market(is_open=False)
        assert rig.connected == 21, "a closed market changes no orders"


async def test_b35_a_half_open_connection_is_found_by_its_missing_pongs_and_replaced():
    sockets = SocketLimits(ping_interval_s=0.2, ping_timeout_s=0.3, close_timeout_s=0.05)
    assert sum((SocketLimits().ping_interval_s, SocketLimits().ping_timeout_s, SocketLimits().close_timeout_s)) <= 10
    async with feed_server() as server, running(server, settings=OrderStreamSettings(QUICK, sockets)) as rig:
        await eventually(lambda: server.messages)
        server.newest.transport.pause_reading()
        await eventually(lambda: rig.connected >= 2 and len(server.messages) >= 2)
        assert rig.refused == []


async def test_b35_what_a_mute_stream_leaves_out_is_in_the_books_read_besides():
    """The exchange keeps the socket open and tells nothing of an order; nothing but the periodic read finds it."""
    async with LocalExchange(ExchangeOptions(seed=7, model_step_s=0, transit_s=0.0)) as exchange:
        broker = DhanBroker(exchange.api_url, exchange.client_id, lambda: exchange.access_token, SystemClock())
        await broker.open()
        settings = OrderStreamSettings(replace(QUICK, settle_s=0.05, reconcile_s=0.2))
        options = {"url": exchange.order_update_url, "client_id": exchange.client_id, "settings": settings}
        async with running(None, **options) as rig:
            rig.token = exchange.access_token
            rig.stream.token_changed()
            await eventually(lambda: rig.stream.status.is_connected and rig.connected >= 2)
            exchange.add_fault({"kind": "order_updates_silence", "seconds": 60})
            await asyncio.sleep(0.05)
            key = InstrumentKey(Segment.NSE_FNO, 40_051)
            exchange.market.set_quote("NSE_FNO", 40_051, 10_000, 9_995, 10_005, ask_size=500)
            intent = OrderIntent("X-9", HoldingKey(key, Product.MARGIN), Side.BUY, 65, 10_100)
            await broker.submit(intent)
            before = rig.connected
            async with asyncio.timeout(5):
                while rig.connected == before:
                    rig.stream.market(is_open=True)
                    await asyncio.sleep(0.02)
            assert rig.reports == []
            assert [report.correlation_id for report in await broker.read_orders()] == ["X-9"]
            assert rig.stream.status.connections == 1
            assert rig.alerts == []
        await broker.close()


async def test_a_refused_token_is_doubted_after_two_resets_and_not_hammered():
    async with LocalExchange() as exchange:
        settings = OrderStreamSettings(replace(QUICK, refused_delay_s=30.0, settle_s=2.0))
        options = {"url": exchange.order_update_url, "client_id": exchange.client_id, "settings": settings}
        async with running(None, **options) as rig:
            await eventually(lambda: rig.refused)
            assert rig.refused == [("order updates: dropped right after the login, 2 times in a row", TOKEN)]
            await asyncio.sleep(0.3)
            assert len(exchange.venue.log.of("order_updates_refused")) == 2
            rig.stream.token_changed()
            await asyncio.sleep(0.1)
            assert len(exchange.venue.log.of("order_updates_refused")) == 2, "it is still the same token"
            rig.token = exchange.access_token
            rig.stream.token_changed()
            await eventually(lambda: exchange.venue.log.of("order_updates_connected"))
            await asyncio.sleep(0.1)
            assert rig.stream.status.is_connected
            assert rig.stream.status.refused == 2
            assert len(rig.refused) == 1


async def test_a_connection_of_the_old_token_is_replaced_at_once():
    settings = OrderStreamSettings(replace(QUICK, first_delay_s=30.0, cap_s=30.0))
    async with feed_server() as server, running(server, settings=settings) as rig:
        await eventually(lambda: server.messages)
        rig.stream.token_changed()
        await asyncio.sleep(0.05)
        assert len(server.connections) == 1
        rig.token = "fresh"
        rig.stream.token_changed()
        await eventually(lambda: len(server.messages) == 2, within_s=2.0)
        assert server.messages[1][1]["LoginReq"]["Token"] == "fresh"
        await eventually(lambda: rig.connected == 2)
        assert rig.refused == []
        assert rig.stream.status.refused == 0


async def test_a_block_of_the_account_is_waited_for_whatever_the_token():
    async with feed_server() as server:
        server.refuse_with = 429
        async with running(server, settings=OrderStreamSettings(replace(QUICK, blocked_s=30.0))) as rig:
            await eventually(lambda: server.paths)
            rig.token = "fresh"
            rig.stream.token_changed()
            await asyncio.sleep(0.1)
            assert len(server.paths) == 1
            assert rig.stream.status.last_end == "refused with HTTP 429"


async def test_a_person_hears_of_a_minute_without_order_updates_and_of_their_return():
    clock = ManualClock()
    async with feed_server() as server:
        server.refuse_with = 503
        async with running(server, clock=clock) as rig:
            for _ in range(59):
                rig.stream.market(is_open=True)
                clock.pass_seconds(1)
            assert rig.alerts == []
            assert rig.connected == 12, "the books are read every 5 s meanwhile"
            for _ in range(10):
                clock.pass_seconds(1)
                rig.stream.market(is_open=True)
            assert rig.subjects == [(Severity.WARNING, "order updates are not connected")]
            server.refuse_with = None
            clock.pass_seconds(60)
            await eventually(lambda: server.messages)
            await server.newest.send(alert())
            await eventually(lambda: rig.reports)
            rig.stream.market(is_open=True)
            assert rig.subjects[1:] == [(Severity.INFO, "order updates are connected again")]


async def test_f22_an_untrusted_certificate_pages_once_and_names_it(tmp_path):
    context, certificate = self_signed(tmp_path, "broker.example")
    trusting = ssl.create_default_context(cafile=certificate)
    made = 0

    async def take(connection):
        nonlocal made
        made += 1
        await connection.wait_closed()

    async with serve(take, "127.0.0.1", 0, ssl=context, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(
            None, url=f"wss://localhost:{port}", settings=OrderStreamSettings(QUICK, tls=trusting)
        ) as rig:
            await eventually(lambda: rig.stream._policy._attempts >= 4)
            assert rig.stream.status.last_end.startswith("TLS: the certificate of localhost is for another host")
            assert rig.subjects == [(Severity.PAGE, "order updates: the server is not trusted")]
        names = HostNames(SystemClock(), resolve=lambda _host: ("127.0.0.1",))
        settings = OrderStreamSettings(QUICK, tls=trusting, names=names)
        async with running(None, url=f"wss://broker.example:{port}", settings=settings) as rig:
            await eventually(lambda: rig.connected)
            assert rig.alerts == []
    assert made == 1


def test_delays_double_to_the_cap_with_full_jitter_and_begin_anew_after_success():
    backoff = Backoff(first_s=1.0, cap_s=5.0, floor_s=0.1, jitter=lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.succeeded()
    assert backoff.next_delay_s() == 1.0
    assert Backoff(floor_s=0.1, jitter=lambda: 0.0).next_delay_s() == 0.1
    backoff.attempts = 10_000
    assert backoff.next_delay_s() == 5.0
