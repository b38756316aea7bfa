"""REST bodies both ways, from the shapes of dhan_v2_protocol 5."""

import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.json_fields import loads
from core.dhan.rest_messages import (
    order_body,
    parse_order,
    parse_order_book,
    parse_positions,
    parse_profile,
    parse_static_ip,
    parse_token,
    parse_trade_book,
)
from core.dhan.rest_orders import status_of
from core.model.errors import BugError, DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side, TradeReport, Validity
from core.model.position import BrokerPosition, HoldingKey, Product

KEY = InstrumentKey(Segment.NSE_FNO, 61234)
HOLDING = HoldingKey(KEY, Product.INTRADAY)
INTENT = OrderIntent("x-7f3a9c01", HOLDING, Side.SELL, 130, 9840)

ORDER = json.loads(
    '{"dhanClientId":"1100000042","orderId":"11261120000173","exchangeOrderId":"1200000031415926",'
    '"correlationId":"x-7f3a9c01","orderStatus":"PART_TRADED","transactionType":"SELL","exchangeSegment":"NSE_FNO",'
    '"productType":"INTRADAY","orderType":"LIMIT","validity":"DAY","tradingSymbol":"NIFTY-Nov2026-26200-CE",'
    '"securityId":"61234","quantity":130,"disclosedQuantity":0,"price":98.4,"triggerPrice":0.0,"legName":"NA",'
    '"omsErrorCode":null,"omsErrorDescription":"CONFIRMED","remainingQuantity":65,"averageTradedPrice":98.55,'
    '"filledQty":65}'
)
REPORT = OrderReport("11261120000173", "x-7f3a9c01", HOLDING, Side.SELL, 130, 65, OrderStatus.PART_TRADED, 9855, "")
TRADE = json.loads(
    '{"dhanClientId":"1100000042","orderId":"11261120000173","exchangeOrderId":"1200000031415926",'
    '"exchangeTradeId":"40512345","transactionType":"SELL","exchangeSegment":"NSE_FNO","productType":"INTRADAY",'
    '"orderType":"LIMIT","tradingSymbol":"NIFTY-Nov2026-26200-CE","securityId":"61234","tradedQuantity":65,'
    '"tradedPrice":98.55}'
)
POSITION = json.loads(
    '{"dhanClientId":"1100000042","tradingSymbol":"NIFTY-Nov2026-26200-CE","securityId":"61234",'
    '"positionType":"LONG","exchangeSegment":"NSE_FNO","productType":"INTRADAY","buyAvg":101.2,"buyQty":130,'
    '"costPrice":101.2,"sellAvg":0.0,"sellQty":0,"netQty":130,"multiplier":1}'
)


def encoded(value):
    return json.dumps(value).encode()


def test_an_order_body_holds_only_the_fields_an_exit_uses():
    assert json.loads(order_body(INTENT, "1100000042")) == {
        "dhanClientId": "1100000042",
        "correlationId": "x-7f3a9c01",
        "transactionType": "SELL",
        "exchangeSegment": "NSE_FNO",
        "productType": "INTRADAY",
        "orderType": "LIMIT",
        "validity": "IOC",
        "securityId": "61234",
        "quantity": 130,
        "price": 98.4,
    }


def test_side_validity_and_product_are_those_of_the_intent():
    holding = HoldingKey(InstrumentKey(Segment.BSE_FNO, 7), Product.MARGIN)
    body = json.loads(order_body(OrderIntent("a", holding, Side.BUY, 1, 5, validity=Validity.DAY), "1"))
    assert [body[name] for name in ("transactionType", "exchangeSegment", "productType", "validity", "price")] == [
        "BUY",
        "BSE_FNO",
        "MARGIN",
        "DAY",
        0.05,
    ]


@given(st.integers(1, 100_000_000))
def test_every_price_is_written_exactly(paise):
    body = order_body(replace(INTENT, price=paise), "1100000042").decode()
    written = re.search(r'"price":([0-9.]+)}', body).group(1)
    assert Decimal(written) == Decimal(paise) / 100


@pytest.mark.parametrize(
    "changes",
    [
        {"correlation_id": "x" * 26},
        {"correlation_id": ""},
        {"correlation_id": "with space"},
        {"correlation_id": "naïve"},
        {"quantity": 0},
        {"quantity": -1},
        {"price": 0},
        {"price": -5},
    ],
)
def test_an_order_that_cannot_be_posted_is_a_bug(changes):
    with pytest.raises(BugError):
        order_body(replace(INTENT, **changes), "1100000042")


def test_a_correlation_id_of_25_is_posted():
    assert b"x" * 25 in order_body(replace(INTENT, correlation_id="x" * 25), "1")


@pytest.mark.parametrize("shape", [ORDER, [ORDER]])
def test_an_order_is_read_from_an_object_or_an_array_of_one(shape):
    assert parse_order(encoded(shape)) == REPORT


def test_an_unknown_order_id_answers_an_empty_array():
    assert parse_order(b"[]") is None


