"""The exchange's own log: what reached it and what it did, the ground truth of tests. It holds no token."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from core.paper.wall_clock import WallClock

LONGEST_LIST = 50
SECRET_WORDS = ("token", "pin", "totp", "secret")


def without_secrets(body: object) -> object:
    """The same JSON value with every field hidden whose name speaks of a credential."""
    match body:
        case dict():
            return {
                key: "hidden" if any(word in str(key).lower() for word in SECRET_WORDS) else without_secrets(value)
                for key, value in body.items()
            }
        case list():
            return [without_secrets(item) for item in body]
        case _:
            return body


def shortened(body: dict[str, object]) -> dict[str, object]:
    """Long lists by their beginning only: a day of quote requests for a thousand instruments must fit in memory."""
    return {
        name: [*value[:LONGEST_LIST], f"and {len(value) - LONGEST_LIST} more"]
        if isinstance(value, list) and len(value) > LONGEST_LIST
        else value
        for name, value in body.items()
    }


class EventLog:
    """In memory (the newest `limit` events) and, with a path, as JSON lines. `at_ns` is UTC."""

    def __init__(self, clock: WallClock, limit: int, path: Path | None) -> None:
        self.events: deque[dict[str, object]] = deque(maxlen=limit)
        self._clock = clock
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        self._number = 0

    def add(self, event: str, **facts: object) -> None:
        self._number += 1
        record: dict[str, object] = {"n": self._number, "at_ns": self._clock.utc_ns(), "event": event, **facts}
        self.events.append(record)
        if self._file:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def of(self, event: str) -> list[dict[str, object]]:
        return [record for record in self.events if record["event"] == event]

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
