"""Every position of a book through a day: which is closed, when, why and at what P&L. Imports nothing of the monitor.

One event at a time: a quote, or the clock at a due time. All that fires on one event is gathered, and of each position the most
pressing is carried out. Orders are filled at once, at the bid or the ask, at the last price where that side is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta, timezone

from tests.oracle.book import ACTIONS, RULES, SHARES, WHOLE, Leg, Position
from tests.oracle.eye import Eye
from tests.oracle.judge import CONFIRM_MS, Judge, Signal
from tests.oracle.market import Market, Seen, Shown
from tests.oracle.timeline import Decision, Doubted, FeedTold, Happening, Restarted, StoodStill, Told

IST = timezone(timedelta(hours=5, minutes=30))
NOTHING: Mapping[Shown, Seen | None] = {}
STANDSTILL_MS = 1_000
HELD_MS = 2_000


def ist(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, IST)


def most_pressing(signals: list[Signal]) -> Signal:
    return min(signals, key=lambda signal: (ACTIONS.index(signal.action), RULES.index(signal.rule)))


class Day:
    """`run` it once. Times of the square-off and of breaches that wait are looked at when they are due."""

    def __init__(self, positions: Iterable[Position], *, judged: Mapping[Shown, Seen | None] = NOTHING) -> None:
        self.market = Market(judged=judged)
        self.judges = {position.strategy_id: Judge(position, self.market) for position in positions}
        self.decisions: list[Decision] = []
        self.now_ms = -1
        self._look = set(self.judges)
        self._by_key: dict[str, list[Judge]] = defaultdict(list)
        for judge in self.judges.values():
            for key in dict.fromkeys(leg.key for leg in judge.position.legs):
                self._by_key[key].append(judge)
        self.eyes: dict[str, Eye] = {}
        for judge in self.judges.values():
            levels = judge.position.levels
            if levels.underlying or levels.greeks:
                key = judge.position.legs[0].contract.index
                self.eyes.setdefault(key, Eye(key, self.market)).watchers.append(judge)

    def run(self, happenings: Iterable[Happening]) -> list[Decision]:
        for happening in happenings:
            if not isinstance(happening, StoodStill):
                self._until(happening.at_ms)
            self._take(happening)
        self._until(self.now_ms + 2 * CONFIRM_MS)
        return self.decisions

    def _take(self, happening: Happening) -> None:
        market, now_ms = self.market, happening.at_ms
        self.now_ms = now_ms
        match happening:
            case Shown():
                before = market.seen.get(happening.key)
                seen = market.take(happening)
                if seen is not None:
                    self._on_seen(seen, before)
            case Told(session_open=is_open):
                self._look.update(self.judges if is_open is not market.session_open else ())
                market.session_open = is_open
                self._clock()
            case Doubted(keys=keys):
                market.doubted_ms.update(dict.fromkeys(keys, now_ms))
                self._look.update(self.judges)
            case FeedTold(is_live=is_live):
                self._hear_of_the_feed(is_live=is_live)
            case Restarted():
                self._restart()
            case StoodStill(lasted_ms=lasted_ms):
                if lasted_ms > STANDSTILL_MS:
                    self._hold(now_ms - lasted_ms)
                self._clock()

    def _hear_of_the_feed(self, *, is_live: bool) -> None:
        if is_live is not (self.market.down_ms is None):
            self.market.down_ms = None if is_live else self.now_ms
        self._look.update(self.judges)
        self._clock()

    def _hold(self, since_ms: int) -> None:
        start, until_ms = self.market.held
        self.market.held = min(start, since_ms) if self.now_ms < until_ms else since_ms, self.now_ms + HELD_MS

    def _restart(self) -> None:
        market = self.market
        market.tapes.clear()
        market.seen.clear()
        market.doubted_ms.clear()
        market.held = (0, 0)
        for judge in self.judges.values():
            judge.begin_again()
        for eye in self.eyes.values():
            eye.begin_again()
        self._look.update(self.judges)
        self._clock()

    # Time

    def _dues(self) -> Iterator[int]:
        for judge in self.judges.values():
            yield from judge.dues()
            square_off = judge.position.levels.square_off
            if square_off is not None:
                yield _ms_of(square_off, ist(self.now_ms))
        for eye in self.eyes.values():
            yield from eye.dues(ist(self.now_ms), self.now_ms)
        yield self.market.held[1]

    def _until(self, end_ms: int) -> None:
        """What falls due by the clock alone, up to and with `end_ms`."""
        while self.now_ms >= 0:
            due = min((at for at in self._dues() if self.now_ms < at <= end_ms), default=None)
            if due is None:
                return
            self.now_ms = due
            self._clock()

    def _clock(self) -> None:
        if self.now_ms >= self.market.held[1] > 0:
            # What came out of a backlog that is over is the newest there is.
            self.market.held = (0, 0)
            self._look.update(self.judges)
        now, looked, self._look = ist(self.now_ms), self._look, set()
        found: dict[int, list[Signal]] = {}
        for strategy_id, judge in self.judges.items():
            judge.tell_day(now)
            signals = judge.by_clock(now, is_trading_day=True)
            if judge.waits or strategy_id in looked:
                signals += judge.by_price(self.now_ms, None)
            found[strategy_id] = signals
        for eye in self.eyes.values():
            for judge, signal in (*eye.by_close(now, self.now_ms), *eye.by_tick(self.now_ms)):
                found[judge.position.strategy_id].append(signal)
        self._decide(found)

    def _on_seen(self, seen: Seen, before: Seen | None) -> None:
        key = seen.shown.key
        found: dict[int, list[Signal]] = defaultdict(list)
        for judge in self._by_key[key]:
            found[judge.position.strategy_id] += judge.by_price(self.now_ms, key)
            eye = self.eyes.get(judge.position.legs[0].contract.index)
            if eye is not None and judge in eye.watchers and self.market.session_open is True:
                eye.note_leg(seen, before)
        if key in self.eyes:
            self.eyes[key].take(seen)
            for judge, signal in self.eyes[key].by_tick(self.now_ms):
                found[judge.position.strategy_id].append(signal)
        self._decide(found)

    # Decisions

    def _decide(self, found: dict[int, list[Signal]]) -> None:
        acted = [
            self._act(self.judges[strategy_id], most_pressing(found[strategy_id]))
            for strategy_id in found
            if found[strategy_id]
        ]
        if not all(acted):
            # Somebody goes on with fewer levels or units, and they may be beyond another level already.
            self._clock()

    def _act(self, judge: Judge, signal: Signal) -> bool:
        """Carry the signal out; whether the position is over."""
        position, pnl, units = judge.position, judge.pnl(), None
        if signal.action in SHARES:
            units = position.share_to_close(SHARES[signal.action], judge.closed)
        is_over = signal.action in WHOLE
        closes = is_over or units is not None
        self.decisions.append(Decision(position.strategy_id, self.now_ms, *signal[:4], pnl, closes))
        if is_over:
            self._forget(judge)
            return True
        judge.mark_done(signal, pnl)
        if units is not None:
            judge.close_share(SHARES[signal.action], units, [self._fill_price(leg) for leg in judge.legs])
        self._look.add(position.strategy_id)
        return False

    def _fill_price(self, leg: Leg) -> int:
        """Where a market would take the leg: the bid for a long, the ask for a short, the last price without that side."""
        shown = self.market.seen[leg.key].shown
        side = shown.bid if leg.units > 0 else shown.ask
        return shown.last if side is None else side

    def _forget(self, judge: Judge) -> None:
        del self.judges[judge.position.strategy_id]
        for key in {leg.key for leg in judge.position.legs}:
            self._by_key[key].remove(judge)
        for eye in self.eyes.values():
            if judge in eye.watchers:
                eye.watchers.remove(judge)


def _ms_of(at: time, on: datetime) -> int:
    return round(datetime.combine(on.date(), at, IST).timestamp() * 1_000)
