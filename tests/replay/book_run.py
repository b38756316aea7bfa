"""A generated book through a recorded day: by the engine and by the oracle, from the same rows and the same quotes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from functools import cache
from heapq import merge
from typing import TYPE_CHECKING

from core.exits.judges import RuleSetup
from tests.oracle.books import SQUARE_OFF, Market, know_market, make_book
from tests.oracle.day import IST, Day
from tests.oracle.eye import STILL_MS
from tests.oracle.market import Market as SeenMarket
from tests.oracle.market import Seen, Shown
from tests.oracle.recorded import read_contracts, read_quotes
from tests.oracle.rows import positions_of
from tests.oracle.timeline import Decision, Happening, Told
from tests.replay.conversion import limit_of
from tests.replay.engine_day import EngineDay
from tests.replay.real_book import read_book

if TYPE_CHECKING:
    from tests.oracle.book import Contract
    from tests.oracle.recorded import Recording

BEFORE_FIRST_MS = 1_000
BEAT_MS = 250
TWICE_BELIEVED = (BEAT_MS, 1_500, 2_750)
"""Beats at which the price of an index, shown once a minute, has stood for long enough: Greeks are computed twice."""


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """One recording, read once. `judged`: each quote as the oracle judges it, which no book changes.

    `stills`: just before an index will have stood still for so long that it is frozen. A monitor that is told the time four times
    a second has looked at the legs by then.
    """

    contracts: Mapping[str, Contract]
    quotes: Sequence[Shown]
    market: Market
    judged: Mapping[Shown, Seen | None]
    stills: frozenset[int]

    def happenings(
        self, keys: Iterable[str], beats: Sequence[int] = (BEAT_MS,), times: Iterable[time] = ()
    ) -> list[Happening]:
        """The quotes of these instruments. The clock is told before the first, at beats after each snapshot, at these times."""
        wanted = frozenset(keys)
        told = {shown.at_ms + beat for shown in self.quotes for beat in beats}
        told |= {self.quotes[0].at_ms - BEFORE_FIRST_MS, *map(self._ms_of, times), *self.stills}
        shown = [shown for shown in self.quotes if shown.key in wanted]
        return list(merge(map(Told, sorted(told)), shown, key=lambda each: each.at_ms))

    def _ms_of(self, at: time) -> int:
        return round(datetime.combine(self.market.recording.day, at, IST).timestamp() * 1_000)


@cache
def recorded_day(recording: Recording, *, with_sides: bool = True) -> RecordedDay:
    contracts = read_contracts(recording)
    quotes = read_quotes(recording, contracts, with_sides=with_sides)
    seen = SeenMarket()
    judged = {shown: seen.take(shown) for shown in quotes}
    return RecordedDay(contracts, quotes, know_market(recording, contracts, quotes), judged, frozenset(_stills(quotes)))


def _stills(quotes: Sequence[Shown]) -> Iterator[int]:
    changed: dict[str, Shown] = {}
    for shown in quotes:
        if shown.key.startswith("IDX"):
            before = changed.setdefault(shown.key, shown)
            if shown.at_ms - before.at_ms >= STILL_MS:
                yield before.at_ms + STILL_MS - BEAT_MS
            if shown.last != before.last:
                changed[shown.key] = shown


@dataclass(slots=True)
class BookRun:
    """What both decided, by strategy id."""

    decided: dict[int, list[Decision]]
    expected: dict[int, list[Decision]]

    @property
    def differences(self) -> dict[int, tuple[list[Decision], list[Decision]]]:
        ids = self.decided.keys() | self.expected.keys()
        both = {each: (self.decided.get(each, []), self.expected.get(each, [])) for each in ids}
        return {each: pair for each, pair in both.items() if not is_same(*pair)}


def run_book(recording: Recording, seed: int, positions: int, *, is_plain: bool = False) -> BookRun:
    """Every seventh book sees quotes without sides where the recording has none. `is_plain`: rows of trades and levels alone."""
    known = recorded_day(recording)
    played = recorded_day(recording, with_sides=bool(seed % 7))
    book = make_book(known.market, seed, positions, is_plain=is_plain)
    indices = {contract.index for contract in book.contracts.values()}
    guarded = positions_of(book.tables, book.contracts, book.settings)
    beats = TWICE_BELIEVED if book.has_greeks else (BEAT_MS,)
    times = {time.fromisoformat(SQUARE_OFF), *(each.levels.square_off for each in guarded)} - {None}
    happenings = played.happenings(book.held | indices, beats, times)
    rules = RuleSetup(limits=tuple(limit_of(limit) for limit in book.limits))
    engine = EngineDay(read_book(book, recording.day), has_beat=False, rules=rules)
    decided = engine.run(happenings)
    oracle = Day(guarded, limits=book.limits, judged=played.judged)
    return BookRun(by_position(decided), by_position(oracle.run(happenings)))


def is_same(decided: Sequence[Decision], expected: Sequence[Decision]) -> bool:
    """The same decisions; what was measured of a Greek may be a unit of rounding off."""
    return len(decided) == len(expected) and all(map(_is_one, decided, expected))


def _is_one(mine: Decision, other: Decision) -> bool:
    is_near = mine.rule == "greeks" and abs((mine.observed or 0) - (other.observed or 0)) <= 1
    return mine == other or (is_near and mine._replace(observed=other.observed) == other)


def by_position(decisions: Iterable[Decision]) -> dict[int, list[Decision]]:
    """Each position's own decisions, in order. What one event does to several positions has no order."""
    found: dict[int, list[Decision]] = defaultdict(list)
    for decision in decisions:
        found[decision.strategy_id].append(decision)
    return found
