"""What our Dhan client puts on the wire and what it concludes from each answer."""

import asyncio
import contextlib
import json
import logging

import pytest

from core.brokers.base import Accepted, Refused, Unknown
from core.brokers.dhan_broker import DhanBroker
from core.brokers.warm_connections import HttpLimits
from core.model.errors import ConfigurationError, DecodeError, RateLimitedError, TokenError, TransportError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import QuoteSource
from core.model.orders import OrderIntent, OrderStatus, Refusal, Side
from core.model.position import HoldingKey, Product
from tests.fakes.http_server import dropping, json_response, raw_server, replying, silent
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

TOKEN = "canary-token-4711"
CLIENT = "1100000042"
KEY = InstrumentKey(Segment.NSE_FNO, 61234)
HOLDING = HoldingKey(KEY, Product.INTRADAY)
INTENT = OrderIntent("X-7f3a9c01", HOLDING, Side.SELL, 130, 9_840)
ORDER = {
    "dhanClientId": CLIENT,
    "orderId": "11261120000173",
    "correlationId": "X-7f3a9c01",
    "orderStatus": "PART_TRADED",
    "transactionType": "SELL",
    "exchangeSegment": "NSE_FNO",
    "productType": "INTRADAY",
    "securityId": "61234",
    "quantity": 130,
    "averageTradedPrice": 98.55,
    "filledQty": 65,
    "omsErrorDescription": "CONFIRMED",
}
PROFILE = json_response(json.dumps({"dhanClientId": CLIENT, "tokenValidity": "21/11/2026 08:45", "dataPlan": "Active"}))
ACCEPTED = json_response('{"orderId":"11261120000173","orderStatus":"TRANSIT"}')


class Rig:
    def __init__(self, server, limits=None):
        self.clock = ManualClock()
        self.slept = []
        self.token = TOKEN
        url = f"http://127.0.0.1:{server.port}/v2"
        self.broker = DhanBroker(url, CLIENT, lambda: self.token, self.clock, limits=limits, sleep=self.sleep)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.pass_seconds(seconds)


@contextlib.asynccontextmanager
async def against(answer, limits=None):
    async with raw_server(answer) as server:
        rig = Rig(server, limits)
        try:
            yield server, rig
        finally:
            await rig.broker.close()


async def test_an_order_goes_out_with_every_field_and_header_and_is_accepted():
    async with against(replying(ACCEPTED)) as (server, rig):
        result = await rig.broker.submit(INTENT)
        assert result.outcome == Accepted("11261120000173")
        assert result.sent_ns == rig.clock.monotonic_ns()
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/v2/orders")
        assert request.headers == {
            "Host": f"127.0.0.1:{server.port}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "access-token": TOKEN,
            "client-id": CLIENT,
            "Content-Length": str(len(request.body)),
        }
        assert json.loads(request.body) == {
            "dhanClientId": CLIENT,
            "correlationId": "X-7f3a9c01",
            "transactionType": "SELL",
            "exchangeSegment": "NSE_FNO",
            "productType": "INTRADAY",
            "orderType": "LIMIT",
            "validity": "IOC",
            "securityId": "61234",
            "quantity": 130,
            "price": 98.4,
        }


def error(code, text, status="400 Bad Request"):
    return json_response(json.dumps({"errorType": "X", "errorCode": code, "errorMessage": text}), status)


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (error("DH-905", "quantity is required"), Refusal.VALIDATION),
        (error("DH-905", "Invalid IP"), Refusal.STATIC_IP),
        (error("DH-904", "Too many requests", "429 Too Many Requests"), Refusal.RATE_LIMITED),
        (error("DH-906", "Invalid Token"), Refusal.TOKEN),
    ],
)
async def test_a_proven_refusal_is_refused(answer, refusal):
    async with against(replying(answer)) as (server, rig):
        result = await rig.broker.submit(INTENT)
        assert isinstance(result.outcome, Refused)
        assert result.outcome.refusal is refusal
        assert result.sent_ns is not None
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        json_response("<html>Bad Gateway</html>", "502 Bad Gateway"),
        json_response("<html>fine</html>"),
        json_response('{"orderStatus":"TRANSIT"}'),
        json_response(""),
        json_response('{"orderId":', "200 OK"),
        error("DH-906", "something new"),
        error("DH-908", "rare failure", "500 Internal Server Error"),
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/other\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=range(10),
)
async def test_everything_that_proves_nothing_is_unknown_and_is_posted_once(answer):
    async with against(replying(answer)) as (server, rig):
        result = await rig.broker.submit(INTENT)
        assert isinstance(result.outcome, Unknown)
        assert result.sent_ns is not None
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [dropping, silent])
async def test_a_lost_answer_is_unknown_and_the_server_sees_one_post(answer):
    async with against(answer, HttpLimits(total_timeout_s=0.5)) as (server, rig):
        result = await rig.broker.submit(INTENT)
        assert isinstance(result.outcome, Unknown)
        assert result.sent_ns is not None
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1


