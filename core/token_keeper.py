"""The one owner of the access token: everybody asks `token()` for it, whoever is refused with it says `doubt`.

What is done about it `core.dhan.token_plan` decides; this file carries it out, one step at a time. A renewed or minted token
lives in memory only and is in no log, repr or message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from core.dhan.token import read_claims
from core.dhan.token_facts import (
    Candidate,
    GiveUp,
    Mint,
    Outcome,
    ReadSource,
    Renew,
    Standing,
    Step,
    TokenFacts,
    TokenStatus,
    TradingSession,
    TryCandidate,
    Verify,
    Wait,
)
from core.dhan.token_plan import LEAD_S, dies_in, is_urgent, nothing_can_replace, plan
from core.model.errors import BugError, TokenError
from core.model.session_time import NS_PER_S
from core.token_news import TokenNews, TokenOrigin, refusal_text
from core.token_requests import TokenRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.dhan.rest_account import Profile
    from core.model.commands import Alert
    from core.settings_sources import FoundTokens
    from core.token_requests import TokenAuth

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 64
_SLOW_NS: Final = 10 * NS_PER_S


class Source(Protocol):
    """What `core.settings_sources.TokenSource` does. Called in a thread."""

    def look(self) -> FoundTokens | None: ...


class TokenKeeper:
    """`await ensure()` before the first request, then `run` as a task that ends only by being cancelled.

    `on_change`: called after another token is in place, on the event loop. `alert` must not block.
    """

    def __init__(
        self,
        token: str | None,
        auth: TokenAuth,
        clock: Clock,
        alert: Callable[[Alert], None],
        *,
        source: Source | None = None,
        sessions: Callable[[int], tuple[TradingSession, ...]] = lambda _: (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._token = token
        self._requests = TokenRequests(auth, clock)
        self._clock = clock
        self._source = source
        self._sessions = sessions
        self._sleep = sleep
        self._news = TokenNews(alert, can_mint=auth.can_mint)
        self._standing = Standing.ABSENT if token is None else Standing.DOUBTED
        self._configured = token
        self._expires_at = _expiry_of(token)
        self._origin = TokenOrigin.FOUND
        self._found: tuple[str, ...] = ()
        self._refused: deque[str] = deque(maxlen=_REMEMBERED)
        self._looked_ns: int | None = None
        self._asked_ns: int | None = None
        self._tried_ns: int | None = None
        self._proved_at: int | None = None
        self._dead_since_ns = clock.monotonic_ns()
        self._reason = "no token is configured" if token is None else ""
        self._last_step = ""
        self._counts = dict.fromkeys(TokenOrigin, 0)
        self._wake = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []

    def token(self) -> str:
        """The token to use now, also while it is doubted or dead: nobody has a better one."""
        if self._token is None:
            raise BugError("expected ensure() before the first use of the access token")
        return self._token

    def doubt(self, reason: str, token: str) -> None:
        """Somebody was refused with `token`. Of an older token that is no news; of this one it is looked into at once.

        `reason` goes into the log: Dhan's words, never the token.
        """
        if token != self._token or self._standing is not Standing.TRUSTED:
            return
        logger.info("the access token is doubted: %s", reason)
        self._standing = Standing.DOUBTED
        self._reason = reason
        self._wake.set()

    @property
    def status(self) -> TokenStatus:
        counts = self._counts
        return TokenStatus(
            self._standing,
            self._expires_at,
            self._last_step,
            renewed=counts[TokenOrigin.RENEWED],
            minted=counts[TokenOrigin.MINTED],
            taken_up=counts[TokenOrigin.FOUND],
        )

    async def ensure(self) -> None:
        """Return when Dhan accepts the token in hand, mint one if need be.

        Waits for the next TOTP code, or two minutes when Dhan gave one a moment ago, as after a restart.

        Raises:
            TokenError: the token is refused and none can be minted.
            TransportError: Dhan cannot be reached.
        """
        while self._standing is not Standing.TRUSTED:
            self._requests.unreachable = None
            wait_ns = await self._carry_out(step := plan(self._facts()))
            if self._requests.unreachable is not None:
                raise self._requests.unreachable
            if isinstance(step, GiveUp):
                raise TokenError(refusal_text(step.trouble, self._why()))
            if wait_ns > 0:
                logger.warning("no access token yet (%s); asking again in %.0f s", self._why(), wait_ns / NS_PER_S)
                await self._sleep(wait_ns / NS_PER_S)
        if not self._requests.can_mint and dies_in(self._facts()) is not None:
            self._news.ends_in_session(self._expires_at)

    async def run(self) -> None:
        """Watch over the token. After `ensure`."""
        while True:
            wait_s = await self.advance()
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
            self._wake.clear()

    async def advance(self) -> float:
        """Do the one thing that is due now, and return the seconds until the next, 0.0 for at once."""
        step = plan(self._facts())
        wait_ns = await self._carry_out(step)
        self._tell(step)
        return wait_ns / NS_PER_S

    def _facts(self) -> TokenFacts:
        utc_s = self._clock.utc_ns() // NS_PER_S
        candidate = self._candidate()
        return TokenFacts(
            now_ns=self._clock.monotonic_ns(),
            utc_s=utc_s,
            standing=self._standing,
            expires_at=self._expires_at,
            was_minted=self._origin is TokenOrigin.MINTED,
            can_mint=self._requests.can_mint,
            sessions=self._sessions(utc_s),
            candidate=None if candidate is None else Candidate(_expiry_of(candidate)),
            looked_ns=self._looked_ns,
            asked_ns=self._asked_ns,
            tried_ns=self._tried_ns,
            proved_at=self._proved_at,
            renewals=self._requests.renewals,
            mints=self._requests.mints,
        )

    def _candidate(self) -> str | None:
        return next((each for each in self._found if each != self._token and each not in self._refused), None)

    async def _carry_out(self, step: Step) -> int:
        self._last_step = type(step).__name__
        match step:
            case Wait(until_ns) | GiveUp(until_ns, _):
                return max(until_ns - self._clock.monotonic_ns(), 0)
            case ReadSource():
                await self._read_source()
            case TryCandidate():
                await self._try_candidate()
            case Verify():
                await self._verify()
            case Renew():
                await self._renew()
            case Mint(code_step):
                await self._mint(code_step)
        return 0

    async def _read_source(self) -> None:
        if self._source is not None:
            # In a thread: a folder on a network that hangs must not stop the ticks.
            found = await asyncio.to_thread(self._source.look)
            if found is not None:
                self._found = found.tokens
                self._news.unreadable(found.problems)
        self._looked_ns = self._clock.monotonic_ns()

    async def _try_candidate(self) -> None:
        candidate = self._candidate()
        if candidate is None:
            return
        answer = await self._requests.prove(candidate)
        self._tried_ns = self._clock.monotonic_ns()
        if isinstance(answer, TokenError):
            self._refused.append(candidate)
            self._news.candidate_refused(str(answer))
        elif answer is not None:
            self._put(candidate, answer.token_valid_until, TokenOrigin.FOUND)

    async def _verify(self) -> None:
        answer = await self._requests.prove(self.token())
        self._asked_ns = self._clock.monotonic_ns()
        if isinstance(answer, TokenError):
            self._die(str(answer))
        elif answer is not None:
            self._trust(answer)

    async def _renew(self) -> None:
        issued = await self._requests.renew(self.token())
        if issued is not None:
            self._put(issued.access_token, issued.expires_at, TokenOrigin.RENEWED)
        elif self._requests.renewals[-1].outcome in {Outcome.UNKNOWN, Outcome.REFUSED}:
            # A lost answer may have killed it, and a refusal may mean that it is dead already.
            self._standing = Standing.DOUBTED

    async def _mint(self, code_step: int) -> None:
        issued = await self._requests.mint(code_step)
        if issued is not None:
            self._put(issued.access_token, issued.expires_at, TokenOrigin.MINTED)

    def _put(self, token: str, stated: int | None, origin: TokenOrigin) -> None:
        if self._token is not None and self._token != token:
            self._refused.append(self._token)
        kills_configured = (
            origin is not TokenOrigin.FOUND and self._token is not None and self._token == self._configured
        )
        if origin is TokenOrigin.FOUND:
            self._configured = token
        self._token = token
        self._origin = origin
        self._standing = Standing.TRUSTED
        self._expires_at = _expiry_of(token) or stated
        self._proved_at = utc_s = self._clock.utc_ns() // NS_PER_S
        self._reason = ""
        # A renewal that gave hardly any time must not be repeated at once: it counts among those of the token in hand.
        is_short = origin is TokenOrigin.RENEWED and (self._expires_at or 0) - utc_s < 2 * LEAD_S
        self._requests.another_token(keep_renewals=is_short)
        self._counts[origin] += 1
        self._news.replaced(origin, self._expires_at, kills_configured=kills_configured)
        for changed in self.on_change:
            changed()

    def _trust(self, profile: Profile) -> None:
        """Dhan accepts the token in hand: it was refused for another reason, or never doubted."""
        was_dead = self._standing is Standing.DEAD
        if self._standing is Standing.DOUBTED and self._reason:
            logger.info("Dhan accepts the access token; what was refused has another reason: %s", self._reason)
        self._standing = Standing.TRUSTED
        self._reason = ""
        self._proved_at = utc_s = self._clock.utc_ns() // NS_PER_S
        if self._expires_at is None or self._expires_at <= utc_s:
            if self._expires_at is not None:
                self._news.clock_differs()
            stated = profile.token_valid_until
            self._expires_at = stated if stated is not None and stated > utc_s else None
        if was_dead:
            self._news.revived()
            for changed in self.on_change:
                changed()

    def _die(self, reason: str) -> None:
        if self._standing is not Standing.DEAD:
            logger.warning("the access token is dead: %s", reason)
            self._dead_since_ns = self._clock.monotonic_ns()
            self._requests.reason = ""
        self._standing = Standing.DEAD
        self._reason = reason

    def _why(self) -> str:
        """Why there is no good token: what became of the old one, or of asking for another."""
        return self._requests.reason or self._reason

    def _tell(self, step: Step) -> None:
        facts = self._facts()
        if isinstance(step, GiveUp):
            self._news.trouble(step.trouble, self._why(), is_urgent=is_urgent(facts))
        elif isinstance(step, Wait) and self.status.is_dead and facts.now_ns - self._dead_since_ns >= _SLOW_NS:
            self._news.slow(self._why(), is_urgent=is_urgent(facts))
        if nothing_can_replace(facts):
            self._news.ends_soon(self._expires_at)


def _expiry_of(token: str | None) -> int | None:
    claims = None if token is None else read_claims(token)
    return None if claims is None else claims.expires_at
