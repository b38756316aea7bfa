"""What an answer of Dhan's REST API proves: classified by its message, not by its code alone (dhan_v2_protocol 5.2).

DH-906 alone means "no such order", "order in transit", "invalid token" and "market closed"; an HTTP status alone is
not enough in either direction. For order entry the default is UNKNOWN: only a row of the reviewed table refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from core.dhan.json_fields import Fields, loads, optional_text
from core.model.errors import DecodeError, MonitorError, RateLimitedError, RefusedError, TokenError, TransportError
from core.model.orders import Refusal


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """Dhan took the request and named the order. Not yet the exchange."""

    order_id: str


@dataclass(frozen=True, slots=True)
class RefusedOrder:
    """Proved: no order exists from this request."""

    refusal: Refusal
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnknownOutcome:
    """Nothing is proved. The order counts as live until it is found or proved absent."""

    reason: str


OrderEntryOutcome: TypeAlias = AcceptedOrder | RefusedOrder | UnknownOutcome


class DhanError(NamedTuple):
    """The error in a body, whichever of Dhan's shapes it has. `code` "" where the shape has none."""

    code: str
    message: str


class RefusalRow(NamedTuple):
    """A code and a fragment of its message (lower case, "" for any) that together prove a refusal of an order."""

    code: str
    fragment: str
    refusal: Refusal


REVIEWED_REFUSALS: Final = (
    RefusalRow("DH-901", "", Refusal.TOKEN),
    RefusalRow("DH-902", "", Refusal.ACCOUNT),
    RefusalRow("DH-903", "", Refusal.ACCOUNT),
    RefusalRow("DH-904", "", Refusal.RATE_LIMITED),
    RefusalRow("DH-905", "invalid ip", Refusal.STATIC_IP),
    RefusalRow("DH-905", "invalid token", Refusal.TOKEN),
    RefusalRow("DH-905", "", Refusal.VALIDATION),
    RefusalRow("DH-906", "invalid token", Refusal.TOKEN),
    RefusalRow("DH-906", "invalid ip", Refusal.STATIC_IP),
    RefusalRow("DH-906", "kill switch", Refusal.ACCOUNT),
    RefusalRow("DH-906", "market is closed", Refusal.VALIDATION),
    RefusalRow("DH-906", "incorrect request for order", Refusal.VALIDATION),
    RefusalRow("DH-906", "trigger price should", Refusal.VALIDATION),
    RefusalRow("DH-911", "invalid ip", Refusal.STATIC_IP),
    RefusalRow("807", "", Refusal.TOKEN),
    RefusalRow("808", "", Refusal.TOKEN),
    RefusalRow("809", "", Refusal.TOKEN),
    RefusalRow("810", "", Refusal.TOKEN),
)
"""First match wins. A code without a matching row, as DH-906 with an unknown text, proves nothing."""

_IN_TRANSIT: Final = "transit"
_TOKEN_CODES: Final = frozenset({"DH-901", "807", "808", "809", "810"})
_TOKEN_FRAGMENT: Final = "invalid token"  # noqa: S105  a text of Dhan's, not a secret
_RATE_CODES: Final = frozenset({"DH-904", "805"})
_NO_REPEAT_HELPS: Final = frozenset({"DH-902", "DH-1111", "806"})
_NO_ORDER_ID: Final = frozenset({"0", "null"})

_SUCCESS = 200
_REDIRECT = 300
_BAD_REQUEST = 400
_UNAUTHORISED = 401
_NOT_FOUND = 404
_TIMED_OUT = 408
_TOO_MANY = 429
_SERVER_FAULT = 500
_EMPTY_ANSWERS: Final = frozenset({202, 204})


def error_in(parsed: object) -> DhanError | None:
    """The error of a parsed body in any shape seen on the wire; None when the body reports none."""
    if isinstance(parsed, list):
        return next((found for item in parsed if (found := error_in(item)) is not None), None)
    if not isinstance(parsed, dict):
        return None
    code = optional_text(parsed, "internalErrorCode") or optional_text(parsed, "errorCode")
    message = optional_text(parsed, "errorMessage") or optional_text(parsed, "internalErrorMessage")
    message = message or optional_text(parsed, "errorType")
    if code or message:
        return DhanError(code, message)
    status = parsed.get("status")
    if status is None or (isinstance(status, str) and status.upper() == "SUCCESS"):
        return None
    return _status_error(parsed, str(status))


