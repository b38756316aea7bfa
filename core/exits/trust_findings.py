"""What `price_trust` looks at and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote


class FeedFacts(Protocol):
    def feed_quote(self, key: InstrumentKey) -> Quote | None:
        """The newest quote that the feed has brought, None before the first."""

    def line_is_live(self, key: InstrumentKey) -> bool:
        """Whether the connection that carries the instrument delivers data."""


class Doubt(NamedTuple):
    """Nothing shows any more that the price is true. `reason` is for a trader."""

    key: InstrumentKey
    reason: str


class Hold(NamedTuple):
    """Feed packets of `key` with a trade time before `not_before` (UTC seconds as the feed tells them) are old news."""

    key: InstrumentKey
    not_before: int
    until_ns: int


class Dispute(NamedTuple):
    """The feed and REST say different prices at the same time (fault F32). `taken` is the one that is believed."""

    feed: Quote
    rest: Quote
    taken: Quote


@dataclass(slots=True)
class Findings:
    """What a check has found since the last.

    `muted`: the feed keeps back what REST shows, `unmuted`: it brings it again; `held` and `released` say of which
    instruments older packets are to be kept out. `recovered`: doubted before, and proved by a newer quote. `is_more`: not
    everything has been looked at, call again.
    """

    resubscribe: list[InstrumentKey] = field(default_factory=list)
    doubted: list[Doubt] = field(default_factory=list)
    recovered: list[InstrumentKey] = field(default_factory=list)
    muted: list[InstrumentKey] = field(default_factory=list)
    unmuted: list[InstrumentKey] = field(default_factory=list)
    held: list[Hold] = field(default_factory=list)
    released: list[InstrumentKey] = field(default_factory=list)
    is_more: bool = False


class Answer(NamedTuple):
    """What becomes of the quotes of a REST answer. Each dispute is told once, until the two agree again."""

    taken: tuple[Quote, ...]
    held: tuple[Hold, ...]
    disputes: tuple[Dispute, ...]
