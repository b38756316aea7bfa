"""One test for each row of the table of refusals, and for every shape an error comes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.errors import (
    REVIEWED_REFUSALS,
    AcceptedOrder,
    DhanError,
    RefusalRow,
    RefusedOrder,
    UnknownOutcome,
    classify_order_entry,
    error_in,
    error_of_read,
    is_order_unknown,
)
from core.model.errors import RateLimitedError, RefusedError, TokenError, TransportError
from core.model.orders import Refusal

RATE = "Too many requests on server from single user breaching rate limits. Try throttling API calls."
TABLE = [
    ("DH-901", "Client ID or user generated access token is invalid or expired.", Refusal.TOKEN),
    ("DH-902", "User has not subscribed to Data APIs or does not have access to Trading APIs.", Refusal.ACCOUNT),
    ("DH-903", "Errors related to User's Account.", Refusal.ACCOUNT),
    ("DH-904", RATE, Refusal.RATE_LIMITED),
    ("DH-905", "Invalid IP", Refusal.STATIC_IP),
    ("DH-905", "Invalid Token", Refusal.TOKEN),
    ("DH-905", "Missing required fields, bad values for parameters etc.", Refusal.VALIDATION),
    ("DH-906", "Invalid Token", Refusal.TOKEN),
    ("DH-906", "Invalid IP", Refusal.STATIC_IP),
    ("DH-906", "Kill Switch is active", Refusal.ACCOUNT),
    ("DH-906", "Market is Closed! You cannot modify/cancel an order now.", Refusal.VALIDATION),
    ("DH-906", "Incorrect request for order and cannot be processed", Refusal.VALIDATION),
    ("DH-906", "Trigger Price should be greater than Price", Refusal.VALIDATION),
    ("DH-911", "Invalid IP", Refusal.STATIC_IP),
    ("807", "Access token is expired", Refusal.TOKEN),
    ("808", "Authentication failed", Refusal.TOKEN),
    ("809", "Access token is invalid", Refusal.TOKEN),
    ("810", "Client ID is invalid", Refusal.TOKEN),
]


def error_body(code, message):
    if code.startswith("8"):
        return json.dumps({"status": "failed", "data": {code: message}}).encode()
    return json.dumps({"errorType": "X", "errorCode": code, "errorMessage": message}).encode()


@pytest.mark.parametrize(("code", "message", "refusal"), TABLE)
def test_a_reviewed_row_refuses(code, message, refusal):
    assert classify_order_entry(400, error_body(code, message)) == RefusedOrder(refusal, code, message)


def test_every_row_of_the_table_has_its_test():
    assert len(TABLE) == len(REVIEWED_REFUSALS)
    for (code, message, refusal), row in zip(TABLE, REVIEWED_REFUSALS, strict=True):
        assert row == RefusalRow(code, row.fragment, refusal)
        assert row.fragment in message.lower()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 499])
def test_any_4xx_with_a_reviewed_code_refuses(status):
    assert isinstance(classify_order_entry(status, error_body("DH-905", "quantity is required")), RefusedOrder)


@pytest.mark.parametrize("status", [100, 200, 202, 301, 302, 307, 308, 408, 500, 502, 503, 504, 599])
@pytest.mark.parametrize(("code", "message", "_"), TABLE)
def test_a_reviewed_code_with_any_other_status_proves_nothing(status, code, message, _):
    assert isinstance(classify_order_entry(status, error_body(code, message)), UnknownOutcome)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DH-906", "Order is in Transit state"),
        ("DH-905", "Order is in Transit state"),
        ("DH-906", "no such order"),
        ("DH-906", "a text nobody has seen"),
        ("DH-907", "System is unable to fetch data"),
        ("DH-908", "Server was not able to process API request."),
        ("DH-909", "Network error where the API was unable to communicate with the backend system"),
        ("DH-910", "Error originating from other reasons"),
        ("DH-911", "something else"),
        ("DH-1111", "No holdings available"),
        ("DH-999", "new"),
        ("806", "Data APIs not Subscribed"),
        ("805", "Too many requests"),
        ("800", "Internal Server Error"),
    ],
)
def test_what_is_not_in_the_table_proves_nothing(code, message):
    outcome = classify_order_entry(400, error_body(code, message))
    assert isinstance(outcome, UnknownOutcome)
    assert message in outcome.reason


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "body",
    [
        b'{"orderId":"11261120000173","orderStatus":"TRANSIT"}',
        b'{"orderId":11261120000173,"orderStatus":"PENDING"}',
        b'[{"orderId":"11261120000173","orderStatus":"TRANSIT"}]',
        b'{"orderId":"11261120000173","errorCode":null,"errorMessage":null,"status":"success"}',
    ],
)
def test_2xx_with_an_order_id_is_accepted(status, body):
    assert classify_order_entry(status, body) == AcceptedOrder("11261120000173")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b'{"orderId":"1126',
        b"\xff\xfe\x00",
        b"{}",
        b"[]",
        b"null",
        b'"11261120000173"',
        b'{"orderId":""}',
        b'{"orderId":null}',
        b'{"orderId":"0"}',
        b'{"orderId":"NA"}',
        b'{"orderId":true}',
        b'[{"orderId":"1"},{"orderId":"2"}]',
        b"[" * 100_000,
        b'{"orderId":NaN}',
        b'{"status":"ERROR","message":"no"}',
        b'{"errorCode":806,"errorMessage":"Data APIs not subscribed"}',
    ],
)
@pytest.mark.parametrize("status", [200, 500, 502, 307, 400])
def test_a_body_that_proves_nothing_is_unknown(status, body):
    assert isinstance(classify_order_entry(status, body), UnknownOutcome)


def test_an_order_id_without_2xx_proves_nothing():
    assert isinstance(classify_order_entry(500, b'{"orderId":"1"}'), UnknownOutcome)
    assert isinstance(classify_order_entry(302, b'{"orderId":"1"}'), UnknownOutcome)


@given(st.integers(100, 599), st.binary(max_size=80))
def test_no_bytes_are_taken_for_an_answer(status, body):
    assert isinstance(classify_order_entry(status, body), UnknownOutcome)
    error_of_read(status, body)
    is_order_unknown(status, body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"errorType": "A", "errorCode": "DH-905", "errorMessage": "text"}, DhanError("DH-905", "text")),
        ({"errorType": "Order_Error"}, DhanError("", "Order_Error")),
        ({"errorCode": 806, "errorMessage": "not subscribed"}, DhanError("806", "not subscribed")),
        ({"status": "failed", "data": {"807": "expired"}}, DhanError("807", "expired")),
        ({"status": "failed", "data": {}}, DhanError("", "status failed")),
        ({"status": "failed"}, DhanError("", "status failed")),
        ([{"message": "No IP", "status": "ERROR"}], DhanError("", "No IP")),
        ({"timestamp": 1, "status": 404, "error": "Not Found", "path": "/v2/x"}, DhanError("404", "Not Found")),
        ({"status": "ERROR", "message": "no"}, DhanError("", "no")),
        (
            {"errorCode": "NONE", "internalErrorCode": "RS-9005", "internalErrorMessage": "Data not available"},
            DhanError("RS-9005", "Data not available"),
        ),
        ({"status": "success"}, None),
        ({"status": "SUCCESS", "data": {}}, None),
        ({"orderId": "1"}, None),
        ([{"orderId": "1"}, {"orderId": "2"}], None),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_every_shape_of_an_error_is_found(body, error):
    assert error_in(body) == error


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, error_body("DH-901", "invalid or expired"), TokenError, "DH-901"),
        (400, error_body("DH-906", "Invalid Token"), TokenError, "DH-906"),
        (200, error_body("DH-906", "Invalid Token"), TokenError, "DH-906"),
        (401, error_body("807", "expired"), TokenError, "807"),
        (401, error_body("808", "x"), TokenError, "808"),
        (400, error_body("809", "x"), TokenError, "809"),
        (400, error_body("810", "x"), TokenError, "810"),
        (401, error_body("DH-907", "whatever"), TokenError, "DH-907"),
        (401, b"", TokenError, ""),
        (401, b"{}", TokenError, ""),
        (429, error_body("DH-904", RATE), RateLimitedError, "DH-904"),
        (400, error_body("DH-904", RATE), RateLimitedError, "DH-904"),
        (400, error_body("805", "Too many"), RateLimitedError, "805"),
        (429, b"", RateLimitedError, ""),
        (429, b"{}", RateLimitedError, ""),
        (401, error_body("806", "Data APIs not Subscribed"), RefusedError, "806"),
        (200, b'{"errorCode":806,"errorMessage":"Data APIs not subscribed"}', RefusedError, "806"),
        (401, error_body("DH-902", "no access"), RefusedError, "DH-902"),
        (400, error_body("DH-905", "Invalid IP"), RefusedError, "DH-905"),
        (400, error_body("DH-906", "Order is in Transit state"), RefusedError, "DH-906"),
        (404, error_body("DH-906", "no such order"), RefusedError, "DH-906"),
        (404, b'{"timestamp":1,"status":404,"error":"Not Found","path":"/v2/x"}', RefusedError, "404"),
        (200, b'[{"message":"No IP","status":"ERROR"}]', RefusedError, ""),
        (200, b'{"status":"ERROR","message":"no"}', RefusedError, ""),
        (400, error_body("813", "Invalid SecurityId"), RefusedError, "813"),
        (500, error_body("DH-1111", "No holdings available"), RefusedError, "DH-1111"),
        (400, b"{}", RefusedError, ""),
    ],
)
def test_a_read_that_was_refused_raises_what_the_caller_may_do(status, body, kind, code):
    error = error_of_read(status, body)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, error_body("DH-908", "x")),
        (400, error_body("DH-908", "x")),
        (400, error_body("800", "x")),
        (502, b"<html>Bad Gateway</html>"),
        (500, b"{}"),
        (200, b"<html>maintenance</html>"),
        (200, b""),
        (202, b"<html>"),
        (302, b""),
        (302, b"{}"),
        (403, b"<html>blocked</html>"),
    ],
)
def test_a_read_without_a_usable_answer_may_be_repeated(status, body):
    assert type(error_of_read(status, body)) is TransportError


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"[]"), (200, b'{"status":"success"}'), (202, b""), (204, b" "), (201, b'{"orderId":"1"}')],
)
def test_a_good_answer_is_no_error(status, body):
    assert error_of_read(status, body) is None


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (200, b"[]", True),
        (404, error_body("DH-906", "Incorrect request for order"), True),
        (404, error_body("DH-906", "Order is in Transit state"), False),
        (404, error_body("DH-906", "Invalid Token"), False),
        (404, error_body("DH-905", "bad"), False),
        (404, b'{"status":404,"error":"Not Found"}', False),
        (404, b"<html>", False),
        (404, b"{}", False),
        (400, error_body("DH-906", "Incorrect request for order"), False),
        (500, b"[]", False),
        (200, b'[{"orderId":"1"}]', False),
    ],
)
def test_only_a_clear_answer_says_that_an_order_is_not_visible(status, body, unknown):
    assert is_order_unknown(status, body) is unknown
