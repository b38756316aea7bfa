"""What the other judges see reaches the lines of a plan."""

from dataclasses import replace

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.explain_limits import limit_lines
from core.exits.explain_line import NOTHING_AROUND
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.exits.scope_state import LimitState
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, LevelSource, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import GreekKind, GreekLevel, LimitKind, Scope, ScopeLimit, UnderlyingLevel
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import ROW, amount, call, position, quote

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST
NIFTY = InstrumentKey(Segment.IDX_I, 13)
ABOVE = UnderlyingLevel(27_000_00, is_above=True, action=Action.CLOSE_POSITION, source=ROW)
DELTA = GreekLevel(GreekKind.DELTA, 0.9, Action.ADJUST, ROW)
IV = GreekLevel(GreekKind.IV_UP, 50, Action.ADJUST, ROW)


class Broken:
    name = "broken"

    def judge(self, facts):
        raise ZeroDivisionError("by hand")


class Market:
    """One bought call on NIFTY, the clock, and the prices of both."""

    def __init__(self, levels):
        rules = RuleSetup(own_rules={"broken": Broken()})
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION, rules)
        held = call(1, 75, 26_000, 450)
        held = replace(held, instrument=replace(held.instrument, underlying_key=NIFTY))
        self.at = 0
        self.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=0))
        self.engine.handle(ev.PositionOpened(position(held), levels, 0))

    def seconds(self, count, *, spot=26_050_00):
        for _ in range(2 * count):
            self.at += NS_PER_S // 2
            self.engine.handle(ev.TimePassed(self.at, NOON + self.at, session_open=True, is_trading_day=True))
            self.engine.on_quote(quote(1, 450, at=self.at))
            if spot is not None:
                self.engine.on_quote(Quote(NIFTY, spot + self.at % 7, None, None, 0, 0, None, self.at))

    def lines(self):
        guard = self.engine.guards[1]
        return {line.rule: line for line in guard.thresholds(around_of(self.engine.judges, guard, self.at))}


def test_a_position_without_such_levels_has_nothing_around_it():
    market = Market(ExitLevels(stop=amount(9_000)))
    judges = (*market.engine.judges, "a judge that nobody knows how to ask")
    assert around_of(judges, market.engine.guards[1], 0) is NOTHING_AROUND


def test_the_underlying_is_seen_or_it_is_said_why_not():
    market = Market(ExitLevels(underlying=(ABOVE,)))
    market.seconds(3, spot=None)
    line = market.lines()[Rule.UNDERLYING_LEVEL]
    assert line.observed is None
    assert line.waits
    market.seconds(3)
    line = market.lines()[Rule.UNDERLYING_LEVEL]
    assert line.observed is not None
    assert abs(line.observed - 26_050_00) < 10
    assert line.waits == ""


def test_greeks_are_shown_as_they_were_computed_and_why_they_could_not_be():
    market = Market(ExitLevels(greeks=(DELTA, IV)))
    assert market.lines()[Rule.GREEKS].waits == "not known", "before the first attempt"
    market.seconds(1, spot=None)
    market.seconds(2, spot=None)
    assert "underlying" in market.lines()[Rule.GREEKS].waits
    market.seconds(5)
    guard = market.engine.guards[1]
    seen = around_of(market.engine.judges, guard, market.at).greeks
    assert seen.keys() == {DELTA, IV}
    assert 0.3 < seen[DELTA].value / 10_000 < 0.8
    assert seen[DELTA].text.startswith("|delta| ")
    market.at += NS_PER_S
    market.engine.on_quote(quote(1, 450, at=market.at, book=False))
    market.engine.handle(ev.TimePassed(market.at, NOON + market.at, session_open=True, is_trading_day=True))
    again = around_of(market.engine.judges, guard, market.at).greeks[DELTA]
    assert again.value == seen[DELTA].value
    assert "not computed now: the quote of NIFTY-1 is suspect" in again.text


def test_an_own_rule_that_failed_rests_and_says_so():
    market = Market(ExitLevels(stop=amount(50_000), own_rules=("broken",)))
    assert market.lines()[Rule.OWN_RULE].waits == ""
    market.seconds(3)
    assert market.lines()[Rule.OWN_RULE].waits == "rests: ZeroDivisionError: by hand"
    market.engine.handle(ev.PositionGone(1, market.at))
    assert market.engine.judges[-1].resting_of(1) == {}


LIMITS = (
    ScopeLimit(Scope.ACCOUNT, max_loss=500_000, daily_loss=400_000),
    ScopeLimit(Scope.STRATEGY, max_profit=300_000),
    ScopeLimit(Scope.UNDERLYING, max_loss=900_000, name="BANKNIFTY"),
)


