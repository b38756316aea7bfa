"""Plain clients of the exchange: HTTP and WebSockets through aiohttp, packets through a table of their own."""

import asyncio
import json
import struct

import aiohttp

ORDER = {
    "transactionType": "BUY",
    "exchangeSegment": "NSE_FNO",
    "productType": "MARGIN",
    "orderType": "LIMIT",
    "validity": "DAY",
    "quantity": 65,
}

# Copied from the protocol document, section 2.4, not from the code under test.
SIZES = {2: 16, 4: 50, 5: 12, 6: 16, 7: 8, 8: 162, 50: 10}
LAYOUTS = {
    2: ("<BHBIfI", "code length segment id last time"),
    4: (
        "<BHBIfHIfIIIffff",
        "code length segment id last last_size time average volume sell_total buy_total open close high low",
    ),
    5: ("<BHBII", "code length segment id oi"),
    6: ("<BHBIfI", "code length segment id previous_close previous_oi"),
    8: (
        "<BHBIfHIfIIIIIIffff",
        (
            "code length segment id last last_size time average volume sell_total buy_total oi oi_high oi_low "
            "open close high low"
        ),
    ),
    50: ("<BHBIH", "code length segment id reason"),
}


def decode(packet):
    """One packet as a dict; a full packet has `depth`, a list of five (bid qty, ask qty, orders, orders, bid, ask)."""
    code = packet[0]
    layout, names = LAYOUTS[code]
    assert len(packet) == SIZES[code]
    values = dict(zip(names.split(), struct.unpack_from(layout, packet), strict=True))
    assert values["length"] == len(packet)
    if code == 8:
        values["depth"] = [struct.unpack_from("<IIHHff", packet, 62 + 20 * n) for n in range(5)]
    return values


async def eventually(condition, seconds=20):
    """Let the event loop run until `condition()` holds. TimeoutError when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  it is the exchange in this process that makes it true
            await asyncio.sleep(0)


class Rest:
    """Calls `/v2` with the exchange's own token."""

    def __init__(self, exchange, session):
        self.exchange = exchange
        self.session = session
        self.headers = {"access-token": exchange.access_token, "client-id": exchange.client_id}

    async def call(self, method, path, body=None, headers=None):
        async with self.session.request(
            method, self.exchange.api_url + path, json=body, headers=headers or self.headers
        ) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def place(self, **fields):
        """Post an order; (status, body)."""
        body = {"dhanClientId": self.exchange.client_id, **ORDER, **fields}
        return await self.call("POST", "/orders", {name: value for name, value in body.items() if value is not None})

    async def place_settled(self, **fields):
        """Post an order that must be accepted, and read it once it has left TRANSIT."""
        status, body = await self.place(**fields)
        assert status == 200, body
        assert body["orderStatus"] == "TRANSIT"
        return await self.settled(body["orderId"])

    async def settled(self, order_id):
        order = self.exchange.venue.account.orders[order_id]
        await eventually(lambda: order.status.value != "TRANSIT")
        return (await self.call("GET", f"/orders/{order_id}"))[1]


class Feed:
    """One feed connection. Packets arrive one per message."""

    def __init__(self, socket):
        self.socket = socket

    @classmethod
    async def connect(cls, exchange, session, token=None, client_id=None):
        query = {
            "version": "2",
            "token": token or exchange.access_token,
            "clientId": client_id or exchange.client_id,
            "authType": "2",
        }
        return cls(await session.ws_connect(exchange.feed_url, params=query))

    async def send(self, code, *instruments):
        listed = [{"ExchangeSegment": segment, "SecurityId": str(number)} for segment, number in instruments]
        await self.socket.send_json({"RequestCode": code, "InstrumentCount": len(listed), "InstrumentList": listed})

    async def subscribe(self, exchange, code, *instruments):
        """Send a request, and wait until the exchange has taken it: nothing acknowledges a subscription."""
        before = len(exchange.venue.log.of("feed_request"))
        await self.send(code, *instruments)
        await eventually(lambda: len(exchange.venue.log.of("feed_request")) > before)

    async def message(self):
        async with asyncio.timeout(20):
            return await self.socket.receive()

    async def packet(self):
        message = await self.message()
        assert message.type is aiohttp.WSMsgType.BINARY, message
        return decode(message.data)

    async def packet_of(self, code):
        while (packet := await self.packet())["code"] != code:
            pass
        return packet
