"""The last good rows on disk, for a start while the project does not answer.

One JSON line that says of which project and of when, then one line for each row: written in small pieces, because a single long
one would hold up the event loop's thread too. The file holds no key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.model.session_time import NS_PER_S
from core.stores.columns import Row

if TYPE_CHECKING:
    from core.stores.supabase_access import SupabaseAccess

MAX_AGE_NS: Final = 24 * 3_600 * NS_PER_S
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class LastRows:
    """`read_at_ns`: UTC nanoseconds."""

    read_at_ns: int
    tables: Mapping[str, Sequence[Row]]


def project_digest(access: SupabaseAccess) -> str:
    """Names a project and its tables without saying them. The key is no part of it: keys change, the rows do not."""
    tables = access.tables
    # Not of the optional tables: a file of the days when they were not read is still of this project.
    parts = [access.url.rstrip("/"), tables.schema, tables.trades, tables.strategies, tables.risks, tables.levels]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class LastRowsFile:
    """Every method blocks for the disk: call it in a thread."""

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project

    def save(self, rows: LastRows) -> None:
        """Replace the file, whole or not at all. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
            for line in self._lines(rows):
                stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._path)

    def load(self, now_ns: int) -> LastRows | None:
        """The rows; None when there is no file, or it is damaged, of another project, or of another day than these 24 hours."""
        try:
            head, *rest = self._path.read_text(encoding="utf-8").splitlines()
            said = json.loads(head)
            read_at_ns, count = int(said["read_at_ns"]), int(said["rows"])
            if said["version"] != _VERSION or said["project"] != self._project or count != len(rest):
                return None
            tables: dict[str, list[Row]] = {}
            for line in rest:
                table, row = json.loads(line)
                tables.setdefault(table, []).append(dict(row))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return LastRows(read_at_ns, tables) if 0 <= now_ns - read_at_ns <= MAX_AGE_NS else None

    def _lines(self, rows: LastRows) -> Iterator[str]:
        count = sum(len(found) for found in rows.tables.values())
        head = {"version": _VERSION, "project": self._project, "read_at_ns": rows.read_at_ns, "rows": count}
        yield json.dumps(head) + "\n"
        for table, found in rows.tables.items():
            for row in found:
                # Escapes keep every line one line, whatever separators a text holds.
                yield json.dumps([table, row]) + "\n"
