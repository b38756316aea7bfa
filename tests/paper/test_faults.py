"""Injected faults over real sockets: what the client sees, and what really happened."""

import asyncio
import json
from random import Random

import aiohttp
import pytest

from core.model.errors import ConfigurationError
from core.paper.faults import Faults, Occasion, read_fault
from tests.paper.clients import Feed, eventually

CALL = "40051"


@pytest.fixture(autouse=True)
def book(exchange):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005, bid_size=650, ask_size=650)


async def place_into_the_void(rest, **fields):
    with pytest.raises(aiohttp.ClientConnectionError):
        await rest.place(securityId=CALL, price=101.0, **fields)


async def test_a_dropped_response_leaves_exactly_one_order_that_fills(exchange, rest):
    exchange.add_fault({"kind": "drop_response_after_accept", "where": {"nth": 1}})
    await place_into_the_void(rest, correlationId="lost-1")
    _, book = await rest.call("GET", "/orders")
    assert [row["correlationId"] for row in book] == ["lost-1"]
    assert (await rest.settled(book[0]["orderId"]))["orderStatus"] == "TRADED"
    assert (await rest.place(securityId=CALL, price=101.0))[0] == 200


async def test_a_lost_request_leaves_no_order(exchange, rest):
    exchange.add_fault({"kind": "lose_before_accept", "where": {"nth": 2, "side": "BUY"}})
    assert (await rest.place(securityId=CALL, price=101.0, correlationId="a"))[0] == 200
    await place_into_the_void(rest, correlationId="b")
    assert [order.correlation_id for order in exchange.venue.account.orders.values()] == ["a"]


async def test_a_late_request_takes_effect_after_the_client_has_given_up(exchange, rest):
    exchange.add_fault({"kind": "late_arrival", "seconds": 0.01})
    await place_into_the_void(rest, correlationId="late")
    assert exchange.venue.account.orders == {}
    await eventually(lambda: exchange.venue.log.of("arrived_late"))
    assert [order.correlation_id for order in exchange.venue.account.orders.values()] == ["late"]


@pytest.mark.parametrize(("after_accept", "orders"), [(False, 0), (True, 1)])
async def test_a_5xx_is_html_before_or_after_the_order_was_taken(exchange, session, rest, after_accept, orders):
    exchange.add_fault({"kind": "http_5xx", "status": 503, "where": {"path": "/orders"}, "after_accept": after_accept})
    body = {"dhanClientId": exchange.client_id, "transactionType": "BUY", "exchangeSegment": "NSE_FNO", "price": 99.0}
    body |= {"productType": "MARGIN", "orderType": "LIMIT", "validity": "DAY", "securityId": CALL, "quantity": 65}
    async with session.post(f"{exchange.api_url}/orders", json=body, headers=rest.headers) as response:
        assert (response.status, response.content_type) == (503, "text/html")
    assert len(exchange.venue.account.orders) == orders


async def test_garbage_may_come_with_200_although_the_order_was_taken(exchange, rest):
    exchange.add_fault({"kind": "garbage_200", "where": {"path": "/v2/orders", "method": "POST"}})
    with pytest.raises(json.JSONDecodeError):
        await rest.place(securityId=CALL, price=99.0)
    assert len(exchange.venue.account.orders) == 1


async def test_a_refusal_and_a_rate_limit_can_be_injected_and_cleared(exchange, rest):
    exchange.add_fault({"kind": "refuse", "code": "DH-903", "message": "Segment off", "where": {"path": "/positions"}})
    exchange.add_fault({"kind": "rate_limit", "where": {"path": "/trades", "every": 2}})
    status, error = await rest.call("GET", "/positions")
    assert (status, error["errorCode"], error["errorMessage"]) == (400, "DH-903", "Segment off")
    assert [(await rest.call("GET", "/trades"))[0] for _ in range(4)] == [200, 429, 200, 429]
    exchange.venue.faults.clear()
    assert (await rest.call("GET", "/positions"))[0] == 200


async def test_an_injected_rejection_comes_after_the_200(exchange, rest):
    exchange.add_fault({"kind": "reject", "where": {"security_id": int(CALL)}, "message": "RMS:Margin Shortfall"})
    order = await rest.place_settled(securityId=CALL, price=99.0)
    assert (order["orderStatus"], order["omsErrorDescription"]) == ("REJECTED", "RMS:Margin Shortfall")


async def test_a_delayed_response_comes_and_the_order_was_taken_before(exchange, rest):
    exchange.add_fault({"kind": "delay_response", "seconds": 0.2, "where": {"path": "/orders", "method": "POST"}})
    waiting = asyncio.create_task(rest.place(securityId=CALL, price=99.0))
    await eventually(lambda: exchange.venue.account.orders)
    assert not waiting.done()
    assert (await waiting)[0] == 200


async def subscribed(exchange, session, *numbers):
    feed = await Feed.connect(exchange, session)
    await feed.subscribe(exchange, 15, *(("NSE_FNO", number) for number in numbers))
    return feed


async def test_a_feed_reset_has_no_close_frame(exchange, session):
    feed = await subscribed(exchange, session, CALL)
    exchange.add_fault({"kind": "feed_reset"})
    async with asyncio.timeout(20):
        while not feed.socket.closed:
            await feed.socket.receive()
    assert feed.socket.close_code == 1006


