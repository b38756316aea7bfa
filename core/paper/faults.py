"""Injected faults: which, where, when. From a JSON file at the start, or one at a time while the exchange runs.

{"faults": [{"kind": "drop_response_after_accept", "where": {"side": "BUY", "nth": 1}},
            {"kind": "feed_reset", "after_s": 20, "every_s": 60, "where": {"connection": "random"}}]}

The kinds and their fields: `fault_kinds`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from core.model.errors import ConfigurationError
from core.paper.fault_kinds import AT_A_REQUEST, OF_ORDERS, FaultKind
from core.paper.odd_packets import Shape
from core.paper.options import TokenDeath
from core.paper.order_update_frames import FrameShape

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a request, an order, a subscription or a connection looks like to `where`."""

    method: str = ""
    path: str = ""
    side: str = ""
    security_id: str = ""
    connection: int | None = None


@dataclass(slots=True)
class Fault:
    """`nth` counts the occasions that match the rest of `where`, from 1; `times` limits how often it happens."""

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    side: str | None = None
    security_id: str | None = None
    connection: int | str | None = None
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
    factor: float | None = None
    with_book: bool = False
    shape: str | None = None
    without: str = "ask"
    window_s: float = 0.05
    sockets: str | None = None
    lag: tuple[tuple[float, float], ...] = ()
    redraw_s: float = 1.0
    seen: int = field(default=0, init=False)
    happened: int = field(default=0, init=False)

    def fits(self, occasion: Occasion) -> bool:
        path = self.path
        return (
            (self.method is None or self.method == occasion.method)
            and (path is None or occasion.path == path or occasion.path.startswith(f"{path}/"))
            and (self.side is None or self.side == occasion.side)
            and (self.security_id is None or self.security_id in occasion.security_id.split(","))
            and (not isinstance(self.connection, int) or self.connection == occasion.connection)
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

    def number(self, default: int) -> int:
        """`code` as a number of the feed."""
        return int(self.code) if self.code else default


WHERE_FIELDS: Final = {"method", "path", "side", "security_id", "connection", "nth", "every", "probability", "times"}
LAG_FIELDS: Final = {"lag_s", "p50_s", "p99_s", "max_s", "quantiles"}
NUMBERS: Final = {"seconds", "after_s", "every_s", "status", "factor", "window_s", "redraw_s", "probability"}
OTHERS: Final = {"kind", "code", "message", "after_accept", "with_book", "shape", "without", "sockets"}
OWN_FIELDS: Final = (NUMBERS - WHERE_FIELDS) | OTHERS | LAG_FIELDS
CHOICES: Final[dict[str, frozenset[str]]] = {
    "without": frozenset({"ask", "bid", "both"}),
    "sockets": frozenset(TokenDeath),
}
SHAPES: Final[dict[FaultKind, frozenset[str]]] = {
    FaultKind.FEED_PACKET: frozenset(Shape),
    FaultKind.ORDER_UPDATES_FRAME: frozenset(FrameShape),
}
LIVE_WORDS: Final = frozenset({"oldest", "newest", "random"})


def read_fault(raw: object) -> Fault:
    """Raises ConfigurationError naming what is wrong."""
    remedy = f"Kinds: {', '.join(FaultKind)}."
    if not isinstance(raw, dict):
        raise ConfigurationError(f"A fault must be an object, received {raw!r}.", remedy)
    where = dict(raw.get("where") or {})
    own = {name: value for name, value in raw.items() if name != "where"}
    # These two are as clear outside of `where`.
    where |= {name: own.pop(name) for name in ("security_id", "connection") if name in own}
    strange = (set(own) - OWN_FIELDS) | (set(where) - WHERE_FIELDS)
    if strange or own.get("kind") not in set(FaultKind):
        raise ConfigurationError(f"Fault {raw!r} has an unknown kind or field {sorted(strange)}.", remedy)
    kind = FaultKind(own.pop("kind"))
    _check_values(kind, where | own)
    if isinstance(where.get("path"), str):
        where["path"] = where["path"].removeprefix("/v2")
    elif kind in OF_ORDERS:
        where = {"path": "/orders", "method": "POST", **where}
    lag = {name: own.pop(name) for name in LAG_FIELDS if name in own}
    if kind is FaultKind.FEED_LAG:
        own["lag"] = _lag(lag)
    for name in ("security_id", "code"):
        holder = where if name == "security_id" else own
        if name in holder:
            holder[name] = str(holder[name])
    return Fault(kind, **where, **own)


def _check_values(kind: FaultKind, values: dict[str, object]) -> None:
    for name in NUMBERS & values.keys():
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ConfigurationError(f"{kind}: {name} must be a number, not negative; received {value!r}.", "")
    allowed = CHOICES | ({"shape": SHAPES[kind]} if kind in SHAPES and "message" not in values else {})
    for name, words in allowed.items():
        if (name in values or name == "shape") and values.get(name) not in words:
            raise ConfigurationError(f"{kind}: {name} {values.get(name)!r} is unknown.", f"Known: {sorted(words)}.")
    connection = values.get("connection")
    if isinstance(connection, str) and connection not in LIVE_WORDS:
        raise ConfigurationError(
            f"{kind}: connection {connection!r} is unknown.", f"A number, or {sorted(LIVE_WORDS)}."
        )
    if kind in {FaultKind.FEED_UNSUBSCRIBE, FaultKind.FEED_FREAK} and "security_id" not in values:
        raise ConfigurationError(f"{kind} needs a security_id.", "")


def _lag(given: dict[str, object]) -> tuple[tuple[float, float], ...]:
    """(probability, seconds) with both rising: from `quantiles`, from p50/p99/max, or one `lag_s` for all."""
    try:
        if "quantiles" in given:
            points = [(float(q), float(s)) for q, s in given["quantiles"]]  # type: ignore[attr-defined]
        elif "lag_s" in given:
            points = [(0.0, float(str(given["lag_s"])))]
        else:
            p50_s = float(str(given["p50_s"]))
            p99_s = float(str(given.get("p99_s", p50_s)))
            points = [(0.0, p50_s / 4), (0.5, p50_s), (0.99, p99_s), (1.0, float(str(given.get("max_s", p99_s))))]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"feed_lag: {given!r} is no distribution.", "Give lag_s, p50_s or quantiles."
        ) from error
    if points != sorted(points) or [s for _, s in points] != sorted(s for _, s in points) or points[0][1] < 0:
        raise ConfigurationError(f"feed_lag: {points} must rise.", "Give [[0, 0.1], [0.5, 1.4], [1, 198]].")
    return tuple(points)


class Faults:
    """The faults in force. Drawn from one seeded generator, so that a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  repeatable faults
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
            if fault.kind in kinds and fault.fits(occasion) and fault.is_due(self.random) and found is None:
                found = fault
        return found

    def scheduled(self) -> list[Fault]:
        return [fault for fault in self.active if fault.kind not in AT_A_REQUEST]

    def clear(self) -> None:
        self.active.clear()
