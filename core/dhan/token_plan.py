"""What to do about the access token now: leave it, look for another, prove, renew, mint, or call a person.

One token is active per account and a new one kills the old (dhan_v2_protocol 1.1, 1.2). So nothing here is done for comfort:
a token that Dhan accepts is replaced only when it would die before a session ends, a token that a person put in place goes
before one of our making, and mints are counted: two programs that mint for one account kill each other's tokens for ever.
Pure: `now_ns` is monotonic (waits and spacing), `utc_s` the wall clock in UTC seconds (expiry, sessions, codes).
"""

from __future__ import annotations

from typing import Final

from core.dhan.token_facts import (
    Attempt,
    GiveUp,
    Mint,
    Outcome,
    ReadSource,
    Renew,
    Standing,
    Step,
    TokenFacts,
    TradingSession,
    Trouble,
    TryCandidate,
    Verify,
    Wait,
)
from core.model.session_time import NS_PER_S

CODE_S: Final = 30
"""A TOTP code lives for one step of 30 s and is accepted once (RFC 6238 5.2)."""
MOST_MINTS: Final = 5
MINT_WINDOW_S: Final = 3_600
LEAD_S: Final = 3_600
WARN_S: Final = 3_600

_CODE_MARGIN_S: Final = 2
_FIRST_SPACING_S: Final = 30
_MOST_SPACING_S: Final = 600
_MEMORY_S: Final = 6 * 3_600
_DHAN_SPACING_S: Final = 125
_REFUSALS_IN_A_ROW: Final = 2
_FIGHT: Final = 2
_NOT_SENT_S: Final = 5
_LOOK_S: Final = 5
_LOOK_IN_DOUBT_NS: Final = 1_500_000_000
_ASK_S: Final = 2
_ASK_DEAD_S: Final = 30
_LEAD_IN_SESSION_S: Final = 900
_MARGIN_S: Final = 180
_LAST_MINUTES_S: Final = 600
_CHECKS_BEFORE_START_S: Final = (1_800, 900)


def plan(facts: TokenFacts) -> Step:
    """The one thing to do now."""
    if facts.standing is Standing.TRUSTED:
        return _keep(facts)
    return _clear_up(facts) if facts.standing is Standing.DOUBTED else _replace(facts)


def replace_from(expires_at: int, utc_s: int, sessions: tuple[TradingSession, ...]) -> int:
    """UTC seconds from which a living token is to be replaced ahead of its end.

    An hour before it dies, and an hour before a session in which it would die: time for a person if it fails. Not during a
    session that it survives: the swap takes the token away under every connection and every order on its way. In the
    session in which it dies there is no better moment left; a quarter of an hour before, for a few tries.
    """
    begin = expires_at - LEAD_S
    for session in sessions:
        if expires_at < session.end + _MARGIN_S and utc_s < session.start:
            begin = min(begin, session.start - LEAD_S)
    for session in sessions:
        if session.start <= utc_s < session.end:
            survives = expires_at >= session.end + _MARGIN_S
            begin = max(begin, session.end) if survives else expires_at - _LEAD_IN_SESSION_S
    return begin


def dies_in(facts: TokenFacts) -> TradingSession | None:
    """The session, today's or the one that is on, before whose end the token dies; None when there is none."""
    if facts.expires_at is None or not facts.sessions:
        return None
    next_one = facts.sessions[0]
    return next_one if facts.expires_at < next_one.end else None


def nothing_can_replace(facts: TokenFacts) -> bool:
    """Whether a living token is about to die and only a person can help: he is warned within its last hour.

    So when Dhan has refused to renew it, or PIN and TOTP where there are any, and ten minutes before the end in any case.
    """
    if facts.expires_at is None or facts.standing in {Standing.DEAD, Standing.ABSENT}:
        return False
    if replace_from(facts.expires_at, facts.utc_s, facts.sessions) > facts.utc_s:
        return False
    is_hopeless = credentials_refused(facts.mints) if facts.can_mint else _renewal_refused(facts)
    left_s = facts.expires_at - facts.utc_s
    return left_s <= _LAST_MINUTES_S or (left_s <= WARN_S and is_hopeless)


def is_urgent(facts: TokenFacts) -> bool:
    """Whether a dead token costs something now: a session is on or begins within the hour, or sessions are not known.

    At night a page wakes a person for nothing: it can wait until an hour before the opening.
    """
    return not facts.sessions or facts.sessions[0].start - LEAD_S <= facts.utc_s


