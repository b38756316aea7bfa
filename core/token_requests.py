"""Asks Dhan about tokens for the keeper, and remembers how each request for a new one ended."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from core.brokers.http_connection import NotSentError
from core.dhan.token import says_too_soon
from core.dhan.token_facts import Attempt, Outcome
from core.model.errors import DecodeError, MonitorError, RateLimitedError, RefusedError, TokenError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from core.clock import Clock
    from core.dhan.rest_account import IssuedToken, Profile

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 64


class TokenAuth(Protocol):
    """What `core.brokers.dhan_auth.DhanAuth` does, and raises."""

    @property
    def can_mint(self) -> bool: ...

    async def profile(self, token: str) -> Profile: ...

    async def renew(self, token: str) -> IssuedToken: ...

    async def mint(self, step: int) -> IssuedToken: ...


class TokenRequests:
    """`reason`: why there is no new token, in Dhan's words. `unreachable`: why the last request proved nothing, else None."""

    def __init__(self, auth: TokenAuth, clock: Clock) -> None:
        self._auth = auth
        self._now = clock.monotonic_ns
        self._renewals: deque[Attempt] = deque(maxlen=_REMEMBERED)
        self._mints: deque[Attempt] = deque(maxlen=_REMEMBERED)
        self.reason = ""
        self.unreachable: MonitorError | None = None

    @property
    def can_mint(self) -> bool:
        return self._auth.can_mint

    @property
    def renewals(self) -> tuple[Attempt, ...]:
        """Of the token in hand, since `another_token`."""
        return tuple(self._renewals)

    @property
    def mints(self) -> tuple[Attempt, ...]:
        return tuple(self._mints)

    def another_token(self, *, keep_renewals: bool) -> None:
        if not keep_renewals:
            self._renewals.clear()
        self.reason = ""

    async def prove(self, token: str) -> Profile | TokenError | None:
        """What Dhan says to the token; None when it said nothing that proves anything."""
        try:
            return await self._auth.profile(token)
        except TokenError as error:
            return error
        except (RefusedError, TransportError, DecodeError) as error:
            logger.info("the access token could not be checked: %s", error)
            self.unreachable = error
            return None

    async def renew(self, token: str) -> IssuedToken | None:
        outcome, issued = await self._request(self._auth.renew(token))
        self._renewals.append(Attempt(self._now(), outcome))
        return issued

    async def mint(self, step: int) -> IssuedToken | None:
        outcome, issued = await self._request(self._auth.mint(step))
        if self._mints and self._mints[-1].outcome is Outcome.NOT_SENT:
            # They count for nothing but the wait before the next, and must not push out those that do.
            self._mints.pop()
        self._mints.append(Attempt(self._now(), outcome, step))
        return issued

    async def _request(self, asking: Awaitable[IssuedToken]) -> tuple[Outcome, IssuedToken | None]:
        try:
            return Outcome.GRANTED, await asking
        except NotSentError as error:
            outcome, self.reason, self.unreachable = Outcome.NOT_SENT, str(error), error
        except RateLimitedError as error:
            outcome, self.reason = Outcome.TOO_SOON, str(error)
        except RefusedError as error:
            outcome, self.reason = Outcome.TOO_SOON if says_too_soon(str(error)) else Outcome.REFUSED, str(error)
        except (TransportError, DecodeError) as error:
            outcome, self.reason = Outcome.UNKNOWN, str(error)
        logger.warning("no new access token (%s): %s", outcome.name.lower().replace("_", " "), self.reason)
        return outcome, None
