"""The order-update stream: login without an answer, then every order of the account (dhan_v2_protocol 4)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from core.model.instrument import Right, Segment
from core.model.orders import OrderStatus, Side
from core.model.position import Product
from core.paper.auth import TokenState
from core.paper.fault_kinds import FaultKind
from core.paper.instruments import exchange_of
from core.paper.options import KeyCasing, TokenDeath
from core.paper.order_update_frames import FrameShape, frame
from core.paper.orders import LIMIT, MARKET, STOP_LOSS, STOP_LOSS_MARKET, PaperOrder
from core.paper.sockets import reset

if TYPE_CHECKING:
    from core.paper.faults import Fault
    from core.paper.venue import Venue

LOGIN: Final = 42
RESET_AFTER_S: Final = 0.01
PING_S: Final = 10.0
PRODUCT_LETTER: Final = {Product.CNC: "C", Product.INTRADAY: "I", Product.MARGIN: "M", Product.MTF: "F"}
KIND_LETTERS: Final = {LIMIT: "LMT", MARKET: "MKT", STOP_LOSS: "SL", STOP_LOSS_MARKET: "SLM"}
STATUS_WORD: Final = {OrderStatus.PART_TRADED: "Pending"}
"""Title case on the wire; the spelling for a part-traded order is not known, so it shows as Pending (4.2)."""
SEGMENT_LETTER: Final = {"EQ": "E", "FNO": "D", "CURRENCY": "C", "COMM": "M", "I": "E"}
PASCAL_NAMES: Final = {"orderNo": "OrderNo", "exchOrderNo": "ExchOrderNo", "isin": "Isin"}


class OrderUpdates:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._listeners: list[tuple[web.WebSocketResponse, asyncio.Transport]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0
        self._refused_until = 0.0
        self._disorder_until = 0.0
        self._window_s = 0.0
        self._waiting: list[str] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        pinger: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or pinger is not None:
                    continue
                is_refused = asyncio.get_running_loop().time() < self._refused_until
                if is_refused or not self._is_good_login(message.data):
                    self._venue.log.add("order_updates_refused")
                    await asyncio.sleep(RESET_AFTER_S)
                    reset(transport)
                    break
                self._venue.log.add("order_updates_connected")
                self._listeners.append((socket, transport))
                pinger = asyncio.create_task(self._ping(socket), name="order-updates-ping")
        finally:
            if pinger:
                pinger.cancel()
            self._listeners = [listener for listener in self._listeners if listener[0] is not socket]
        return socket

    def _is_good_login(self, text: str) -> bool:
        try:
            login = json.loads(text)["LoginReq"]
            code, client_id, token = login["MsgCode"], login["ClientId"], login["Token"]
        except (ValueError, KeyError, TypeError):
            return False
        tokens = self._venue.tokens
        return code == LOGIN and client_id == tokens.client_id and tokens.state(token) is TokenState.GOOD

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await asyncio.sleep(PING_S)
            try:
                await socket.ping()
            except ConnectionError:
                return

    def publish(self, order: PaperOrder) -> None:
        """Send the order as it now is to every listener, `order_update_copies` times."""
        loop = asyncio.get_running_loop()
        if not self._listeners or loop.time() < self._silent_until:
            return
        text = json.dumps({"Data": self._data(order), "Type": "order_alert"})
        if loop.time() < self._disorder_until:
            if not self._waiting:
                loop.call_later(self._window_s, self._send_reversed)
            self._waiting.append(text)
            return
        self._send_to_all(text)

    def _send_reversed(self) -> None:
        waiting, self._waiting = self._waiting[::-1], []
        for text in waiting:
            self._send_to_all(text)

    def _send_to_all(self, text: str | bytes) -> None:
        for socket, _ in self._listeners:
            for _ in range(self._venue.options.order_update_copies):
                task = asyncio.create_task(self._send(socket, text), name="order-update")
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send(self, socket: web.WebSocketResponse, text: str | bytes) -> None:
        try:
            await (socket.send_bytes(text) if isinstance(text, bytes) else socket.send_str(text))
        except ConnectionError:
            self._venue.log.add("order_update_lost")

    def _data(self, order: PaperOrder) -> dict[str, object]:
        fields = self._fields(order)
        casing = self._venue.options.order_update_casing
        pascal = {PASCAL_NAMES.get(name, name[0].upper() + name[1:]): value for name, value in fields.items()}
        match casing:
            case KeyCasing.CAMEL:
                return fields
            case KeyCasing.PASCAL:
                return pascal
            case KeyCasing.BOTH:
                return pascal | fields

    def _fields(self, order: PaperOrder) -> dict[str, object]:
        listing = self._venue.instruments.by_key[order.key]
        contract = listing.instrument
        right = {Right.CALL: "CE", Right.PUT: "PE", None: "XX"}[contract.right]
        return {
            "exchange": exchange_of(listing),
            "segment": "E" if order.key.segment is Segment.IDX_I else SEGMENT_LETTER[order.key.segment.split("_")[1]],
            "source": "P",
            "securityId": str(order.key.security_id),
            "clientId": self._venue.account.client_id,
            "exchOrderNo": order.exchange_order_id,
            "orderNo": order.order_id,
            "product": PRODUCT_LETTER[order.product],
            "txnType": "B" if order.side is Side.BUY else "S",
            "orderType": KIND_LETTERS[order.kind],
            "validity": order.validity.value,
            "discQuantity": 0,
            "discQtyRem": 0,
            "remainingQuantity": order.left,
            "quantity": order.quantity,
            "tradedQty": order.filled,
            "price": order.price / 100,
            "triggerPrice": order.trigger / 100,
            "tradedPrice": order.last_fill / 100,
            "avgTradedPrice": order.average,
            "algoOrdNo": "",
            "offMktFlag": "0",
            "orderDateTime": order.created_at,
            "exchOrderTime": order.exchange_at,
            "lastUpdatedTime": order.updated_at,
            "remarks": "NR",
            "mktType": "NL",
            "reasonDescription": order.reason,
            "legNo": 1,
            "instrument": listing.kind,
            "instrumentType": listing.kind,
            "symbol": contract.symbol,
            "productName": order.product.value,
            "status": STATUS_WORD.get(order.status, order.status.value.title()),
            "lotSize": contract.lot,
            "strikePrice": contract.strike / 100 if contract.strike is not None else None,
            "expiryDate": f"{contract.expiry} 14:30:00" if contract.expiry else "0001-01-01 00:00:00",
            "optType": right,
            "displayName": listing.display,
            "isin": "NA",
            "series": "NA",
            "goodTillDaysDate": order.created_at[:10],
            "refLtp": self._venue.market.book(order.key).last / 100,
            "tickSize": contract.tick / 100,
            "algoId": "0",
            "multiplier": 1,
            "correlationId": order.correlation_id,
        }

    def inflict(self, fault: Fault) -> None:
        """Let a fault of the stream happen now."""
        until = asyncio.get_running_loop().time() + fault.seconds
        match fault.kind:
            case FaultKind.ORDER_UPDATES_RESET:
                self._cut_all()
            case FaultKind.ORDER_UPDATES_SILENCE:
                self._silent_until = until
            case FaultKind.ORDER_UPDATES_REFUSE:
                self._refused_until = until
            case FaultKind.ORDER_UPDATES_DISORDER:
                self._disorder_until, self._window_s = until, fault.window_s
            case FaultKind.ORDER_UPDATES_FRAME if fault.message is not None:
                self._send_to_all(fault.message)
            case FaultKind.ORDER_UPDATES_FRAME:
                newest = next(reversed(self._venue.account.orders.values()), None)
                self._send_to_all(frame(FrameShape(str(fault.shape)), self._data(newest) if newest else {}))
            case _:
                pass

    def token_died(self, death: TokenDeath) -> None:
        """The token of every listener is dead. This stream never says why: it is reset or left alone."""
        if death is not TokenDeath.STAY:
            self._cut_all()

    def clear(self) -> None:
        """Take back what lasts."""
        self._silent_until = self._refused_until = self._disorder_until = 0.0

    def _cut_all(self) -> None:
        for _, transport in tuple(self._listeners):
            reset(transport)

    async def stop(self) -> None:
        for _, transport in tuple(self._listeners):
            transport.close()
        if self._sending:
            await asyncio.wait(self._sending)
