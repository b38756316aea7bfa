"""A place where trades live, as another program sees it: rows are written and read here without the store under test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from core.stores.base import Snapshot, TradeStore

Row = Mapping[str, Any]

FIRST_ID: Final = 900_000_000
"""Rows and strategies of these tests have ids from here on; a real project may hold other ones, which are left alone."""


@dataclass(frozen=True)
class Features:
    """What a world can do. The tests that need more are skipped in it, and say so."""

    pushes: bool
    """A change is told at once; otherwise the store finds it when it polls."""
    alters: bool
    """Tables may be dropped and made again with other columns."""
    sees_columns: bool
    """A column that comes or goes is seen by a server that is running."""
    exact: bool
    """A numeric column keeps every digit; otherwise some fifteen."""
    racing_rounds: int
    """Rounds of twenty stores on one row."""
    many: int
    """Open rows for the test of many rows; more than the 1,000 that a project gives in one answer."""


class StoreWorld(ABC):
    """One place, empty at the start of each test. Numbers may be given as text; dicts and lists are JSON.

    `base`: what `key(n)` counts from.
    """

    features: ClassVar[Features]
    base = FIRST_ID

    def key(self, number: int) -> int:
        """The id of the test's row or strategy of this number."""
        return self.base + number

    @abstractmethod
    async def insert(self, table: str, *rows: Row) -> None:
        """All rows, which have the same columns, in one transaction."""

    @abstractmethod
    async def update(self, table: str, column: str, value: int, **changed: object) -> None:
        """The rows where `column` is `value`."""

    @abstractmethod
    async def delete(self, table: str, column: str, value: int) -> None: ...

    @abstractmethod
    async def row(self, table: str, column: str, value: int | str) -> dict[str, Any]:
        """The one row where `column` is `value`, as the database has it."""

    @abstractmethod
    async def count(self, table: str, column: str, value: int | str) -> int:
        """How many rows there are where `column` is `value`."""

    async def drop(self, table: str) -> None:
        raise NotImplementedError

    async def drop_column(self, table: str, column: str) -> None:
        raise NotImplementedError

    async def add_column(self, table: str, column: str, kind: str) -> None:
        raise NotImplementedError

    async def reshape(self, table: str, columns: Mapping[str, str]) -> None:
        """The table again, empty, with these columns of the kinds `key`, `whole`, `number`, `text` and `json`."""
        raise NotImplementedError

    @abstractmethod
    def new_store(self, *, is_quiet: bool = False) -> TradeStore:
        """A store that is not open yet. `is_quiet`: it need not notice changes."""

    @asynccontextmanager
    async def store(self, *, is_quiet: bool = False) -> AsyncIterator[TradeStore]:
        """An open store; closed in the end, also when it could not be opened."""
        store = self.new_store(is_quiet=is_quiet)
        try:
            await store.open()
            yield store
        finally:
            await store.close()

    async def until_live(self, store: TradeStore) -> None:  # noqa: B027  most worlds have nothing to wait for
        """Wait until changes are told to this store of `store()`."""

    def ours(self, snapshot: Snapshot) -> Snapshot:
        """Only what belongs to this test. All of it, except in a real project."""
        return snapshot
