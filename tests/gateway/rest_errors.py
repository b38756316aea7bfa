"""What goes wrong in a REST request, as PostgREST words it: a status, and a body of code, message, details and hint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import asyncpg

# From the longest to the shortest beginning of an SQLSTATE; what is not here answers 400.
# Source: mapSQLtoHTTP in PostgREST's Error.hs (version 13).
_STATUSES: Final[Mapping[str, int]] = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53400": 500,
    "57P01": 503,
    "P0001": 400,
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}

_TERMINATED: Final = "terminating connection due to administrator command"


class RestError(Exception):
    """One refused request."""

    def __init__(
        self, status: int, code: str | None, message: str, *, details: str | None = None, hint: str | None = None
    ):
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = json.dumps({"code": code, "details": details, "hint": hint, "message": message})


class KeyRefusedError(RestError):
    """The gateway in front of PostgREST refused the API key. Its body has no code and no details."""

    def __init__(self, message: str, hint: str):
        super().__init__(401, None, message)
        self.body = json.dumps({"message": message, "hint": hint})


def from_postgres(error: asyncpg.PostgresError, *, anonymous: bool) -> RestError:
    """The database refused. `anonymous`: the request came as the role without a token's rights."""
    state, message = error.sqlstate or "XX000", str(error.args[0])
    detail, hint = getattr(error, "detail", None), getattr(error, "hint", None)
    return RestError(_status(state, message, anonymous=anonymous), state, message, details=detail, hint=hint)


def from_connection(error: Exception) -> RestError:
    """The database could not be asked at all."""
    if isinstance(error, TimeoutError):
        return RestError(504, "PGRST003", "Timed out acquiring connection from connection pool.")
    # The roll-back on a lost connection fails as well, and hides why it was lost; the driver hides the server's code.
    if _TERMINATED in f"{error} {error.__context__}":
        return RestError(503, "57P01", _TERMINATED)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.ConnectionDoesNotExistError):
        return RestError(503, "PGRST001", "Database client error. Retrying the connection.", details=str(error))
    return RestError(503, "PGRST000", "Database connection error. Retrying the connection.", details=str(error))


def unparsable(what: str, text: str, unexpected: str) -> RestError:
    """A query parameter that PostgREST could not read."""
    return RestError(400, "PGRST100", f'"failed to parse {what} ({text})" (line 1, column 1)', details=unexpected)


def unsupported(what: str) -> RestError:
    """PostgREST can do this, this gateway cannot: say so loudly."""
    return RestError(400, "PGRST127", "Feature not implemented", details=f"the test gateway has no {what}")


def _status(state: str, message: str, *, anonymous: bool) -> int:
    if state == "42501":
        return 401 if anonymous else 403
    if state == "22023" and message.startswith("role") and message.endswith("does not exist"):
        return 401
    if state.startswith("PT") and state[2:].isdigit():
        return int(state[2:])
    return next((status for start, status in _STATUSES.items() if state.startswith(start)), 400)