@pytest.mark.parametrize("body", [b"7", b"null", b'"x"', b"<html>", b"[1]", b"[{},{}]", encoded([ORDER, ORDER])])
def test_another_shape_of_an_order_is_refused(body):
    with pytest.raises(DecodeError):
        parse_order(body)


def test_numbers_may_come_as_text():
    row = ORDER | {"quantity": "130", "filledQty": "65.0", "averageTradedPrice": " 98.55 ", "securityId": 61234}
    assert parse_order(encoded(row)) == REPORT


@pytest.mark.parametrize(("average", "paise"), [(98.554, 9855), (98.556, 9856), ("98.5549999", 9855), (0, None)])
def test_an_average_is_rounded_to_the_nearest_paisa(average, paise):
    assert parse_order(encoded(ORDER | {"averageTradedPrice": average})).average_price == paise


@pytest.mark.parametrize("changes", [{"averageTradedPrice": None}, {"averageTradedPrice": ""}])
def test_a_missing_average_is_unknown(changes):
    assert parse_order(encoded(ORDER | changes)).average_price is None


def test_an_order_without_a_fill_has_no_average():
    row = ORDER | {"filledQty": 0, "orderStatus": "PENDING", "averageTradedPrice": 98.55}
    assert parse_order(encoded(row)).average_price is None


@pytest.mark.parametrize("name", ["NA", None, ""])
def test_an_order_placed_elsewhere_has_no_correlation_id(name):
    assert parse_order(encoded(ORDER | {"correlationId": name})).correlation_id == ""
    row = dict(ORDER)
    del row["correlationId"]
    assert parse_order(encoded(row)).correlation_id == ""


@pytest.mark.parametrize(
    ("word", "quantity", "filled", "status"),
    [
        ("TRANSIT", 130, 0, OrderStatus.TRANSIT),
        ("PENDING", 130, 0, OrderStatus.PENDING),
        ("Pending", 130, 65, OrderStatus.PART_TRADED),
        ("PENDING", 130, 130, OrderStatus.PENDING),
        ("PART_TRADED", 130, 65, OrderStatus.PART_TRADED),
        ("Part traded", 130, 65, OrderStatus.PART_TRADED),
        ("Partially-Traded", 130, 65, OrderStatus.PART_TRADED),
        ("PartTraded", 130, 65, OrderStatus.PART_TRADED),
        ("TRADED", 130, 130, OrderStatus.TRADED),
        ("traded", 130, 195, OrderStatus.TRADED),
        ("TRADED", 130, 65, OrderStatus.PART_TRADED),
        ("TRADED", 130, 0, OrderStatus.PART_TRADED),
        ("Cancelled", 130, 65, OrderStatus.CANCELLED),
        ("CANCELED", 130, 0, OrderStatus.CANCELLED),
        ("REJECTED", 130, 0, OrderStatus.REJECTED),
        ("EXPIRED", 130, 0, OrderStatus.EXPIRED),
        ("CLOSED", 130, 0, OrderStatus.UNRECOGNISED),
        ("TRIGGERED", 130, 0, OrderStatus.UNRECOGNISED),
        ("CONFIRM", 130, 0, OrderStatus.UNRECOGNISED),
        ("MODIFIED", 130, 130, OrderStatus.UNRECOGNISED),
        ("", 130, 130, OrderStatus.UNRECOGNISED),
    ],
)
def test_a_status_word_in_any_casing_is_held_against_the_fill(word, quantity, filled, status):
    assert status_of(word, quantity, filled) is status


@given(st.text(max_size=12))
def test_a_new_status_word_is_never_terminal(word):
    known = {"TRADED", "CANCELLED", "CANCELED", "REJECTED", "EXPIRED"}
    if word.strip().upper().replace(" ", "_").replace("-", "_") not in known:
        assert not replace(REPORT, status=status_of(word, 130, 65)).is_terminal


@pytest.mark.parametrize(
    ("status", "description", "reason"),
    [
        ("REJECTED", "RMS:1:Order Price needs to be Circuit Limits of 41.20 to 168.75", True),
        ("CANCELLED", "cancelled by exchange", True),
        ("EXPIRED", "end of day", True),
        ("REJECTED", "CONFIRMED", False),
        ("REJECTED", None, False),
        ("PENDING", "whatever", False),
        ("TRADED", "whatever", False),
    ],
)
def test_a_reason_is_kept_only_for_a_dead_order(status, description, reason):
    row = ORDER | {"orderStatus": status, "filledQty": 0, "omsErrorDescription": description}
    assert parse_order(encoded(row)).reason == (description if reason else "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orderId", None),
        ("orderId", ""),
        ("orderId", True),
        ("orderStatus", None),
        ("transactionType", "HOLD"),
        ("exchangeSegment", "NSE_MOON"),
        ("exchangeSegment", None),
        ("productType", "SHORT"),
        ("securityId", "abc"),
        ("securityId", -1),
        ("quantity", None),
        ("quantity", 1.5),
        ("quantity", True),
        ("quantity", "many"),
        ("quantity", "Infinity"),
        ("quantity", 10**13),
        ("filledQty", None),
        ("filledQty", -65),
        ("filledQty", []),
        ("averageTradedPrice", "x"),
        ("averageTradedPrice", "1e400"),
        ("averageTradedPrice", "NaN"),
    ],
)
def test_one_unreadable_field_fails_the_whole_order_book_and_is_named(name, value):
    with pytest.raises(DecodeError, match=rf"order book row 1: {name}"):
        parse_order_book(encoded([ORDER, ORDER | {name: value}]))