def next_mint_ns(mints: tuple[Attempt, ...], now_ns: int) -> int:
    """The earliest monotonic time for another mint, as far as its numbers go; a time in the past means now.

    Spacing doubles from 30 s to 10 min with the mints of the last six hours, and after one that was granted it is at least
    two minutes, because Dhan refuses more ("once every 2 minutes"). Never more than five in an hour. After two refusals in
    a row an hour passes: more wrong PINs would lock the account. What was not sent only waits for the network.
    """
    sent = [
        mint for mint in mints if mint.outcome is not Outcome.NOT_SENT and now_ns - mint.at_ns < _seconds(_MEMORY_S)
    ]
    free_ns = now_ns
    if mints and mints[-1].outcome is Outcome.NOT_SENT:
        free_ns = mints[-1].at_ns + _seconds(_NOT_SENT_S)
    if not sent:
        return free_ns
    spacing_s = min(_FIRST_SPACING_S << min(len(sent) - 1, 16), _MOST_SPACING_S)
    if sent[-1].outcome in {Outcome.GRANTED, Outcome.TOO_SOON}:
        spacing_s = max(spacing_s, _DHAN_SPACING_S)
    if credentials_refused(mints):
        spacing_s = MINT_WINDOW_S
    free_ns = max(free_ns, sent[-1].at_ns + _seconds(spacing_s))
    if len(sent) >= MOST_MINTS:
        free_ns = max(free_ns, sent[-MOST_MINTS].at_ns + _seconds(MINT_WINDOW_S))
    return free_ns


def credentials_refused(mints: tuple[Attempt, ...]) -> bool:
    """One refusal may be a code that someone else has used; two in a row are a wrong PIN, secret or clock."""
    sent = [mint.outcome for mint in mints if mint.outcome is not Outcome.NOT_SENT]
    return len(sent) >= _REFUSALS_IN_A_ROW and set(sent[-_REFUSALS_IN_A_ROW:]) == {Outcome.REFUSED}


def _keep(facts: TokenFacts) -> Step:
    """A token that nothing speaks against. A later one in the sources is taken: only a person can have put it there."""
    now_ns = facts.now_ns
    look_ns = _after(facts.looked_ns, _seconds(_LOOK_S), now_ns)
    if look_ns <= now_ns:
        return ReadSource()
    next_ns = [look_ns]
    if _outlives(facts):
        try_ns = _after(facts.tried_ns, _seconds(_ASK_S), now_ns)
        # Neither renewed nor minted meanwhile: both would kill the token that the person has just made.
        return TryCandidate() if try_ns <= now_ns else Wait(min(look_ns, try_ns))
    if _needs_proof(facts):
        ask_ns = _after(facts.asked_ns, _seconds(_ASK_S), now_ns)
        return Verify() if ask_ns <= now_ns else Wait(min(look_ns, ask_ns))
    if facts.expires_at is not None:
        begin = replace_from(facts.expires_at, facts.utc_s, facts.sessions)
        step = _ahead(facts) if begin <= facts.utc_s else _wait_until(facts, begin)
        if not isinstance(step, Wait):
            return step
        next_ns.append(step.until_ns)
    return Wait(min(next_ns))


def _clear_up(facts: TokenFacts) -> Step:
    """A token in doubt. The sources first: a person who made a new token has killed this one, and wants the new one used."""
    now_ns = facts.now_ns
    if _after(facts.looked_ns, _LOOK_IN_DOUBT_NS, now_ns) <= now_ns:
        return ReadSource()
    step = _try_candidate(facts)
    if step is not None:
        return step
    ask_ns = _after(facts.asked_ns, _seconds(_ASK_S), now_ns)
    return Verify() if ask_ns <= now_ns else Wait(ask_ns)


def _replace(facts: TokenFacts) -> Step:
    """No token, or a dead one, which RenewToken cannot renew. The sources are read every 1.5 s, whatever else is going on."""
    now_ns = facts.now_ns
    look_ns = _after(facts.looked_ns, _LOOK_IN_DOUBT_NS, now_ns)
    if look_ns <= now_ns:
        return ReadSource()
    step = _try_candidate(facts) or _mint(facts)
    if isinstance(step, Wait | GiveUp) and facts.standing is Standing.DEAD and facts.candidate is None:
        # Dhan may have erred: a token that is accepted after all is worth more than any other way out.
        ask_ns = _after(facts.asked_ns, _seconds(_ASK_DEAD_S), now_ns)
        if ask_ns <= now_ns:
            return Verify()
        look_ns = min(look_ns, ask_ns)
    match step:
        case Wait(until_ns):
            return Wait(min(until_ns, look_ns))
        case GiveUp(until_ns, trouble):
            return GiveUp(min(until_ns, look_ns), trouble)
        case _:
            return step