async def test_a_silent_feed_stays_open_and_the_server_still_answers_pings(exchange, session):
    exchange.options.feed_first_quote = False
    feed = await subscribed(exchange, session, CALL, 40_052)
    await feed.packet_of(6)
    await feed.packet_of(6)
    exchange.add_fault({"kind": "feed_silence", "seconds": 3_600, "where": {"security_id": 40_051}})
    exchange.market.set_quote("NSE_FNO", 40_051, 5_000)
    exchange.market.set_quote("NSE_FNO", 40_052, 5_100)
    assert (await feed.packet())["id"] == 40_052
    exchange.add_fault({"kind": "feed_silence", "seconds": 3_600})
    exchange.market.set_quote("NSE_FNO", 40_052, 5_105)
    await feed.socket.ping()
    exchange.add_fault({"kind": "feed_silence", "seconds": 0})
    exchange.market.set_quote("NSE_FNO", 40_052, 5_110)
    assert round((await feed.packet())["last"] * 100) == 5_110
    assert not feed.socket.closed


async def test_the_feed_may_refuse_upgrades_with_429_or_die_right_after_them(exchange, session):
    exchange.add_fault({"kind": "feed_429", "seconds": 3_600})
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await Feed.connect(exchange, session)
    assert error.value.status == 429
    exchange.add_fault({"kind": "feed_429", "seconds": 0})
    exchange.add_fault({"kind": "feed_drop_after_101", "seconds": 3_600})
    feed = await Feed.connect(exchange, session)
    await feed.message()
    assert feed.socket.close_code == 1006


async def test_the_feed_may_disconnect_with_a_code_of_choice_and_ignore_a_subscription(exchange, session):
    exchange.add_fault({"kind": "feed_ignore_subscribe", "where": {"nth": 1}})
    feed = await subscribed(exchange, session, CALL)
    assert exchange.state()["subscribed"] == []
    exchange.add_fault({"kind": "feed_disconnect", "code": 807})
    assert (await feed.packet())["reason"] == 807


async def test_a_scheduled_fault_counts_from_the_first_subscription(exchange, session):
    exchange.add_fault({"kind": "feed_reset", "after_s": 0.01})
    assert exchange.venue.log.of("fault") == []
    feed = await subscribed(exchange, session, CALL)
    async with asyncio.timeout(20):
        while not feed.socket.closed:
            await feed.socket.receive()
    assert exchange.venue.log.of("fault")[0]["kind"] == "feed_reset"


async def test_the_token_may_die_in_the_middle_of_the_day(exchange, rest):
    exchange.add_fault({"kind": "token_invalidated"})
    assert (await rest.call("GET", "/orders"))[1]["errorMessage"] == "Invalid Token"


def test_faults_are_read_from_a_file_and_bad_ones_are_named(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('{"faults": [{"kind": "reject", "where": {"nth": 3}}, {"kind": "feed_reset", "every_s": 60}]}')
    faults = Faults(1)
    faults.load(path)
    assert [(fault.nth, fault.path, fault.every_s) for fault in faults.active] == [
        (3, "/orders", None),
        (None, None, 60),
    ]
    for bad in (
        '{"faults": [{"kind": "earthquake"}]}',
        '{"faults": [3]}',
        "[]",
        "{",
        '{"faults": [{"kind": "reject", "x": 1}]}',
    ):
        path.write_text(bad)
        with pytest.raises(ConfigurationError):
            faults.load(path)


def test_a_probability_repeats_with_its_seed():
    def draw(seed):
        faults = Faults(seed)
        faults.active.append(read_fault({"kind": "delay_response", "where": {"probability": 0.3}}))
        return [
            faults.due(frozenset(type(faults.active[0].kind)), Occasion("GET", "/x")) is not None for _ in range(200)
        ]

    assert draw(4) == draw(4) != draw(5)
    assert 30 < sum(draw(4)) < 90


@pytest.mark.parametrize(
    ("where", "occasion", "fits"),
    [
        ({"path": "/orders"}, Occasion("GET", "/orders"), True),
        ({"path": "/v2/orders"}, Occasion("GET", "/orders/1"), True),
        ({"path": "/orders"}, Occasion("GET", "/ordersX"), False),
        ({"method": "POST"}, Occasion("GET", "/orders"), False),
        ({"side": "SELL"}, Occasion("POST", "/orders", "BUY"), False),
        ({"security_id": 5}, Occasion("POST", "/orders", "BUY", "5"), True),
        ({}, Occasion(), True),
    ],
)
def test_where_picks_the_occasions(where, occasion, fits):
    assert read_fault({"kind": "delay_response", "where": where}).fits(occasion) is fits


def test_times_limits_how_often_a_fault_happens():
    fault = read_fault({"kind": "delay_response", "where": {"times": 2}})
    assert [fault.is_due(Random(1)) for _ in range(4)] == [True, True, False, False]


async def test_fifty_resets_leave_no_connection_and_no_complaint_behind(exchange, session, caplog):
    for _ in range(50):
        feed = await subscribed(exchange, session, CALL)
        exchange.add_fault({"kind": "feed_reset"})
        async with asyncio.timeout(20):
            while not feed.socket.closed:
                await feed.socket.receive()
    await eventually(lambda: len(exchange.log.of("feed_closed")) == 50)
    assert (exchange.feed.connection_count, exchange.feed.watched) == (0, [])
    assert caplog.records == []


async def test_only_accepted_orders_count_for_a_dropped_response(exchange, rest):
    exchange.add_fault({"kind": "drop_response_after_accept", "where": {"nth": 1}})
    assert (await rest.place(securityId=CALL, price=101.0, quantity=0))[0] == 400
    await place_into_the_void(rest, correlationId="first-accepted")
