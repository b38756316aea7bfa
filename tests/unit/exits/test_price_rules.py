"""Each price rule at its threshold and a paisa beside it, and what it is to mean: more room fires later, lots change nothing,
a restart changes nothing."""

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.exits.position_guard import PositionGuard
from core.exits.rules import PRICE_RULES, RuleFacts, is_asked_for
from core.exits.time_rules import TIME_RULES, longest_holding
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, DaysLevel, ExitLevels, LevelSource, Rule, TrailingLevel, Urgency
from core.model.instrument import Instrument, Right
from core.model.market import Quote
from core.model.memory import PositionMemory
from core.model.position import Leg, Product
from core.model.special_levels import AdjustmentLevel, LockLevel, LockStep, ScalingLevel
from tests.unit.exits.builders import EXPIRY, Desk, key, position
from tests.unit.order_side.rig import Rig

ROW = LevelSource.LEVEL_ROW
S = 1_000_000_000
ENTRY = 100_000
DAYS_LEFT = 34
"""From the builders' day to their expiry."""


def one_leg(units=1):
    """A tick of one paisa, so that the P&L of one unit can be any number of paise."""
    contract = Instrument(key(1), "NIFTY-1", "NIFTY", 1, 1, expiry=EXPIRY, right=Right.CALL)
    return Leg(1, contract, Product.MARGIN, units, ENTRY, "2026-11-10T09:30:00")


def amount(paise):
    return AmountLevel(paise, ROW)


def trail(arm, distance=0, percent=None):
    return TrailingLevel(arm, distance, ROW, percent_of_peak=percent)


def lock(*steps):
    return LockLevel(tuple(LockStep(trigger, floor) for trigger, floor in steps), ROW)


def scale(*levels):
    return tuple(ScalingLevel(paise, action, ROW) for paise, action in levels)


class Line(Desk):
    """A position whose P&L is told: `at(pnl)` is a clean quote that makes it `pnl` paise, two seconds later."""

    def __init__(self, levels, units=1, peak=None):
        super().__init__(one_leg(units), levels=levels, peak=peak)
        self.units = units

    def pnl(self, pnl):
        self.at += 2 * S
        price = ENTRY + pnl // self.units
        quote = Quote(key(1), price, price - 1, price + 1, 75, 75, None, self.at)
        return self.guard.on_quote(quote) if self.booked in self.cache.apply(quote) else None


def fired(signal):
    return None if signal is None else (signal.rule, signal.threshold, signal.action)


QUARTER, HALF, MOST = Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75
STEPS = scale((300, QUARTER), (600, HALF), (900, MOST))
CLOSE = Action.CLOSE_POSITION

TABLE = [
    # levels, P&L before, P&L that fires nothing, P&L that fires, (rule, threshold, action)
    ("stop", ExitLevels(stop=amount(500)), [0], -499, -500, (Rule.STOP_LOSS, -500, Action.CLOSE_IMMEDIATELY)),
    ("trail", ExitLevels(trailing=trail(100, 40)), [100], 61, 60, (Rule.TRAILING_STOP, 60, CLOSE)),
    ("trail unarmed", ExitLevels(trailing=trail(100, 40)), [99, -5_000, 101], 62, 61, (Rule.TRAILING_STOP, 61, CLOSE)),
    ("trail from entry", ExitLevels(trailing=trail(0, 40)), [-1], -39, -40, (Rule.TRAILING_STOP, -40, CLOSE)),
    (
        "share of the peak",
        ExitLevels(trailing=trail(100, percent=25)),
        [400],
        301,
        300,
        (Rule.TRAILING_STOP, 300, CLOSE),
    ),
    (
        "a share of no peak is no stop",
        ExitLevels(trailing=trail(0, percent=50)),
        [-3_000, 10],
        6,
        5,
        (Rule.TRAILING_STOP, 5, CLOSE),
    ),
    ("premium", ExitLevels(premium_trailing=amount(80)), [-79], -79, -80, (Rule.PREMIUM_TRAILING, -80, CLOSE)),
    (
        "premium after a peak",
        ExitLevels(premium_trailing=amount(80)),
        [30, 20],
        -49,
        -50,
        (Rule.PREMIUM_TRAILING, -50, CLOSE),
    ),
    ("at cost", ExitLevels(lock=lock((100, 0))), [99, -50, 100], 1, 0, (Rule.LOCK_PROFIT, 0, CLOSE)),
    ("second step", ExitLevels(lock=lock((100, 0), (200, 150))), [200], 151, 150, (Rule.LOCK_PROFIT, 150, CLOSE)),
    ("a floor below zero", ExitLevels(lock=lock((100, -30))), [150], -29, -30, (Rule.LOCK_PROFIT, -30, CLOSE)),
    ("target", ExitLevels(target=amount(500)), [0], 499, 500, (Rule.PROFIT_TARGET, 500, CLOSE)),
    ("scaling", ExitLevels(scaling=STEPS), [0], 299, 300, (Rule.SCALING_TARGET, 300, QUARTER)),
    ("scaling past two", ExitLevels(scaling=STEPS), [0], 299, 899, (Rule.SCALING_TARGET, 600, HALF)),
    ("scaling past all", ExitLevels(scaling=STEPS), [0], 299, 5_000, (Rule.SCALING_TARGET, 900, MOST)),
    ("theta", ExitLevels(theta=DaysLevel(DAYS_LEFT, ROW)), [5], 1, 0, (Rule.THETA_EXIT, 0, CLOSE)),
    (
        "half the stop",
        ExitLevels(stop=amount(501), losing_time=DaysLevel(DAYS_LEFT + 1, ROW)),
        [0],
        -250,
        -251,
        (Rule.LOSING_TIME, -251, CLOSE),
    ),
    (
        "adjustment",
        ExitLevels(adjustment=AdjustmentLevel(250, 500, ROW)),
        [0],
        -249,
        -250,
        (Rule.ADJUSTMENT, -250, Action.ADJUST),
    ),
    (
        "adjustment from below",
        ExitLevels(adjustment=AdjustmentLevel(250, 500, ROW)),
        [-600],
        -501,
        -500,
        (Rule.ADJUSTMENT, -250, Action.ADJUST),
    ),
]
NAMED = [pytest.param(*row[1:], id=row[0]) for row in TABLE]


