"""Every position of a book through a day: which is closed, when, why and at what P&L. Imports nothing of the monitor.

One event at a time: a quote, or the clock at a due time. All that fires on one event is gathered, and of each position the most
pressing is carried out. Orders are filled at once, at the bid or the ask, at the last price where that side is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta, timezone

from tests.oracle.book import ACTIONS, RULES, SHARES, WHOLE, Position
from tests.oracle.eye import Eye
from tests.oracle.fills import Leaving
from tests.oracle.greeks import Watched
from tests.oracle.judge import CONFIRM_MS, Judge, Signal
from tests.oracle.limits import Limit, Members, pools_of
from tests.oracle.market import Market, Seen, Shown
from tests.oracle.timeline import Decision, Doubted, FeedTold, Happening, Restarted, StoodStill, Told

IST = timezone(timedelta(hours=5, minutes=30))
NOTHING: Mapping[Shown, Seen | None] = {}
BEAT_MS = 250
STANDSTILL_MS = 1_000
HELD_MS = 2_000


def ist(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, IST)


def most_pressing(signals: list[Signal]) -> Signal:
    return min(signals, key=lambda signal: (ACTIONS.index(signal.action), RULES.index(signal.rule)))


class Day:
    """`run` it once. Times of the square-off and of breaches that wait are looked at when they are due."""

    def __init__(
        self,
        positions: Iterable[Position],
        *,
        limits: tuple[Limit, ...] = (),
        judged: Mapping[Shown, Seen | None] = NOTHING,
    ) -> None:
        self.market = Market(judged=judged)
        self.judges: dict[int, Judge] = {}
        self.decisions: list[Decision] = []
        self.now_ms = -1
        self._look: set[int] = set()
        self._by_key: dict[str, list[Judge]] = defaultdict(list)
        self.eyes: dict[str, Eye] = {}
        self.greeks: dict[int, Watched] = {}
        self.members = Members()
        for position in positions:
            self._watch(Judge(position, self.market))
        self.pools = pools_of(limits, self.judges, self.members)
        self.leaving: list[Leaving] = []

    def _watch(self, judge: Judge) -> None:
        position = judge.position
        self.judges[position.strategy_id] = self.members.open[position.strategy_id] = judge
        self._look.add(position.strategy_id)
        for key in dict.fromkeys(leg.key for leg in position.legs):
            self._by_key[key].append(judge)
        if position.levels.underlying or position.levels.greeks:
            key = position.legs[0].contract.index
            eye = self.eyes.setdefault(key, Eye(key, self.market))
            eye.watchers.append(judge)
            if position.levels.greeks:
                watched = self.greeks.setdefault(position.strategy_id, Watched(judge, eye))
                watched.begin_anew()

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
                self._doubt(keys)
            case FeedTold(is_live=is_live):
                self._hear_of_the_feed(is_live=is_live)
            case Restarted():
                self._restart()
            case StoodStill(lasted_ms=lasted_ms):
                if lasted_ms > STANDSTILL_MS:
                    self._hold(now_ms - lasted_ms)
                self._clock()

    def _doubt(self, keys: Iterable[str]) -> None:
        """What was crossed with these prices is not known to be crossed any more."""
        for key in keys:
            self.market.doubted_ms[key] = self.now_ms
            for judge in self._by_key[key]:
                judge.forget_breaches()
            if key in self.eyes:
                self.eyes[key].breaches.clear()

    def _hear_of_the_feed(self, *, is_live: bool) -> None:
        if is_live is not (self.market.down_ms is None):
            self.market.down_ms = None if is_live else self.now_ms
        self._look.update(self.judges)
        self._clock()

    def _hold(self, since_ms: int) -> None:
        start, until_ms = self.market.held
        # What was held when we stood still again has not been awaited to its end.
        self.market.held = min(start, since_ms) if until_ms else since_ms, self.now_ms + HELD_MS

    def _restart(self) -> None:
        market = self.market
        market.tapes.clear()
        market.seen.clear()
        market.doubted_ms.clear()
        market.held = (0, 0)
        for judge in (*self.judges.values(), *(each.judge for each in self.leaving)):
            judge.begin_again()
        for eye in self.eyes.values():
            eye.begin_again()
        for watched in self.greeks.values():
            watched.begin_anew()
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
        for pool in self.pools:
            yield from pool.dues()
        yield self.market.held[1]
        waiting = (*self.judges.values(), *self.eyes.values())
        if self.market.down_ms is not None and any(each.waits for each in waiting):
            # A price that grows stale meanwhile ends what waits: seen by the beat.
            yield self.now_ms - self.now_ms % BEAT_MS + BEAT_MS

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
        fired = [signal for eye in self.eyes.values() for signal in eye.by_close(now, self.now_ms)]
        fired += [signal for eye in self.eyes.values() for signal in eye.by_tick(self.now_ms)]
        watched = [each for each in self.greeks.values() if each.judge.position.strategy_id in self.judges]
        fired += [signal for each in watched for signal in each.by_clock(now, self.now_ms)]
        if self.pools:
            self.members.today = now.date()
            self.members.find_bases(self.now_ms)
            fired += [signal for pool in self.pools for signal in (*pool.late(), *pool.by_price(self.now_ms, None))]
        for judge, signal in fired:
            found[judge.position.strategy_id].append(signal)
        self._decide(found)
        filled = [self._fill(each) for each in tuple(self.leaving)]
        if any(filled):
            self._clock()

    def _on_seen(self, seen: Seen, before: Seen | None) -> None:
        key = seen.shown.key
        found: dict[int, list[Signal]] = defaultdict(list)
        leaving = [each for each in self.leaving if each.judge.holds(key)]
        for each in leaving:
            each.judge.weigh()
        for judge in self._by_key[key]:
            judge.weigh()
            found[judge.position.strategy_id] += judge.by_price(self.now_ms, key)
            eye = self.eyes.get(judge.position.legs[0].contract.index)
            if eye is not None and judge in eye.watchers and self.market.session_open is True:
                eye.note_leg(seen, before)
        fired: list[tuple[Judge, Signal]] = []
        if key in self.eyes:
            self.eyes[key].take(seen)
            fired += self.eyes[key].by_tick(self.now_ms)
        elif self._by_key[key] or leaving:
            fired += [signal for pool in self.pools for signal in pool.by_price(self.now_ms, key)]
        for judge, signal in fired:
            found[judge.position.strategy_id].append(signal)
        self._decide(found)
        filled = [self._fill(each) for each in leaving]
        if any(filled):
            self._clock()

    # Decisions

    def _decide(self, found: dict[int, list[Signal]]) -> None:
        goes_on = False
        for strategy_id, signals in found.items():
            if signals:
                goes_on |= self._act(self.judges[strategy_id], most_pressing(signals))
        if goes_on:
            # Somebody has fewer levels or units now, and may be beyond another level already.
            self._clock()

    def _act(self, judge: Judge, signal: Signal) -> bool:
        """Carry the signal out; whether the position goes on at once. The sale of a share becomes one of the whole."""
        position, pnl, units = judge.position, judge.pnl, None
        selling = next((each for each in self.leaving if each.judge is judge), None)
        if signal.action in WHOLE:
            units = tuple(abs(leg.units) for leg in judge.legs)
        elif signal.action in SHARES:
            units = position.share_to_close(SHARES[signal.action], judge.closed)
        self.decisions.append(Decision(position.strategy_id, self.now_ms, *signal[:4], pnl, units is not None))
        if signal.action not in WHOLE:
            judge.mark_done(signal, pnl)
        self._look.add(position.strategy_id)
        if units is None:
            return True
        leaving = selling
        if leaving is None:
            leaving = Leaving(judge, SHARES.get(signal.action, 100), units)
            self.leaving.append(leaving)
        else:
            leaving.widen()
        if leaving.percent == 100:
            self._leave(judge)
        else:
            judge.begin_share()
        self._fill(leaving)
        return leaving.percent < 100

    def _leave(self, judge: Judge) -> None:
        strategy_id = judge.position.strategy_id
        del self.judges[strategy_id]
        self.members.leaving[strategy_id] = self.members.open.pop(strategy_id)
        for key in {leg.key for leg in judge.position.legs}:
            self._by_key[key].remove(judge)
        for eye in self.eyes.values():
            if judge in eye.watchers:
                eye.watchers.remove(judge)

    def _fill(self, leaving: Leaving) -> bool:
        """Whether a rest goes on now."""
        if leaving not in self.leaving or not leaving.is_filled(self.market):
            return False
        judge = leaving.judge
        self.leaving.remove(leaving)
        if leaving.percent == 100:
            self.members.over(judge, leaving.realised)
            return False
        judge.close_share(leaving.percent, leaving.units, leaving.realised)
        self._look.add(judge.position.strategy_id)
        if judge.position.strategy_id in self.greeks:
            self.greeks[judge.position.strategy_id].begin_anew()
        return True


def _ms_of(at: time, on: datetime) -> int:
    return round(datetime.combine(on.date(), at, IST).timestamp() * 1_000)
