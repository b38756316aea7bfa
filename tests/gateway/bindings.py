"""What a channel asks of the change subscription: the entries of `config.postgres_changes` in a join."""

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

from tests.gateway.wal import Change

_ID_RANGE: Final = 2**27
_FILTER: Final = re.compile(r"(?P<column>\w+)=eq\.(?P<value>[^,]*)")


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `config.postgres_changes`."""

    id: int
    asked: dict[str, Any]
    event: str
    schema: str
    table: str
    column: str | None
    """Column of the filter, which must be `column=eq.value`. None without a filter."""
    value: str | None
    problem: str | None
    """Why this gateway cannot serve the binding."""

    @property
    def described(self) -> str:
        filters = self.asked.get("filter", [])
        return f"event: {self.event}, schema: {self.schema}, table: {self.table}, filters: {filters}, select: nil"

    def matches(self, change: Change) -> bool:
        """True when the change is of this table and kind, and passes the filter: the new row, or what is known of a deleted one."""
        if self.event not in ("*", change.kind) or self.schema not in ("*", change.schema):
            return False
        if self.table not in ("*", change.table):
            return False
        if self.column is None:
            return True
        row = change.old if change.kind == "DELETE" else change.old | change.new
        value = row.get(self.column)
        return value is not None and _as_text(value) == self.value


def binding_of(asked: dict[str, Any]) -> Binding:
    text = (asked.get("filter") or "").strip()
    match = _FILTER.fullmatch(text)
    problem = None
    if text and match is None:
        problem = f"Error parsing `filter` params: {text} (this gateway knows column=eq.value only)"
    if asked.get("select"):
        problem = "Error parsing `select` params: this gateway sends whole rows only"
    return Binding(
        id=zlib.crc32(json.dumps(asked, sort_keys=True).encode()) % _ID_RANGE,
        asked=asked,
        event=str(asked.get("event", "*")).upper(),
        schema=asked.get("schema", "public"),
        table=asked.get("table", "*"),
        column=match["column"] if match else None,
        value=match["value"] if match else None,
        problem=problem,
    )


def _as_text(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value