@pytest.mark.parametrize(("levels", "before", "quiet", "firing", "expected"), NAMED)
def test_fires_at_the_threshold_and_not_a_paisa_before(levels, before, quiet, firing, expected):
    line = Line(levels)
    for pnl in (*before, quiet):
        assert line.pnl(pnl) is None
    assert fired(line.pnl(firing)) == expected


@pytest.mark.parametrize(("levels", "before", "quiet", "firing", "expected"), NAMED)
@pytest.mark.parametrize("lots", [2, 7])
def test_lots_change_nothing(levels, before, quiet, firing, expected, lots):
    line = Line(scaled(levels, lots), units=lots)
    for pnl in (*before, quiet):
        assert line.pnl(pnl * lots) is None
    rule, threshold, action = expected
    found = line.pnl(firing * lots)
    # Half of an odd stop is rounded once, for the whole position.
    assert abs(found.threshold - threshold * lots) < lots
    assert (found.rule, found.action) == (rule, action)


def scaled(levels, lots):
    """The same levels for `lots` times the position."""

    def times(level):
        return None if level is None else replace(level, amount=level.amount * lots)

    trailing, adjust = levels.trailing, levels.adjustment
    return replace(
        levels,
        stop=times(levels.stop),
        target=times(levels.target),
        premium_trailing=times(levels.premium_trailing),
        trailing=trailing and replace(trailing, arm=trailing.arm * lots, distance=trailing.distance * lots),
        lock=levels.lock and lock(*((step.trigger * lots, step.floor * lots) for step in levels.lock.steps)),
        scaling=tuple(times(level) for level in levels.scaling),
        adjustment=adjust and replace(adjust, first=adjust.first * lots, last=adjust.last * lots),
    )


# One parameter of each rule: the more of it, the later it fires.
MORE_FIRES_LATER = {
    "stop": lambda x: ExitLevels(stop=amount(x)),
    "trail": lambda x: ExitLevels(trailing=trail(50, x)),
    "share of the peak": lambda x: ExitLevels(trailing=trail(50, percent=min(x, 99))),
    "premium": lambda x: ExitLevels(premium_trailing=amount(x)),
    "lock": lambda x: ExitLevels(lock=lock((200, 200 - x))),
    "target": lambda x: ExitLevels(target=amount(x)),
    "scaling": lambda x: ExitLevels(scaling=scale((x, HALF))),
    "half the stop": lambda x: ExitLevels(stop=amount(2 * x), losing_time=DaysLevel(99, ROW)),
    "adjustment": lambda x: ExitLevels(adjustment=AdjustmentLevel(x, 10_000, ROW)),
}
paths = st.lists(st.integers(-700, 700), min_size=1, max_size=30)