def classify_order_entry(http_status: int, body: bytes) -> OrderEntryOutcome:
    """What the answer to POST /orders proves. A timeout or a lost connection never gets here: it is unknown.

    5xx, redirects, a body that is not JSON, 2xx without an order id, "in transit" and every code or text without a
    row in `REVIEWED_REFUSALS` are unknown (fault catalogue B05, B06, B07, B39).
    """
    try:
        parsed = loads(body)
    except DecodeError:
        return UnknownOutcome(f"HTTP {http_status} with a body that is not JSON")
    error = error_in(parsed)
    if error is None:
        order_id = _order_id(parsed) if _is_success(http_status) else ""
        if order_id:
            return AcceptedOrder(order_id)
        return UnknownOutcome(f"HTTP {http_status} without an order id and without an error")
    said = f"{error.code} {error.message}".strip()
    if not _BAD_REQUEST <= http_status < _SERVER_FAULT or http_status == _TIMED_OUT:
        return UnknownOutcome(f"HTTP {http_status}: {said}")
    refusal = _reviewed_refusal(error)
    if refusal is None:
        return UnknownOutcome(f"HTTP {http_status}: {said} (not in the table of refusals)")
    return RefusedOrder(refusal, error.code, error.message)


def error_of_read(http_status: int, body: bytes) -> MonitorError | None:
    """The error to raise for the answer to a read or a cancel; None when the body may be parsed.

    TokenError, RateLimitedError, TransportError (repeat later) or RefusedError with Dhan's code.
    """
    try:
        parsed = loads(body)
    except DecodeError:
        return _unreadable(http_status, body)
    error = error_in(parsed)
    if error is None:
        if _is_success(http_status):
            return None
        error = DhanError("", "without an error text")
    return _error_for(http_status, error)


def is_order_unknown(http_status: int, body: bytes) -> bool:
    """Whether a look-up's answer says that no such order is visible: 404 DH-906, or 200 with an empty array.

    One negative answer, not a proof: an order in transit may answer the same (dhan_v2_protocol 5.3).
    """
    try:
        parsed = loads(body)
    except DecodeError:
        return False
    if parsed == [] and _is_success(http_status):
        return True
    error = error_in(parsed)
    if http_status != _NOT_FOUND or error is None or error.code != "DH-906":
        return False
    message = error.message.lower()
    return _TOKEN_FRAGMENT not in message and _IN_TRANSIT not in message


def _error_for(http_status: int, error: DhanError) -> MonitorError:
    said = f"Dhan answered HTTP {http_status}: {error.code} {error.message}"
    message = error.message.lower()
    if error.code in _RATE_CODES or http_status == _TOO_MANY:
        return RateLimitedError(said, error.code)
    if error.code in _TOKEN_CODES or _TOKEN_FRAGMENT in message:
        return TokenError(said, error.code)
    if error.code in _NO_REPEAT_HELPS:
        return RefusedError(said, error.code)
    if http_status == _UNAUTHORISED:
        return TokenError(said, error.code)
    if http_status >= _SERVER_FAULT or _REDIRECT <= http_status < _BAD_REQUEST or error.code in {"800", "DH-908"}:
        return TransportError(said)
    return RefusedError(said, error.code)


def _unreadable(http_status: int, body: bytes) -> MonitorError | None:
    if http_status in _EMPTY_ANSWERS and not body.strip():
        return None
    said = f"Dhan answered HTTP {http_status} with {len(body)} bytes that are not JSON"
    if http_status == _TOO_MANY:
        return RateLimitedError(said)
    if http_status == _UNAUTHORISED:
        return TokenError(said)
    return TransportError(said)


def _status_error(parsed: Fields, status: str) -> DhanError:
    data = parsed.get("data")
    if isinstance(data, dict) and data:
        code, message = next(iter(data.items()))
        return DhanError(str(code), str(message))
    message = optional_text(parsed, "message") or optional_text(parsed, "error")
    return DhanError(status if status.isdecimal() else "", message or f"status {status}")


def _reviewed_refusal(error: DhanError) -> Refusal | None:
    message = error.message.lower()
    if _IN_TRANSIT in message:
        return None
    for row in REVIEWED_REFUSALS:
        if row.code == error.code and row.fragment in message:
            return row.refusal
    return None


def _order_id(parsed: object) -> str:
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return ""
    order_id = optional_text(parsed, "orderId")
    return "" if order_id in _NO_ORDER_ID else order_id


def _is_success(http_status: int) -> bool:
    return _SUCCESS <= http_status < _REDIRECT
