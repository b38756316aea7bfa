"""Order alerts in both casings, from the sample of dhan_v2_protocol 4.2."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.order_updates import login_message, parse_order_update
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderReport, OrderStatus, Side
from core.model.position import HoldingKey, Product

CAMEL = {
    "exchange": "NSE",
    "segment": "D",
    "source": "P",
    "securityId": "61234",
    "clientId": "1100000042",
    "orderNo": "11261120000173",
    "product": "I",
    "txnType": "S",
    "orderType": "LMT",
    "remainingQuantity": 65,
    "quantity": 130,
    "tradedQty": 65,
    "price": 98.4,
    "tradedPrice": 98.6,
    "avgTradedPrice": 98.55,
    "algoOrdNo": "",
    "reasonDescription": "CONFIRMED",
    "productName": "INTRADAY",
    "status": "Pending",
    "correlationId": "x-7f3a9c01",
}
PASCAL = {name[0].upper() + name[1:]: value for name, value in CAMEL.items()}
HOLDING = HoldingKey(InstrumentKey(Segment.NSE_FNO, 61234), Product.INTRADAY)
REPORT = OrderReport("11261120000173", "x-7f3a9c01", HOLDING, Side.SELL, 130, 65, OrderStatus.PART_TRADED, 9855)


def alert(data, kind="order_alert"):
    return json.dumps({"Data": data, "Type": kind})


def test_the_login_is_the_documented_message():
    assert login_message("1100000042", "t") == (
        '{"LoginReq":{"MsgCode":42,"ClientId":"1100000042","Token":"t"},"UserType":"SELF"}'
    )


@pytest.mark.parametrize(
    "frame",
    [
        alert(CAMEL),
        alert(PASCAL),
        alert(CAMEL | PASCAL),
        alert(PASCAL | CAMEL),
        alert(PASCAL | CAMEL | dict.fromkeys(CAMEL, "")),
        alert(CAMEL | dict.fromkeys(PASCAL)),
        alert(dict.fromkeys(CAMEL) | PASCAL),
        alert(CAMEL | {"Quantity": 999, "Status": "Traded"}),
        alert(CAMEL).encode(),
        json.dumps({"type": "Order_Alert", "data": CAMEL}),
        alert(CAMEL | {"quantity": "130", "tradedQty": "65", "avgTradedPrice": "98.55", "securityId": 61234}),
        alert(CAMEL | {"product": "INTRADAY", "status": "PENDING"}),
    ],
)
def test_an_alert_is_read_in_every_casing(frame):
    assert parse_order_update(frame) == REPORT


@pytest.mark.parametrize(
    ("word", "traded", "status"),
    [
        ("Transit", 0, OrderStatus.TRANSIT),
        ("Pending", 0, OrderStatus.PENDING),
        ("Traded", 130, OrderStatus.TRADED),
        ("TRADED", 65, OrderStatus.PART_TRADED),
        ("Part Traded", 65, OrderStatus.PART_TRADED),
        ("Cancelled", 65, OrderStatus.CANCELLED),
        ("Rejected", 0, OrderStatus.REJECTED),
        ("Expired", 0, OrderStatus.EXPIRED),
        ("Frozen", 0, OrderStatus.UNRECOGNISED),
    ],
)
def test_a_status_is_read_in_title_case(word, traded, status):
    report = parse_order_update(alert(CAMEL | {"status": word, "tradedQty": traded}))
    assert (report.status, report.filled) == (status, traded)
    assert (report.average_price is None) == (traded == 0)


def test_a_rejected_order_tells_why():
    data = CAMEL | {"status": "Rejected", "tradedQty": 0, "reasonDescription": "RMS: margin"}
    assert parse_order_update(alert(data)).reason == "RMS: margin"
    assert parse_order_update(alert(CAMEL)).reason == ""


@pytest.mark.parametrize(
    ("exchange", "letter", "segment"),
    [
        ("NSE", "E", Segment.NSE_EQ),
        ("NSE", "D", Segment.NSE_FNO),
        ("NSE", "C", Segment.NSE_CURRENCY),
        ("BSE", "E", Segment.BSE_EQ),
        ("BSE", "D", Segment.BSE_FNO),
        ("BSE", "C", Segment.BSE_CURRENCY),
        ("MCX", "M", Segment.MCX_COMM),
    ],
)
def test_exchange_and_letter_make_the_segment(exchange, letter, segment):
    report = parse_order_update(alert(CAMEL | {"exchange": exchange, "segment": letter}))
    assert report.holding.instrument.segment is segment


@pytest.mark.parametrize(
    ("letter", "product"), [("C", Product.CNC), ("I", Product.INTRADAY), ("M", Product.MARGIN), ("F", Product.MTF)]
)
def test_a_letter_makes_the_product(letter, product):
    report = parse_order_update(alert(CAMEL | {"product": letter, "txnType": "B"}))
    assert (report.holding.product, report.side) == (product, Side.BUY)


@pytest.mark.parametrize("foreign", [{"product": "V"}, {"product": "B"}, {"product": "CO"}, {"exchange": "INX"}])
def test_an_order_we_could_never_have_placed_is_no_report(foreign):
    assert parse_order_update(alert(CAMEL | foreign)) is None


@pytest.mark.parametrize("kind", ["login", "heartbeat", "ORDER_REJECT"])
def test_a_frame_of_another_type_is_no_report(kind):
    assert parse_order_update(alert({}, kind)) is None


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "<html>",
        "[]",
        "7",
        "{}",
        '{"Type":7.5}',
        '{"Type":"order_alert"}',
        '{"Type":"order_alert","Data":[]}',
        b"\xff\xff",
        *(alert(CAMEL | {name: None}) for name in ("orderNo", "exchange", "segment", "product", "status", "txnType")),
        *(alert(CAMEL | {name: "x"}) for name in ("quantity", "tradedQty", "securityId", "product", "txnType")),
        alert(CAMEL | {"tradedQty": -1}),
        alert({name: value for name, value in CAMEL.items() if name != "tradedQty"}),
    ],
)
def test_nonsense_is_refused(frame):
    with pytest.raises(DecodeError):
        parse_order_update(frame)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_frame_raises_anything_but_a_decode_error(frame):
    with pytest.raises(DecodeError):
        parse_order_update(frame)
