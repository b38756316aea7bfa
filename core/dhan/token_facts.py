"""What is known about the access token, and the steps that can be taken about it. The decision is in `token_plan`.

`…_ns` is the monotonic clock (waits and spacing), UTC seconds are the wall clock (expiry, sessions, TOTP codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


class Standing(Enum):
    """What is known of the token in hand. DOUBTED: someone was refused with it, or it was never proved."""

    ABSENT = auto()
    TRUSTED = auto()
    DOUBTED = auto()
    DEAD = auto()


class Outcome(Enum):
    """How a request for a new token ended. UNKNOWN: it may have been granted, then the old token is dead."""

    GRANTED = auto()
    REFUSED = auto()
    TOO_SOON = auto()
    UNKNOWN = auto()
    NOT_SENT = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request for a new token. `step`: the step of the TOTP code that was sent, None for a renewal."""

    at_ns: int
    outcome: Outcome
    step: int | None = None


@dataclass(frozen=True, slots=True)
class TradingSession:
    """UTC seconds."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another token that stands in the sources and has not been refused yet. `expires_at` UTC seconds, None unknown."""

    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """`expires_at` UTC seconds, None when nobody says. `sessions`: those not over yet, in order, () when not known.

    `was_minted`: from PIN and TOTP, which RenewToken does not renew. `looked_ns`, `asked_ns`, `tried_ns`: when the sources were
    read, the token in hand proved, the candidate proved, last; None for never. `proved_at`: UTC seconds of the last proof.
    `renewals` of the token in hand and `mints` of the process, oldest first.
    """

    now_ns: int
    utc_s: int
    standing: Standing
    expires_at: int | None = None
    was_minted: bool = False
    can_mint: bool = False
    sessions: tuple[TradingSession, ...] = ()
    candidate: Candidate | None = None
    looked_ns: int | None = None
    asked_ns: int | None = None
    tried_ns: int | None = None
    proved_at: int | None = None
    renewals: tuple[Attempt, ...] = ()
    mints: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    until_ns: int


@dataclass(frozen=True, slots=True)
class ReadSource:
    pass


@dataclass(frozen=True, slots=True)
class TryCandidate:
    """Prove the candidate with GET /profile; accepted, it takes the place of the token in hand."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Prove the token in hand with GET /profile. Only a definite refusal kills it: an unreachable broker proves nothing."""


@dataclass(frozen=True, slots=True)
class Renew:
    pass


@dataclass(frozen=True, slots=True)
class Mint:
    """`step`: of the TOTP code to send."""

    step: int


class Trouble(Enum):
    NOTHING_TO_MINT_WITH = auto()
    CREDENTIALS_REFUSED = auto()
    SOMEONE_ELSE_MINTS = auto()
    NO_TOKEN_GIVEN = auto()


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A person is needed. `until_ns`: when to plan again; the sources are still read meanwhile."""

    until_ns: int
    trouble: Trouble


Step: TypeAlias = Wait | ReadSource | TryCandidate | Verify | Renew | Mint | GiveUp


@dataclass(frozen=True, slots=True)
class TokenStatus:
    """For the view. `expires_at` UTC seconds, None when not known. `taken_up`: from a source that a person changed."""

    standing: Standing
    expires_at: int | None
    last_step: str
    renewed: int
    minted: int
    taken_up: int

    @property
    def is_dead(self) -> bool:
        return self.standing in {Standing.DEAD, Standing.ABSENT}
