"""The guard of one position: its levels, its trailing stop, and the breaches that wait to be believed.

How exit_rules is read here:
- A position's P&L is clean when the newest quote of each leg was clean at its arrival; else it is suspect.
- Suspect stop, trailing and theta breaches are confirmed when every suspect leg has shown a second, different quote while
  the breach stood (a repeated packet is none); when the P&L at the best side of two-sided books breaches too; or when
  the breach has stood `stop_confirm_max_ms`. P&L off the line ends a breach at once, even by a suspect quote: the quote
  that returns from a spike is itself suspect for its jump, and nothing may fire on a P&L that is not breached.
- Beyond the hard multiple (at it or past it), with all books two-sided and the P&L at their best sides breached as well, nothing is
  waited for. (A freak print between the sides of a swept book passes the hard line; the best sides do not.)
- With several legs, settling applies to all price rules. A breach that the clock finds counts no leg as updated.
- A profit target fires on clean P&L only; its settling time runs from the breach, clean or not.
- The peak rises, and the trailing stop arms, on clean P&L only, as evaluated: a spike must not lift the stop. Arming at 0
  means armed from entry with a peak of 0. A remembered peak below the arming level does not arm. Locks go by the same peak.
- Price rules need it to be safe to trade (`safe_to_trade`): session known to be open, P&L known, every leg's price believed.
  When it is not, breaches are forgotten.
- Time rules need a session known to be open too; no price. They are looked at when the clock is told, not on ticks.
- The theta exit is judged like a stop at P&L 0 that has no hard multiple; so is the adjustment warning, at its line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits.breach import Breach, suspect_legs, waits_for
from core.exits.explain import assess, why_unprotected
from core.exits.explain_levels import list_thresholds
from core.exits.explain_line import NOTHING_AROUND
from core.exits.guard_settings import GuardSettings
from core.exits.precedence import pick
from core.exits.price_lines import lock_line, next_peak, start_peak, trailing_line
from core.exits.profit_and_loss import days_to_expiry
from core.exits.rules import PRICE_RULES, RuleFacts, is_asked_for
from core.exits.safe_to_trade import MarkTrust, safe_to_trade
from core.exits.time_rules import TIME_RULES
from core.model.session_time import NS_PER_MS
from core.model.signals import Signal
from core.position_cache_manager import OPEN_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from core.exits.explain import Assessment
    from core.exits.explain_line import Around, Threshold
    from core.exits.rules import PriceRule, Verdict
    from core.exits.safe_to_trade import SafeToTrade
    from core.model.exit_levels import ExitLevels, Rule
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.position_cache_manager import BookedPosition

__all__ = ["GuardSettings", "PositionGuard"]


class PositionGuard:
    """Decides for one position. Give it the quotes for which the cache returned the position, and the time.

    It has no memory of having fired: who acts on a signal calls `silence`, or drops the guard.
    """

    __slots__ = (
        "_breaches",
        "_date",
        "_facts",
        "_is_calm",
        "_is_silent",
        "_marks",
        "_rules",
        "_session_open",
        "_settings",
        "_started_ns",
        "blind_spots",
        "booked",
        "changes",
        "levels",
        "now_ns",
        "original",
    )

    def __init__(
        self,
        booked: BookedPosition,
        levels: ExitLevels,
        settings: GuardSettings,
        peak: Paise | None = None,
        feed_down_ns: int | None = 0,
    ) -> None:
        """`peak` is the remembered peak from before a restart, paise; `feed_down_ns` as in `MarkTrust`.

        Tell the time once before anything can fire.

        `blind_spots` are other judges' reasons why a level of the position cannot fire now; each gives None when it can.
        `changes` counts the breaches that began or ended, trails that armed and floors that were locked. `original` is the
        position as its rows have it, before any share of it was closed: the engine sets it.
        """
        self.changes = 0
        self.blind_spots: list[Callable[[int], str | None]] = []
        self.booked = booked
        self.original = booked.position
        self.levels = levels
        self.now_ns = 0
        self._settings = settings
        self._breaches: dict[Rule, Breach] = {}
        self._date: date | None = None
        self._session_open: bool | None = None
        self._rules = _asked_for(levels)
        self._is_calm = False
        self._is_silent = False
        self._started_ns: int | None = None
        self._marks = MarkTrust(settings.mark_stale_s, feed_down_ns)
        self._facts = RuleFacts(levels, start_peak(levels, peak))
        self.rearm_band()

    @property
    def peak(self) -> Paise | None:
        """The highest clean P&L since a rule began to remember it (a trail that armed, a lock that holds). None before."""
        return self._facts.peak

    @property
    def facts(self) -> RuleFacts:
        """What the rules look at besides the P&L, as of the last time told."""
        return self._facts

    @property
    def breaches(self) -> Mapping[Rule, Breach]:
        """Lines that are crossed, and wait to be believed."""
        return self._breaches

    @property
    def settings(self) -> GuardSettings:
        return self._settings

    @property
    def feed_down_ns(self) -> int | None:
        """Since when no feed is live, monotonic; None while one is."""
        return self._marks.feed_down_ns

    @property
    def started_ns(self) -> int | None:
        """When it was first told the time, monotonic."""
        return self._started_ns

    @property
    def armed(self) -> bool:
        """Whether the trailing stop follows the peak."""
        trailing, peak = self.levels.trailing, self._facts.peak
        return trailing is not None and peak is not None and peak >= trailing.arm

    @property
    def has_been_told(self) -> bool:
        """Whether the clock, the session and the state of the feed are known to it."""
        return self._started_ns is not None

    @property
    def next_deadline_ns(self) -> int | None:
        """When a waiting breach has to be looked at again by `on_time`; None when nothing waits for the clock."""
        if not self._breaches:
            return None
        settings = self._settings
        waits = [settings.leg_settle_ms * NS_PER_MS, settings.stop_confirm_max_ms * NS_PER_MS]
        due = [breach.since_ns + wait for breach in self._breaches.values() for wait in waits]
        return min((at_ns for at_ns in due if at_ns > self.now_ns), default=None)

    def on_quote(self, quote: Quote) -> Signal | None:
        """Judge the P&L that this quote, already applied to the cache, has made."""
        self.now_ns = max(self.now_ns, quote.received_ns)
        verdict = pick(self._price_verdicts(quote.received_ns, quote.key))
        return None if verdict is None else self._signal(verdict, quote.received_ns, quote.received_ns)

    def on_time(
        self,
        at_ns: int,
        ist: datetime,
        *,
        session_open: bool | None,
        is_trading_day: bool | None,
        feed_live: bool,
    ) -> Signal | None:
        """Judge what the clock decides: time rules, waiting breaches, staleness. `at_ns` monotonic, `ist` aware."""
        self.now_ns = max(self.now_ns, at_ns)
        if self._started_ns is None:
            self._started_ns = at_ns
        is_same_day = self._date == ist.date() and is_trading_day is self._facts.is_trading_day
        is_same_state = session_open is self._session_open and feed_live and self._marks.is_feed_live
        if self._is_calm and is_same_day and is_same_state and self._is_before_square_off(ist):
            return None
        self._marks.feed(at_ns, is_live=feed_live)
        self._tell(ist, session_open=session_open, is_trading_day=is_trading_day)
        verdicts = self._price_verdicts(at_ns, None)
        if session_open is True:
            verdicts.extend(verdict for rule in TIME_RULES if (verdict := rule.check(self._facts)) is not None)
        self._is_calm = not verdicts and not self._breaches and not self._marks.has_doubts and self._is_inside_band()
        verdict = pick(verdicts)
        if verdict is None:
            return None
        # A breach that waited for its spread or a witness: the tick that began it is what the trader waits from.
        breach = self._breaches.get(verdict.rule)
        return self._signal(verdict, at_ns, None if breach is None else breach.tick_ns)

    def distrust(self, key: InstrumentKey, at_ns: int) -> None:
        """Nothing shows that this price is still true: it is stale until a quote comes that was received after `at_ns`."""
        self._marks.doubt(key, at_ns)
        # What was crossed with this price is not known to be crossed any more, whenever that is looked at next.
        self.changes += len(self._breaches)
        self._breaches.clear()
        self._is_calm = False
        self.rearm_band()

    def keep_only(self, levels: ExitLevels) -> None:
        """Go on with fewer levels: one has had its say. The peak stays, and what waits for its witness goes on waiting."""
        self.levels = levels
        self._rules = _asked_for(levels)
        self._facts = replace(self._facts, levels=levels)
        for rule in self._breaches.keys() - {rule.rule for rule in self._rules}:
            del self._breaches[rule]
            self.changes += 1
        self._is_calm = False
        self.rearm_band()

    def go_on(self, before: PositionGuard) -> None:
        """Take over from the guard of the same legs whose levels were edited: a breach of a line that has not moved waits on."""
        self._session_open, self._marks, self._started_ns = before._session_open, before._marks, before._started_ns
        self._facts = replace(before._facts, levels=self.levels, peak=self._facts.peak)
        pnl = self.booked.pnl
        for rule in self._rules:
            breach = before._breaches.get(rule.rule)
            if (
                breach is not None
                and pnl is not None
                and rule.fires_at(self._facts, pnl) == rule.fires_at(before._facts, pnl)
            ):
                breach.booked = self.booked
                self._breaches[rule.rule] = breach
        self.rearm_band()

    def silence(self) -> None:
        """Let no tick through any more: the position is being closed."""
        self._is_silent = True
        self.rearm_band()

    def rearm_band(self) -> None:
        """Set the band of the booked position so that a P&L inside it can neither fire a rule nor move the peak."""
        booked = self.booked
        if self._is_silent:
            booked.lower, booked.upper, booked.watched = -OPEN_BOUND, OPEN_BOUND, False
            return
        lower, upper = -OPEN_BOUND, OPEN_BOUND
        for rule in self._rules:
            low, high = rule.band(self._facts, booked.pnl)
            if low is not None:
                lower = max(lower, low)
            if high is not None:
                upper = min(upper, high)
        peak = next_peak(self._facts)
        if peak is not None:
            upper = min(upper, peak)
        booked.set_band(lower, upper, watched=bool(self._breaches))

    def suspects(self) -> tuple[int, ...]:
        """Indexes of the legs whose newest quote is not clean."""
        return suspect_legs(self.booked, self._settings.quote_limits)

    def stale_keys(self, at_ns: int) -> tuple[InstrumentKey, ...]:
        """Instruments whose price may not fire a rule: doubted, only saved, or too old while the feed is down."""
        return self._marks.stale_keys(self.booked, at_ns)

    def safe_to_trade(self, at_ns: int) -> SafeToTrade:
        """Whether the position may be acted on by its prices, and if not, why."""
        return safe_to_trade(self.booked, self.stale_keys(at_ns), session_open=self._session_open)

    def assessment(self) -> Assessment:
        """What the dashboard shows, as of the newest quote or time told."""
        return assess(
            self.booked,
            self._facts,
            self._breaches,
            safe=self.safe_to_trade(self.now_ns),
            suspects=self.suspects(),
            now_ns=self.now_ns,
            started_ns=self._started_ns,
        )

    def why_unprotected(self, at_ns: int) -> str | None:
        """What keeps the stop loss, or a level that another judge watches, from firing; None when nothing does."""
        reason = why_unprotected(self._facts, self.safe_to_trade(at_ns), at_ns, self._started_ns)
        return reason if reason is not None else self.blind_spot(at_ns)

    def blind_spot(self, at_ns: int) -> str | None:
        """What another judge lacks to watch its levels of this position; None when nothing."""
        return next((reason for ask in self.blind_spots if (reason := ask(at_ns)) is not None), None)

    def thresholds(self, around: Around = NOTHING_AROUND) -> tuple[Threshold, ...]:
        """Every rule in force, with the P&L at which it fires now and where its level came from."""
        return list_thresholds(self._facts, around)

    def _tell(self, ist: datetime, *, session_open: bool | None, is_trading_day: bool | None) -> None:
        self._date = ist.date()
        self._session_open = session_open
        position, today = self.booked.position, self._date
        opened = position.opened_on if self.levels.holding is not None else None
        self._facts = replace(
            self._facts,
            days=days_to_expiry(position, today),
            ist_time=ist.time(),
            is_trading_day=is_trading_day,
            held_days=None if opened is None else (today - opened).days,
        )

    def _price_verdicts(self, at_ns: int, ticked: InstrumentKey | None) -> list[Verdict]:
        pnl = self.booked.pnl
        self._is_calm = False
        verdicts: list[Verdict] = []
        if pnl is None or not self.safe_to_trade(at_ns).is_safe:
            self.changes += len(self._breaches)
            self._breaches.clear()
            self.rearm_band()
            return verdicts
        suspects = self.suspects()
        if not suspects:
            self._raise_peak(pnl)
        for rule in self._rules:
            line = rule.fires_at(self._facts, pnl)
            if line is None:
                if self._breaches.pop(rule.rule, None) is not None:
                    self.changes += 1
                continue
            breach = self._breaches.get(rule.rule)
            if breach is None:
                breach = self._breaches[rule.rule] = Breach(self.booked, at_ns, ticked)
                self.changes += 1
            breach.note_updates()
            if waits_for(rule, self._facts, breach, suspects, at_ns, self._settings) is None:
                verdicts.append(rule.verdict(self._facts, pnl, line))
        self.rearm_band()
        return verdicts

    def _raise_peak(self, pnl: Paise) -> None:
        least = next_peak(self._facts)
        if least is not None and pnl >= least:
            before, self._facts = self._facts, replace(self._facts, peak=pnl)
            was_armed, is_armed = trailing_line(before) is not None, trailing_line(self._facts) is not None
            if was_armed is not is_armed or lock_line(before) != lock_line(self._facts):
                self.changes += 1

    def _is_inside_band(self) -> bool:
        pnl = self.booked.pnl
        return pnl is not None and self.booked.lower < pnl < self.booked.upper

    def _is_before_square_off(self, ist: datetime) -> bool:
        level = self.levels.square_off
        return level is None or ist.time() < level.at

    def _signal(self, verdict: Verdict, at_ns: int, tick_received_ns: int | None) -> Signal:
        return Signal(
            strategy_id=self.booked.position.strategy_id,
            rule=verdict.rule,
            action=verdict.action,
            urgency=verdict.urgency,
            threshold=verdict.threshold,
            observed=verdict.observed,
            pnl=self.booked.pnl,
            reason=verdict.reason,
            decided_ns=at_ns,
            tick_received_ns=tick_received_ns,
        )


def _asked_for(levels: ExitLevels) -> tuple[PriceRule, ...]:
    return tuple(rule for rule in PRICE_RULES if is_asked_for(levels, rule.rule))