class Book:
    """Two bought calls under the limits above: strategy 1 holds instrument 1, strategy 2 instrument 2."""

    def __init__(self):
        rules = RuleSetup(limits=LIMITS)
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT, rules)
        self.at = 0
        self.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=0))
        for number in (1, 2):
            held = position(call(number, 75, 26_000, 450), strategy_id=number)
            self.engine.handle(ev.PositionOpened(held, ExitLevels(stop=amount(90_000)), 0))

    def prices(self, first, second):
        for _ in range(8):
            self.at += NS_PER_S // 4
            self.engine.handle(ev.TimePassed(self.at, NOON + self.at, session_open=True, is_trading_day=True))
            for number, price in ((1, first), (2, second)):
                if price is not None:
                    self.engine.on_quote(quote(number, price, at=self.at))

    def lines(self, strategy_id):
        guard = self.engine.guards[strategy_id]
        found = guard.thresholds(around_of(self.engine.judges, guard, self.at))
        return {(line.rule, line.name): line for line in found if line.rule is not Rule.STOP_LOSS}


def test_limits_stand_with_the_pnl_of_their_scope_and_of_the_day():
    book = Book()
    book.prices(450, 450)
    book.prices(440, 430)
    lines = book.lines(1)
    assert lines.keys() == {
        (Rule.STRATEGY_LIMIT, "max_profit"),
        (Rule.ACCOUNT_LIMIT, "max_loss"),
        (Rule.ACCOUNT_LIMIT, "daily_loss"),
    }
    loss = lines[Rule.ACCOUNT_LIMIT, "max_loss"]
    assert loss.level == "P&L of account ≤ ₹-5,000.00"
    assert (loss.threshold, loss.observed) == (-500_000, -225_000)
    assert loss.now == "account ₹-2,250.00, of the day ₹-2,250.00"
    assert loss.pnl == -75_000 - 275_000, "so far may this position fall, with the other as it is"
    daily = lines[Rule.ACCOUNT_LIMIT, "daily_loss"]
    assert (daily.level, daily.observed) == ("P&L of the day of account ≤ ₹-4,000.00", -225_000)
    profit = lines[Rule.STRATEGY_LIMIT, "max_profit"]
    assert (profit.level, profit.observed, profit.is_above) == ("P&L of strategy 1 ≥ ₹3,000.00", -75_000, True)
    assert (profit.pnl, profit.source, profit.waits) == (300_000, LevelSource.SETTING, "")


def test_a_sum_that_is_not_known_says_why():
    book = Book()
    book.prices(450, None)
    line = book.lines(1)[Rule.ACCOUNT_LIMIT, "max_loss"]
    assert (line.pnl, line.observed) == (None, None)
    assert line.now == "account not known, of the day not known"
    assert line.waits
    assert book.lines(1)[Rule.STRATEGY_LIMIT, "max_profit"].waits == "", "its own is known"


def test_the_other_limits_of_a_scope_whose_limit_fired_rest():
    states = (
        LimitState(Scope.ACCOUNT, "", LimitKind.MAX_LOSS, -100, -50, -60, NOON, LimitKind.DAILY_LOSS, ""),
        LimitState(Scope.PORTFOLIO, "", LimitKind.MAX_PROFIT, 100, None, -60, None, None, "no price of X"),
    )
    first, second = limit_lines(states, -40)
    assert (
        first.waits
        == "the daily loss limit of its scope fired at 20 Nov 12:00:00 IST: what is open in it is closed at once"
    )
    assert (first.pnl, first.now) == (None, "account ₹-0.50, of the day ₹-0.60")
    assert (second.waits, second.rule) == ("no price of X", Rule.PORTFOLIO_LIMIT)


def test_a_daily_limit_is_compared_with_the_day_and_the_others_with_what_is_open():
    def of(kind, limit, **changed):
        state = LimitState(Scope.ACCOUNT, "", kind, limit, -500, -300, None, None, "")
        return limit_lines((state._replace(**changed),), changed.pop("pnl", -200))[0]

    daily, loss, profit = (
        of(LimitKind.DAILY_LOSS, -1_000),
        of(LimitKind.MAX_LOSS, -1_000),
        of(LimitKind.MAX_PROFIT, 1_000),
    )
    assert (daily.observed, daily.pnl) == (-300, -900)
    assert (loss.observed, loss.pnl) == (-500, -700)
    assert (profit.observed, profit.pnl, profit.is_above) == (-500, 1_300, True)
    assert of(LimitKind.MAX_LOSS, -1_000, open_pnl=None).pnl is None
    blind = of(LimitKind.MAX_LOSS, -1_000, blind="no price of X")
    assert (blind.pnl, blind.waits) == (None, "no price of X")
    (unpriced,) = limit_lines((LimitState(Scope.ACCOUNT, "", LimitKind.MAX_LOSS, -1, -5, -3, None, None, ""),), None)
    assert unpriced.pnl is None
