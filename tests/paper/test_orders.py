"""Orders over real sockets: what is answered, what becomes of them, and what is refused only afterwards."""

import pytest

from core.paper.options import StopLossMarket

CALL = 40_051  # NIFTY call, strike in the middle of the nearest expiry


@pytest.fixture
def option(exchange):
    """A call whose book is 99.95 x 100.05 for ten lots a side, last 100.00."""
    key = exchange.venue.instruments.find("NSE_FNO", str(CALL))
    assert key is not None
    exchange.market.set_quote("NSE_FNO", CALL, 10_000, 9_995, 10_005, bid_size=650, ask_size=650)
    return str(CALL)


async def test_a_marketable_limit_goes_from_transit_to_traded_at_the_ask(rest, option):
    order = await rest.place_settled(securityId=option, price=101.0, correlationId="x-1")
    assert (order["orderStatus"], order["filledQty"], order["averageTradedPrice"]) == ("TRADED", 65, 100.05)
    assert order["omsErrorDescription"] == "CONFIRMED"
    status, trades = await rest.call("GET", "/trades/")
    assert (status, trades[0]["orderId"], trades[0]["tradedPrice"]) == (200, order["orderId"], 100.05)
    _, positions = await rest.call("GET", "/positions")
    assert [(row["netQty"], row["positionType"], row["buyAvg"]) for row in positions] == [(65, "LONG", 100.05)]


async def test_an_order_is_found_by_correlation_id_only_after_transit(exchange, rest, option):
    exchange.options.transit_s = 60.0
    _, body = await rest.place(securityId=option, price=101.0, correlationId="x-2")
    status, error = await rest.call("GET", "/orders/external/x-2")
    assert (status, error["errorCode"]) == (404, "DH-906")
    status, error = await rest.call("DELETE", f"/orders/{body['orderId']}")
    assert (status, error["errorMessage"]) == (400, "Order is in Transit state")
    _, book = await rest.call("GET", "/orders")
    assert [(row["correlationId"], row["orderStatus"]) for row in book] == [("x-2", "TRANSIT")]
    exchange.options.transit_s = 0.0
    await rest.place_settled(securityId=option, price=101.0, correlationId="x-3")
    status, found = await rest.call("GET", "/orders/external/x-3")
    assert (status, found["correlationId"]) == (200, "x-3")


async def test_ioc_takes_the_displayed_size_and_cancels_the_rest(rest, option):
    order = await rest.place_settled(securityId=option, price=101.0, quantity=1_300, validity="IOC")
    assert (order["orderStatus"], order["filledQty"]) == ("CANCELLED", 650)


async def test_day_order_rests_and_fills_when_the_book_is_refreshed(exchange, rest, option):
    order = await rest.place_settled(securityId=option, price=101.0, quantity=1_300)
    assert (order["orderStatus"], order["filledQty"], order["remainingQuantity"]) == ("PART_TRADED", 650, 650)
    again = await rest.place_settled(securityId=option, price=101.0)
    assert again["filledQty"] == 0  # the displayed size is used up
    exchange.market.set_quote("NSE_FNO", CALL, 10_100, 10_055, 10_065, ask_size=9_999)
    order = await rest.settled(order["orderId"])
    assert (order["orderStatus"], order["averageTradedPrice"]) == ("TRADED", (100.05 + 100.65) / 2)


async def test_a_limit_away_from_the_market_stays_pending_and_can_be_cancelled_once(rest, option):
    order = await rest.place_settled(securityId=option, price=90.0)
    assert order["orderStatus"] == "PENDING"
    status, body = await rest.call("DELETE", f"/orders/{order['orderId']}")
    assert (status, body["orderStatus"]) == (202, "CANCELLED")
    status, error = await rest.call("DELETE", f"/orders/{order['orderId']}")
    assert (status, error["errorCode"]) == (400, "DH-906")


async def test_market_becomes_a_protected_limit_whose_rest_stays_pending(rest, option):
    order = await rest.place_settled(securityId=option, orderType="MARKET", quantity=1_300, price=0)
    assert (order["orderType"], order["price"]) == ("LIMIT", 110.0)  # 10 % for premiums of 50 to 200
    assert (order["orderStatus"], order["filledQty"]) == ("PART_TRADED", 650)


