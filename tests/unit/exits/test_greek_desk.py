"""Levels of Greeks and volatility through the engine: when they are computed, believed, told, remembered, and missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.exits.greek_desk import POSITIONS_PER_BEAT, GreekDesk
from core.exits.underlying_watch import UnderlyingWatch
from core.model import events as ev
from core.model.commands import Remember
from core.model.exit_levels import Action, ExitLevels, LevelSource, Rule, Urgency
from core.model.instrument import InstrumentKey, Segment
from core.model.memory import PositionMemory, ToldLevel
from core.model.signals import Mode
from core.model.special_levels import GreekKind, GreekLevel
from tests.unit.exits import builders
from tests.unit.exits.judge_rig import INDEX, JudgeRig, S, below, call, put
from tests.unit.exits.option_prices import sums, worth, years_between
from tests.unit.order_side.rig import Rig
from tests.unit.order_side.test_partial_exits import LONG, guarded, hit_target

STRADDLE = (call(1), put(2))
BOUGHT = (call(1, units=75), put(2, units=75))


def level(kind, threshold, action=Action.CLOSE_POSITION, reference=None):
    return GreekLevel(GreekKind(kind), threshold, action, LevelSource.LEVEL_ROW, reference=reference)


def tick(rupees):
    return round(rupees * 20) / 20


class GreekRig(JudgeRig):
    """Options are quoted at what they are worth at `spot` and `iv`."""

    spot, iv = 24_000.0, 0.15

    def years(self):
        return years_between(self.now + self.ahead, builders.EXPIRY)

    def price_of(self, leg):
        terms = leg.instrument
        if terms.right is None:
            return self.spot
        return tick(worth(terms.right.value == "CE", self.spot, terms.strike / 100, self.iv, self.years()))

    def quote(self, *legs, **terms):
        for leg in legs:
            self.leg(leg.instrument.key.security_id, self.price_of(leg), **terms)

    def begin(self, *legs, strategy_id=1, memory=None, levels):
        """Guard the position in a market whose prices are all believed; one computation is made."""
        self.index(self.spot)
        self.wait(0.5)
        self.index(self.spot + 0.05)
        self.wait(0.5)
        self.open(*legs, strategy_id=strategy_id, memory=memory, price=None, greeks=tuple(levels))
        self.index(self.spot)
        self.wait(0.25)
        self.index(self.spot + 0.05)
        self.quote(*legs)
        self.wait(0.75)
        return self

    def second(self, *legs, spot=None, iv=None):
        """A second later at other prices; the index goes there in believed steps."""
        self.spot, self.iv = spot or self.spot, iv or self.iv
        self.wait(0.3)
        self.index(self.spot)
        self.wait(0.3)
        self.index(self.spot + 0.05)
        self.quote(*legs)
        self.wait(0.4)

    def measured(self, strategy_id=1):
        figures = self.greeks.figures_of(strategy_id)
        return {level.kind: seen.value for level, seen in figures.measures.items()}

    @property
    def seen(self):
        return [(signal.level, signal.observed) for signal in self.signals]


def rig_with(*levels, legs=STRADDLE, **terms):
    return GreekRig(**terms).begin(*legs, levels=levels)


# What is computed


def test_the_figures_are_those_of_the_plain_formula():
    levels = [level(kind, 1_000, Action.ADJUST) for kind in GreekKind]
    legs = (call(1, units=-150, strike=24_200, entry=300), put(2, units=75, strike=23_900, entry=250))
    rig = GreekRig().begin(*legs, levels=levels)
    figures = rig.greeks.figures_of(1)
    assert figures.problem == ""
    priced = [
        (leg.instrument.right.value == "CE", leg.instrument.strike / 100, leg.units, rig.price_of(leg)) for leg in legs
    ]
    at = years_between(figures.moment.now_ns, builders.EXPIRY)
    delta, gamma, theta, vega, iv = sums(priced, figures.moment.spot / 100, at)
    measured = rig.measured()
    value = abs(sum(units * price for _, _, units, price in priced))
    premium = abs(-150 * 300 + 75 * 250)
    assert measured[GreekKind.DELTA] == pytest.approx(abs(delta) / 150 * 10_000, abs=1)
    assert measured[GreekKind.GAMMA] == 10_000
    assert rig.memory().gamma == pytest.approx(abs(gamma), rel=1e-3)
    assert measured[GreekKind.THETA] == (0 if theta >= 0 else pytest.approx(-theta / value * 1e6, rel=1e-3))
    assert measured[GreekKind.VEGA] == pytest.approx(abs(vega) / premium * 1e6, rel=1e-3)
    assert measured[GreekKind.IV_ABOVE] == measured[GreekKind.IV_BELOW] == pytest.approx(iv * 1e6, rel=1e-5)
    assert rig.memory().volatility == pytest.approx(iv, rel=1e-5)


CASES = [
    ("delta", (call(1, strike=23_500),), 1),
    ("gamma", STRADDLE, 1),
    ("theta", BOUGHT, 1),
    ("vega", STRADDLE, 1),
    ("iv_above", STRADDLE, 1),
    ("iv_below", STRADDLE, -1),
    ("iv_up", STRADDLE, 1),
    ("iv_down", STRADDLE, 1),
]


@pytest.mark.parametrize(("kind", "legs", "far_side"), CASES)
def test_each_measure_fires_at_its_threshold_and_beyond(kind, legs, far_side):
    reference = {"gamma": 0.05, "iv_up": 0.12, "iv_down": 0.18}.get(kind)
    unreached = 0.001 if far_side < 0 else 100_000
    probe = GreekRig().begin(*legs, levels=[level(kind, unreached, reference=reference)])
    probe.wait(1)
    observed = probe.measured()[GreekKind(kind)]
    assert observed > 0
    found = []
    for off in (-1, 0, 1):
        threshold = (observed - off * far_side) / 10_000  # beyond it by `off`
        rig = GreekRig().begin(*legs, levels=[level(kind, threshold, reference=reference)])
        rig.wait(1)
        found.append([(signal.threshold, signal.observed) for signal in rig.signals])
    assert found == [[], [(observed, observed)], [(observed - far_side, observed)]]


@pytest.mark.parametrize(
    ("kind", "move"),
    [("iv_up", {"iv": 0.226}), ("iv_down", {"iv": 0.119}), ("gamma", {"iv": 0.07}), ("delta", {"spot": 25_500})],
)
def test_the_market_moves_to_the_level(kind, move):
    thresholds = {"iv_up": 50, "iv_down": 20, "gamma": 2, "delta": 0.8}
    rig = rig_with(level(kind, thresholds[kind]))
    rig.second(*STRADDLE)
    assert rig.signals == []
    rig.second(*STRADDLE, **move)
    rig.wait(2)
    assert [name for name, _ in rig.seen] == [kind]


def test_what_a_signal_says():
    rig = rig_with(level("iv_above", 14))
    rig.wait(1)
    (signal,) = rig.signals
    assert (signal.rule, signal.level, signal.action, signal.urgency) == (
        Rule.GREEKS,
        "iv_above",
        Action.CLOSE_POSITION,
        Urgency.HIGH,
    )
    assert (signal.threshold, signal.observed) == (140_000, rig.signals[0].observed)
    assert signal.pnl == rig.engine.cache.get(1).pnl
    assert signal.tick_received_ns is None
    assert signal.decided_ns == rig.now
    assert signal.reason.startswith("Greeks: volatility 15.0")
    assert signal.reason.endswith(" % a year ≥ 14")


def test_volatility_at_most_reads_as_such():
    rig = rig_with(level("iv_below", 16, Action.ADJUST))
    rig.wait(1)
    assert rig.signals[0].reason.endswith(" % a year ≤ 16")
    assert rig.signals[0].urgency is Urgency.NORMAL


def test_theta_is_no_cost_for_who_sold():
    rig = rig_with(level("theta", 0.0001))
    rig.wait(5)
    assert rig.measured() == {GreekKind.THETA: 0}
    assert rig.signals == []


def test_decay_is_of_the_size_of_the_value():
    """Net short by a deep call: worth less than nothing, and it pays for time."""
    legs = (call(1, units=75), call(2, units=-75, strike=22_000))
    rig = rig_with(level("theta", 1_000), legs=legs)
    assert rig.measured()[GreekKind.THETA] > 0


def test_in_live_mode_the_exit_begins():
    rig = rig_with(level("iv_above", 14), mode=Mode.LIVE)
    rig.wait(1)
    assert rig.engine.guards == {}


# Two computations in a row, a second apart


def test_one_computation_is_not_enough():
    rig = rig_with(level("iv_above", 20))
    rig.second(*STRADDLE, iv=0.25)
    first = rig.greeks.figures_of(1)
    assert first.measures[rig.engine.guards[1].levels.greeks[0]].value > 200_000
    assert rig.signals == []
    rig.wait(0.5)
    assert rig.greeks.figures_of(1) is first, "once a second"
    rig.wait(0.75)
    assert len(rig.signals) == 1
    assert rig.signals[0].decided_ns - first.at_ns >= S


def test_a_computation_in_between_that_is_not_beyond_begins_the_row_anew():
    rig = rig_with(level("iv_above", 20))
    for iv in (0.25, 0.15, 0.25, 0.15):
        rig.second(*STRADDLE, iv=iv)
    assert rig.signals == []


def test_a_suspect_quote_makes_no_computation_and_leaves_the_row():
    rig = rig_with(level("iv_above", 20))
    rig.second(*STRADDLE, iv=0.25)
    rig.leg(2, rig.price_of(STRADDLE[1]), bid=100, ask=900)
    rig.wait(2)
    assert rig.signals == []
    assert rig.greeks.figures_of(1).problem == "the quote of NIFTY-2 is suspect"
    rig.wait(1)
    rig.quote(*STRADDLE)
    rig.wait(1.25)
    assert len(rig.signals) == 1


def test_prices_that_are_not_believed_begin_the_row_anew():
    rig = rig_with(level("iv_above", 20))
    rig.second(*STRADDLE, iv=0.25)
    rig.doubt(STRADDLE[0].instrument.key)
    rig.wait(1)
    assert rig.greeks.figures_of(1).problem.startswith("no fresh price for NSE_FNO:1")
    rig.wait(0.5)
    rig.quote(*STRADDLE)
    rig.wait(0.75)
    assert rig.signals == []
    rig.wait(1)
    assert len(rig.signals) == 1


@pytest.mark.parametrize("closed_for", [0.25, 5])
@pytest.mark.parametrize("session_open", [False, None])
def test_a_session_that_is_not_known_to_be_open_begins_the_row_anew(session_open, closed_for):
    rig = rig_with(level("iv_above", 20))
    rig.second(*STRADDLE, iv=0.25)
    rig.wait(0.25)
    rig.session_open = session_open
    before = rig.greeks.figures_of(1)
    rig.wait(closed_for)
    assert rig.greeks.figures_of(1) is before
    rig.session_open = True
    rig.wait(0.25 if closed_for > 1 else 1)
    assert rig.signals == []
    rig.wait(1.25)
    assert len(rig.signals) == 1


# The underlying


def test_an_index_whose_newest_price_is_not_believed_yet_is_waited_for():
    rig = rig_with(level("iv_above", 20))
    rig.second(*STRADDLE, iv=0.25)
    rig.walk(30_000, 12_000, 30_000, 12_000, 30_000, 12_000, every=0.25)
    assert rig.greeks.figures_of(1).problem == "the newest price of the underlying NIFTY is not believed yet"
    assert rig.signals == []
    rig.walk(24_000, 24_000.05, every=0.25)
    rig.wait(1)
    assert len(rig.signals) == 1, "the computation before is the one before"


def test_where_the_index_stands_still_the_pair_implies_the_forward():
    rig = rig_with(level("delta", 0.5, Action.ADJUST))
    for _ in range(13):
        rig.wait(10)
        rig.quote(*STRADDLE)
    assert rig.blind_spot() is None
    rig.spot = 24_600
    rig.wait(1)
    rig.quote(*STRADDLE)
    rig.wait(1.25)
    figures = rig.greeks.figures_of(1)
    assert figures.problem == ""
    assert figures.moment.spot is None
    assert figures.moment.forwards[builders.EXPIRY] / 100 == pytest.approx(24_600, abs=0.2)


def test_without_a_pair_a_frozen_index_leaves_the_greeks_unknown():
    rig = rig_with(level("delta", 0.9), legs=(call(1),))
    for step in range(14):
        rig.wait(10)
        rig.leg(1, 500 + step)
    problem = rig.greeks.figures_of(1).problem
    assert problem.startswith("NIFTY-1: no price of the underlying; the underlying NIFTY has stood still for 1")
    assert problem.endswith("while its options move")


def test_what_has_no_underlying_in_the_master_is_computed_from_its_pair():
    legs = (builders.call(1, -75, 24_000, 100), builders.put(2, -75, 24_000, 100))
    rig = rig_with(level("iv_above", 14), legs=legs)
    rig.wait(1)
    assert [name for name, _ in rig.seen] == ["iv_above"]


def test_commodities_whose_close_nobody_has_said_are_not_known():
    crude = InstrumentKey(Segment.MCX_COMM, 1)
    leg = replace(call(1), instrument=replace(call(1).instrument, key=crude))
    rig = GreekRig()
    rig.open(leg, price=None, greeks=(level("delta", 0.5),))
    rig.walk(24_000, 24_001)
    rig.index(500, key=crude, bid=499.95, ask=500.05)
    rig.wait(1.25)
    assert rig.greeks.figures_of(1).problem == "nobody has said when options of MCX_COMM end on their last day"
    assert rig.greeks.figures_of(1).greeks is None


# References


def test_the_first_gamma_and_volatility_are_remembered():
    rig = rig_with(level("gamma", 2, Action.ADJUST))
    memory = rig.memory()
    assert memory.gamma > 0
    assert memory.volatility == pytest.approx(0.15, abs=1e-3)
    assert [command.strategy_id for command in rig.commands if isinstance(command, Remember)] == [1]
    rig.second(*STRADDLE, iv=0.3)
    assert rig.memory() == memory


def test_after_a_restart_the_old_references_count():
    rig = rig_with(level("iv_up", 50), level("gamma", 2))
    memory = rig.memory()
    after = GreekRig()
    after.iv = 0.23
    after.begin(*STRADDLE, levels=[level("iv_up", 50)], memory=memory)
    after.wait(1)
    assert [name for name, _ in after.seen] == ["iv_up"]
    fresh = GreekRig()
    fresh.iv = 0.23
    fresh.begin(*STRADDLE, levels=[level("iv_up", 50)], memory=PositionMemory())
    fresh.wait(1)
    assert fresh.signals == []


def test_an_edited_position_keeps_its_references():
    rig = rig_with(level("gamma", 2, Action.ADJUST))
    memory = rig.memory()
    rig.iv = 0.3
    rig.open(*STRADDLE, price=None, greeks=(level("gamma", 3, Action.ADJUST),))
    rig.quote(*STRADDLE)
    rig.wait(2)
    assert (rig.memory().gamma, rig.memory().volatility) == (memory.gamma, memory.volatility)


def test_a_level_s_own_reference_comes_first():
    rig = rig_with(level("iv_up", 50, reference=0.09))
    rig.wait(1)
    assert [name for name, _ in rig.seen] == ["iv_up"]


def test_after_a_share_was_closed_references_count_for_what_is_left():
    legs = (call(1, units=-150), put(2, units=-150))
    rig = rig_with(level("gamma", 3, Action.ADJUST), level("gamma", 4, reference=0.1), legs=legs)
    rig.wait(1)
    whole = {each: seen.value for each, seen in rig.greeks.figures_of(1).measures.items()}
    memory = rig.memory()
    left = replace(rig.engine._opened[1].position, legs=tuple(replace(leg, units=-75) for leg in legs))
    booked = rig.cache.put(left)
    guard = rig.engine.room.guard(booked, rig.engine._opened[1].levels, None, rig.now)
    guard.original = rig.engine._opened[1].position
    rig.greeks.opened(guard, memory)
    rig.wait(1)
    halved = {each: seen.value for each, seen in rig.greeks.figures_of(1).measures.items()}
    assert list(halved.values()) == [pytest.approx(value, abs=1) for value in whole.values()]
    rig.greeks.opened(guard, PositionMemory())
    rig.wait(1)
    assert rig.memory().gamma == pytest.approx(memory.gamma, rel=1e-6), "of the position as its rows have it"


def test_the_engine_tells_what_is_left_of_a_share_and_what_the_rows_say():
    rig = Rig()
    guarded(rig)
    hit_target(rig)
    guard = rig.engine.guards[1]
    assert guard.original == LONG
    assert [leg.units for leg in guard.booked.position.legs] == [150]


# Once, and many


def test_a_level_that_warns_is_told_once_also_across_restarts():
    rig = rig_with(level("iv_above", 14, Action.ADJUST))
    rig.wait(10)
    assert len(rig.signals) == 1
    memory = rig.memory()
    assert memory.told == (ToldLevel(Rule.GREEKS, "iv_above", 140_000),)
    after = GreekRig().begin(*STRADDLE, levels=[level("iv_above", 14, Action.ADJUST)], memory=memory)
    after.wait(5)
    assert after.signals == []
    assert after.greeks.figures_of(1) is None


def test_a_beat_computes_no_more_than_a_few_positions_and_all_get_their_turn():
    rig = GreekRig()
    rig.session_open = False
    count = 3 * POSITIONS_PER_BEAT + 1
    levels = ExitLevels(greeks=(level("delta", 0.99, Action.ADJUST),))
    for number in range(1, count + 1):
        rig.tell(ev.PositionOpened(builders.position(call(number), strategy_id=number), levels, rig.now))
        rig.quote(call(number))
    rig.walk(24_000, 24_000.5)
    rig.session_open = True
    asked, before = [], {}
    for _ in range(8):
        rig.wait(0.25)
        now = {number: rig.greeks.figures_of(number) for number in range(1, count + 1)}
        asked.append([number for number in now if now[number] is not before.get(number)])
        before = now
    assert [len(each) for each in asked[:4]] == [8, 8, 8, 1]
    assert sorted(number for turn in asked[:4] for number in turn) == list(range(1, count + 1))
    assert asked[4:] == asked[:4], "the longest waiting first"
    assert all(not figures.problem for figures in before.values())


def test_a_position_that_has_gone_is_not_computed_any_more():
    rig = rig_with(level("iv_above", 20))
    rig.open(*STRADDLE)
    assert rig.greeks.figures_of(1) is None
    rig.wait(3)
    assert not rig.greeks._queue
    rig.greeks.finished(None)
    assert rig.greeks.next_deadline_ns is None


def test_a_position_that_is_opened_anew_without_levels_is_computed_no_more():
    rig = rig_with(level("iv_above", 14))
    guard = rig.engine.guards[1]
    guard.levels = ExitLevels()
    rig.greeks.opened(guard, PositionMemory())
    assert rig.greeks.figures_of(1) is None
    rig.wait(5)
    assert rig.signals == []


def test_an_edited_position_stands_once_in_the_queue_and_is_computed_at_once():
    rig = rig_with(level("iv_above", 20))
    for _ in range(3):
        rig.open(*STRADDLE, price=None, greeks=(level("iv_above", 21),))
        assert rig.greeks.figures_of(1).at_ns == rig.now
        rig.wait(1.25)
    assert len(rig.greeks._queue) == 1


# Who is told


def test_a_level_that_closes_and_cannot_be_computed_leaves_the_position_unprotected_after_30_s():
    rig = rig_with(level("delta", 0.9), legs=(call(1),))
    rig.leg(1, 400, bid=300, ask=600)
    rig.wait(30.25)
    assert rig.blind_spot() is None
    rig.wait(2)
    assert rig.blind_spot() == "Greeks not known for 31 s: the quote of NIFTY-1 is suspect"
    rig.wait(1)
    rig.leg(1, 400)
    rig.wait(1.25)
    assert rig.blind_spot() is None
    assert rig.greeks.figures_of(1).problem == ""


@pytest.mark.parametrize(("after", "is_told"), [(30 * S, False), (30 * S + 1, True)])
def test_thirty_seconds_are_still_fine(after, is_told):
    rig = rig_with(level("delta", 0.9, Action.ADJUST), level("vega", 9), legs=(call(1),))
    rig.leg(1, 400, bid=300, ask=600)
    rig.wait(1.25)
    since = rig.greeks._watched[1].failing[0]
    assert (rig.engine.guards[1].blind_spot(since + after) is not None) is is_told


def test_a_measure_that_only_a_warning_lacks_is_no_fault():
    legs = (call(1, entry=100), put(2, units=75, entry=100))
    rig = rig_with(level("vega", 5, Action.ADJUST), level("iv_above", 90), legs=legs)
    rig.wait(40)
    assert rig.blind_spot() is None
    assert rig.greeks.figures_of(1).problem == ""


def test_the_first_of_several_reasons_is_told():
    rig = rig_with(level("iv_up", 5), level("vega", 5), legs=(replace(builders.stock(4, 75, 0), entry=0),))
    assert rig.greeks.figures_of(1).problem == "a position without options has no volatility"
    rig = rig_with(level("delta", 0.9))
    for security_id in (1, 2):
        rig.leg(security_id, 400, bid=300, ask=600)
    rig.wait(1.25)
    assert rig.greeks.figures_of(1).problem == "the quote of NIFTY-1 is suspect"
    rig.doubt(*(leg.instrument.key for leg in STRADDLE))
    rig.wait(1.25)
    assert rig.greeks.figures_of(1).problem.startswith("no fresh price for NSE_FNO:1")


def test_before_the_first_computation_there_is_a_problem_and_no_figures():
    rig = GreekRig()
    rig.open(*STRADDLE, price=None, greeks=(level("delta", 0.9),))
    figures = rig.greeks.figures_of(1)
    assert figures == (rig.now, "no price for NSE_FNO:1", None, None, {})


def test_one_that_only_warns_does_not():
    rig = rig_with(level("delta", 0.9, Action.ADJUST), legs=(call(1),))
    rig.leg(1, 400, bid=300, ask=600)
    rig.wait(60)
    assert rig.blind_spot() is None


def test_a_measure_that_the_position_does_not_have_is_told_like_that():
    rig = rig_with(level("vega", 5), level("iv_above", 90), legs=(call(1, entry=100), put(2, units=75, entry=100)))
    rig.wait(30.25)
    text = "the net premium is 0 or unknown, and vega is no per cent of that"
    assert rig.blind_spot() == f"Greeks not known for 31 s: {text}"
    assert rig.greeks.figures_of(1).greeks is not None


def test_the_wait_for_them_begins_at_the_opening():
    rig = rig_with(level("delta", 0.9), legs=(call(1),))
    rig.leg(1, 400, bid=300, ask=600)
    rig.wait(20)
    rig.session_open = False
    rig.wait(100)
    assert rig.blind_spot() is None
    rig.session_open = True
    rig.wait(30)
    assert rig.blind_spot() is None
    rig.wait(2)
    assert rig.blind_spot() is not None


def test_stock_without_options_has_no_volatility():
    stock = builders.stock(4, 75, 24_000)
    rig = rig_with(level("iv_up", 50), legs=(stock,))
    rig.wait(31)
    assert rig.blind_spot().endswith("a position without options has no volatility")
    assert (rig.memory().gamma, rig.memory().volatility) == (None, None), "nothing to compare with later"
    rig.open(stock, price=None, greeks=(level("iv_down", 50),))
    rig.wait(30.25)
    assert rig.blind_spot() == "Greeks not known for 30 s: a position without options has no volatility"


def test_greeks_and_underlying_levels_live_side_by_side():
    rig = GreekRig()
    rig.index(24_000)
    rig.open(*STRADDLE, price=None, greeks=(level("iv_above", 14, Action.ADJUST),), underlying=(below(23_000),))
    rig.walk(24_000.05, 24_000)
    rig.quote(*STRADDLE)
    rig.wait(2)
    assert [name for name, _ in rig.seen] == ["iv_above"]
    assert isinstance(rig.greeks, GreekDesk)
    assert isinstance(rig.watch, UnderlyingWatch)
    rig.doubt(INDEX)
    rig.wait(1.25)
    assert rig.signals[1:] == []
