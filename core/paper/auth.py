"""Access tokens: decodable JWTs, one active at a time (dhan_v2_protocol 1.1, 1.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Any, Final

from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.paper.options import ExchangeOptions
    from core.paper.wall_clock import WallClock

EXPIRED_CODE: Final = 807
INVALID_CODE: Final = 809


class TokenState(Enum):
    GOOD = auto()
    EXPIRED = auto()
    INVALID = auto()


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


class Tokens:
    """Client id and signing key come from the seed: a restarted exchange still accepts its predecessor's first token."""

    def __init__(self, options: ExchangeOptions, clock: WallClock) -> None:
        random = Random(options.seed)  # noqa: S311  an invented account on loopback; it must repeat with the seed
        self.client_id = f"11{random.randrange(10**8):08d}"
        self._key = random.randbytes(32)
        self._clock = clock
        self._generation = 0
        self._death = TokenState.GOOD
        self._options = options
        self.on_death: Callable[[int], None] = lambda _code: None
        """Told, with 807 or 809, after the token that was current has died."""
        self.current = self._mint(options.token_validity_s)

    def _mint(self, validity_s: int) -> str:
        now_s = self._clock.utc_s()
        claims = {
            "iss": "dhan",
            "partnerId": "",
            "exp": now_s + validity_s,
            "iat": now_s,
            "tokenConsumerType": "SELF",
            "webhookUrl": "",
            "dhanClientId": self.client_id,
            "jti": str(self._generation),
        }
        header = _part(b'{"typ":"JWT","alg":"HS512"}')
        body = _part(json.dumps(claims, separators=(",", ":")).encode())
        return f"{header}.{body}.{self._sign(f'{header}.{body}')}"

    def _sign(self, text: str) -> str:
        return _part(hmac.new(self._key, text.encode(), hashlib.sha512).digest())

    def renew(self, validity_s: int | None = None) -> str:
        """A new token; the old one dies at once."""
        self._generation += 1
        self._death = TokenState.GOOD
        self.current = self._mint(self._options.token_validity_s if validity_s is None else validity_s)
        self.on_death(INVALID_CODE)
        return self.current

    def invalidate(self) -> None:
        """What Dhan did 15 to 30 minutes after minting on 2026-07-06, without a second mint."""
        self._death = TokenState.INVALID
        self.on_death(INVALID_CODE)

    def expire(self) -> None:
        """The current token is over before its time, whatever it says itself."""
        self._death = TokenState.EXPIRED
        self.on_death(EXPIRED_CODE)

    def state(self, token: str | None) -> TokenState:
        signed, _, signature = (token or "").rpartition(".")
        if not hmac.compare_digest(self._sign(signed).encode(), signature.encode()):
            return TokenState.INVALID
        claims = _claims(signed)
        if claims["jti"] != str(self._generation):
            return TokenState.INVALID
        if self._death is not TokenState.GOOD:
            return self._death
        return TokenState.EXPIRED if claims["exp"] <= self._clock.utc_s() else TokenState.GOOD

    def expiry_s(self) -> int:
        """UTC seconds at which the current token dies."""
        return int(_claims(self.current)["exp"])

    def token_object(self) -> dict[str, object]:
        expires = ist_datetime(self.expiry_s() * NS_PER_S)
        return {
            "dhanClientId": self.client_id,
            "dhanClientName": "TEST USER",
            "dhanClientUcc": "ABCDE12345",
            "givenPowerOfAttorney": False,
            "accessToken": self.current,
            "expiryTime": f"{expires:%Y-%m-%dT%H:%M:%S}.000",
        }


def totp_at(secret: str, utc_s: int) -> str:
    """The six digits of RFC 6238 (SHA-1, 30 s) for a base32 secret."""
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    digest = hmac.new(key, (utc_s // 30).to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
