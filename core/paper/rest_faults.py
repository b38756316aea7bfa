"""Quotes over REST that lie: skewed, stale, or not there. The feed and the matching keep the truth."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.paper.fault_kinds import FaultKind
from core.paper.odd_packets import scaled

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.paper.faults import Fault
    from core.paper.market import Book, Market

OF_QUOTES: Final = frozenset({FaultKind.REST_SKEW, FaultKind.REST_STALE, FaultKind.REST_MISSING})


class QuoteFaults:
    """What a snapshot request is told about an instrument."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._loop = asyncio.get_running_loop()
        self._in_force: dict[tuple[FaultKind, str | None], tuple[float, Fault]] = {}
        self._kept: dict[InstrumentKey, Book] = {}

    def inflict(self, fault: Fault) -> None:
        """Begin (`seconds` 0: end) a fault of the quotes."""
        self._in_force[fault.kind, fault.security_id] = (self._loop.time() + fault.seconds, fault)
        if fault.kind is FaultKind.REST_STALE:
            keys = self._market.keys_of(fault.security_id) if fault.seconds else ()
            # A shallow copy is enough: an update puts new levels in the book. Only a fill of ours changes the old ones.
            self._kept |= {key: replace(self._market.book(key)) for key in keys}

    def clear(self) -> None:
        self._in_force.clear()
        self._kept.clear()

    def quote(self, key: InstrumentKey) -> Book | None:
        """The book as REST shows it now, None when it is left out."""
        if not self._in_force:
            return self._market.quote(key)
        stale = self._find(FaultKind.REST_STALE, key)
        book = self._kept.get(key) if stale else None
        book = book or self._market.quote(key)
        skew = self._find(FaultKind.REST_SKEW, key)
        if self._find(FaultKind.REST_MISSING, key):
            return None
        return scaled(book, skew.factor or 1.0) if skew else book

    def _find(self, kind: FaultKind, key: InstrumentKey) -> Fault | None:
        now = self._loop.time()
        for scope in (str(key.security_id), None):
            until, fault = self._in_force.get((kind, scope), (0.0, None))
            if now < until:
                return fault
        return None
