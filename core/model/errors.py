"""The error tree, by what the caller may do.

MonitorError
├─ ConfigurationError     options or settings are wrong: tell the operator, exit 2
├─ RefusedError           broker or store said no for certain: tell the operator, exit 4 at start-up
│   ├─ TokenError         mint or fetch a new token, then go on
│   └─ RateLimitedError   wait, then ask again
├─ TransportError         the network or the peer failed: reads may be repeated; a sent order is UNKNOWN
├─ DecodeError            a message made no sense: count it, skip it
├─ RowError               one row made no sense: set it aside, name it, keep the others
├─ StoreError             the store cannot be used as it is (schema, permission)
├─ AlreadyRunningError    another monitor holds the state directory: exit 75
└─ BugError               ours: stop loudly
"""

from __future__ import annotations


class MonitorError(Exception):
    """Root of what this program raises on purpose."""


class ConfigurationError(MonitorError):
    """Options or settings are wrong. `remedy` says how to mend it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class RefusedError(MonitorError):
    """The peer refused for certain: it did nothing, and asking again unchanged gets the same answer.

    `code` is the peer's own code ("DH-905"), "" when it gave none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class TokenError(RefusedError):
    """The access token is expired, invalid or of another account."""


class RateLimitedError(RefusedError):
    """Too many requests. The peer names no time to wait: own back-off."""


class TransportError(MonitorError):
    """No usable answer. A read may be repeated; whether a sent order took effect is unknown."""


class DecodeError(MonitorError):
    """Bytes or JSON that fit no documented shape."""


class RowError(MonitorError):
    """One row of a table cannot be read. Names the row and the column. `strategy_id` is None where the row does not say."""

    def __init__(self, table: str, row: object, problem: str, strategy_id: int | None = None) -> None:
        super().__init__(f"{table} row {row}: {problem}")
        self.table = table
        self.row = row
        self.problem = problem
        self.strategy_id = strategy_id


class StoreError(MonitorError):
    """The store is unreachable, lacks a table or column, or denies access."""


class AlreadyRunningError(MonitorError):
    """Another monitor holds the state directory."""


class BugError(MonitorError):
    """A state this program must never reach."""
