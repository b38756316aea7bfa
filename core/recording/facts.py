"""What a recording holds beside the feed's frames, and its text form: one JSON object with the kind's name in "@".

Of the engine's events all are kept but those that an exit under way brings about (orders, positions, books: a replay has an
account of its own) and ticks, which are the frames. A field or a kind that this build does not know is an error: a replay
without it would be another day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, get_args

from core.journal_codec import from_fields, to_fields
from core.model import events as ev
from core.model.errors import DecodeError
from core.model.journal_records import ExitFinished, ExitStarted, LimitRecord

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

_TAG: Final = "@"


@dataclass(frozen=True, slots=True)
class RecordingHeader:
    """The first record of each file. `run` names one run of the recording program, `part` its files from 1.

    `day` is the IST date of the beginning. `source`: monitor or record_feed. `is_always_open`: MARKET_HOURS was `always`.
    `instruments` were wanted when the file was begun.
    """

    run: str
    part: int
    day: str
    build: str
    source: str
    is_always_open: bool
    instruments: tuple[InstrumentKey, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """The last record of a file that was closed and not cut off. `goes_on`: the run went on in the next part."""

    goes_on: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames and other facts that were not written, because the disk was too slow or failed. Times monotonic ns."""

    frames: int
    facts: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class LineState:
    """A connection of the feed is there, or is gone and why."""

    line: int
    is_up: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LineWants:
    """What a connection is to carry from now on, beside what it carried. Only its wanted instruments are taken from it."""

    line: int
    added: tuple[InstrumentKey, ...]
    removed: tuple[InstrumentKey, ...] = ()


@dataclass(frozen=True, slots=True)
class QuoteTaken:
    """A price that did not come with a frame: over REST."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class FeedHeldBack:
    """Feed packets of `key` with a trade time before `not_before` (UTC seconds) were not taken until `until_ns` (monotonic).

    `not_before` 0: they are taken again.
    """

    key: InstrumentKey
    not_before: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class ClosedBefore:
    """An exit that was over before the file began: what it closed is gone, whatever the rows say."""

    started: ExitStarted
    finished: ExitFinished


Fact: TypeAlias = (
    RecordingHeader
    | RecordingEnded
    | Gap
    | LineState
    | LineWants
    | QuoteTaken
    | FeedHeldBack
    | ClosedBefore
    | ExitStarted
    | ExitFinished
    | LimitRecord
    | ev.Event
)
"""ExitStarted and ExitFinished: what the recording monitor decided, and what came of it. Limit records: what it knew of the
limits when the file was begun. Of the events those in `TOLD`."""

_NOT_KEPT: Final = frozenset(
    {
        ev.QuoteArrived,
        ev.TimePassed,
        ev.OrderPosted,
        ev.OrderAccepted,
        ev.OrderRefused,
        ev.OrderOutcomeUnknown,
        ev.OrderReported,
        ev.OrderAbsenceSeen,
        ev.OrderBookRead,
        ev.TradeBookRead,
        ev.PositionsRead,
        ev.BrokerReadFailed,
        ev.RowsClosed,
    }
)
TOLD: Final[frozenset[type[Any]]] = frozenset(get_args(ev.Event)) - _NOT_KEPT
"""Events that are kept as they were told. TimePassed is kept too, in a form of its own (`file_format.pack_time`)."""

_JOURNALLED: Final = (ExitStarted, ExitFinished, *get_args(LimitRecord))
_OWN: Final = (RecordingHeader, RecordingEnded, Gap, LineState, LineWants, QuoteTaken, FeedHeldBack, ClosedBefore)
KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in (*_OWN, *_JOURNALLED, *TOLD)}


def is_told(fact: Fact) -> TypeGuard[ev.Event]:
    """Whether it is an event that was told to the engine."""
    return type(fact) in TOLD


def encode_fact(fact: Fact) -> bytes:
    """Raises BugError for a value that its field's type does not allow."""
    return json.dumps({_TAG: type(fact).__name__, **to_fields(fact)}, separators=(",", ":"), allow_nan=False).encode()


def decode_fact(body: bytes) -> Fact:
    """The fact that `encode_fact` wrote. Raises DecodeError for anything else, never another exception."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"expected a recorded fact in JSON, received {len(body)} bytes: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get(_TAG), str):
        raise DecodeError(f"expected a recorded fact with its kind, received {type(fields).__name__}")
    kind = KINDS.get(fields.pop(_TAG))
    if kind is None:
        raise DecodeError(
            "a recorded fact is of a kind that this build does not know: replay it with the build that made it"
        )
    fact: Fact = from_fields(kind, fields)
    return fact