def first_fired(levels, path):
    """The step at which something fires, past the end when nothing does."""
    line = Line(levels)
    return next((step for step, pnl in enumerate(path) if line.pnl(pnl) is not None), len(path))


@settings(max_examples=40)
@pytest.mark.parametrize("name", list(MORE_FIRES_LATER))
@given(path=paths, less=st.integers(1, 500), more=st.integers(0, 300))
def test_more_room_never_fires_earlier(name, path, less, more):
    make = MORE_FIRES_LATER[name]
    assert first_fired(make(less), path) <= first_fired(make(less + more), path)


LEVELS_OF_EVERY_RULE = [
    pytest.param(levels, id=name) for name, levels, *_ in TABLE if name not in {"trail unarmed", "scaling past two"}
]


class Book(Rig):
    """The engine with one position whose P&L is told; what its first exit is for."""

    def begin_with(self, levels, memory):
        self.tell(ev.TimePassed(self.now, self.utc_at_start, session_open=True, is_trading_day=True))
        self.tell(ev.PositionOpened(position(one_leg(units=4)), levels, self.now, memory))
        self.wait(0.25)
        self.positions({1: 4})

    def told(self):
        starts = [each.signal for each in self.journal if hasattr(each, "signal")]
        warned = [alert.subject for alert in self.alerts]
        return [(signal.rule, signal.threshold, signal.action) for signal in starts], warned

    def pnl(self, pnl):
        # Nobody is to think that the program stood still, and held the quote in a backlog.
        self.wait(0.8)
        price = ENTRY + pnl // 4
        self.tell(ev.QuoteArrived(Quote(key(1), price, price - 1, price + 1, 75, 75, None, self.now)))


@settings(max_examples=25)
@pytest.mark.parametrize("levels", LEVELS_OF_EVERY_RULE)
@given(path=st.lists(st.integers(-250, 250).map(lambda x: 4 * x), min_size=2, max_size=12), cut=st.integers(0, 11))
def test_a_restart_changes_no_decision(levels, path, cut):
    """What is remembered is all that a decision needs: cut the day anywhere, the exit is the same and warnings are not repeated."""
    unbroken = Book(utc_at_start=NOON_OF_BUILDERS)
    unbroken.begin_with(levels, PositionMemory())
    first = Book(utc_at_start=NOON_OF_BUILDERS)
    first.begin_with(levels, PositionMemory())
    for pnl in path[:cut]:
        unbroken.pnl(pnl)
        first.pnl(pnl)
    if first.engine.guards.get(1) is None or first.running() is not None:
        return
    second = Book(utc_at_start=NOON_OF_BUILDERS, now=first.now)
    second.begin_with(levels, first.engine.memory_of(1))
    for pnl in path[max(cut - 1, 0) :]:
        second.pnl(pnl)
    for pnl in path[cut:]:
        unbroken.pnl(pnl)
    exits, warned = first.told()
    event(f"fired {unbroken.told()[0]}")
    assert exits == []
    assert (second.told()[0], warned + second.told()[1]) == unbroken.told()


NOON_OF_BUILDERS = 1_795_156_200 * S


def test_what_has_to_be_remembered_is_told_when_it_changes():
    book = Book(utc_at_start=NOON_OF_BUILDERS)
    book.begin_with(ExitLevels(trailing=trail(100, 400)), PositionMemory())
    book.take()
    for pnl, told in ((96, False), (100, True), (100, False), (200, True), (0, False)):
        book.pnl(pnl)
        assert [command.strategy_id for command in book.take(cmd.Remember)] == [1] * told
    assert book.engine.memory_of(1) == PositionMemory(peak=200)
    assert book.engine.memory_of(2) is None


def test_a_warning_is_told_once_also_after_a_restart():
    levels = ExitLevels(stop=amount(4_000), adjustment=AdjustmentLevel(1_000, 2_000, ROW))
    book = Book(utc_at_start=NOON_OF_BUILDERS)
    book.begin_with(levels, PositionMemory())
    for pnl in (-1_000, -1_200, 0, -1_500):
        book.pnl(pnl)
    assert [alert.subject for alert in book.alerts] == ["Iron Condor (1): ADJUST"]
    assert book.engine.guards[1].levels == replace(levels, adjustment=None)
    again = Book(utc_at_start=NOON_OF_BUILDERS)
    again.begin_with(levels, book.engine.memory_of(1))
    for pnl in (-1_500, -3_000):
        again.pnl(pnl)
    assert again.alerts == []
    again.pnl(-4_000)
    assert again.told()[0] == [(Rule.STOP_LOSS, -4_000, Action.CLOSE_IMMEDIATELY)]


