"""What is looked at before a session by asking: used by data_scripts/preflight.py, and by the monitor's own start.

Reads only. Nothing here ends a start: the refusals that do are in `core.monitor`.
"""

from __future__ import annotations

import asyncio
import email.utils
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from core import preflight_checks as checks
from core import preflight_positions as position_checks
from core.dhan.errors import error_of_read
from core.dhan.json_fields import fields_of, loads, optional_text
from core.dhan.token import read_claims
from core.model.errors import DecodeError, RefusedError, TokenError, TransportError
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from core.brokers.dhan_broker import DhanBroker
    from core.clock import Clock
    from core.instrument_source import LoadedMaster
    from core.market_calendar import SessionCalendar
    from core.model.commands import Alert
    from core.model.position import PositionReport
    from core.position_book import BookedPosition
    from core.preflight_checks import Finding, SessionFacts

READ_ERRORS: Final = (TransportError, RefusedError, DecodeError)
_TIMEOUT_S: Final = 5.0
_HEADER_GRAIN_S: Final = 0.5
"""A Date header has whole seconds, cut off: what is meant is half a second later, give or take as much."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """`ahead_s`: this machine's clock minus the Date header, None without one; `unsure_s`: give or take."""

    status: int
    body: bytes
    ahead_s: float | None
    unsure_s: float


async def ask_web(url: str, headers: Mapping[str, str], clock: Clock) -> WebAnswer:
    """One GET without redirects. Raises TransportError; its text holds no header and no address."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    before_ns = clock.utc_ns()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=dict(headers)) as client,
            client.get(url, allow_redirects=False) as response,
        ):
            after_ns = clock.utc_ns()
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TransportError(f"no answer ({type(error).__name__})") from None
    told_s = _utc_s(response.headers.get("Date", ""))
    unsure_s = _HEADER_GRAIN_S + (after_ns - before_ns) / 2 / NS_PER_S
    middle_s = (before_ns + after_ns) / 2 / NS_PER_S
    return WebAnswer(response.status, body, None if told_s is None else middle_s - told_s - _HEADER_GRAIN_S, unsure_s)


async def clock_and_kill_switch(api_url: str, account: AccountFacts, clock: Clock) -> tuple[Finding, ...]:
    """Both from one answer: every server dates its answers, its refusals too."""
    token = account.token()
    headers = {} if token is None else {"access-token": token, "client-id": account.client_id}
    try:
        answer = await ask_web(f"{api_url}/killswitch", headers, clock)
    except TransportError as error:
        return checks.clock(None), checks.not_made("kill switch", str(error))
    return checks.clock(answer.ahead_s, answer.unsure_s), _kill_switch(answer)


def _kill_switch(answer: WebAnswer) -> Finding:
    error = error_of_read(answer.status, answer.body)
    if error is not None:
        return checks.not_made("kill switch", str(error))
    try:
        word = optional_text(fields_of(loads(answer.body), "kill switch"), "killSwitchStatus")
    except DecodeError as unreadable:
        return checks.not_made("kill switch", str(unreadable))
    return checks.kill_switch(word)


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """`token` is asked when it is needed; `None` from it: there is none yet. `can_mint`: PIN and TOTP secret are set."""

    client_id: str
    token: Callable[[], str | None]
    can_mint: bool
    is_live: bool


async def account_findings(
    market: DhanBroker, account: AccountFacts, session: SessionFacts, clock: Clock
) -> tuple[Finding, ...]:
    """Token, account, data plan and static IP."""
    token = account.token()
    if token is None:
        return (checks.no_token(),)
    try:
        profile = await market.read_profile()
    except TokenError as error:
        return (checks.token_refused(str(error), can_mint=account.can_mint),)
    except READ_ERRORS as error:
        return (checks.unreachable(str(error)),)
    claims = read_claims(token)
    # The token's own words are exact; the profile's are of the minute.
    stated = None if claims is None else claims.expires_at
    expires_at = profile.token_valid_until if stated is None else stated
    found = [
        checks.token(expires_at, clock.utc_ns() / NS_PER_S, session.needed_until_s, can_mint=account.can_mint),
        checks.account(account.client_id, profile.client_id),
        checks.data_plan(profile.data_plan_active),
    ]
    try:
        found.append(checks.static_ip(await market.read_static_ip(), is_live=account.is_live))
    except READ_ERRORS as error:
        found.append(checks.not_made("static IP", str(error)))
    return tuple(found)


def master_finding(loaded: LoadedMaster) -> Finding:
    facts = position_checks.MasterFacts(loaded.rows, loaded.age_s, loaded.origin, loaded.problems)
    return position_checks.master(facts)


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What a starting monitor has at hand. `master` None: nothing was loaded, because nothing is held.

    `report`: the first positions read; None when there was none, as in simulation.
    """

    account: AccountFacts
    api_url: str
    market: DhanBroker
    calendar: SessionCalendar
    clock: Clock
    master: LoadedMaster | None
    booked: Sequence[BookedPosition]
    report: PositionReport | None


async def startup_alerts(facts: StartFacts) -> tuple[Alert, ...]:
    """FAIL pages, WARN warns, each with its remedy. Takes three short reads; run it beside what guards, not before it.

    Left out: rows set aside, levels at their line and feeds, which the monitor tells of by itself.
    """
    session = checks.session_facts(facts.calendar, facts.clock.utc_ns())
    asked = await asyncio.gather(
        alone("clock", clock_and_kill_switch(facts.api_url, facts.account, facts.clock)),
        alone("account", account_findings(facts.market, facts.account, session, facts.clock)),
    )
    found = [finding for findings in asked for finding in findings]
    found += await alone("calendar, master and positions", _from_what_is_known(facts, session))
    return checks.alerts(found)


async def _from_what_is_known(facts: StartFacts, session: SessionFacts) -> tuple[Finding, ...]:
    """A coroutine only to be run `alone`: a mere check that breaks must not end what guards."""
    found = [checks.calendar(session, is_live=facts.account.is_live)]
    if facts.master is not None:
        found.append(master_finding(facts.master))
    if facts.booked:
        found.append(position_checks.bands(facts.booked))
    if facts.report is not None:
        positions = [each.position for each in facts.booked]
        found.append(position_checks.reconcile(positions, facts.report, is_live=facts.account.is_live))
    return tuple(found)


async def alone(check: str, work: Awaitable[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """The findings; when the check itself breaks that is its finding, and the others stand."""
    [result] = await asyncio.gather(work, return_exceptions=True)
    if isinstance(result, Exception):
        return (checks.broken(check, type(result).__name__),)
    if isinstance(result, BaseException):
        raise result
    return result


def _utc_s(http_date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError):
        return None
