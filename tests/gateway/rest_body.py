"""The JSON body of a write: read for its keys only. The values go to the database as the text that came."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.rest_errors import RestError
from tests.gateway.rest_sql import Table


def objects_of(body: str) -> tuple[list[dict[str, Any]], str]:
    """The objects of a body for their keys, and the body as the text of an array for the database."""
    try:
        value = json.loads(body)
    except ValueError as e:
        raise RestError(400, "PGRST102", "Empty or invalid json") from e
    objects = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in objects):
        raise RestError(400, "PGRST102", "All object keys must match")
    return objects, body if isinstance(value, list) else f"[{body}]"


def common_keys(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    """The keys that all objects have; RestError PGRST102 (400) when they differ."""
    keys = tuple(objects[0]) if objects else ()
    if any(set(one) != set(keys) for one in objects):
        raise RestError(400, "PGRST102", "All object keys must match")
    return keys


def check_columns(table: Table, columns: tuple[str, ...]) -> None:
    """Raises RestError PGRST204 (400) for a key that is no column."""
    for column in columns:
        if column not in table.columns:
            message = f"Could not find the '{column}' column of '{table.name}' in the schema cache"
            raise RestError(400, "PGRST204", message)