def test_a_warning_that_is_jumped_over_leaves_no_tick_to_the_slow_path():
    line = Line(ExitLevels(stop=amount(5_000), adjustment=AdjustmentLevel(1_000, 2_000, ROW)))
    assert line.pnl(-2_001) is None
    assert (line.booked.lower, line.booked.upper, line.booked.watched) == (-5_000, -2_000, False)
    assert line.pnl(-999) is None
    assert line.booked.lower == -1_000


@pytest.mark.parametrize(("held", "fires"), [(None, False), (44, False), (45, True), (46, True)])
def test_longest_holding(held, fires):
    verdict = longest_holding(RuleFacts(ExitLevels(holding=DaysLevel(45, ROW)), held_days=held))
    assert (verdict is not None) is fires
    if verdict is not None:
        assert (verdict.action, verdict.urgency, verdict.threshold, verdict.observed) == (
            CLOSE,
            Urgency.MEDIUM,
            45,
            held,
        )


@pytest.mark.parametrize(
    ("opened", "days", "fires"),
    [
        ("2026-11-10T23:59:00", 10, True),
        ("2026-11-10T23:59:00", 11, False),
        ("2026-11-09T18:31:00+00:00", 10, True),
        ("2026-11-10T18:31:00+00:00", 10, False),
        ("2026-11-10", 10, True),
        ("", 1, False),
        ("yesterday", 1, False),
    ],
)
def test_held_days_are_counted_from_the_indian_date_of_the_first_leg(opened, days, fires):
    legs = (replace(one_leg(), opened_at=opened), replace(one_leg(), opened_at="2026-11-20T09:20:00"))
    if not fires and not opened:
        legs = legs[:1]
    desk = Desk(*legs, levels=ExitLevels(holding=DaysLevel(days, ROW)))
    signal = desk.clock(S)
    assert (signal is not None) is fires


def test_the_hard_lines_are_multiples_of_what_is_given_up():
    facts = RuleFacts(
        ExitLevels(
            stop=amount(100),
            trailing=trail(0, 50),
            premium_trailing=amount(80),
            lock=lock((300, 100)),
            losing_time=DaysLevel(9, ROW),
        ),
        peak=300,
        days=3,
    )
    hard = {rule.rule: rule.hard_line(facts, 1.5) for rule in PRICE_RULES}
    assert hard == {
        Rule.STOP_LOSS: -150,
        Rule.TRAILING_STOP: 225,
        Rule.PREMIUM_TRAILING: 180,
        Rule.LOCK_PROFIT: 0,
        Rule.THETA_EXIT: None,
        Rule.LOSING_TIME: -75,
        Rule.ADJUSTMENT: None,
        Rule.PROFIT_TARGET: None,
        Rule.SCALING_TARGET: None,
    }


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (RuleFacts(ExitLevels(trailing=trail(0, 50)), peak=300), " (peak ₹3.00 − ₹0.50)"),
        (RuleFacts(ExitLevels(premium_trailing=amount(80))), " (peak ₹0.00 − ₹0.80)"),
        (RuleFacts(ExitLevels(lock=lock((300, 100))), peak=300), " (locked since P&L reached ₹3.00)"),
        (RuleFacts(ExitLevels(theta=DaysLevel(3, ROW)), days=1), " with 1 day to expiry ≤ 3"),
        (
            RuleFacts(ExitLevels(stop=amount(9), losing_time=DaysLevel(3, ROW)), days=2),
            " (half the stop) with 2 days to expiry < 3",
        ),
    ],
)
def test_the_reason_says_what_the_line_is_made_of(facts, detail):
    (rule,) = (
        rule for rule in PRICE_RULES if is_asked_for(facts.levels, rule.rule) and rule.rule is not Rule.STOP_LOSS
    )
    assert rule.detail(facts) == detail


def test_a_rule_without_its_level_is_not_in_force():
    nothing = RuleFacts(ExitLevels())
    for rule in PRICE_RULES:
        assert not is_asked_for(nothing.levels, rule.rule)
        assert rule.line(nothing) is None
        assert rule.fires_at(nothing, 0) is None
        assert rule.band(nothing, 0) == (None, None)
        assert rule.hard_line(nothing, 1.5) is None
        assert rule.last_line(nothing) is None
        assert rule.detail(nothing) == ""
    assert [rule.check(nothing) for rule in TIME_RULES] == [None, None, None]
    assert PositionGuard(Line(ExitLevels()).booked, ExitLevels(), Line(ExitLevels()).guard.settings).armed is False
