"""The broker's side in a process of its own: answers over HTTP like Dhan, fills at once, and tells it on the order stream.

It notes when the bytes of each order arrived. The position list has a row for each contract of the book, as Dhan's would.
A line on stdin ends it; then it prints what it noted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final, cast

from tests.perf import web_frames
from tests.perf.bench_book import BREACH_RUPEES, ENTRY_RUPEES, UNITS

_FILL_AFTER_S: Final = 0.002
_PROFILE: Final = {"tokenValidity": "31/12/2030 23:59", "activeSegment": "Derivative", "dataPlan": "Active"}
_ADDRESS: Final = {"ordersAllowed": True, "ipMatchStatus": "MATCH", "detectedIP": "127.0.0.1"}


class Account:
    def __init__(self, client_id: str, ids: list[int]) -> None:
        self.client_id = client_id
        self.arrived: dict[str, tuple[int, int]] = {}
        self.requests: dict[str, int] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.rows = {security_id: self._row(security_id, 0) for security_id in ids}
        self.listeners: list[asyncio.Transport] = []

    def answer(self, method: str, path: str, body: bytes, at_ns: int) -> bytes:  # noqa: PLR0911  one for each request
        name = path.removeprefix("/v2/")
        self.requests[name.split("/")[0]] = self.requests.get(name.split("/")[0], 0) + 1
        match method, name:
            case "POST", "orders":
                return self._place(json.loads(body), at_ns)
            case "POST", "marketfeed/quote":
                return self._quotes(json.loads(body))
            case "GET", "positions":
                return b"[" + b",".join(self.rows.values()) + b"]"
            case "GET", "orders":
                return json.dumps(list(self.orders.values())).encode()
            case "GET", "profile":
                return json.dumps({"dhanClientId": self.client_id, **_PROFILE}).encode()
            case "GET", "ip/getIP":
                return json.dumps(_ADDRESS).encode()
            case "GET", _ if name.startswith("orders/external/"):
                wanted = name.removeprefix("orders/external/")
                return json.dumps([x for x in self.orders.values() if x["correlationId"] == wanted]).encode()
            case "GET", _ if name.startswith("orders/"):
                return json.dumps(self.orders[name.removeprefix("orders/")]).encode()
        return b"[]"

    def _place(self, order: dict[str, Any], at_ns: int) -> bytes:
        order_id = str(112_000_000 + len(self.orders))
        self.arrived[order["correlationId"]] = (int(order["securityId"]), at_ns)
        state = {"orderId": order_id, "orderStatus": "TRANSIT", "filledQty": 0, "averageTradedPrice": 0.0}
        self.orders[order_id] = order | state | {"omsErrorDescription": ""}
        asyncio.get_running_loop().call_later(_FILL_AFTER_S, self._fill, self.orders[order_id])
        return json.dumps({"orderId": order_id, "orderStatus": "TRANSIT"}).encode()

    def _fill(self, order: dict[str, Any]) -> None:
        order |= {"orderStatus": "TRADED", "filledQty": order["quantity"], "averageTradedPrice": BREACH_RUPEES}
        self.rows[int(order["securityId"])] = self._row(int(order["securityId"]), order["quantity"])
        data = {
            "exchange": "NSE", "segment": "D", "securityId": order["securityId"], "orderNo": order["orderId"],
            "product": "M", "txnType": "S", "quantity": order["quantity"], "tradedQty": order["quantity"],
            "avgTradedPrice": BREACH_RUPEES, "status": "Traded", "correlationId": order["correlationId"],
            "reasonDescription": "CONFIRMED",
        }  # fmt: skip
        update = web_frames.frame(web_frames.TEXT, json.dumps({"Data": data, "Type": "order_alert"}).encode())
        for listener in self.listeners:
            listener.write(update)

    def _quotes(self, wanted: dict[str, list[int]]) -> bytes:
        side = [{"quantity": 650, "orders": 3, "price": ENTRY_RUPEES} for _ in range(5)]
        row = {
            "average_price": ENTRY_RUPEES, "buy_quantity": 5_000, "depth": {"buy": side, "sell": side},
            "last_price": ENTRY_RUPEES, "last_quantity": UNITS, "last_trade_time": "01/01/1980 00:00:00",
            "lower_circuit_limit": 0.05, "net_change": 0, "oi": 1_000, "oi_day_high": 1_000, "oi_day_low": 900,
            "ohlc": dict.fromkeys(("open", "close", "high", "low"), ENTRY_RUPEES), "sell_quantity": 5_000,
            "upper_circuit_limit": 900, "volume": 100_000,
        }  # fmt: skip
        found = {segment: {str(security_id): row for security_id in ids} for segment, ids in wanted.items()}
        return json.dumps({"data": found, "status": "success"}).encode()

    def _row(self, security_id: int, sold: int) -> bytes:
        row = {
            "dhanClientId": self.client_id, "tradingSymbol": "NIFTY-BENCH", "securityId": str(security_id),
            "positionType": "CLOSED" if sold == UNITS else "LONG", "exchangeSegment": "NSE_FNO",
            "productType": "MARGIN", "buyAvg": ENTRY_RUPEES, "buyQty": UNITS, "costPrice": ENTRY_RUPEES,
            "sellAvg": BREACH_RUPEES if sold else 0.0, "sellQty": sold, "netQty": UNITS - sold,
            "realizedProfit": 0.0, "unrealizedProfit": 0.0, "rbiReferenceRate": 1.0, "multiplier": 1,
            "carryForwardBuyQty": UNITS, "carryForwardSellQty": 0, "carryForwardBuyValue": ENTRY_RUPEES * UNITS,
            "carryForwardSellValue": 0.0, "dayBuyQty": 0, "daySellQty": sold, "dayBuyValue": 0.0,
            "daySellValue": BREACH_RUPEES * sold, "drvExpiryDate": "2027-03-30", "drvOptionType": "CALL",
            "drvStrikePrice": 26_000.0, "crossCurrency": False,
        }  # fmt: skip
        return json.dumps(row).encode()


class Line(asyncio.Protocol):
    """One connection: keep-alive HTTP, or the order-update WebSocket."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._received = bytearray()
        self._transport: asyncio.Transport
        self._is_stream = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport in self._account.listeners:
            self._account.listeners.remove(self._transport)

    def data_received(self, data: bytes) -> None:
        at_ns = time.monotonic_ns()
        self._received += data
        if self._is_stream:
            self._take_frames()
        else:
            self._take_requests(at_ns)

    def _take_frames(self) -> None:
        for first, payload in web_frames.take_frames(self._received):
            if first == web_frames.PING:
                self._transport.write(web_frames.frame(web_frames.PONG, payload))
            elif first == web_frames.CLOSE:
                self._transport.close()

    def _take_requests(self, at_ns: int) -> None:
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[: end + 4])
            size = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if len(self._received) < end + 4 + size:
                return
            body = bytes(self._received[end + 4 : end + 4 + size])
            del self._received[: end + 4 + size]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if path == "/order-update":
                self._is_stream = True
                self._transport.write(web_frames.upgrade_answer(head))
                self._account.listeners.append(self._transport)
                return
            answer = self._account.answer(method, path, body, at_ns)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            )
            self._transport.write(answer)


async def main(plan: dict[str, Any]) -> None:
    account = Account(plan["client_id"], plan["ids"])
    server = await asyncio.get_running_loop().create_server(lambda: Line(account), "127.0.0.1", 0)
    async with server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps({"arrived": account.arrived, "requests": account.requests}), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(json.loads(sys.argv[1])))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(json.loads(sys.argv[1])))
