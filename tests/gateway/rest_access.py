"""Who asks: the API key that opens the gateway, and the signed token whose role the database sees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.gateway.rest_errors import KeyRefusedError, RestError
from tests.gateway.tokens import BadTokenError, claims_of


@dataclass(frozen=True, slots=True)
class Caller:
    """`claims`: the token's payload as JSON text, as SQL sees it in request.jwt.claims."""

    role: str
    claims: str

    @property
    def is_anonymous(self) -> bool:
        return self.role == "anon"


def caller_of(headers: Mapping[str, str], secret: str, *, expired_code: str) -> Caller:
    """Check the apikey header, then the bearer token; without a token the key speaks for itself.

    Raises RestError (401). A refused key has the body of the gateway in front, a refused token that of PostgREST.
    """
    key = headers.get("apikey", "")
    if not key:
        raise KeyRefusedError("No API key found in request", "No `apikey` request header or url param was found.")
    try:
        claims_of(secret, key)
    except BadTokenError as e:
        hint = "Double check your Supabase `anon` or `service_role` API key."
        raise KeyRefusedError("Invalid API key", hint) from e
    scheme, _, token = headers.get("Authorization", f"Bearer {key}").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise RestError(401, "PGRST301", "Empty JWT is sent in Authorization header")
    claims = _claims(secret, token, expired_code)
    return Caller(claims["role"], json.dumps(claims))


def _claims(secret: str, token: str, expired_code: str) -> dict[str, Any]:
    try:
        return claims_of(secret, token)
    except BadTokenError as e:
        match e.code:
            case "InvalidJWTToken" if "expired" in e.reason:
                raise RestError(401, expired_code, "JWT expired") from e
            case "InvalidJWTToken":
                raise RestError(401, "PGRST303", "Parsing claims failed") from e
            case "JwtSignatureError":
                raise RestError(401, "PGRST301", "No suitable key or wrong key type") from e
            case _:
                parts = f"Expected 3 parts in JWT; got {token.count('.') + 1}"
                raise RestError(401, "PGRST301", parts) from e
