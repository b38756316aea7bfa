"""Positions, holdings, funds and margin over REST (dhan_v2_protocol 5.9, 5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from core.model.orders import OrderStatus, Side, Validity
from core.model.position import Product
from core.paper.contract_fields import contract_fields
from core.paper.orders import MARKET, BadRequestError, OrderRequest, read_price
from core.paper.rate_limits import RateClass
from core.paper.rest_gate import Call, Gate, Handler, Surface, refusal

if TYPE_CHECKING:
    from core.paper.accounts import PaperPosition
    from core.paper.venue import Venue

OPENING_BALANCE: Final = 2_500_000.0


class RestPortfolio:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._account = venue.account

    def add_routes(self, router: web.UrlDispatcher, gate: Gate) -> None:
        routes: tuple[tuple[str, str, Handler, RateClass], ...] = (
            ("GET", "/v2/positions", self.positions, RateClass.NON_TRADING),
            ("POST", "/v2/positions/convert", self.convert, RateClass.ORDER),
            ("GET", "/v2/holdings", self.holdings, RateClass.NON_TRADING),
            ("GET", "/v2/fundlimit", self.funds, RateClass.NON_TRADING),
            ("POST", "/v2/margincalculator", self.margin, RateClass.NON_TRADING),
        )
        for method, path, handler, rate in routes:
            router.add_route(method, path, gate.door(handler, Surface.TRADING, rate))
        router.add_delete("/v2/positions", gate.door(self.exit_all, Surface.TRADING, RateClass.ORDER, is_order=True))

    def positions(self, _call: Call) -> web.Response:
        return web.json_response([self._position_object(held) for held in self._account.positions.values()])

    def _position_object(self, held: PaperPosition) -> dict[str, object]:
        key, product = held.holding
        contract = self._venue.instruments.by_key[key].instrument
        closed = min(held.bought, held.sold)
        average = held.buy_average if held.net > 0 else held.sell_average
        last = self._venue.market.book(key).last / 100
        return {
            "dhanClientId": self._account.client_id,
            "tradingSymbol": contract.symbol,
            "securityId": str(key.security_id),
            "positionType": "LONG" if held.net > 0 else "SHORT" if held.net < 0 else "CLOSED",
            "exchangeSegment": key.segment.value,
            "productType": product.value,
            "buyAvg": round(held.buy_average, 4),
            "buyQty": held.bought,
            "costPrice": round(average, 4),
            "sellAvg": round(held.sell_average, 4),
            "sellQty": held.sold,
            "netQty": held.net,
            "realizedProfit": round(closed * (held.sell_average - held.buy_average), 2),
            "unrealizedProfit": round(held.net * (last - average), 2) if held.net and last else 0.0,
            "rbiReferenceRate": 1.0,
            "multiplier": 1,
            "carryForwardBuyQty": held.carried_bought,
            "carryForwardSellQty": held.carried_sold,
            "carryForwardBuyValue": held.carried_buy_value / 100,
            "carryForwardSellValue": held.carried_sell_value / 100,
            "dayBuyQty": held.day_bought,
            "daySellQty": held.day_sold,
            "dayBuyValue": held.day_buy_value / 100,
            "daySellValue": held.day_sell_value / 100,
            **contract_fields(contract),
            "crossCurrency": False,
        }

    def convert(self, call: Call) -> web.Response:
        """202 with an empty body, which the official SDK takes for a failure."""
        body = call.body
        key = self._venue.instruments.find(str(body.get("exchangeSegment")), str(body.get("securityId")))
        try:
            source, target = Product(str(body.get("fromProductType"))), Product(str(body.get("toProductType")))
            quantity = int(str(body.get("convertQty")))
        except ValueError:
            raise BadRequestError from None
        if key is None or not self._account.convert(key, source, target, quantity):
            raise BadRequestError
        return web.Response(status=202)

    def exit_all(self, _call: Call) -> web.Response:
        """Cancel every live order, then send a protected limit against each open position."""
        for order in tuple(self._account.orders.values()):
            if order.is_live and order.status is not OrderStatus.TRANSIT:
                self._venue.matching.cancel(order)
        for held in tuple(self._account.positions.values()):
            if held.net:
                key, product = held.holding
                side = Side.SELL if held.net > 0 else Side.BUY
                security_id, quantity = str(key.security_id), abs(held.net)
                self._venue.matching.place(
                    OrderRequest("", key.segment, security_id, product, side, MARKET, Validity.DAY, quantity, 0, 0)
                )
        body = {"status": "SUCCESS", "message": "All orders and positions exited successfully"}
        return web.json_response(body)

    def holdings(self, _call: Call) -> web.Response:
        """This account holds no shares, and Dhan says so with a 500."""
        return refusal("DH-1111", "No holdings available", 500)

    def funds(self, _call: Call) -> web.Response:
        return web.json_response(
            {
                "dhanClientId": self._account.client_id,
                "availabelBalance": OPENING_BALANCE,
                "sodLimit": OPENING_BALANCE,
                "collateralAmount": 0.0,
                "receiveableAmount": 0.0,
                "utilizedAmount": 0.0,
                "blockedPayoutAmount": 0.0,
                "withdrawableBalance": OPENING_BALANCE,
            }
        )

    def margin(self, call: Call) -> web.Response:
        """The premium of a bought option, a fifth of the price otherwise: enough for a client to parse."""
        quantity = call.body.get("quantity")
        if not isinstance(quantity, int):
            raise BadRequestError
        total = read_price(call.body.get("price")) * quantity / 100
        return web.json_response(
            {
                "totalMargin": total,
                "spanMargin": 0.0,
                "exposureMargin": 0.0,
                "availableBalance": OPENING_BALANCE,
                "variableMargin": 0.0,
                "insufficientBalance": max(total - OPENING_BALANCE, 0.0),
                "brokerage": 20.0,
                "leverage": "1.00",
            }
        )