async def test_without_a_connection_nothing_was_sent_and_that_is_certain():
    async with against(replying(ACCEPTED)) as (server, _rig):
        port, server.port = server.port, 1
        unreachable = Rig(server).broker
        server.port = port
        result = await unreachable.submit(INTENT)
        assert isinstance(result.outcome, Refused)
        assert (result.outcome.refusal, result.sent_ns) == (Refusal.NOT_SENT, None)


async def test_a_kept_connection_closed_by_the_peer_costs_no_order():
    async with against(replying(PROFILE, ACCEPTED)) as (server, rig):
        await rig.broker.open()
        await eventually(lambda: server.connections == 4)
        for writer in server.writers:
            writer.close()
            await writer.wait_closed()
        result = await rig.broker.submit(INTENT)
        assert result.outcome == Accepted("11261120000173")
        assert [request.method for request in server.requests] == ["GET", "POST"]
        assert server.requests[1].connection > 4


async def test_a_swapped_token_is_used_from_the_next_request_on():
    async with against(replying(ACCEPTED)) as (server, rig):
        await rig.broker.submit(INTENT)
        rig.token = "another"
        await rig.broker.submit(INTENT)
        assert [request.headers["access-token"] for request in server.requests] == [TOKEN, "another"]


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "ключ"])
async def test_a_token_that_cannot_be_a_header_is_never_sent(token):
    async with against(replying(ACCEPTED)) as (server, rig):
        rig.token = token
        with pytest.raises(ConfigurationError) as caught:
            await rig.broker.read_orders()
        assert server.requests == []
        assert not token or token not in str(caught.value)


async def test_opening_checks_the_account_of_the_token():
    async with against(replying(PROFILE)) as (server, rig):
        await rig.broker.open()
        assert server.requests[0].path == "/v2/profile"
    other = json_response('{"dhanClientId":"1100000099"}')
    async with against(replying(other)) as (server, rig):
        with pytest.raises(TokenError):
            await rig.broker.open()
    refused = error("DH-901", "Client ID or user generated access token is invalid", "401 Unauthorized")
    async with against(replying(refused)) as (server, rig):
        with pytest.raises(TokenError):
            await rig.broker.open()


async def test_orders_are_read_by_id_and_by_correlation_id_and_as_a_book():
    order = json.dumps(ORDER)
    async with against(replying(json_response(order), json_response(order), json_response(f"[{order}]"))) as (
        server,
        rig,
    ):
        by_id = await rig.broker.read_order("11261120000173")
        by_name = await rig.broker.find_order("X-7f3a9c01")
        assert (await rig.broker.read_orders()) == (by_id,) == (by_name,)
        assert (by_id.status, by_id.filled, by_id.average_price) == (OrderStatus.PART_TRADED, 65, 9_855)
        assert [request.path for request in server.requests] == [
            "/v2/orders/11261120000173",
            "/v2/orders/external/X-7f3a9c01",
            "/v2/orders",
        ]


@pytest.mark.parametrize("answer", [json_response("[]"), error("DH-906", "no such order", "404 Not Found")])
async def test_an_order_the_broker_does_not_know_is_none(answer):
    async with against(replying(answer)) as (_server, rig):
        assert await rig.broker.read_order("1") is None
        assert await rig.broker.find_order("X-1") is None


