"""What one role is told about one change: columns it may read, values rendered by PostgreSQL, row-level security."""

import json
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from tests.gateway.wal import PUBLICATION, Change, Values

_FACTS: Final = """
select a.attname as name, t.typname as type, a.atttypid::regtype::text as full_type,
       coalesce(a.attnum = any(i.indkey), false) as is_key,
       has_column_privilege($3, a.attrelid, a.attnum, 'SELECT') as is_readable, c.relrowsecurity as is_guarded
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""
_PUBLISHED: Final = """
select exists (
    select 1 from pg_publication_tables
    where pubname = $1 and ($2 = '*' or schemaname = $2) and ($3 = '*' or tablename = $3)
)
"""
_SHORT_VALUE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Column:
    """One column as one role sees it."""

    name: str
    type: str
    full_type: str
    """As SQL writes it, without a length: the real server cuts `char(5)` to one character, and so does this one."""
    is_key: bool
    is_readable: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """One table as one role sees it, in the order of its columns."""

    columns: tuple[Column, ...]
    is_guarded: bool

    @property
    def key(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_key)

    @property
    def readable(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_readable)


class RoleViews:
    """Renders changes for roles. Holds the facts of the tables until `forget`."""

    def __init__(self, connection: asyncpg.Connection, max_record_bytes: int) -> None:
        self._connection = connection
        self._max_record_bytes = max_record_bytes
        self._facts: dict[tuple[str, str, str], Facts] = {}

    async def view(self, change: Change, claims: dict[str, Any]) -> str | None:
        """Return the event's `data` as JSON text. None when the row is hidden from these claims."""
        facts = await self.facts(change.schema, change.table, claims["role"])
        head = {"schema": change.schema, "table": change.table, "type": change.kind}
        if change.kind != "DELETE":
            if not facts.key:
                return _refusal(head, "Error 400: Bad Request, no primary key")
            if not all(column.is_readable for column in facts.key):
                return _refusal(head, "Error 401: Unauthorized")
            if facts.is_guarded and not await self._is_visible(change, facts, claims):
                return None
        return await self._render(change, facts, head)

    async def facts(self, schema: str, table: str, role: str) -> Facts:
        name = (schema, table, role)
        if name not in self._facts:
            rows = await self._connection.fetch(_FACTS, *name)
            columns = tuple(
                Column(row["name"], row["type"], row["full_type"], row["is_key"], row["is_readable"]) for row in rows
            )
            self._facts[name] = Facts(columns, any(row["is_guarded"] for row in rows))
        return self._facts[name]

    async def is_published(self, schema: str, table: str) -> bool:
        return bool(await self._connection.fetchval(_PUBLISHED, PUBLICATION, schema, table))

    async def is_role(self, role: str) -> bool:
        return bool(await self._connection.fetchval("select true from pg_roles where rolname = $1", role))

    async def _is_visible(self, change: Change, facts: Facts, claims: dict[str, Any]) -> bool:
        """Ask as that role, with its claims, as the real server does: by key, and at the time of the reading."""
        match = " and ".join(
            f"{_name(column.name)} = {_text(change.new[column.name])}::{column.full_type}" for column in facts.key
        )
        question = f"select exists (select 1 from {_name(change.schema)}.{_name(change.table)} where {match})"  # noqa: S608 - quoted names, test-only
        async with self._connection.transaction():
            await self._connection.execute(
                "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
                claims["role"],
                json.dumps(claims),
            )
            return bool(await self._connection.fetchval(question))

    async def _render(self, change: Change, facts: Facts, head: dict[str, Any]) -> str:
        is_large = change.size > self._max_record_bytes
        data = head | {
            "commit_timestamp": change.committed,
            "columns": [{"name": column.name, "type": column.type} for column in facts.readable],
            "errors": ["Error 413: Payload Too Large"] if is_large else None,
        }
        parts = [json.dumps(data)[1:-1]]
        if change.kind != "DELETE":
            # A large column that the UPDATE did not touch is only in the old row, and there only with identity FULL.
            record = await self._row(facts, facts.readable, change.old | change.new, is_large=is_large)
            parts.append(f'"record": {record}')
        if change.kind != "INSERT":
            hides = change.kind == "DELETE" and facts.is_guarded
            shown = tuple(column for column in facts.readable if column.is_key or not hides)
            parts.append(f'"old_record": {await self._row(facts, shown, change.old, is_large=is_large)}')
        return "{" + ", ".join(parts) + "}"

    async def _row(self, facts: Facts, shown: tuple[Column, ...], values: Values, *, is_large: bool) -> str:
        """Return a row as JSON text. PostgreSQL writes it: numerics keep their digits, times become ISO."""
        names = [column.name for column in shown]
        return str(await self._connection.fetchval(_row_sql(facts), json.dumps(values), names, is_large))


def _row_sql(facts: Facts) -> str:
    cells = ", ".join(
        f"({_text(column.name)}, to_jsonb(($1::jsonb ->> {_text(column.name)})::{_cast(column)}))"
        for column in facts.columns
    )
    return (
        "select coalesce(jsonb_object_agg(v.name, v.value), '{}')::text "  # noqa: S608 - quoted names, test-only
        f"from (values {cells}) as v(name, value) where $1::jsonb ? v.name and v.name = any($2::text[]) "
        f"and (not $3::boolean or octet_length(v.value::text) <= {_SHORT_VALUE_BYTES})"
    )


def _cast(column: Column) -> str:
    return "text" if column.type == "bytea" else column.full_type


def _refusal(head: dict[str, Any], error: str) -> str:
    """The real server fills what it did not render with nothing. The official client rejects the missing time."""
    data = head | {"commit_timestamp": None, "columns": [], "errors": [error], "record": {}}
    return json.dumps(data | {"old_record": {}} if head["type"] == "UPDATE" else data)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str | bool | None) -> str:
    return "'" + str(value).replace("'", "''") + "'"
