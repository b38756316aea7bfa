"""What a person is told about the access token: each thing once in its episode, with what he can do. Never the token."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.dhan.token_facts import Trouble
from core.model.commands import Alert, Severity
from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

FRESH_ONE: Final = (
    "Put a fresh token into .env or into the file named by DHAN_ACCESS_TOKEN_FILE: it is taken up within seconds, "
    "no restart needed."
)
_SUBJECTS: Final = {
    Trouble.NOTHING_TO_MINT_WITH: "the access token is dead",
    Trouble.CREDENTIALS_REFUSED: "Dhan refuses PIN and TOTP",
    Trouble.SOMEONE_ELSE_MINTS: "another program mints tokens for this account",
    Trouble.NO_TOKEN_GIVEN: "Dhan gives no new access token",
}
_REMEDIES: Final = {
    Trouble.NOTHING_TO_MINT_WITH: f"{FRESH_ONE} With DHAN_PIN and DHAN_TOTP_SECRET the next start can do that by itself.",
    Trouble.CREDENTIALS_REFUSED: (
        f"Check DHAN_PIN, DHAN_TOTP_SECRET and this machine's clock, then restart. {FRESH_ONE} It is tried again "
        "only after an hour: more wrong tries could lock the account."
    ),
    Trouble.SOMEONE_ELSE_MINTS: (
        "Each new token kills the one before, and ours were killed again and again. Stop the other program, or let this one "
        f"live on its token: remove DHAN_PIN and DHAN_TOTP_SECRET here. {FRESH_ONE}"
    ),
    Trouble.NO_TOKEN_GIVEN: f"It was asked for several times and is asked for again later. {FRESH_ONE}",
}


class TokenOrigin(StrEnum):
    """Where the token in hand comes from. FOUND: in the environment, in `.env` or in a token file."""

    FOUND = "found in .env or the token file"
    RENEWED = "renewed by Dhan"
    MINTED = "made with PIN and TOTP"


class TokenNews:
    """`alert` gets each text once until `over`, and again when it has become more urgent."""

    def __init__(self, alert: Callable[[Alert], None], *, can_mint: bool) -> None:
        self._alert = alert
        self._can_mint = can_mint
        self._told: set[tuple[Severity, str]] = set()
        self._problems: tuple[str, ...] = ()
        self._named: set[str] = set()

    def over(self) -> None:
        """The token works, or another is in place: whatever comes now is a new episode."""
        self._told.clear()

    def trouble(self, trouble: Trouble, reason: str, *, is_urgent: bool) -> None:
        self._tell(_severity(is_urgent=is_urgent), _SUBJECTS[trouble], _joined(reason, _REMEDIES[trouble]))

    def slow(self, reason: str, *, is_urgent: bool) -> None:
        """Dead for seconds, and no new one yet although one can be minted."""
        text = _joined(reason, "A new one is being asked for.", FRESH_ONE)
        self._tell(_severity(is_urgent=is_urgent), "the access token is dead", text)

    def replaced(self, origin: TokenOrigin, expires_at: int | None, *, kills_configured: bool) -> None:
        self.over()
        text = f"It was {origin} and lives until {_clock_text(expires_at)}."
        if kills_configured:
            remedy = (
                "the next start mints another" if self._can_mint else "put a fresh one there before the next restart"
            )
            text += f" The token in .env is dead now: {remedy}."
        self._tell(Severity.INFO, "a new access token is in place", text)

    def revived(self) -> None:
        self.over()
        self._tell(Severity.INFO, "the access token works again", "Dhan had refused it and accepts it now.")

    def ends_soon(self, expires_at: int | None) -> None:
        text = f"It dies at {_clock_text(expires_at)} and could not be renewed. {FRESH_ONE}"
        self._tell(Severity.WARNING, "the access token ends soon", text)

    def ends_in_session(self, expires_at: int | None) -> None:
        text = (
            f"It dies at {_clock_text(expires_at)}, before the session ends. A quarter of an hour before, Dhan is asked to renew "
            f"it; that works only for tokens from its web site. {FRESH_ONE}"
        )
        self._tell(Severity.WARNING, "the access token dies during the session", text)

    def clock_differs(self) -> None:
        text = "Dhan accepts a token that has expired by this machine's clock. Check the clock: times of exits depend on it."
        self._tell(Severity.WARNING, "the clock may be wrong", text)

    def candidate_refused(self, reason: str) -> None:
        text = _joined(
            "Dhan refused the token that was put into .env or the token file", reason, "Copy it again, whole."
        )
        self._alert(Alert(Severity.WARNING, "the new access token is refused", text))

    def unreadable(self, problems: tuple[str, ...]) -> None:
        """Told in the log at the second look in a row: the first may have met a file that was just being written."""
        for problem in self._lasting(problems):
            logger.warning("the access token's source: %s", problem)
        self._problems = problems

    def _lasting(self, problems: tuple[str, ...]) -> Iterable[str]:
        new = [problem for problem in problems if problem in self._problems and problem not in self._named]
        self._named = (self._named & set(problems)) | set(new)
        return new

    def _tell(self, severity: Severity, subject: str, text: str) -> None:
        if (severity, subject) not in self._told:
            self._told.add((severity, subject))
            self._alert(Alert(severity, subject, text))


def refusal_text(trouble: Trouble, reason: str) -> str:
    """For the error that ends a start. `exit_codes` adds the remedy with the fresh token."""
    match trouble:
        case Trouble.NOTHING_TO_MINT_WITH:
            return reason
        case Trouble.CREDENTIALS_REFUSED:
            return _joined(reason, "Check DHAN_PIN, DHAN_TOTP_SECRET and this machine's clock")
        case Trouble.SOMEONE_ELSE_MINTS | Trouble.NO_TOKEN_GIVEN:
            return _joined(_SUBJECTS[trouble], reason)


def _severity(*, is_urgent: bool) -> Severity:
    return Severity.PAGE if is_urgent else Severity.WARNING


def _joined(*sentences: str) -> str:
    return " ".join(each if each.endswith((".", ":")) else f"{each}." for each in sentences if each)


def _clock_text(utc_s: int | None) -> str:
    return "an unknown time" if utc_s is None else f"{ist_datetime(utc_s * NS_PER_S):%d %b %H:%M} IST"
