"""The order-update stream over real sockets."""

import asyncio

import aiohttp
import pytest

from core.paper.options import KeyCasing
from tests.paper.clients import eventually

CALL = "40051"


async def login(exchange, session, token=None, client_id=None):
    socket = await session.ws_connect(exchange.order_update_url)
    await socket.send_json(
        {
            "LoginReq": {
                "MsgCode": 42,
                "ClientId": client_id or exchange.client_id,
                "Token": token or exchange.access_token,
            },
            "UserType": "SELF",
        }
    )
    return socket


@pytest.fixture
async def updates(exchange, session):
    socket = await login(exchange, session)
    await eventually(lambda: exchange.venue.log.of("order_updates_connected"))
    return socket


async def next_update(socket):
    async with asyncio.timeout(20):
        body = await socket.receive_json()
    assert body["Type"] == "order_alert"
    return body["Data"]


async def test_an_order_is_reported_from_transit_to_traded_in_camel_case(exchange, rest, updates):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005, ask_size=65)
    order = await rest.place_settled(securityId=CALL, price=101.0, quantity=130, correlationId="x-7")
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_015)
    seen = [await next_update(updates) for _ in range(4)]
    assert [(row["status"], row["tradedQty"]) for row in seen] == [
        ("Transit", 0),
        ("Pending", 0),
        ("Pending", 65),
        ("Traded", 130),
    ]
    last = seen[-1]
    assert (last["orderNo"], last["correlationId"], last["txnType"]) == (order["orderId"], "x-7", "B")
    assert (last["tradedPrice"], last["avgTradedPrice"], last["remainingQuantity"]) == (100.15, 100.1, 0)
    assert (last["optType"], last["product"], last["orderType"], last["segment"]) == ("CE", "M", "LMT", "D")


async def test_a_rejection_names_its_reason(rest, updates):
    await rest.place_settled(securityId=CALL, price=100.0, quantity=66)
    assert (await next_update(updates))["status"] == "Transit"
    row = await next_update(updates)
    assert row["status"] == "Rejected"
    assert "lot size" in row["reasonDescription"]


@pytest.mark.parametrize(
    ("casing", "present", "absent"),
    [
        (KeyCasing.CAMEL, {"orderNo", "status"}, {"OrderNo", "Status"}),
        (KeyCasing.PASCAL, {"OrderNo", "Status"}, {"orderNo", "status"}),
        (KeyCasing.BOTH, {"OrderNo", "Status", "orderNo", "status"}, set()),
    ],
)
async def test_the_casing_of_keys_is_a_switch(exchange, rest, updates, casing, present, absent):
    exchange.options.order_update_casing = casing
    await rest.place(securityId=CALL, price=100.0)
    row = await next_update(updates)
    assert present <= row.keys()
    assert not absent & row.keys()


async def test_updates_may_come_twice(exchange, rest, updates):
    exchange.options.order_update_copies = 2
    await rest.place(securityId=CALL, price=100.0)
    assert await next_update(updates) == await next_update(updates)


@pytest.mark.parametrize("fields", [{"token": "bad"}, {"client_id": "1"}])
async def test_a_bad_login_is_reset_without_a_close_frame(exchange, session, fields):
    socket = await login(exchange, session, **fields)
    async with asyncio.timeout(20):
        message = await socket.receive()
    assert message.type in {aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED}
    assert socket.close_code == 1006


async def test_silence_and_reset_are_faults_of_the_stream(exchange, rest, updates):
    exchange.add_fault({"kind": "order_updates_silence", "seconds": 3_600})
    await rest.place_settled(securityId=CALL, price=100.0)
    exchange.add_fault({"kind": "order_updates_silence", "seconds": 0})
    await rest.place_settled(securityId=CALL, price=100.0, correlationId="heard")
    assert (await next_update(updates))["correlationId"] == "heard"
    await next_update(updates)
    exchange.add_fault({"kind": "order_updates_reset"})
    async with asyncio.timeout(20):
        while not updates.closed:
            await updates.receive()
    assert updates.close_code == 1006
