"""The write-ahead log as the realtime server reads it: a temporary wal2json slot, polled with SQL."""

import json
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import uuid4

import asyncpg

Values: TypeAlias = dict[str, str | bool | None]
"""Column → value as text. Numbers stay text, so that no digit is lost on the way."""

PUBLICATION: Final = "supabase_realtime"
_KINDS: Final = {"I": "INSERT", "U": "UPDATE", "D": "DELETE"}
_TIME_FORMAT: Final = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'

# TRUNCATE is not among the actions: the real server does not ask for it either.
_READ: Final = """
select c.data, octet_length(c.data::jsonb::text) as size,
       to_char((c.data::jsonb ->> 'timestamp')::timestamptz at time zone 'utc', $2) as committed
from pg_logical_slot_get_changes(
    $1, null, null, 'format-version', '2', 'include-pk', 'true', 'include-transaction', 'false',
    'include-timestamp', 'true', 'actions', 'insert,update,delete'
) with ordinality as c(lsn, xid, data, place)
where exists (
    select 1 from pg_publication_tables p
    where p.pubname = $3 and p.schemaname = c.data::jsonb ->> 'schema' and p.tablename = c.data::jsonb ->> 'table'
)
order by c.place
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of one published row."""

    kind: str
    """INSERT, UPDATE or DELETE."""
    schema: str
    table: str
    committed: str
    """ISO time in UTC with milliseconds."""
    new: Values
    """The new row. A large column that an UPDATE did not touch is absent. Empty for DELETE."""
    old: Values
    """The replica identity before the change: the primary key, or the whole row with REPLICA IDENTITY FULL."""
    size: int
    """Bytes of the log entry as JSON, which the limit is about."""


class WalSlot:
    """One temporary slot on one connection. The slot dies with the connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._name = f"gateway_{uuid4().hex[:16]}"
        self._exists = False

    async def create(self) -> None:
        """Start to collect changes. What was committed before is not in the slot."""
        if not self._exists:
            await self._connection.execute(
                "select pg_create_logical_replication_slot($1, 'wal2json', true)", self._name
            )
            self._exists = True

    async def drop(self) -> None:
        if self._exists:
            await self._connection.execute("select pg_drop_replication_slot($1)", self._name)
            self._exists = False

    async def read(self) -> list[Change]:
        """Return every change committed since the last call, in commit order. Nothing while there is no slot.

        Only flushed commits are decoded: with `synchronous_commit = off` they would come up to 0.6 s late.
        """
        if not self._exists:
            return []
        rows = await self._connection.fetch(_READ, self._name, _TIME_FORMAT, PUBLICATION)
        return [_change(row["data"], row["size"], row["committed"]) for row in rows]


def _change(text: str, size: int, committed: str) -> Change:
    entry = json.loads(text, parse_int=str, parse_float=str)
    return Change(
        kind=_KINDS[entry["action"]],
        schema=entry["schema"],
        table=entry["table"],
        committed=committed,
        new={column["name"]: column["value"] for column in entry.get("columns", ())},
        old={column["name"]: column["value"] for column in entry.get("identity", ())},
        size=size,
    )