def test_a_missing_field_is_not_zero():
    row = dict(ORDER)
    del row["filledQty"]
    with pytest.raises(DecodeError, match="filledQty"):
        parse_order_book(encoded([row]))


@pytest.mark.parametrize("number", ["1e999999999", "1e99999999999999999999", "NaN", "Infinity", "9" * 6000])
def test_a_monstrous_number_is_refused_at_once(number):
    body = encoded(ORDER).replace(b"98.55", number.encode())
    with pytest.raises(DecodeError):
        parse_order(body)


def test_an_order_book_keeps_its_order():
    second = ORDER | {"orderId": "2", "transactionType": "BUY"}
    assert [report.order_id for report in parse_order_book(encoded([ORDER, second]))] == ["11261120000173", "2"]
    assert parse_order_book(b"[]") == ()


@pytest.mark.parametrize("foreign", [{"productType": "CO"}, {"productType": "BO"}, {"exchangeSegment": "NSE_COMM"}])
def test_rows_of_products_we_never_trade_are_left_out(foreign):
    assert parse_order_book(encoded([ORDER | foreign, ORDER])) == (REPORT,)
    assert parse_trade_book(encoded([TRADE | foreign])) == ()
    assert parse_positions(encoded([POSITION | foreign])) == ()
    assert parse_order(encoded(ORDER | foreign)) is None


@pytest.mark.parametrize("body", [encoded(ORDER), b"null", b"{}", b"", b"[null]", b'{"status":"success"}'])
def test_an_order_book_of_another_shape_is_refused(body):
    with pytest.raises(DecodeError):
        parse_order_book(body)


@pytest.mark.parametrize("shape", [TRADE, [TRADE]])
def test_a_trade_is_read_from_an_object_or_an_array(shape):
    assert parse_trade_book(encoded(shape)) == (
        TradeReport("11261120000173", "40512345", HOLDING, Side.SELL, 65, 9855),
    )


def test_a_trade_that_cannot_be_read_fails_the_whole_trade_book():
    with pytest.raises(DecodeError, match="trade book row 1: tradedPrice"):
        parse_trade_book(encoded([TRADE, TRADE | {"tradedPrice": None}]))
    with pytest.raises(DecodeError):
        parse_trade_book(b"7")


def test_positions_are_read_with_their_sign():
    short = POSITION | {"netQty": -65, "securityId": "9", "buyAvg": 0.0, "sellAvg": 99.995, "productType": "MARGIN"}
    closed = POSITION | {"netQty": 0, "positionType": "CLOSED", "securityId": "10", "sellAvg": "100.5"}
    assert parse_positions(encoded([POSITION, short, closed])) == (
        BrokerPosition(HOLDING, 130, 10120, 0),
        BrokerPosition(HoldingKey(InstrumentKey(Segment.NSE_FNO, 9), Product.MARGIN), -65, 0, 10000),
        BrokerPosition(HoldingKey(InstrumentKey(Segment.NSE_FNO, 10), Product.INTRADAY), 0, 10120, 10050),
    )
    assert parse_positions(b"[]") == ()


@pytest.mark.parametrize(
    "row",
    [
        POSITION | {"netQty": None},
        POSITION | {"netQty": "x"},
        POSITION | {"netQty": 0.5},
        POSITION | {"exchangeSegment": "X"},
        POSITION | {"productType": "X"},
        {},
        None,
        7,
    ],
)
def test_a_position_that_cannot_be_read_is_never_flat(row):
    with pytest.raises(DecodeError):
        parse_positions(encoded([POSITION, row]))


@pytest.mark.parametrize("body", [b"{}", b"null", b"", b"<html>", encoded(POSITION), b'{"status":"success","data":[]}'])
def test_a_position_report_of_another_shape_is_never_flat(body):
    with pytest.raises(DecodeError):
        parse_positions(body)


@given(st.binary(max_size=60))
def test_no_body_raises_anything_but_a_decode_error(body):
    for parse in (parse_order, parse_order_book, parse_trade_book, parse_positions, parse_profile, parse_token):
        with pytest.raises(DecodeError):
            parse(b"\x00" + body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(list(ORDER)), inner, max_size=6),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value):
    for parse in (parse_order, parse_order_book, parse_trade_book, parse_positions, parse_profile, parse_static_ip):
        try:
            parse(encoded(value))
        except DecodeError:
            continue


def test_decimals_stay_exact():
    assert loads(b'{"a":0.1}') == {"a": Decimal("0.1")}
