"""What an access token says of itself (dhan_v2_protocol 1.1). Read, never verified: the key is Dhan's."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from core.dhan.json_fields import loads
from core.model.errors import DecodeError

_PARTS = 3


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """`expires_at` in UTC seconds, `client_id` the account; each None when the token does not say."""

    client_id: str | None
    expires_at: int | None


def read_claims(token: str) -> TokenClaims | None:
    """The claims of a JWT; None when it cannot be read as one. Never raises, and keeps no part of the token."""
    parts = token.strip().split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = loads(base64.b64decode(_padded(parts[1]), altchars=b"-_", validate=True))
    except (ValueError, DecodeError):
        return None
    if not isinstance(claims, dict):
        return None
    client_id, expires_at = claims.get("dhanClientId"), claims.get("exp")
    return TokenClaims(
        client_id=client_id if isinstance(client_id, str) and client_id else None,
        expires_at=expires_at if isinstance(expires_at, int) and not isinstance(expires_at, bool) else None,
    )


def says_too_soon(message: str) -> bool:
    """Whether a refused request for a token was only too early: "Token can be generated once every 2 minutes", HTTP 200.

    Seen live by others (2026), in no document. Everything else that refuses one speaks of the PIN, the code or the account.
    """
    return "once every" in message.lower()


def _padded(part: str) -> str:
    return part + "=" * (-len(part) % 4)