def _try_candidate(facts: TokenFacts) -> TryCandidate | Wait | None:
    """A token of the sources always goes before minting: a mint would kill it before it was ever used."""
    if facts.candidate is None:
        return None
    try_ns = _after(facts.tried_ns, _seconds(_ASK_S), facts.now_ns)
    return TryCandidate() if try_ns <= facts.now_ns else Wait(try_ns)


def _mint(facts: TokenFacts) -> Mint | Wait | GiveUp:
    now_ns = facts.now_ns
    if not facts.can_mint:
        return GiveUp(now_ns + _seconds(_LOOK_S), Trouble.NOTHING_TO_MINT_WITH)
    free_ns = next_mint_ns(facts.mints, now_ns)
    if free_ns > now_ns:
        if credentials_refused(facts.mints):
            return GiveUp(free_ns, Trouble.CREDENTIALS_REFUSED)
        recent = [mint.outcome for mint in facts.mints if now_ns - mint.at_ns < _seconds(MINT_WINDOW_S)]
        if len(recent) - recent.count(Outcome.NOT_SENT) < MOST_MINTS:
            return Wait(free_ns)
        # Tokens that were granted and died have a killer. Without them it is Dhan that gives none.
        is_fight = recent.count(Outcome.GRANTED) >= _FIGHT
        return GiveUp(free_ns, Trouble.SOMEONE_ELSE_MINTS if is_fight else Trouble.NO_TOKEN_GIVEN)
    step, left_s = facts.utc_s // CODE_S, CODE_S - facts.utc_s % CODE_S
    is_used = any(mint.step == step and mint.outcome is not Outcome.NOT_SENT for mint in facts.mints)
    if is_used or left_s <= _CODE_MARGIN_S:
        return Wait(now_ns + _seconds(left_s))
    return Mint(step)


def _ahead(facts: TokenFacts) -> Renew | Mint | Wait:
    """Renewing goes before minting: it needs no PIN, and it does not count. Dhan renews what its web site made, while it lives."""
    if facts.was_minted or _renewal_refused(facts):
        step = _mint(facts)
        # Nothing to page for yet: the token still works.
        return Wait(step.until_ns) if isinstance(step, GiveUp) else step
    if not facts.renewals:
        return Renew()
    last = facts.renewals[-1]
    spacing_s = min(_FIRST_SPACING_S << min(len(facts.renewals) - 1, 16), _MOST_SPACING_S)
    free_ns = last.at_ns + _seconds(spacing_s)
    return Renew() if free_ns <= facts.now_ns else Wait(free_ns)


def _needs_proof(facts: TokenFacts) -> bool:
    """Past its own expiry (a clock may be wrong: Dhan decides), or half and a quarter of an hour before the opening."""
    if facts.expires_at is not None and facts.expires_at <= facts.utc_s:
        return True
    for session in facts.sessions:
        for ahead_s in _CHECKS_BEFORE_START_S:
            due = session.start - ahead_s
            if due <= facts.utc_s < session.start and (facts.proved_at is None or facts.proved_at < due):
                return True
    return False


def _outlives(facts: TokenFacts) -> bool:
    """Whether the candidate is later than the token in hand. Equal or earlier ones are older, and so dead already."""
    theirs = None if facts.candidate is None else facts.candidate.expires_at
    return theirs is not None and facts.expires_at is not None and theirs > facts.expires_at


def _renewal_refused(facts: TokenFacts) -> bool:
    return any(renewal.outcome is Outcome.REFUSED for renewal in facts.renewals)


def _wait_until(facts: TokenFacts, utc_s: int) -> Wait:
    return Wait(facts.now_ns + _seconds(utc_s - facts.utc_s))


def _after(last_ns: int | None, pause_ns: int, now_ns: int) -> int:
    return now_ns if last_ns is None else last_ns + pause_ns


def _seconds(seconds: int) -> int:
    return seconds * NS_PER_S
