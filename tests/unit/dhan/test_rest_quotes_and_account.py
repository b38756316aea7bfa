"""Quotes, profile, static IP and token over REST, from the shapes of dhan_v2_protocol 1 and 5.11."""

import base64
import json
from datetime import UTC, datetime

import pytest

from core.dhan.rest_messages import (
    IssuedToken,
    Profile,
    StaticIp,
    parse_profile,
    parse_quotes,
    parse_static_ip,
    parse_token,
    quotes_body,
)
from core.model.errors import BugError, DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource

KEY = InstrumentKey(Segment.NSE_FNO, 61234)


def encoded(value):
    return json.dumps(value).encode()


DEPTH = {
    "buy": [{"quantity": 1300, "orders": 7, "price": 98.35}, {"quantity": 2470, "orders": 11, "price": 98.3}],
    "sell": [{"quantity": 910, "orders": 5, "price": 98.45}, {"quantity": 0, "orders": 0, "price": 0}],
}
QUOTE = {"last_price": 98.4, "last_trade_time": "20/11/2026 10:15:31", "depth": DEPTH, "volume": 1}


def quotes(row, segment="NSE_FNO", security_id="61234"):
    return parse_quotes(encoded({"data": {segment: {security_id: row}}, "status": "success"}), 77)


def test_a_quotes_body_groups_integer_ids_by_segment():
    keys = [KEY, InstrumentKey(Segment.IDX_I, 13), InstrumentKey(Segment.NSE_FNO, 5)]
    assert quotes_body(keys) == b'{"NSE_FNO":[61234,5],"IDX_I":[13]}'


@pytest.mark.parametrize("number", [0, 1001])
def test_a_quotes_body_has_1_to_1000_instruments(number):
    with pytest.raises(BugError):
        quotes_body([InstrumentKey(Segment.NSE_FNO, i) for i in range(number)])
    assert quotes_body([InstrumentKey(Segment.NSE_FNO, i) for i in range(1000)])


def test_a_rest_quote_is_read_with_its_book_and_time():
    time = int(datetime(2026, 11, 20, 4, 45, 31, tzinfo=UTC).timestamp())
    assert quotes(QUOTE) == (Quote(KEY, 9840, 9835, 9845, 1300, 910, time, 77, QuoteSource.REST),)


@pytest.mark.parametrize("time", ["", "01/01/1980 00:00:00", "2026-11-20", None, 5])
def test_a_quote_that_never_traded_has_no_time(time):
    assert quotes(QUOTE | {"last_trade_time": time})[0].exchange_time is None


@pytest.mark.parametrize(
    ("depth", "book"),
    [
        (None, (None, None, 0, 0)),
        ({"buy": [], "sell": []}, (None, None, 0, 0)),
        (DEPTH | {"buy": [{"quantity": 0, "orders": 0, "price": 0}]}, (None, 9845, 0, 910)),
        (DEPTH | {"sell": [{"quantity": 0, "orders": 0, "price": 98.45}]}, (9835, None, 1300, 0)),
        (DEPTH | {"sell": [{"quantity": 5, "orders": 1, "price": 1e9}]}, (9835, None, 1300, 0)),
    ],
)
def test_an_empty_side_of_a_rest_book_has_no_price(depth, book):
    (quote,) = quotes(QUOTE | {"depth": depth})
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size) == book


@pytest.mark.parametrize(
    "row",
    [
        QUOTE | {"last_price": 0},
        QUOTE | {"last_price": -1},
        QUOTE | {"last_price": None},
        QUOTE | {"last_price": "x"},
        QUOTE | {"last_price": 1e9},
        QUOTE | {"depth": 7},
        QUOTE | {"depth": {"buy": 7}},
        QUOTE | {"depth": DEPTH | {"buy": [7]}},
        {},
        7,
        None,
    ],
)
def test_an_instrument_without_a_readable_price_is_left_out(row):
    data = {"NSE_FNO": {"61234": row, "5": QUOTE}}
    result = parse_quotes(encoded({"data": data, "status": "success"}), 77)
    assert [quote.key.security_id for quote in result] == [5]


def test_unknown_segments_and_ids_are_left_out():
    assert quotes(QUOTE, segment="NSE_MOON") == ()
    assert quotes(QUOTE, security_id="x") == ()
    assert parse_quotes(b'{"data":{"IDX_I":{}},"status":"success"}', 1) == ()
    assert parse_quotes(b'{"data":{"IDX_I":[]},"status":"success"}', 1) == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":[]}', b"null"])
