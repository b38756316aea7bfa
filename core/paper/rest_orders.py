"""Orders and trades over REST (dhan_v2_protocol 5.3 to 5.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from core.paper.contract_fields import contract_fields
from core.paper.orders import KINDS, BadRequestError, OrderRequest, PaperOrder, Trade, read_order, read_price
from core.paper.rate_limits import RateClass
from core.paper.rest_gate import Call, Gate, Handler, Surface

if TYPE_CHECKING:
    from core.paper.venue import Venue


class RestOrders:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._account = venue.account

    def add_routes(self, router: web.UrlDispatcher, gate: Gate) -> None:
        writes: tuple[tuple[str, str, Handler], ...] = (
            ("POST", "/v2/orders", self.place),
            ("POST", "/v2/orders/slicing", self.place_slices),
            ("PUT", "/v2/orders/{order_id}", self.modify),
            ("DELETE", "/v2/orders/{order_id}", self.cancel),
        )
        reads: tuple[tuple[str, Handler], ...] = (
            ("/v2/orders", self.order_book),
            ("/v2/orders/external/{correlation_id}", self.by_correlation_id),
            ("/v2/orders/{order_id}", self.by_id),
            ("/v2/trades", self.trade_book),
            ("/v2/trades/", self.trade_book),
            ("/v2/trades/{order_id}", self.trades_of),
            ("/v2/trades/{start}/{end}/{page}", self.trade_history),
        )
        for method, path, handler in writes:
            router.add_route(method, path, gate.door(handler, Surface.TRADING, RateClass.ORDER, is_order=True))
        for path, handler in reads:
            router.add_get(path, gate.door(handler, Surface.TRADING, RateClass.NON_TRADING))

    def place(self, call: Call) -> web.Response:
        order = self._venue.matching.place(self._read(call))
        return web.json_response({"orderId": order.order_id, "orderStatus": "TRANSIT"})

    def place_slices(self, call: Call) -> web.Response:
        request = self._read(call)
        key = self._venue.instruments.find(request.segment.value, request.security_id)
        largest = self._venue.instruments.by_key[key].instrument.max_order_quantity if key else None
        placed, left = [], request.quantity
        while left > 0:
            size = min(left, largest or left)
            placed.append(self._venue.matching.place(replace(request, quantity=size)))
            left -= size
        return web.json_response([{"orderId": order.order_id, "orderStatus": "TRANSIT"} for order in placed])

    def _read(self, call: Call) -> OrderRequest:
        return read_order(call.body, self._account.client_id)

    def modify(self, call: Call) -> web.Response:
        order = self._find(call)
        kind, quantity = call.body.get("orderType"), call.body.get("quantity")
        if kind not in KINDS or not isinstance(quantity, int | None) or "validity" not in call.body:
            raise BadRequestError
        price, trigger = read_price(call.body.get("price")), read_price(call.body.get("triggerPrice"))
        self._venue.matching.modify(order, str(kind), quantity or 0, price, trigger)
        self._venue.log.add("order_modified", order_id=order.order_id)
        return web.json_response({"orderId": order.order_id, "orderStatus": "TRANSIT"})

    def cancel(self, call: Call) -> web.Response:
        order = self._find(call)
        self._venue.matching.cancel(order)
        body = {"orderId": order.order_id, "orderStatus": "CANCELLED"}
        return web.json_response(body, status=self._venue.options.cancel_status)

    def _find(self, call: Call) -> PaperOrder:
        order = self._account.orders.get(call.part("order_id"))
        if order is None:
            raise BadRequestError("No such order", "DH-906", 404)
        return order

    def order_book(self, _call: Call) -> web.Response:
        return web.json_response([self.order_object(order) for order in self._account.orders.values()])

    def by_id(self, call: Call) -> web.Response:
        """An object, or an array of one where the switch says so; unknown is 200 with []."""
        order = self._account.orders.get(call.part("order_id"))
        if order is None:
            return web.json_response([])
        body = self.order_object(order)
        return web.json_response([body] if self._venue.options.order_by_id_as_array else body)

    def by_correlation_id(self, call: Call) -> web.Response:
        """Neither an unknown order nor one in TRANSIT is found."""
        order = self._account.by_correlation_id(call.part("correlation_id"))
        if order is None or order.status.value == "TRANSIT":
            raise BadRequestError("No such order", "DH-906", 404)
        return web.json_response(self.order_object(order))

    def trade_book(self, _call: Call) -> web.Response:
        return web.json_response([self.trade_object(trade) for trade in self._account.trades])

    def trades_of(self, call: Call) -> web.Response:
        order_id = call.part("order_id")
        found = [self.trade_object(trade) for trade in self._account.trades if trade.order.order_id == order_id]
        return web.json_response(found[0] if len(found) == 1 else found)

    def trade_history(self, call: Call) -> web.Response:
        """Today's trades on page 0 when the dates include today, nothing else: the exchange has no yesterday."""
        today = f"{self._venue.clock.ist_now():%Y-%m-%d}"
        included = call.part("start") <= today <= call.part("end") and call.part("page") == "0"
        return self.trade_book(call) if included else web.json_response([])

    def order_object(self, order: PaperOrder) -> dict[str, object]:
        contract = self._venue.instruments.by_key[order.key].instrument
        return {
            "dhanClientId": self._account.client_id,
            "orderId": order.order_id,
            "exchangeOrderId": order.exchange_order_id,
            "correlationId": order.correlation_id,
            "orderStatus": order.status.value,
            "transactionType": order.side.value,
            "exchangeSegment": order.key.segment.value,
            "productType": order.product.value,
            "orderType": order.kind,
            "validity": order.validity.value,
            "tradingSymbol": contract.symbol,
            "securityId": str(order.key.security_id),
            "quantity": order.quantity,
            "disclosedQuantity": 0,
            "price": order.price / 100,
            "triggerPrice": order.trigger / 100,
            "afterMarketOrder": False,
            "boProfitValue": 0.0,
            "boStopLossValue": 0.0,
            "legName": "NA",
            "createTime": order.created_at,
            "updateTime": order.updated_at,
            "exchangeTime": order.exchange_at,
            **contract_fields(contract),
            "omsErrorCode": None,
            "omsErrorDescription": order.reason,
            "algoId": "0",
            "remainingQuantity": order.left,
            "averageTradedPrice": order.average,
            "filledQty": order.filled,
        }

    def trade_object(self, trade: Trade) -> dict[str, object]:
        order = trade.order
        contract = self._venue.instruments.by_key[order.key].instrument
        return {
            "dhanClientId": self._account.client_id,
            "orderId": order.order_id,
            "exchangeOrderId": order.exchange_order_id,
            "exchangeTradeId": trade.trade_id,
            "transactionType": order.side.value,
            "exchangeSegment": order.key.segment.value,
            "productType": order.product.value,
            "orderType": order.kind,
            "tradingSymbol": contract.symbol,
            "securityId": str(order.key.security_id),
            "tradedQuantity": trade.quantity,
            "tradedPrice": trade.price / 100,
            "createTime": order.created_at,
            "updateTime": order.updated_at,
            "exchangeTime": trade.at,
            **contract_fields(contract),
        }