async def test_stop_loss_waits_for_its_trigger(exchange, rest, option):
    order = await rest.place_settled(
        securityId=option, transactionType="SELL", orderType="STOP_LOSS", price=94.0, triggerPrice=95.0
    )
    assert order["orderStatus"] == "PENDING"
    exchange.market.set_quote("NSE_FNO", CALL, 9_600, 9_595, 9_605)
    assert (await rest.settled(order["orderId"]))["orderStatus"] == "PENDING"
    exchange.market.set_quote("NSE_FNO", CALL, 9_490, 9_480, 9_500)
    order = await rest.settled(order["orderId"])
    assert (order["orderStatus"], order["averageTradedPrice"]) == ("TRADED", 94.8)


@pytest.mark.parametrize(
    ("mode", "status", "filled"),
    [(StopLossMarket.BROKEN, 200, 65), (StopLossMarket.WORKING, 200, 0), (StopLossMarket.REFUSED, 400, None)],
)
async def test_stop_loss_market_as_live_as_documented_and_refused(exchange, rest, option, mode, status, filled):
    exchange.options.stop_loss_market = mode
    fields = {"transactionType": "SELL", "orderType": "STOP_LOSS_MARKET", "triggerPrice": 80.0, "price": 0}
    answer, body = await rest.place(securityId=option, **fields)
    assert answer == status
    if filled is None:
        assert body["errorMessage"] == "Trigger Price should be greater than Price"
    else:
        assert (await rest.settled(body["orderId"]))["filledQty"] == filled


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"quantity": 1_820}, "freeze quantity"),
        ({"quantity": 66}, "lot size"),
        ({"price": 100.02}, "tick size"),
        ({"price": 9_000.0}, "Circuit Limits"),
        ({"price": 150.0}, "Limit Price Protection"),
        ({"orderType": "STOP_LOSS", "price": 100.0, "triggerPrice": 101.0}, "Trigger Price"),
        ({"productType": "CNC"}, "CNC"),
    ],
)
async def test_the_exchange_rejects_after_the_200(rest, option, fields, text):
    order = await rest.place_settled(**{"securityId": option, "price": 100.0, **fields})
    assert order["orderStatus"] == "REJECTED"
    assert order["omsErrorDescription"].startswith(f"RMS:{order['orderId']}:")
    assert text in order["omsErrorDescription"]
    assert order["exchangeTime"] == "0001-01-01 00:00:00"


async def test_the_largest_quantity_below_the_freeze_is_taken(rest, option):
    assert (await rest.place_settled(securityId=option, price=100.0, quantity=1_755))["orderStatus"] != "REJECTED"


@pytest.mark.parametrize(
    "fields",
    [
        {"correlationId": "x" * 26},
        {"correlationId": "a/b"},
        {"correlationId": ""},
        {"price": ""},
        {"quantity": None},
        {"quantity": 0},
        {"quantity": 65.0},
        {"validity": "GTC"},
        {"transactionType": "HOLD"},
        {"price": 0},
        {"securityId": "1"},
        {"dhanClientId": "1"},
        {"orderType": "STOP_LOSS", "triggerPrice": 0},
    ],
)
async def test_a_malformed_order_is_refused_with_dh_905_and_leaves_no_order(exchange, rest, option, fields):
    status, error = await rest.place(**{"securityId": option, "price": 100.0, **fields})
    assert (status, error["errorCode"], error["errorType"]) == (400, "DH-905", "Input_Exception")
    assert exchange.venue.account.orders == {}


async def test_a_correlation_id_may_have_25_characters_and_be_posted_twice(exchange, rest, option):
    first = await rest.place_settled(securityId=option, price=100.0, correlationId="x" * 25)
    second = await rest.place_settled(securityId=option, price=100.0, correlationId="x" * 25)
    assert first["orderId"] != second["orderId"]
    _, found = await rest.call("GET", f"/orders/external/{'x' * 25}")
    assert found["orderId"] == second["orderId"]


async def test_modify_moves_the_price_and_has_a_limit_of_25(exchange, rest, option):
    exchange.options.rate_limits = False
    order = await rest.place_settled(securityId=option, price=90.0)
    body = {"orderId": order["orderId"], "orderType": "LIMIT", "validity": "DAY", "quantity": 65, "price": 91.0}
    for _ in range(25):
        status, answer = await rest.call("PUT", f"/orders/{order['orderId']}", body)
        assert (status, answer["orderStatus"]) == (200, "TRANSIT")
    status, error = await rest.call("PUT", f"/orders/{order['orderId']}", body)
    assert (status, error["errorCode"]) == (400, "DH-906")
    assert (await rest.settled(order["orderId"]))["price"] == 91.0


