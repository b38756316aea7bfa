"""What every call passes: token, static IP, rate limits, unknown paths, and the shapes of refusals."""

import pytest

CALL = "40051"


async def test_a_missing_token_is_dh_901_and_a_wrong_one_is_dh_906_by_message(exchange, rest):
    status, error = await rest.call("GET", "/orders", headers={"x": "y"})
    assert (status, error["errorCode"]) == (401, "DH-901")
    status, error = await rest.call("GET", "/orders", headers={"access-token": "wrong"})
    assert (status, error["errorCode"], error["errorMessage"]) == (401, "DH-906", "Invalid Token")
    exchange.venue.tokens.invalidate()
    assert (await rest.call("GET", "/profile"))[1]["errorMessage"] == "Invalid Token"


async def test_data_calls_refuse_in_their_own_shape(exchange, rest):
    body = {"NSE_FNO": [int(CALL)]}
    bad = {"access-token": "wrong", "client-id": exchange.client_id}
    assert await rest.call("POST", "/marketfeed/ltp", body, bad) == (
        401,
        {"data": {"809": "Access token invalid"}, "status": "failed"},
    )
    nobody = {"access-token": exchange.access_token}
    assert (await rest.call("POST", "/marketfeed/ltp", body, nobody))[1]["data"] == {"810": "Client ID invalid"}
    exchange.options.data_plan_active = False
    assert "806" in (await rest.call("POST", "/marketfeed/ltp", body))[1]["data"]


async def test_orders_from_another_ip_are_refused_and_reads_are_not(exchange, rest):
    exchange.options.static_ip_matches = False
    status, error = await rest.place(securityId=CALL, price=100.0)
    assert (status, error["errorCode"], error["errorMessage"]) == (400, "DH-905", "Invalid IP")
    assert (await rest.call("GET", "/orders"))[0] == 200
    assert (await rest.call("GET", "/ip/getIP"))[1]["ordersAllowed"] is False


async def test_the_eleventh_order_in_a_second_is_429_and_leaves_no_order(exchange, rest):
    answers = [await rest.place(securityId=CALL, price=100.0) for _ in range(12)]
    refused = [body for status, body in answers if status == 429]
    assert answers[9][0] == 200
    assert refused
    assert refused[0]["errorCode"] == "DH-904"
    assert len(exchange.venue.account.orders) == 12 - len(refused)


async def test_the_second_quote_in_a_second_is_429_without_retry_after(exchange, rest):
    url, body = f"{exchange.api_url}/marketfeed/ltp", {"NSE_FNO": [int(CALL)]}
    async with rest.session.post(url, json=body, headers=rest.headers) as first:
        assert first.status == 200
    async with rest.session.post(url, json=body, headers=rest.headers) as second:
        assert second.status == 429
        assert "Retry-After" not in second.headers


async def test_an_unknown_path_gets_the_shape_of_the_gateway(rest):
    status, error = await rest.call("GET", "/nothing")
    assert (status, error["status"], error["error"], error["path"]) == (404, 404, "Not Found", "/v2/nothing")


async def test_a_body_that_is_no_object_is_dh_905(exchange, rest):
    async with rest.session.post(f"{exchange.api_url}/orders", data="[", headers=rest.headers) as response:
        assert (response.status, (await response.json())["errorCode"]) == (400, "DH-905")


async def test_holdings_of_an_account_without_shares_are_a_500(rest):
    status, error = await rest.call("GET", "/holdings")
    assert (status, error["errorCode"], error["errorType"]) == (500, "DH-1111", "HOLDING_ERROR")


@pytest.mark.parametrize("path", ["/profile", "/fundlimit", "/killswitch", "/pnlExit", "/positions", "/trades"])
async def test_reads_answer_200(rest, path):
    assert (await rest.call("GET", path))[0] == 200


async def test_renew_is_get_only_and_kills_the_old_token(exchange, rest):
    assert (await rest.call("POST", "/RenewToken"))[0] == 400
    old = exchange.access_token
    status, body = await rest.call("GET", "/RenewToken")
    assert status == 200
    assert body["accessToken"] == exchange.access_token
    assert (await rest.call("GET", "/profile"))[0] == 401
    assert (await rest.call("GET", "/profile", headers={"access-token": body["accessToken"]}))[0] == 200
    assert old != body["accessToken"]


async def test_a_token_is_minted_with_pin_and_totp(exchange, session):
    url = f"{exchange.auth_url}/app/generateAccessToken"
    async with session.post(url, params={"dhanClientId": exchange.client_id, "pin": "1", "totp": "123456"}) as answer:
        assert answer.status == 400
    query = {"dhanClientId": exchange.client_id, "pin": "123456", "totp": "123456"}
    async with session.post(url, params=query) as answer:
        assert (await answer.json())["accessToken"] == exchange.access_token
    exchange.options.totp_secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    async with session.post(url, params=query | {"totp": "000000"}) as answer:
        assert answer.status == 400


async def test_quotes_leave_unknown_ids_out_and_still_succeed(exchange, rest):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, None, bid_size=650)
    exchange.options.rate_limits = False
    body = {"NSE_FNO": [int(CALL)], "IDX_I": [999], "nSEFno": [1]}
    assert await rest.call("POST", "/marketfeed/ltp", body) == (
        200,
        {"data": {"NSE_FNO": {CALL: {"last_price": 100.0}}, "IDX_I": {}}, "status": "success"},
    )
    _, answer = await rest.call("POST", "/marketfeed/quote", body)
    quote = answer["data"]["NSE_FNO"][CALL]
    assert quote["depth"]["buy"][0] == {"quantity": 650, "orders": 2, "price": 99.95}
    assert quote["depth"]["sell"] == [{"quantity": 0, "orders": 0, "price": 0}] * 5
    assert (await rest.call("POST", "/marketfeed/ohlc", body))[1]["data"]["NSE_FNO"][CALL]["last_price"] == 100.0
    many = {"NSE_FNO": list(range(1_001))}
    assert (await rest.call("POST", "/marketfeed/ltp", many))[0] == 400


