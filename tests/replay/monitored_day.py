"""A stretch of a recorded day as the live monitor hears it: with its judge of prices, REST answers, and its watch over protection.

The line delivers the snapshots of the recording and lives in between (an index canary would tick), but for one outage. REST
answers with the newest price, also but for the outage. Beats come four times a second, as in the monitor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.exits.price_trust import PriceTrust, TrustLimits
from core.model.commands import Alert, Severity
from core.model.market import QuoteSource
from core.protection_watch import ProtectionWatch
from tests.oracle.day import ist
from tests.oracle.timeline import Doubted, FeedTold, Happening, Told
from tests.replay.conversion import key_of
from tests.replay.engine_day import BEAT_MS, EngineDay, quote_of

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from tests.oracle.market import Shown

RECONNECT_MS = 3_000
REST_BATCH = 1_000


@dataclass
class MonitoredDay:
    """`outage`: from the last quote before it to the first after it, UTC milliseconds. `happenings`: what was played, in order.

    `told` are the alerts about protection, each with the IST time.
    """

    engine: EngineDay
    quotes: Sequence[Shown]
    until_ms: int
    outage: tuple[int, int] | None = None
    happenings: list[Happening] = field(default_factory=list)
    told: list[tuple[str, Alert]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feed: dict[InstrumentKey, Quote] = {}
        self.newest: dict[InstrumentKey, Shown] = {}
        self.is_live = True
        self.trust = PriceTrust(TrustLimits(), self)
        self.now_ms = self.quotes[0].at_ms - 1_000

    # What the judge of prices looks at

    def feed_quote(self, key: InstrumentKey) -> Quote | None:
        return self.feed.get(key)

    def line_is_live(self, _key: InstrumentKey) -> bool:
        return self.is_live

    # The day

    def run(self) -> None:
        self.engine.run(self._played())

    def _played(self) -> Iterator[Happening]:
        waiting = list(reversed(self.quotes))
        keys = {key_of(shown.key) for shown in self.quotes}
        yield self._note(Told(self.now_ms))
        watch = ProtectionWatch(lambda: self.engine.engine.guards, self._say, self._now_ns)
        self.trust.market(is_open=True, now=self._now_ns)
        self.trust.set_wanted(keys, self._now_ns)
        while self.now_ms < self.until_ms:
            self.now_ms += BEAT_MS
            yield from map(self._note, self._line_news())
            yield from map(self._note, self._judged())
            yield self._note(Told(self.now_ms))
            while waiting and waiting[-1].at_ms <= self.now_ms:
                shown = waiting.pop()
                self.newest[key_of(shown.key)] = shown
                yield self._note(shown)
                self.feed[key_of(shown.key)] = quote_of(shown, self._now_ns)
            if self.now_ms % 1_000 == 0:
                for _ in watch.look(self._now_ns, is_open=True):
                    pass

    @property
    def _now_ns(self) -> int:
        return self.engine.ns_of(self.now_ms)

    def _note(self, happening: Happening) -> Happening:
        self.happenings.append(happening)
        return happening

    def _line_news(self) -> Iterator[Happening]:
        if self.outage is None:
            return
        is_live = not self.outage[0] + RECONNECT_MS <= self.now_ms < self.outage[1]
        if is_live is not self.is_live:
            self.is_live = is_live
            self.trust.lines_changed()
            yield FeedTold(self.now_ms, is_live)

    def _judged(self) -> Iterator[Happening]:
        """What is doubted; and what REST answers, which is shown like any quote."""
        found = self.trust.check(self._now_ns)
        if found.doubted:
            yield Doubted(self.now_ms, tuple(str(doubt.key) for doubt in found.doubted))
        asked = self.trust.next_batch(REST_BATCH)
        if not asked:
            return
        if self.outage is not None and self.outage[0] < self.now_ms < self.outage[1]:
            self.trust.on_failure(asked, self._now_ns)
            return
        answers = {key: self.newest[key]._replace(at_ms=self.now_ms) for key in asked if key in self.newest}
        quotes = [quote_of(each, self._now_ns)._replace(source=QuoteSource.REST) for each in answers.values()]
        taken = self.trust.on_answer(asked, quotes, self._now_ns, self._now_ns).taken
        yield from (answers[quote.key] for quote in taken)

    def _say(self, commands: Iterable[object]) -> None:
        self.told += [(f"{ist(self.now_ms):%H:%M:%S}", each) for each in commands if isinstance(each, Alert)]

    def pages(self) -> list[tuple[str, Alert]]:
        return [(at, alert) for at, alert in self.told if alert.severity is Severity.PAGE]