async def test_a_modified_order_may_become_marketable(rest, option):
    order = await rest.place_settled(securityId=option, price=90.0)
    body = {"orderType": "LIMIT", "validity": "DAY", "quantity": 130, "price": 101.0}
    await rest.call("PUT", f"/orders/{order['orderId']}", body)
    order = await rest.settled(order["orderId"])
    assert (order["orderStatus"], order["filledQty"], order["quantity"]) == ("TRADED", 130, 130)


async def test_slicing_answers_with_one_order_for_each_slice(rest, option):
    body = {"dhanClientId": rest.exchange.client_id, "securityId": option, "price": 100.0, "quantity": 3_900}
    body |= {"transactionType": "BUY", "exchangeSegment": "NSE_FNO", "productType": "MARGIN"}
    status, answer = await rest.call("POST", "/orders/slicing", body | {"orderType": "LIMIT", "validity": "DAY"})
    assert status == 200
    _, book = await rest.call("GET", "/orders")
    assert [row["quantity"] for row in book] == [1_755, 1_755, 390]
    assert [row["orderId"] for row in answer] == [row["orderId"] for row in book]


async def test_unknown_ids(rest):
    assert await rest.call("GET", "/orders/999") == (200, [])
    assert (await rest.call("GET", "/orders/external/none"))[0] == 404
    assert (await rest.call("DELETE", "/orders/999"))[0] == 404
    assert await rest.call("GET", "/trades/999") == (200, [])


async def test_a_carried_position_is_closed_by_the_opposite_order(exchange, rest, option):
    exchange.seed_position("NSE_FNO", CALL, -130, 12_000)
    _, rows = await rest.call("GET", "/positions")
    assert (rows[0]["netQty"], rows[0]["positionType"], rows[0]["carryForwardSellQty"]) == (-130, "SHORT", 130)
    await rest.place_settled(securityId=option, price=101.0, quantity=130)
    _, rows = await rest.call("GET", "/positions")
    assert (rows[0]["netQty"], rows[0]["positionType"]) == (0, "CLOSED")
    assert rows[0]["realizedProfit"] == pytest.approx(130 * (120.0 - 100.05))


async def test_convert_answers_202_with_an_empty_body_and_moves_the_units(exchange, rest):
    exchange.seed_position("NSE_FNO", CALL, 130, 12_000)
    body = {"fromProductType": "MARGIN", "toProductType": "INTRADAY", "exchangeSegment": "NSE_FNO"}
    body |= {"positionType": "LONG", "securityId": str(CALL), "convertQty": 65}
    assert await rest.call("POST", "/positions/convert", body) == (202, None)
    _, rows = await rest.call("GET", "/positions")
    assert {row["productType"]: row["netQty"] for row in rows} == {"MARGIN": 65, "INTRADAY": 65}


async def test_exit_all_cancels_orders_and_flattens(exchange, rest, option):
    exchange.seed_position("NSE_FNO", CALL, 130, 12_000)
    resting = await rest.place_settled(securityId=option, price=90.0)
    status, body = await rest.call("DELETE", "/positions")
    assert (status, body["status"]) == (200, "SUCCESS")
    assert (await rest.settled(resting["orderId"]))["orderStatus"] == "CANCELLED"
    for order_id in tuple(exchange.venue.account.orders):
        await rest.settled(order_id)
    _, rows = await rest.call("GET", "/positions")
    assert [row["netQty"] for row in rows] == [0]


async def test_a_second_order_does_not_get_the_size_the_first_has_taken_from_the_model(exchange, rest):
    key = exchange.venue.instruments.find("NSE_FNO", str(CALL))
    best = exchange.market.quote(key).asks[0]
    price, shown = best.price / 100, best.size
    first = await rest.place_settled(securityId=str(CALL), price=price, quantity=1_755)
    second = await rest.place_settled(securityId=str(CALL), price=price, quantity=1_755)
    assert first["filledQty"] == min(shown, 1_755)
    assert second["filledQty"] == min(shown - first["filledQty"], 1_755)
