"""Edges of reading levels, of a user's own rules and of the clock: what is next to the case that another test shows."""

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest

from core.exits.engine_words import with_prices
from core.exits.judges import Moment
from core.exits.override_text import parse_override
from core.exits.own_rules import ASKED_PER_BEAT, OwnRules
from core.exits.payoff_line import PayoffLine
from core.exits.rules import RuleFacts
from core.exits.time_rules import longest_holding, square_off
from core.model.exit_levels import Action, ClockLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.memory import PositionMemory
from core.model.own_rule import Wish
from core.model.profile import Profile
from core.model.session_time import ist_datetime
from tests.unit.exits.builders import ROW, Desk, S, amount, call, leg, position, stock
from tests.unit.exits.level_builders import condor, long_call, names, read, risk, row, short_call, shown, spread

UTC_NS = int(datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()) * S
RISK, TREE = LevelSource.RISK_COLUMN, LevelSource.CONDITIONS
QUARTER, HALF, MOST = Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75
UNREAD_MULTIPLE = {"stop_losses": {"primary": {"trigger": "2.0x credit received"}}}


def scaled(levels):
    return [(level.amount / 100, level.action) for level in levels.scaling]


class TestPricesInAReason:
    """A long leg bought at ₹100 with a stop at ₹3,000."""

    def told(self, **terms):
        desk = Desk(leg(1, 75, 100), levels=ExitLevels(stop=amount(3_000)))
        signal = desk.tick(1, 50, **terms) or desk.tick(1, 50, **terms) or desk.tick(1, 49.9, **terms)
        return with_prices(signal, desk.booked, UTC_NS).reason

    def test_a_fresh_trade_below_the_book_counts_at_the_bid(self):
        reason = self.told(bid=55, ask=55.1, exchange_time=UTC_NS // S - 5)
        assert "NIFTY-1 counts at the bid, ₹55.00 (last traded ₹" in reason
        assert reason.endswith(" at 20 Nov 11:59:55 IST)")

    def test_a_fresh_trade_above_the_book_counts_at_the_ask(self):
        reason = self.told(bid=44.9, ask=45, exchange_time=UTC_NS // S - 5)
        assert "NIFTY-1 counts at the ask, ₹45.00 (last traded ₹" in reason

    def test_a_trade_without_a_time_is_told_without_one(self):
        assert self.told(bid=55, ask=55.1).endswith("0)")

    def test_an_old_trade_is_told_with_its_time(self):
        reason = self.told(exchange_time=UTC_NS // S - 61)
        assert reason.endswith(" at 20 Nov 11:58:59 IST")


class TestStops:
    def test_a_stop_of_the_tree_in_per_cent_is_of_the_max_loss(self):
        levels = read(risk=risk(exit_conditions={"stop_losses": {"primary": {"loss_pct": 40}}}))
        assert shown(levels.stop) == (90, TREE)

    def test_the_sign_of_a_column_in_per_cent_does_not_count(self):
        levels = read(risk=risk(stop_percent=-40, profit_target_percent=-60))
        assert (shown(levels.stop), shown(levels.target)) == ((90, RISK), (315, RISK))

    def test_the_max_loss_that_the_tree_tells_says_what_rupees_count(self):
        """₹330 are 50 % of ₹660, which is near ₹675, the max loss of all three lots; per lot it were beyond it."""
        levels = read(
            spread(3), risk=risk(exit_conditions={"stop_losses": {"primary": {"loss_amount": 330, "loss_pct": 50}}})
        )
        assert shown(levels.stop) == (330, TREE)

    def test_one_paisa_is_a_level(self):
        assert read(override=parse_override("stop=0.01")).stop.amount == 1

    def test_a_sentence_comes_before_the_50_per_cent_stored_for_it_whatever_their_sign(self):
        levels = read(short_call(), risk=risk(stop_percent=-50, exit_conditions=UNREAD_MULTIPLE))
        assert shown(levels.stop) == (1_500, TREE)

    def test_a_finite_loss_leaves_the_column_first(self):
        """Credit ₹150, max loss ₹600."""
        of = position(call(1, -75, 100, 10), call(2, 75, 110, 8))
        levels = read(
            of,
            risk=risk(stop_percent=50, exit_conditions={"stop_losses": {"primary": {"trigger": "1.5x credit"}}}),
        )
        assert shown(levels.stop) == (300, RISK)

    def test_a_sentence_alone_stands_behind_the_amount_of_the_tree(self):
        tree = {"stop_losses": {"primary": {"loss_amount": 500, "trigger": "2.0x credit received"}}}
        levels = read(short_call(), risk=risk(exit_conditions=tree))
        assert shown(levels.stop) == (500, TREE)
        assert not names(levels.notes, "the builder stores that")

    def test_where_the_net_premium_is_nothing_the_note_has_no_half_of_it(self):
        """The stock costs what the calls bring in."""
        of = position(stock(1, 75, 10), call(2, -150, 100, 5))
        levels = read(of, risk=risk(stop_percent=50, exit_conditions=UNREAD_MULTIPLE))
        assert shown(levels.stop) == (1_500, TREE)
        assert names(levels.notes, "as exit_conditions say it, not ₹0.00")

    def test_an_action_of_a_stop_that_is_not_clear_is_not_named(self):
        assert not names(read(None, row("stop_loss", 100, action="Do something odd")).notes, "is not read")
        assert names(read(None, row("stop_loss", 100, action="Close 50%")).notes, "is not read")


class TestTargetsOfColumnAndTree:
    """The action of the tree is the column's where both say the same amount: within half a rupee."""

    @pytest.mark.parametrize(
        ("column", "told", "action"),
        [
            (300_00, 300, HALF),
            (300_50, 300, HALF),
            (300_51, 300, Action.CLOSE_POSITION),
            (299_50, 300, HALF),
            (299_49, 300, Action.CLOSE_POSITION),
            (300_00, 100, Action.CLOSE_POSITION),
        ],
    )
    def test_amounts(self, column, told, action):
        tree = {"profit_targets": {"primary": {"target": told, "action": "Close 50%"}}}
        assert read(risk=risk(profit_target=column, exit_conditions=tree)).target_action is action

    def test_per_cent_are_no_amount(self):
        tree = {"profit_targets": {"primary": {"target_pct": 60, "action": "Close 50%"}}}
        levels = read(risk=risk(profit_target=1_00, exit_conditions=tree))
        assert shown(levels.target) == (1, RISK)
        assert levels.target_action is Action.CLOSE_POSITION

    def test_what_explains_the_targets_is_not_named_as_unread(self):
        tree = {"profit_targets": {"reasoning": "theta", "primary": {"target": 100}}}
        assert not names(read(risk=risk(exit_conditions=tree)).notes, "not read")


class TestRows:
    @pytest.mark.parametrize("exit_type", ["stop_loss", "profit_target"])
    def test_a_row_without_a_name_is_a_plain_one(self, exit_type):
        levels = read(None, row(exit_type, 100, level_name=""))
        assert not names(levels.notes, "the level name is not known")

    def test_one_day_to_expiry_is_a_level(self):
        assert read(None, row("time_exit", 1, "dte")).dte.days == 1

    def test_a_stop_with_the_name_of_a_scaling_level_is_a_plain_stop(self):
        levels = read(None, row("stop_loss", 100, level_name="scaling_25"))
        assert (shown(levels.stop), levels.scaling) == ((100, ROW), ())
        assert names(levels.notes, "read as a plain stop_loss")


class TestScaling:
    def step(self, value, name, level_id):
        return row("profit_target", value, level_name=name, level_id=level_id)

    def test_own_steps_of_a_profile_come_before_the_quarters(self):
        profile = Profile("own", scaling=((40, HALF), (80, MOST)), is_scaling=True)
        assert scaled(read(profile=profile)) == [(210, HALF), (420, MOST)]

    def test_amounts_are_sorted_whatever_the_order_of_the_rows(self):
        levels = read(None, self.step(200, "scaling_50", 1), self.step(100, "scaling_25", 2))
        assert scaled(levels) == [(100, QUARTER), (200, HALF)]

    def test_the_smaller_share_of_one_amount_comes_first(self):
        levels = read(None, self.step(100, "scaling_50", 1), self.step(100, "scaling_25", 2))
        assert scaled(levels) == [(100, QUARTER), (100, HALF)]

    def test_a_step_without_a_share_is_named_beside_one_of_the_same_amount(self):
        levels = read(None, self.step(100, "scaling_25", 1), self.step(100, "scaling_30", 2))
        assert scaled(levels) == [(100, QUARTER)]
        assert names(levels.notes, "(scaling_30) at ₹100.00 (strategy_exit_levels) not used: expected a share")

    def test_what_is_gone_is_what_the_level_before_closes(self):
        levels = read(
            None, self.step(100, "scaling_25", 1), self.step(200, "scaling_75", 2), self.step(300, "scaling_50", 3)
        )
        assert scaled(levels) == [(100, QUARTER), (200, MOST)]
        assert names(levels.notes, "not used: 50 % gone, and 75 % already are at ₹200.00")

    def test_an_operator_may_mean_an_amount_that_the_builder_makes_of_a_sentence(self):
        levels = read(long_call(), override=parse_override("scale=50%:50"))
        assert scaled(levels) == [(50, HALF)]
        assert scaled(read(condor(), override=parse_override("scale=50%:75"))) == [(75, HALF)]


@pytest.mark.parametrize(
    ("points", "slope", "envelope"),
    [
        # A point on the chord of its neighbours is left out.
        (((0, 0), (10, 10), (20, 20)), 2, ((0, 0), (20, 20))),
        # A line that bends up at each point is its own envelope.
        (((0, 0), (10, 0), (20, 10), (30, 30)), 5, ((0, 0), (10, 0), (20, 10), (30, 30))),
    ],
)
def test_an_envelope_keeps_the_points_where_it_bends_up_and_no_others(points, slope, envelope):
    assert PayoffLine(points, slope).lower_envelope() == PayoffLine(envelope, slope)


class Scripted:
    name = "mine"

    def __init__(self):
        self.answer, self.asked = None, 0

    def judge(self, facts):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestOwnRules:
    MOMENT = Moment(S, UTC_NS, ist_datetime(UTC_NS), session_open=True, is_trading_day=True, feed_live=True)

    def opened(self, count=1):
        rule = Scripted()
        rules = OwnRules({"mine": rule}, [].append)
        for number in range(1, count + 1):
            desk = Desk(leg(1, 75, 100), levels=ExitLevels(own_rules=("mine",)))
            desk.tick(1, 100)
            desk.booked.position = replace(desk.booked.position, strategy_id=number)
            rules.opened(desk.guard, PositionMemory())
        return rule, rules

    def signalled(self, rule, rules, *answers):
        told = []
        for rule.answer in answers:
            told += [signal.action for signal in rules.on_time(self.MOMENT)]
        return told

    def test_what_closes_everything_is_told_on_every_beat(self):
        close = Wish(Action.CLOSE_POSITION, "enough")
        assert self.signalled(*self.opened(), close, close) == [Action.CLOSE_POSITION] * 2

    def test_a_share_is_told_once_and_another_share_again(self):
        half, most = Wish(HALF, "half"), Wish(MOST, "most")
        assert self.signalled(*self.opened(), half, half, most, most) == [HALF, MOST]

    def test_nobody_is_asked_any_more_when_the_levels_name_no_rule(self):
        rule, rules = self.opened()
        rule.answer = RuntimeError("broken")
        assert list(rules.on_time(self.MOMENT)) == []
        assert rules.resting_of(1) == {"mine": "RuntimeError: broken"}
        desk = Desk(leg(1, 75, 100), levels=ExitLevels())
        rules.opened(desk.guard, PositionMemory())
        assert rules.resting_of(1) == {}

    def test_a_full_beat_of_positions_is_asked_on_every_beat(self):
        rule, rules = self.opened(ASKED_PER_BEAT)
        for beats in (1, 2, 3):
            assert list(rules.on_time(self.MOMENT)) == []
            assert rule.asked == beats * ASKED_PER_BEAT


def test_square_off_closes_with_high_urgency_and_names_no_threshold():
    facts = RuleFacts(ExitLevels(square_off=ClockLevel(time(15, 15), ROW)), ist_time=time(15, 15), is_trading_day=True)
    verdict = square_off(facts)
    assert (verdict.rule, verdict.action, verdict.urgency) == (Rule.SQUARE_OFF, Action.CLOSE_POSITION, Urgency.HIGH)
    assert (verdict.threshold, verdict.observed) == (None, None)


def test_a_clock_that_is_not_known_squares_nothing_off():
    assert square_off(RuleFacts(ExitLevels(square_off=ClockLevel(time(9), ROW)), is_trading_day=True)) is None


def test_a_position_without_the_level_may_be_held_as_long_as_it_likes():
    assert longest_holding(RuleFacts(ExitLevels(), held_days=1_000)) is None
