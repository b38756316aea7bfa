"""Order updates on real sockets: every connection asks for a reconcile, and no frame stops the stream."""

import asyncio
import contextlib
import json
import logging

import pytest

from core.backoff import Backoff
from core.clock import SystemClock
from core.model.orders import OrderStatus
from core.order_update_stream import OrderStreamLogin, OrderUpdateStream
from tests.fakes.feed_server import feed_server
from tests.fakes.waiting import eventually

TOKEN = "canary-token-4711"


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
    def __init__(self, server, on_report=None):
        self.reports = []
        self.connected = 0
        self.token = TOKEN
        login = OrderStreamLogin(server.url, "1100000042", lambda: self.token)
        self.stream = OrderUpdateStream(
            login,
            on_report or self.reports.append,
            self.count,
            SystemClock(),
            backoff=Backoff(first_s=0.01, cap_s=0.02, floor_s=0.001),
        )

    def count(self):
        self.connected += 1


@contextlib.asynccontextmanager
async def running(server):
    rig = Rig(server)
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


def test_delays_double_to_the_cap_with_full_jitter_and_begin_anew_after_success():
    backoff = Backoff(first_s=1.0, cap_s=5.0, floor_s=0.1, jitter=lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.succeeded()
    assert backoff.next_delay_s() == 1.0
    assert Backoff(floor_s=0.1, jitter=lambda: 0.0).next_delay_s() == 0.1
    backoff.attempts = 10_000
    assert backoff.next_delay_s() == 5.0