async def test_option_chain_lists_both_sides_of_each_strike(exchange, rest):
    scrip = {"UnderlyingScrip": 13, "UnderlyingSeg": "IDX_I"}
    _, answer = await rest.call("POST", "/optionchain/expirylist", scrip)
    _, chain = await rest.call("POST", "/optionchain", scrip | {"Expiry": answer["data"][0]})
    assert len(chain["data"]["oc"]) == 51
    side = chain["data"]["oc"]["26100.000000"]
    assert {side["ce"]["security_id"], side["pe"]["security_id"]} == {40_051, 40_052}
    assert side["ce"]["top_bid_price"] < side["ce"]["top_ask_price"]


async def test_kill_switch_needs_a_flat_account_and_then_refuses_orders(exchange, rest):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005)
    order = await rest.place_settled(securityId=CALL, price=99.0)
    assert (await rest.call("POST", "/killswitch?killSwitchStatus=ACTIVATE"))[0] == 400
    await rest.call("DELETE", f"/orders/{order['orderId']}")
    assert (await rest.call("POST", "/killswitch?killSwitchStatus=ACTIVATE"))[0] == 200
    status, error = await rest.place(securityId=CALL, price=100.0)
    assert (status, error["errorCode"]) == (400, "DH-906")


async def test_the_log_holds_every_request_and_no_token(exchange, rest):
    await rest.place(securityId=CALL, price=100.0, correlationId="x-9")
    await rest.call("GET", "/RenewToken")
    posted = [event for event in exchange.venue.log.of("request") if event["method"] == "POST"]
    assert posted[0]["body"]["correlationId"] == "x-9"
    assert exchange.venue.log.of("order_accepted")[0]["correlation_id"] == "x-9"
    assert not any("eyJ" in str(event) for event in exchange.venue.log.events)


async def test_pnl_exit_is_kept_and_shown_with_texts_for_numbers(rest):
    body = {"profitValue": 1500.0, "lossValue": 500.0, "productType": ["INTRADAY"], "enableKillSwitch": False}
    assert (await rest.call("POST", "/pnlExit", body))[1]["pnlExitStatus"] == "ACTIVE"
    _, shown = await rest.call("GET", "/pnlExit")
    assert (shown["profit"], shown["loss"], shown["enable_kill_switch"]) == ("1500.00", "500.00", False)
    assert (await rest.call("DELETE", "/pnlExit"))[1]["pnlExitStatus"] == "DISABLED"


async def test_margin_has_its_leverage_as_text(rest):
    body = {"quantity": 130, "price": 101.2}
    status, answer = await rest.call("POST", "/margincalculator", body)
    assert (status, answer["totalMargin"], answer["leverage"]) == (200, 13_156.0, "1.00")
    assert (await rest.call("POST", "/margincalculator", {"price": 1.0}))[0] == 400


async def test_candles_are_empty_arrays(rest):
    status, answer = await rest.call("POST", "/charts/intraday", {"securityId": "13"})
    assert (status, set(map(tuple, answer.values()))) == (200, {()})


async def test_an_unknown_underlying_or_expiry_has_no_chain(rest):
    assert (await rest.call("POST", "/optionchain/expirylist", {"UnderlyingScrip": 1, "UnderlyingSeg": "IDX_I"}))[
        0
    ] == 400
    scrip = {"UnderlyingScrip": 13, "UnderlyingSeg": "IDX_I", "Expiry": "2001-01-01"}
    assert "811" in (await rest.call("POST", "/optionchain", scrip))[1]["data"]


async def test_the_trade_history_holds_today_only(exchange, rest):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005)
    order = await rest.place_settled(securityId=CALL, price=101.0)
    assert (await rest.call("GET", f"/trades/{order['orderId']}"))[1]["tradedQuantity"] == 65
    assert len((await rest.call("GET", "/trades/2000-01-01/2999-01-01/0"))[1]) == 1
    assert (await rest.call("GET", "/trades/2000-01-01/2001-01-01/0"))[1] == []


async def test_an_order_by_id_may_come_as_an_array_of_one(exchange, rest):
    order = await rest.place_settled(securityId=CALL, price=100.0)
    exchange.options.order_by_id_as_array = True
    assert [row["orderId"] for row in (await rest.call("GET", f"/orders/{order['orderId']}"))[1]] == [order["orderId"]]


async def test_the_master_of_one_segment_has_only_its_rows(exchange, session):
    async with session.get(f"{exchange.api_url}/instrument/IDX_I") as response:
        rows = (await response.text()).splitlines()[1:]
    assert len(rows) == 6
    assert all(row.split(",")[1] == "I" for row in rows)


@pytest.mark.parametrize("body", [{"fromProductType": "MARGIN"}, {"convertQty": "many"}, {"convertQty": 65}])
async def test_a_conversion_of_what_is_not_held_is_dh_905(rest, body):
    whole = {"toProductType": "INTRADAY", "exchangeSegment": "NSE_FNO", "securityId": CALL, "convertQty": 1}
    whole |= {"fromProductType": "MARGIN", **body}
    status, error = await rest.call("POST", "/positions/convert", whole)
    assert (status, error["errorCode"]) == (400, "DH-905")
