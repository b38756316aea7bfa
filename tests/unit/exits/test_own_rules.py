"""A user's own rules behind the engine: they act, they warn, and what goes wrong in one stops nothing else."""

from dataclasses import dataclass, field, replace

import pytest

from core.exits.judges import RuleSetup
from core.exits.own_rules import ASKED_PER_BEAT, SLOW_NS, TOO_SLOW_NS
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.own_rule import Wish
from tests.unit.order_side.rig import SPREAD, Rig, leg, position

STOP = AmountLevel(75_000, LevelSource.LEVEL_ROW)
LEVELS = ExitLevels(stop=STOP, own_rules=("mine", "other"))
LONG = position(1, leg(11, 501, 75))


@dataclass
class Scripted:
    """Answers with what a test puts into it; an exception is raised."""

    name: str = "mine"
    answer: object = None
    asked: list = field(default_factory=list)

    def judge(self, facts):
        self.asked.append(facts)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def mine():
    return Scripted()


@pytest.fixture
def other():
    return Scripted("other")


@pytest.fixture
def rig(mine, other):
    made = Rig(rules=RuleSetup(own_rules={"mine": mine, "other": other}))
    made.open(LONG, levels=LEVELS)
    made.wait(0.25)
    made.positions({501: 75, 502: 75})
    return made


def test_it_is_asked_with_the_facts_of_the_position(rig, mine):
    (facts,) = mine.asked
    assert (facts.position, facts.levels, facts.pnl, facts.marks) == (LONG, LEVELS, 75_000, (10_000,))
    assert facts.pnl_percent == pytest.approx(100 * 75_000 / 675_000)
    assert (facts.peak, facts.days, facts.ist.hour) == (None, None, 12)


def test_its_wish_closes_the_position(rig, mine):
    mine.answer = Wish(Action.CLOSE_POSITION, "enough", Urgency.MEDIUM)
    rig.wait(0.25)
    signal = rig.running().signal
    assert (signal.rule, signal.action, signal.urgency) == (Rule.OWN_RULE, Action.CLOSE_POSITION, Urgency.MEDIUM)
    assert (signal.reason, signal.level, signal.pnl) == ("own rule mine: enough", "mine", 75_000)
    asked = len(mine.asked)
    rig.wait(0.25)
    assert len(mine.asked) == asked, "an exit is under way: nobody is asked any more"


def test_a_stop_of_the_same_event_goes_first(rig, mine):
    mine.answer = Wish(Action.CLOSE_IMMEDIATELY, "enough")
    rig.now += 250_000_000
    rig.tell(ev.FeedStateChanged(is_live=True, at_ns=rig.now))
    rig.quote(501, 7_990)
    assert rig.running().signal.rule is Rule.STOP_LOSS


@pytest.mark.parametrize("answer", [None, Wish(Action.HOLD, "x"), Wish(Action.MONITOR, "x")])
def test_nothing_is_nothing(rig, mine, answer):
    mine.answer = answer
    rig.wait(0.25)
    assert (rig.running(), rig.alerts) == (None, [])


def test_a_warning_is_told_when_it_begins_and_again_after_it_was_over(rig, mine):
    for answer, told in (
        (Wish(Action.ADJUST, "look"), 1), (Wish(Action.ADJUST, "look again"), 1), (None, 1), (Wish(Action.ADJUST, "x"), 2),
    ):  # fmt: skip
        mine.answer = answer
        rig.wait(0.25)
        assert len(rig.alerts) == told
    assert rig.alerts[0].subject == "S1 (1): ADJUST"
    assert rig.engine.guards[1].levels == LEVELS, "no level of it has gone"


def test_a_share_that_cannot_be_split_is_told_once(rig, mine):
    mine.answer = Wish(Action.CLOSE_50, "half of it")
    for _ in range(3):
        rig.wait(0.25)
    assert rig.subjects() == ["S1 (1) is too small to split"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError("gap"), "KeyError: 'gap'"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit("x"), "GeneratorExit: x"),
        (Action.CLOSE_POSITION, "expected a Wish with an Action, or None, received <Action.CLOSE_POSITION"),
        (Wish("CLOSE", "x"), "expected a Wish with an Action, or None, received Wish(action='CLOSE'"),
        (True, "expected a Wish with an Action, or None, received True"),
    ],
)
def test_what_goes_wrong_in_one_is_named_and_stops_nothing_else(rig, mine, other, answer, problem):
    mine.answer = answer
    rig.wait(0.25)
    (alert,) = rig.alerts
    assert alert.subject == "own rule mine of S1 (1)"
    assert problem in alert.text
    asked = len(mine.asked)
    rig.wait(0.25)
    assert (len(mine.asked), len(rig.alerts)) == (asked, 1), "it rests"
    other.answer = Wish(Action.CLOSE_POSITION, "the other one goes on")
    rig.wait(0.25)
    assert rig.running().signal.level == "other"


def test_the_stop_fires_while_an_own_rule_is_broken(rig, mine):
    mine.answer = RuntimeError("broken")
    rig.wait(0.25)
    rig.quote(501, 7_990)
    assert rig.running().signal.rule is Rule.STOP_LOSS


