"""Trades in a SQLite file."""

# ruff: noqa: S608  the names in the statements come from the tests

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from core.stores.base import TradeStore
from core.stores.schema import create_tables
from core.stores.sqlite_store import SqliteStore
from tests.contract.world import Features, Row, StoreWorld

_POLL_MS: Final = 10
_QUIET_POLL_MS: Final = 60_000
_TYPES: Final = {"key": "INTEGER PRIMARY KEY", "whole": "INTEGER", "number": "NUMERIC", "text": "TEXT", "json": "TEXT"}


class SqliteWorld(StoreWorld):
    features = Features(pushes=False, alters=True, sees_columns=True, exact=False, racing_rounds=100, many=2_400)

    def __init__(self, path: Path) -> None:
        self._path = path
        create_tables(path)

    async def insert(self, table: str, *rows: Row) -> None:
        names = list(rows[0])
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        await self._run(statement, *([_value(row[name]) for name in names] for row in rows))

    async def update(self, table: str, column: str, value: int, **changed: object) -> None:
        assignments = ", ".join(f"{name}=?" for name in changed)
        statement = f"UPDATE {table} SET {assignments} WHERE {column}=?"
        await self._run(statement, [*map(_value, changed.values()), value])

    async def delete(self, table: str, column: str, value: int) -> None:
        await self._run(f"DELETE FROM {table} WHERE {column}=?", [value])

    async def row(self, table: str, column: str, value: int | str) -> dict[str, Any]:
        (row,) = await asyncio.to_thread(self._rows, f"SELECT * FROM {table} WHERE {column}=?", value)
        return row

    async def count(self, table: str, column: str, value: int | str) -> int:
        return len(await asyncio.to_thread(self._rows, f"SELECT 1 FROM {table} WHERE {column}=?", value))

    async def drop(self, table: str) -> None:
        await self._run(f"DROP TABLE IF EXISTS {table}")

    async def drop_column(self, table: str, column: str) -> None:
        await self._run(f"ALTER TABLE {table} DROP COLUMN {column}")

    async def add_column(self, table: str, column: str, kind: str) -> None:
        await self._run(f"ALTER TABLE {table} ADD COLUMN {column} {_TYPES[kind]}")

    async def reshape(self, table: str, columns: Mapping[str, str]) -> None:
        await self.drop(table)
        definitions = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in columns.items())
        await self._run(f"CREATE TABLE {table} ({definitions})")

    def new_store(self, *, is_quiet: bool = False) -> TradeStore:
        return SqliteStore(self._path, poll_ms=_QUIET_POLL_MS if is_quiet else _POLL_MS)

    async def _run(self, statement: str, *parameters: list[object]) -> None:
        def run() -> None:
            with contextlib.closing(sqlite3.connect(self._path, timeout=20)) as connection, connection:
                connection.executemany(statement, parameters or ([],))

        await asyncio.to_thread(run)

    def _rows(self, query: str, value: int | str) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, (value,))]


def _value(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value
