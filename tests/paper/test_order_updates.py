"""The order-update stream over real sockets."""

import asyncio
import json

import aiohttp
import pytest

from core.paper.options import KeyCasing, TokenDeath
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


async def test_a_good_login_may_be_taken_and_reset(exchange, session):
    exchange.add_fault({"kind": "order_updates_refuse", "seconds": 3_600})
    for _ in range(2):
        socket = await login(exchange, session)
        async with asyncio.timeout(20):
            await socket.receive()
        assert socket.close_code == 1006
    exchange.clear_faults()
    await login(exchange, session)
    await eventually(lambda: exchange.venue.log.of("order_updates_connected"))


async def test_updates_of_a_window_may_leave_newest_first(exchange, rest, updates):
    exchange.add_fault({"kind": "order_updates_disorder", "seconds": 3_600, "window_s": 0.1})
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005)
    await rest.place(securityId=CALL, price=101.0)
    assert [(await next_update(updates))["status"] for _ in range(3)] == ["Traded", "Pending", "Transit"]
    exchange.clear_faults()
    await rest.place(securityId=CALL, price=101.0)
    assert [(await next_update(updates))["status"] for _ in range(3)] == ["Transit", "Pending", "Traded"]


@pytest.mark.parametrize(
    ("shape", "is_so"),
    [
        ("cut", lambda raw, data: raw.startswith('{"Data"') and not raw.endswith("}")),
        ("not_json", lambda raw, data: "{" not in raw),
        ("binary", lambda raw, data: json.loads(raw) == {"Data": data, "Type": "order_alert"}),
        ("binary_noise", lambda raw, data: raw == bytes(range(256))),
        ("array", lambda raw, data: json.loads(raw) == [1, 2, 3]),
        ("no_data", lambda raw, data: json.loads(raw) == {"Type": "order_alert"}),
        ("data_null", lambda raw, data: json.loads(raw)["Data"] is None),
        ("other_type", lambda raw, data: json.loads(raw) == {"Data": data, "Type": "heartbeat"}),
        ("unknown_status", lambda raw, data: json.loads(raw)["Data"] == data | {"status": "Frozen"}),
        ("wrong_types", lambda raw, data: json.loads(raw)["Data"]["tradedQty"] == "many"),
        ("no_order_id", lambda raw, data: data.keys() - json.loads(raw)["Data"].keys() == {"orderNo"}),
        ("foreign", lambda raw, data: json.loads(raw)["Data"]["orderNo"] not in {data["orderNo"], ""}),
        ("duplicate", lambda raw, data: json.loads(raw)["Data"] == data),
    ],
)
async def test_frames_that_a_client_must_survive(exchange, rest, updates, shape, is_so):
    await rest.place_settled(securityId=CALL, price=100.0, quantity=66)  # rejected: its last update is final
    await next_update(updates)
    data = await next_update(updates)
    exchange.add_fault({"kind": "order_updates_frame", "shape": shape})
    async with asyncio.timeout(20):
        assert is_so((await updates.receive()).data, data)


async def test_any_text_may_be_sent(exchange, updates):
    exchange.add_fault({"kind": "order_updates_frame", "message": "hello"})
    async with asyncio.timeout(20):
        assert (await updates.receive()).data == "hello"


@pytest.mark.parametrize("death", list(TokenDeath))
async def test_listeners_are_reset_or_left_when_their_token_dies(exchange, rest, updates, death):
    exchange.options.token_death = death
    exchange.venue.tokens.renew()
    if death is TokenDeath.STAY:
        rest.headers["access-token"] = exchange.access_token
        await rest.place(securityId=CALL, price=100.0)
        await next_update(updates)
    else:
        async with asyncio.timeout(20):
            await updates.receive()
        assert updates.close_code == 1006
