"""Account, static IP and token over REST (dhan_v2_protocol 1.2, 1.4, 1.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from core.dhan.json_fields import Fields, fields_of, loads, optional_text, rows_of, text
from core.dhan.token import read_claims
from core.model.errors import DecodeError
from core.model.session_time import IST


@dataclass(frozen=True, slots=True)
class Profile:
    """`token_valid_until` in UTC seconds, None when unreadable. `data_plan_active` None when Dhan does not say."""

    client_id: str
    token_valid_until: int | None
    data_plan_active: bool | None
    segments: str


@dataclass(frozen=True, slots=True)
class StaticIp:
    """Whether Dhan takes orders from this address; None when it does not say. `reason` is for the operator."""

    orders_allowed: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new access token. `expires_at` in UTC seconds, None when unreadable. The token is kept out of the repr.

    `client_id` None when the answer does not say: the old token is dead by now, so the new one is not thrown away for that.
    """

    client_id: str | None
    access_token: str = field(repr=False)
    expires_at: int | None


def parse_profile(body: bytes) -> Profile:
    """GET /profile. Raises DecodeError."""
    row = fields_of(loads(body), "profile")
    return Profile(
        client_id=text(row, "dhanClientId", "profile"),
        token_valid_until=_utc_seconds(optional_text(row, "tokenValidity"), "%d/%m/%Y %H:%M"),
        data_plan_active=_is_active(optional_text(row, "dataPlan")),
        segments=optional_text(row, "activeSegment").rstrip(", "),
    )


def parse_static_ip(body: bytes) -> StaticIp:
    """GET /ip/getIP: the object, or the array that says no address is set. Raises DecodeError."""
    rows = rows_of(loads(body), "static ip")
    if len(rows) != 1:
        raise DecodeError(f"static ip: expected one entry, received {len(rows)}")
    row = fields_of(rows[0], "static ip")
    if optional_text(row, "status").upper() == "ERROR":
        return StaticIp(None, optional_text(row, "message"))
    allowed = row.get("ordersAllowed")
    return StaticIp(allowed if isinstance(allowed, bool) else None, _ip_match(row))


def parse_token(body: bytes) -> IssuedToken:
    """The token object of every way to obtain one. Raises DecodeError without any part of the token.

    The expiry that the token itself states goes before that of the object around it.
    """
    row = fields_of(loads(body), "token")
    token = row.get("accessToken")
    if not isinstance(token, str) or not token:
        raise DecodeError("token: accessToken: expected text, received nothing usable")
    claims = read_claims(token)
    stated = None if claims is None else claims.expires_at
    return IssuedToken(
        client_id=optional_text(row, "dhanClientId") or None,
        access_token=token,
        expires_at=_iso_seconds(optional_text(row, "expiryTime")) if stated is None else stated,
    )


def _ip_match(row: Fields) -> str:
    match = optional_text(row, "ipMatchStatus") or "no match status"
    detected = optional_text(row, "detectedIP") or "unknown"
    return f"{match}, detected address {detected}"


def _is_active(word: str) -> bool | None:
    match word.lower():
        case "active":
            return True
        case "deactive" | "inactive":
            return False
        case _:
            return None


def _iso_seconds(text: str) -> int | None:
    """Without a zone it is Indian time. Seen with and without a fraction, and with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=IST)).timestamp())


def _utc_seconds(ist: str, layout: str) -> int | None:
    try:
        return int(datetime.strptime(ist, layout).replace(tzinfo=IST).timestamp())
    except ValueError:
        return None
