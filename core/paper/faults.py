"""Injected faults: which, where, when. From a JSON file at the start, or one at a time while the exchange runs.

{"faults": [{"kind": "drop_response_after_accept", "where": {"side": "BUY", "nth": 1}},
            {"kind": "feed_reset", "after_s": 20, "every_s": 60}]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

from core.model.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


class FaultKind(StrEnum):
    DROP_RESPONSE = "drop_response_after_accept"
    """TCP reset after the request took effect."""
    LOSE = "lose_before_accept"
    """TCP reset, the request never takes effect."""
    LATE_ARRIVAL = "late_arrival"
    """TCP reset at once; the request takes effect `seconds` later."""
    DELAY = "delay_response"
    """The answer comes `seconds` later; the request took effect at once."""
    HTTP_5XX = "http_5xx"
    """`status` (default 502) with an HTML body, before the request takes effect unless `after_accept` is true."""
    GARBAGE = "garbage_200"
    """The request takes effect, the answer is 200 with an HTML body."""
    REFUSE = "refuse"
    """Refused before it takes effect: `status`, `code`, `message`."""
    RATE_LIMIT = "rate_limit"
    REJECT = "reject"
    """Answered 200, then REJECTED with `message`."""
    FEED_RESET = "feed_reset"
    FEED_SILENCE = "feed_silence"
    """`seconds` without data while the socket stays open and pings flow; with `security_id` only that instrument."""
    FEED_DISCONNECT = "feed_disconnect"
    """Code-50 packet with `code` (default 800), then close."""
    FEED_DROP_AFTER_101 = "feed_drop_after_101"
    """For `seconds`, every new feed connection is reset right after the upgrade."""
    FEED_429 = "feed_429"
    """For `seconds`, every upgrade of the feed is answered 429."""
    FEED_IGNORE_SUBSCRIBE = "feed_ignore_subscribe"
    ORDER_UPDATES_RESET = "order_updates_reset"
    ORDER_UPDATES_SILENCE = "order_updates_silence"
    TOKEN_INVALIDATED = "token_invalidated"  # noqa: S105  the name of a fault


OF_THE_CONNECTION: Final = frozenset(
    {
        FaultKind.FEED_RESET,
        FaultKind.FEED_SILENCE,
        FaultKind.FEED_DISCONNECT,
        FaultKind.FEED_DROP_AFTER_101,
        FaultKind.FEED_429,
        FaultKind.ORDER_UPDATES_RESET,
        FaultKind.ORDER_UPDATES_SILENCE,
        FaultKind.TOKEN_INVALIDATED,
    }
)
"""Happen at a time, not at a request."""
OF_ORDERS: Final = frozenset({FaultKind.DROP_RESPONSE, FaultKind.LOSE, FaultKind.LATE_ARRIVAL, FaultKind.REJECT})
"""Without a path in `where`, these mean POST /orders."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a request, an order or a subscription looks like to `where`."""

    method: str = ""
    path: str = ""
    side: str = ""
    security_id: str = ""


@dataclass(slots=True)
class Fault:
    """`nth` counts the occasions that match the rest of `where`, from 1; `times` limits how often it happens."""

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    side: str | None = None
    security_id: str | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    seconds: float = 0.0
    after_s: float = 0.0
    every_s: float | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    after_accept: bool = False
    seen: int = field(default=0, init=False)
    happened: int = field(default=0, init=False)

    def fits(self, occasion: Occasion) -> bool:
        path = self.path
        return (
            (self.method is None or self.method == occasion.method)
            and (path is None or occasion.path == path or occasion.path.startswith(f"{path}/"))
            and (self.side is None or self.side == occasion.side)
            and (self.security_id is None or self.security_id == occasion.security_id)
        )

    def is_due(self, random: Random) -> bool:
        """Count one fitting occasion and say whether the fault happens now."""
        self.seen += 1
        due = (
            (self.nth is None or self.seen == self.nth)
            and (self.every is None or self.seen % self.every == 0)
            and (self.probability is None or random.random() < self.probability)
            and (self.times is None or self.happened < self.times)
        )
        self.happened += due
        return due


WHERE_FIELDS: Final = {"method", "path", "side", "security_id", "nth", "every", "probability", "times"}
OWN_FIELDS: Final = {"kind", "seconds", "after_s", "every_s", "status", "code", "message", "after_accept"}


def read_fault(raw: object) -> Fault:
    """Raises ConfigurationError naming what is wrong."""
    remedy = f"Kinds: {', '.join(FaultKind)}."
    if not isinstance(raw, dict):
        raise ConfigurationError(f"A fault must be an object, received {raw!r}.", remedy)
    where = raw.get("where") or {}
    own = {name: value for name, value in raw.items() if name != "where"}
    strange = (set(own) - OWN_FIELDS) | (set(where) - WHERE_FIELDS)
    if strange or own.get("kind") not in set(FaultKind):
        raise ConfigurationError(f"Fault {raw!r} has an unknown kind or field {sorted(strange)}.", remedy)
    kind = FaultKind(own.pop("kind"))
    where = dict(where)
    if isinstance(where.get("path"), str):
        where["path"] = where["path"].removeprefix("/v2")
    elif kind in OF_ORDERS:
        where = {"path": "/orders", "method": "POST", **where}
    for name in ("security_id", "code"):
        holder = where if name == "security_id" else own
        if name in holder:
            holder[name] = str(holder[name])
    return Fault(kind, **where, **own)


class Faults:
    """The faults in force. Drawn from one seeded generator, so that a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  repeatable faults
        self.active: list[Fault] = []

    def load(self, path: Path) -> None:
        """Raises ConfigurationError when the file cannot be read as faults."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            self.active.extend(read_fault(raw) for raw in document["faults"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = 'Give a JSON file {"faults": [{"kind": …}]}.'
            raise ConfigurationError(f"{path} is no list of faults ({error}).", remedy) from error

    def due(self, kinds: frozenset[FaultKind], occasion: Occasion) -> Fault | None:
        """The first fault of these kinds that happens on this occasion. Each fitting one counts it."""
        found = None
        for fault in self.active:
            if fault.kind in kinds and fault.fits(occasion) and fault.is_due(self._random) and found is None:
                found = fault
        return found

    def scheduled(self) -> list[Fault]:
        return [fault for fault in self.active if fault.kind in OF_THE_CONNECTION]

    def clear(self) -> None:
        self.active.clear()