def test_a_broken_rule_is_asked_again_when_the_levels_were_edited(rig, mine):
    mine.answer = RuntimeError("broken")
    rig.wait(0.25)
    mine.answer = Wish(Action.CLOSE_POSITION, "mended")
    rig.tell(ev.PositionOpened(LONG, replace(LEVELS, stop=None), rig.now))
    rig.wait(0.25)
    assert rig.running().signal.reason == "own rule mine: mended"


def test_many_positions_take_turns(mine, other):
    rig = Rig(rules=RuleSetup(own_rules={"mine": mine, "other": other}))
    held = [position(number, leg(number, 500 + number, 75)) for number in range(1, ASKED_PER_BEAT + 45)]
    rig.open(*held, levels=ExitLevels(own_rules=("mine",)))
    asked = []
    for _ in range(3):
        mine.asked.clear()
        rig.wait(0.25)
        asked.append([facts.position.strategy_id for facts in mine.asked])
    assert [len(ids) for ids in asked] == [ASKED_PER_BEAT, 44, ASKED_PER_BEAT]
    assert sorted(asked[0] + asked[1]) == [one.strategy_id for one in held]


@pytest.mark.parametrize("trouble", ["closed", "no price", "unknown name", "gone"])
def test_it_is_not_asked_when_nothing_could_be_done(mine, other, trouble):
    rig = Rig(rules=RuleSetup(own_rules={"mine": mine, "other": other}))
    rig.session_open = trouble != "closed"
    levels = replace(LEVELS, own_rules=("nobody",)) if trouble == "unknown name" else LEVELS
    if trouble == "no price":
        rig.tell(ev.PositionOpened(SPREAD, levels, rig.now))
        rig.quote(501)
    else:
        rig.open(LONG, levels=levels)
    if trouble == "gone":
        rig.tell(ev.PositionGone(1, rig.now))
    rig.wait(0.25)
    assert mine.asked == other.asked == []


def test_a_person_can_still_stop_the_program_inside_a_rule(rig, mine):
    mine.answer = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        rig.wait(0.25)


@dataclass
class Slow(Scripted):
    """Takes `lasts_ns` of the stopwatch for every answer."""

    lasts_ns: int = 0
    stopwatch_ns: int = 0

    def judge(self, facts):
        self.stopwatch_ns += self.lasts_ns
        return super().judge(facts)

    def rig(self, *held, other=None) -> Rig:
        own = {"mine": self, "other": other or Scripted("other")}
        made = Rig(rules=RuleSetup(own_rules=own, stopwatch=lambda: self.stopwatch_ns))
        made.open(*(held or (LONG,)), levels=LEVELS)
        return made


def test_a_rule_that_is_slow_is_named_once_and_asked_again():
    mine = Slow(lasts_ns=SLOW_NS)
    rig = mine.rig()
    rig.wait(0.25)
    assert rig.alerts == []
    mine.lasts_ns += 1_000_000
    rig.wait(0.25)
    mine.lasts_ns = TOO_SLOW_NS
    rig.wait(0.25)
    rig.wait(0.25)
    (alert,) = rig.alerts
    assert alert.subject == "own rule mine is slow"
    assert alert.text.startswith("expected an answer within 20 ms, it took 21 ms for S1 (1): ")
    assert len(mine.asked) == 4


def test_a_rule_that_is_too_slow_twice_in_a_row_rests_for_the_position_and_the_others_go_on():
    other = Scripted("other")
    mine = Slow(lasts_ns=TOO_SLOW_NS + 1)
    rig = mine.rig(other=other)
    rig.wait(0.25)
    assert rig.subjects() == ["own rule mine is slow"]
    mine.lasts_ns = 0
    rig.wait(0.25)
    mine.lasts_ns = TOO_SLOW_NS + 1
    rig.wait(0.25)
    assert len(rig.alerts) == 1, "it was fast in between: the machine may have stood still"
    rig.wait(0.25)
    assert rig.subjects() == ["own rule mine is slow", "own rule mine of S1 (1)"]
    assert "rests for this position: expected an answer within 20 ms, it took 200 ms" in rig.alerts[1].text
    rig.wait(0.25)
    assert (len(mine.asked), len(other.asked)) == (4, 5)


def test_what_a_rule_wants_that_is_too_slow_is_done():
    mine = Slow(lasts_ns=TOO_SLOW_NS + 1)
    rig = mine.rig()
    rig.wait(0.25)
    mine.answer = Wish(Action.CLOSE_POSITION, "late, but heard")
    rig.wait(0.25)
    assert rig.running().signal.reason == "own rule mine: late, but heard"


def test_prices_come_between_slow_answers_of_many_positions():
    mine = Slow(lasts_ns=SLOW_NS // 2)
    held = [position(number, leg(number, 500 + number, 75)) for number in range(1, 8)]
    rig = mine.rig(*held)
    turns = []
    for _ in range(3):
        mine.asked.clear()
        rig.wait(0.25)
        turns.append([facts.position.strategy_id for facts in mine.asked])
    assert turns == [[1, 2, 3], [4, 5, 6], [7]]
