"""What the process ends with, and what it says on stderr then: one sentence on what is wrong, one on how to mend it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from core.model.errors import (
    AlreadyRunningError,
    BugError,
    ConfigurationError,
    MonitorError,
    RateLimitedError,
    StoreError,
    TokenError,
    TransportError,
)

IN_THE_LOG: Final = "The trace is in the log."
"""Note on an exception whose trace has been logged, so that it need not be printed."""


class ExitCode(IntEnum):
    CLEAN = 0
    BUG = 1
    BAD_OPTIONS = 2
    UNRESOLVED = 3
    REFUSED = 4
    ALREADY_RUNNING = 75


def only_error(error: Exception) -> Exception:
    """The error inside groups of one, as a task group wraps it; in a larger group the first of the worst kind."""
    if not isinstance(error, ExceptionGroup):
        return error
    inner = [only_error(each) for each in error.exceptions]
    return next((each for each in inner if code_of(each) is ExitCode.BUG), inner[0])


def code_of(error: Exception) -> ExitCode:
    match error:
        case ConfigurationError():
            return ExitCode.BAD_OPTIONS
        case AlreadyRunningError():
            return ExitCode.ALREADY_RUNNING
        case MonitorError() if not isinstance(error, BugError):
            return ExitCode.REFUSED
        case _:
            return ExitCode.BUG


def sentences(error: Exception) -> str:
    """What to print. The errors of this program carry no secret in their text; of any other only the kind is told."""
    match error:
        case ConfigurationError():
            return f"{error.problem}\n{error.remedy}"
        case AlreadyRunningError():
            return str(error)
        case TokenError():
            remedy = "Put a fresh one into .env, or into the file that DHAN_ACCESS_TOKEN_FILE names."
            return f"Dhan refused the access token: {_sentence(error)}\n{remedy}"
        case RateLimitedError():
            return f"Too many requests: {_sentence(error)}\nWait a minute, then start again."
        case StoreError():
            # Its text ends with the remedy: which one depends on the store.
            return f"The trades cannot be used: {_sentence(error)}"
        case TransportError():
            return f"No connection: {_sentence(error)}\nCheck the network and the addresses in .env, then start again."
        case MonitorError() if not isinstance(error, BugError):
            return f"Refused: {_sentence(error)}\nMend that with the broker or in the data, then start again."
        case _:
            return f"A bug in this program ended it: {type(error).__name__}."


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
