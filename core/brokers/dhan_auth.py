"""Where access tokens come from: the probe /profile, RenewToken, and the auth host (dhan_v2_protocol 1.2, 1.4).

One connection for each request: they are rare, and none of them may wait behind another or be repeated by anybody.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import pyotp

from core.brokers.http_connection import HttpEndpoint, OutcomeUnknownError
from core.brokers.warm_connections import HttpLimits, WarmConnections
from core.dhan.errors import error_of_read
from core.dhan.rest_account import IssuedToken, Profile, parse_profile, parse_token
from core.dhan.token_plan import CODE_S
from core.model.errors import BugError, RateLimitedError, RefusedError, TokenError, TransportError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from core.clock import Clock
    from core.host_names import HostNames

_PROBE: Final = HttpLimits(connect_timeout_s=2.0, total_timeout_s=3.0, warm=0)
_ISSUE: Final = HttpLimits(connect_timeout_s=3.0, total_timeout_s=10.0, warm=0)
"""A lost answer costs the token and, for two minutes, the right to ask for another: better wait for a slow one."""


@dataclass(frozen=True, slots=True)
class MintSecrets:
    """What mints a token without a person: the PIN, and the base32 secret behind the six-digit codes."""

    pin: str = field(repr=False)
    totp_secret: str = field(repr=False)

    def code(self, step: int) -> str:
        """The code of a step of 30 s, counted from the epoch. Good for that step, and once."""
        return pyotp.TOTP(self.totp_secret).at(step * CODE_S)


@dataclass(frozen=True, slots=True)
class AuthPlaces:
    """`api_url` includes /v2; `/app/…` is appended to `auth_url`. `tls` replaces the default context."""

    api_url: str
    auth_url: str
    tls: ssl.SSLContext | None = None


class DhanAuth:
    """Asks Dhan about tokens. Every method sends one request, once.

    Raises:
        NotSentError: nothing was written.
        TokenError: Dhan does not accept the token, or it is another client's.
        RateLimitedError, RefusedError: another definite no.
        TransportError, DecodeError: no usable answer; what was asked for may have happened.

    No token, PIN or code is in any repr or message.
    """

    def __init__(
        self,
        places: AuthPlaces,
        client_id: str,
        clock: Clock,
        *,
        minting: MintSecrets | None = None,
        names: HostNames | None = None,
    ) -> None:
        self._api = HttpEndpoint.from_url(places.api_url, places.tls)
        self._host = HttpEndpoint.from_url(places.auth_url, places.tls)
        self._client_id = client_id
        self._clock = clock
        self._minting = minting
        self._names = names

    @property
    def can_mint(self) -> bool:
        return self._minting is not None

    async def profile(self, token: str) -> Profile:
        """What Dhan says of the account to the holder of this token: the proof that the token works."""
        headers = {"access-token": token, "client-id": self._client_id}
        profile = parse_profile(await self._ask("GET", "/profile", headers, _PROBE, (token,)))
        if profile.client_id != self._client_id:
            raise TokenError(f"expected a token of client {self._client_id}, Dhan says it is another client's")
        return profile

    async def renew(self, token: str) -> IssuedToken:
        """A new token for a token that still works and came from Dhan's web site. The old one dies."""
        headers = {"access-token": token, "dhanClientId": self._client_id}
        return parse_token(await self._ask("GET", "/RenewToken", headers, _ISSUE, (token,)))

    async def mint(self, step: int) -> IssuedToken:
        """A new token for PIN and TOTP code of this step. The old one dies, whoever uses it."""
        if self._minting is None:
            raise BugError("expected PIN and TOTP secret before a token is minted")
        pin, code = self._minting.pin, self._minting.code(step)
        query = urlencode({"dhanClientId": self._client_id, "pin": pin, "totp": code})
        return parse_token(await self._ask("POST", f"/app/generateAccessToken?{query}", {}, _ISSUE, (pin, code)))

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], limits: HttpLimits, secrets: tuple[str, ...]
    ) -> bytes:
        block = "".join(f"{name}: {value}\r\n" for name, value in {"Accept": "application/json", **headers}.items())
        endpoint = self._host if method == "POST" else self._api
        line = WarmConnections(endpoint, lambda: block.encode("ascii"), self._clock, limits, names=self._names)
        try:
            with _without(secrets):
                response = await line.request(method, path)
                error = error_of_read(response.status, response.body)
                if error is not None:
                    raise error
        finally:
            await line.close()
        return response.body


@contextmanager
def _without(secrets: tuple[str, ...]) -> Iterator[None]:
    """Errors quote what the server said. A server that says our secrets back must not bring them into a log."""
    hidden = "its text repeats what was sent and is not shown"
    try:
        yield
    except OutcomeUnknownError as error:
        if not _names_one(error, secrets):
            raise
        raise OutcomeUnknownError(hidden, error.sent_ns, was_dropped=error.was_dropped) from None
    except RefusedError as error:
        if not _names_one(error, secrets):
            raise
        kind = type(error) if isinstance(error, TokenError | RateLimitedError) else RefusedError
        raise kind(f"Dhan refused; {hidden}") from None
    except TransportError as error:
        if not _names_one(error, secrets):
            raise
        raise TransportError(f"Dhan gave no usable answer; {hidden}") from None


def _names_one(error: Exception, secrets: tuple[str, ...]) -> bool:
    return any(secret in str(error) for secret in secrets)