def test_a_quotes_answer_of_another_shape_is_refused(body):
    with pytest.raises(DecodeError):
        parse_quotes(body, 1)


def test_a_profile_is_read():
    body = encoded(
        {
            "dhanClientId": "1100000042",
            "tokenValidity": "21/11/2026 08:45",
            "activeSegment": "E, D, C, M, ",
            "dataPlan": "Active",
        }
    )
    valid_until = int(datetime(2026, 11, 21, 3, 15, tzinfo=UTC).timestamp())
    assert parse_profile(body) == Profile("1100000042", valid_until, True, "E, D, C, M")


@pytest.mark.parametrize(
    ("plan", "active"),
    [("Active", True), ("Deactive", False), ("inactive", False), ("", None), (None, None), (1, None)],
)
def test_a_data_plan_that_dhan_does_not_name_is_unknown(plan, active):
    profile = parse_profile(encoded({"dhanClientId": "1", "dataPlan": plan}))
    assert (profile.data_plan_active, profile.token_valid_until) == (active, None)


def test_a_profile_without_a_client_is_refused():
    with pytest.raises(DecodeError, match="dhanClientId"):
        parse_profile(b"{}")


def test_the_static_ip_says_whether_orders_are_allowed():
    row = {"ip": "203.0.113.10", "detectedIP": "203.0.113.10", "ipMatchStatus": "PRIMARY_MATCH"}
    match = "PRIMARY_MATCH, detected address 203.0.113.10"
    assert parse_static_ip(encoded(row | {"ordersAllowed": True})) == StaticIp(True, match)
    assert parse_static_ip(encoded(row | {"ordersAllowed": False})) == StaticIp(False, match)
    assert parse_static_ip(encoded({"primaryIP": "203.0.113.10"})) == StaticIp(
        None, "no match status, detected address unknown"
    )
    assert parse_static_ip(b'[{"message":"No IP set","status":"ERROR"}]') == StaticIp(None, "No IP set")


@pytest.mark.parametrize("body", [b"[]", b"7", b"[7]"])
def test_a_static_ip_of_another_shape_is_refused(body):
    with pytest.raises(DecodeError):
        parse_static_ip(body)


@pytest.mark.parametrize(
    "expiry",
    ["2026-11-21T08:45:12.000", "2026-11-21T08:45:12", "2026-11-21T08:45:12+05:30", "2026-11-21T03:15:12.000+00:00"],
)
def test_a_token_is_read_and_kept_out_of_the_repr(expiry):
    token = parse_token(encoded({"dhanClientId": "1100000042", "accessToken": "secret", "expiryTime": expiry}))
    assert token == IssuedToken("1100000042", "secret", int(datetime(2026, 11, 21, 3, 15, 12, tzinfo=UTC).timestamp()))
    assert "secret" not in repr(token)


def test_a_token_with_an_unreadable_expiry_is_kept():
    assert parse_token(encoded({"dhanClientId": "1", "accessToken": "s"})).expires_at is None
    assert parse_token(encoded({"dhanClientId": "1", "accessToken": "s", "expiryTime": "soon"})).expires_at is None


def test_a_token_without_a_client_is_kept_because_the_old_one_is_dead():
    assert parse_token(encoded({"accessToken": "s"})) == IssuedToken(None, "s", None)


def test_the_expiry_in_the_token_goes_before_the_one_around_it():
    claims = base64.urlsafe_b64encode(b'{"exp":1795230300}').rstrip(b"=").decode()
    body = {"accessToken": f"h.{claims}.s", "expiryTime": "2026-11-21T08:45:12"}
    assert parse_token(encoded(body)).expires_at == 1795230300
    body["accessToken"] = "h.e30.s"
    assert parse_token(encoded(body)).expires_at == int(datetime(2026, 11, 21, 3, 15, 12, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "body", [b'{"accessToken":["secret"]}', b'{"accessToken":""}', b'{"dhanClientId":"1", "secret']
)
def test_a_broken_token_answer_names_no_token(body):
    with pytest.raises(DecodeError) as caught:
        parse_token(body)
    assert "secret" not in str(caught.value)
