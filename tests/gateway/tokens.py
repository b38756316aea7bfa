"""The gateway's JSON Web Tokens: HS256, as a Supabase project issues them. Checked here by hand, without a token library."""

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from typing import Any

KEY_LIFE_S = 10 * 365 * 86_400.0


class BadTokenError(Exception):
    """A token that the server does not take. `code` and `reason` are worded as the real server words them."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


def issue(secret: str, role: str, expires_in_s: float = KEY_LIFE_S) -> str:
    """Return a token for `role`. A negative life gives one that has expired already."""
    now = time.time()
    head = _part({"alg": "HS256", "typ": "JWT"})
    claims = _part({"iss": "test-gateway", "role": role, "iat": int(now), "exp": now + expires_in_s})
    return f"{head}.{claims}.{_signature(secret, f'{head}.{claims}')}"


def claims_of(secret: str, token: str | None) -> dict[str, Any]:
    """Return the claims of a valid token.

    Raises:
        BadTokenError: missing, malformed, signed by another secret, without role or exp, or expired.
    """
    if not token:
        raise BadTokenError("MissingAPIKey", "API key is missing")
    head, dot, signature = token.rpartition(".")
    claims = _claims(head)
    if not dot or claims is None:
        raise BadTokenError("MalformedJWT", "The token provided is not a valid JWT")
    if not hmac.compare_digest(signature, _signature(secret, head)):
        raise BadTokenError("JwtSignatureError", "Failed to validate JWT signature")
    if not isinstance(claims.get("role"), str) or not isinstance(claims.get("exp"), int | float):
        raise BadTokenError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    late_s = time.time() - claims["exp"]
    if late_s >= 0:
        raise BadTokenError("InvalidJWTToken", expired_message(late_s))
    return claims


def expired_message(late_s: float) -> str:
    return f"Token has expired {math.floor(late_s)} seconds ago"


def _part(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _signature(secret: str, text: str) -> str:
    return _base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _claims(head: str) -> dict[str, Any] | None:
    """Return the middle part of a token whose first two parts are `head`. None when it is no JSON object."""
    _, dot, part = head.partition(".")
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return None
    return value if dot and isinstance(value, dict) else None