async def test_an_order_id_cannot_change_the_path():
    async with against(replying(json_response("[]"))) as (server, rig):
        await rig.broker.read_order("../positions?x=1 y")
        assert server.requests[0].path == "/v2/orders/..%2Fpositions%3Fx%3D1%20y"


async def test_a_failed_read_is_an_error_and_never_an_empty_list():
    failures = [
        (json_response("<html></html>", "502 Bad Gateway"), TransportError),
        (error("DH-904", "Too many requests", "429 Too Many Requests"), RateLimitedError),
        (error("DH-906", "Invalid Token"), TokenError),
        (json_response('{"data":[]}'), DecodeError),
        (json_response("[{}]"), DecodeError),
    ]
    for answer, expected in failures:
        async with against(replying(answer)) as (_server, rig):
            for read in (rig.broker.read_orders, rig.broker.read_positions):
                with pytest.raises(expected):
                    await read()


async def test_positions_carry_the_time_before_the_request():
    body = json.dumps(
        [
            {
                "dhanClientId": CLIENT,
                "securityId": "61234",
                "exchangeSegment": "NSE_FNO",
                "productType": "INTRADAY",
                "positionType": "LONG",
                "buyAvg": 101.2,
                "buyQty": 130,
                "sellAvg": 0.0,
                "sellQty": 0,
                "netQty": 130,
            }
        ]
    )
    clock_of = {}

    async def answer(_request, writer):
        clock_of["clock"].pass_seconds(0.25)
        writer.write(json_response(body))

    async with against(answer) as (_server, rig):
        clock_of["clock"] = rig.clock
        before = rig.clock.monotonic_ns()
        report = await rig.broker.read_positions()
        assert report.net(HOLDING) == 130
        assert (report.requested_ns, report.received_ns) == (before, before + 250_000_000)


async def test_a_read_on_a_connection_that_dies_is_repeated_once_and_a_cancel_is_not():
    calls = []

    async def dropping_first(request, writer):
        calls.append(request.method)
        if len(calls) == 1:
            writer.transport.abort()
        else:
            writer.write(json_response("[]"))

    async with against(dropping_first) as (server, rig):
        assert await rig.broker.read_orders() == ()
        assert calls == ["GET", "GET"]
    async with against(dropping) as (server, rig):
        with pytest.raises(TransportError):
            await rig.broker.cancel("1")
        with pytest.raises(TransportError):
            await rig.broker.read_trades()
        assert [request.method for request in server.requests] == ["DELETE", "GET", "GET"]


async def test_quotes_leave_a_second_apart():
    body = json_response('{"data":{"NSE_FNO":{"61234":{"last_price":98.4}}},"status":"success"}')
    async with against(replying(body)) as (server, rig):
        first, _second, _third = await asyncio.gather(*(rig.broker.read_quotes((KEY,)) for _ in range(3)))
        assert rig.slept == [1.05, 1.05]
        rig.clock.pass_seconds(5)
        await rig.broker.read_quotes((KEY,))
        assert len(rig.slept) == 2
        assert (first[0].key, first[0].last, first[0].source) == (KEY, 9_840, QuoteSource.REST)
        assert json.loads(server.requests[0].body) == {"NSE_FNO": [61234]}
        assert server.requests[0].path == "/v2/marketfeed/quote"


async def test_reads_wait_for_their_turn_and_orders_do_not():
    async with against(replying(json_response("[]"))) as (server, rig):
        for _ in range(16):
            await rig.broker.read_orders()
        assert rig.slept == []
        await rig.broker.submit(INTENT)
        assert rig.slept == []
        await rig.broker.read_orders()
        assert rig.slept == [1.0]
        assert len(server.requests) == 18


async def test_the_token_is_in_no_log_and_no_message(caplog):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with against(dropping, HttpLimits(total_timeout_s=0.1)) as (_server, rig):
        result = await rig.broker.submit(INTENT)
        with pytest.raises(TransportError) as caught:
            await rig.broker.read_orders()
        assert TOKEN not in f"{result!r} {caught.value!r} {rig.broker!r} {vars(rig.broker)!r} {caplog.text}"
