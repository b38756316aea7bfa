"""From the JSON of a risk row to what it asks for, before anything is known of the position."""

import json

import pytest

from core.exits.condition_leaves import GreekAsked, Step, whole_of_quarters
from core.exits.condition_words import LosingWords, Sentence
from core.exits.conditions import NOTHING, Conditions, conditions_of
from core.model.exit_levels import Action
from core.model.profile import Asked, Base
from core.model.special_levels import GreekKind
from tests.unit.exits.level_builders import risk

STORED = Base.STORED


def tree(**branches):
    return conditions_of(risk(exit_conditions=branches))[1]


def columns(**texts):
    return conditions_of(risk(**texts))[0]


def rupees(amount):
    return Asked(amount * 100, STORED)


@pytest.mark.parametrize("text", [None, "", "{}", "null", '"{}"'])
def test_nothing_asks_for_nothing(text):
    assert conditions_of(risk(exit_conditions=text, scaling_exits=text)) == (NOTHING, NOTHING)
    assert conditions_of(None) == (NOTHING, NOTHING)


def test_what_is_no_object_is_named_and_the_others_are_read():
    found, of_tree = conditions_of(
        risk(
            exit_conditions="{", scaling_exits="[1]", greek_triggers={"delta": {"threshold": 0.5}}, technical_stops="7"
        )
    )
    assert of_tree == Conditions(notes=("exit_conditions: no JSON; nothing of it is used",))
    assert found.notes == (
        "scaling_exits: expected a JSON object, received a list; nothing of it is used",
        "technical_stops: expected a JSON object, received a number; nothing of it is used",
    )
    assert found.greeks == (GreekAsked(GreekKind.DELTA, 0.5, "", None),)


def test_a_text_in_a_text_is_read():
    inner = json.dumps({"time_exits": {"primary_dte": "21"}})
    assert conditions_of(risk(exit_conditions=json.dumps(inner)))[1].dte == 21


class TestTargetsAndStops:
    def test_an_amount_and_its_per_cent_tell_the_whole(self):
        found = tree(
            profit_targets={"primary": {"target": 3507.16, "target_pct": 50, "action": "Close 50%", "reasoning": "x"}},
            stop_losses={
                "primary": {"loss_amount": "2,753.75", "loss_pct": 50, "action": "Close entire position", "type": "x"}
            },
        )
        assert found.targets == (Sentence(rupees(3507.16)), Sentence(Asked(50)))
        assert found.stops == (Sentence(rupees(2753.75)), Sentence(Asked(50)))
        assert (found.target_text, found.max_profit, found.max_loss) == ("Close 50%", 701_432, 550_750)
        assert found.notes == ()

    def test_sentences(self):
        found = tree(
            profit_targets={"primary": {"target": "50% of max profit", "action": "Close position"}},
            stop_losses={"primary": {"trigger": "2.0x credit received", "action": "Close position immediately"}},
        )
        assert [each.asked for each in (*found.targets, *found.stops)] == [Asked(50), Asked(200, Base.CREDIT)]
        assert (found.max_profit, found.max_loss, found.notes) == (None, None, ())

    def test_the_older_flat_shape(self):
        found = tree(
            profit_target="40-60% of max profit",
            stop_loss="If position shows 50% of max loss",
            time_exit="With 14 days to expiry",
            price_exit="If price moves beyond extended wing",
            adjustment="Close profitable side if direction changes",
        )
        assert [each.asked for each in (*found.targets, *found.stops)] == [Asked(40), Asked(50)]
        assert found.dte == 14
        assert found.notes == ("exit_conditions: not read: price_exit, adjustment",)

    def test_what_the_sentences_do_not_say_for_certain_is_named(self):
        found = tree(
            profit_target="At short strike or 50% of max profit",
            stop_loss="If spot drops below short strike by 3%",
            time_exit="If 50% of time value collected or 5 DTE",
            profit_targets={"primary": {"target": "Manual monitoring required"}},
        )
        assert (found.targets, found.stops, found.dte) == ((), (), None)
        assert found.notes == (
            "exit_conditions: not read: profit_target, stop_loss, time_exit, profit_targets.primary.target",
        )

    @pytest.mark.parametrize("action", ["Close 50%", "Adjust", "Evaluate"])
    def test_a_stop_that_asks_for_less_than_everything_is_named(self, action):
        found = tree(stop_losses={"primary": {"loss_pct": 50, "action": action}})
        assert found.notes == (
            f"exit_conditions: the stop's action {action!r} is not read: a stop closes the whole position",
        )
        assert tree(stop_losses={"primary": {"action": action}}).notes == ()

    def test_the_default_tree_of_the_builder_is_read_whole(self):
        found = tree(
            profit_targets={"primary": {"target": "50% of max profit", "action": "Close position"}},
            stop_losses={"primary": {"trigger": "50% of max loss", "action": "Close position"}},
            time_exits={"primary_dte": 7, "action": "Close or roll position"},
            monitoring={"frequency": "Daily", "alerts": ["Price near breakeven"]},
        )
        assert (found.targets[0].asked, found.stops[0].asked, found.dte, found.notes) == (Asked(50), Asked(50), 7, ())

    @pytest.mark.parametrize("odd", [[1], "words", 5, True])
    def test_branches_of_another_kind_are_named(self, odd):
        assert tree(profit_targets=odd, stop_losses=odd, time_exits={"primary_dte": 7}) == Conditions(
            dte=7, notes=("exit_conditions: not read: profit_targets, stop_losses",)
        )


class TestTrailingAndTime:
    def test_trailing(self):
        found = tree(profit_targets={"trailing": {"activate_at": 5905.375, "trail_by": "1181.075"}})
        assert (found.arm, found.distance) == (Asked(590537.5, STORED), Asked(118107.5, STORED))

    def test_the_losing_time_stop(self):
        stop = {"trigger": "Loss > 1838.43 with < 21 DTE", "action": "Close to avoid gamma risk"}
        assert tree(stop_losses={"time_stop": stop}).losing == LosingWords(183843, 21)
        found = tree(stop_losses={"time_stop": {"trigger": "Loss is large", "action": "Close"}})
        assert (found.losing, found.notes) == (None, ("exit_conditions: not read: stop_losses.time_stop",))

    @pytest.mark.parametrize("action", ["Close if not profitable", "", "Close position"])
    def test_the_theta_exit(self, action):
        found = tree(time_exits={"theta_decay_threshold": {"dte": 7, "action": action, "reasoning": "x"}})
        assert (found.theta, found.notes) == (7, ())

    @pytest.mark.parametrize("action", ["Monitor", "Close 50%", "Roll"])
    def test_a_theta_threshold_that_asks_for_something_else_is_named(self, action):
        found = tree(time_exits={"theta_decay_threshold": {"dte": 7, "action": action}})
        assert (found.theta, found.notes) == (None, ("exit_conditions: not read: time_exits.theta_decay_threshold",))

    def test_conditions_on_the_market_are_named(self):
        found = tree(
            time_exits={
                "assignment_prevention": {"dte": 7, "condition": "If short option ITM", "action": "Roll or close"},
                "gamma_risk": {"dte": 14, "condition": "Price near short strikes"},
                "vol_contraction": {"dte": 10},
            }
        )
        assert found.notes == (
            "exit_conditions: not read: time_exits.assignment_prevention, time_exits.gamma_risk, time_exits.vol_contraction",
        )


class TestScaling:
    def test_steps_of_both_shapes(self):
        found = tree(
            profit_targets={
                "scaling": {
                    "level_1": {"profit": 1748.13, "action": "Close 25%", "reasoning": "x"},
                    "level_2": "50% profit - close half position",
                    "level_3": "Trail stop on remainder",
                    "level_4": {"profit": 0, "action": "Close 75%"},
                    "level_5": {"profit": 9, "action": "Something"},
                    "level_6": "Something else",
                    "level_7": 5,
                }
            }
        )
        assert found.scaling == (
            Step("level_1", rupees(1748.13), Action.CLOSE_25, "Close 25%"),
            Step("level_2", Asked(50), Action.CLOSE_50, "50% profit - close half position"),
            Step("level_5", rupees(9), None, "Something"),
        )
        assert found.has_rest
        assert found.notes == (
            "exit_conditions: not read: profit_targets.scaling.level_6, profit_targets.scaling.level_7",
        )

    @pytest.mark.parametrize(
        ("amounts", "whole"),
        [
            ([2500, 5000, 7500], 10_000),
            ([2504, 5000, 7500], 10_016),
            ([59, 119, 178], 236),
            ([2500, 5000], None),
            ([2500, 5000, 7500, 10_000], None),
            ([2500, 5000, 7600], None),
            ([2450, 5000, 7500], None),
        ],
    )
    def test_three_quarters_tell_the_whole(self, amounts, whole):
        assert whole_of_quarters(amounts) == whole
        steps = {f"level_{n}": {"profit": amount / 100, "action": "Close 25%"} for n, amount in enumerate(amounts)}
        told = tree(profit_targets={"scaling": steps}).max_profit
        assert told is None if whole is None else told == pytest.approx(whole)


class TestGreeks:
    def test_the_builders_triggers(self):
        found = tree(
            greek_triggers={
                "delta": {
                    "threshold": 0.5,
                    "condition": "Position delta exceeds threshold",
                    "action": "Adjust or exit to x",
                },
                "gamma": {"threshold": 0.0033, "condition": "Gamma risk doubles", "action": "Reduce position or hedge"},
                "theta": {
                    "condition": "Daily theta > 5% of position value",
                    "action": "Exit to stop time decay losses",
                },
                "vega": {"condition": "IV contracts > 20%", "action": "Close long volatility positions"},
            }
        )
        assert found.greeks == (
            GreekAsked(GreekKind.DELTA, 0.5, "Adjust or exit to x", None),
            GreekAsked(
                GreekKind.GAMMA, 2, "Reduce position or hedge", None,
                "the stored threshold 0.0033 counts every leg as bought and is not used",
            ),
            GreekAsked(GreekKind.THETA, 5, "Exit to stop time decay losses", Action.CLOSE_POSITION),
            GreekAsked(GreekKind.IV_DOWN, 20, "Close long volatility positions", Action.CLOSE_POSITION),
        )  # fmt: skip
        assert found.notes == ()

    def test_a_threshold_without_a_known_unit_is_named(self):
        found = tree(
            greek_triggers={
                "gamma": {"threshold": 0.0033},
                "theta": {"threshold": 5},
                "vega": {"threshold": -0.5},
                "delta": {"threshold": "deep"},
                "rho": {"threshold": 1},
                "iv_above": {"threshold": 40, "action": "Close position"},
                "iv_up": {"condition": "Gamma doubles"},
                "words": "x",
            }
        )
        assert found.greeks == (
            GreekAsked(GreekKind.IV_ABOVE, 40, "Close position", Action.CLOSE_POSITION),
            GreekAsked(GreekKind.GAMMA, 2, "", None),
        )
        unread = ("words", "gamma", "theta", "vega", "delta", "rho")
        assert found.notes == (f"exit_conditions: not read: {', '.join(f'greek_triggers.{key}' for key in unread)}",)


@pytest.mark.parametrize(
    ("technical", "action", "unread"),
    [
        ({"support_resistance": "Exit if key levels broken"}, None, ""),
        ({"support_resistance": "Exit position"}, Action.CLOSE_POSITION, ""),
        ({"support_resistance": "Close 50%", "breakeven_breach": "Monitor"}, Action.CLOSE_50, "breakeven_breach"),
        ({"trigger": "Breach of key support", "action": "Evaluate for exit or adjustment"}, None, ""),
        ({"trigger": "Breach of key support", "action": "Close position immediately"}, Action.CLOSE_IMMEDIATELY, ""),
        ({"support_resistance": "Adjust"}, None, ""),
    ],
)
def test_what_a_broken_level_asks_for(technical, action, unread):
    assert tree(stop_losses={"technical": technical}).technical is action
    found = columns(technical_stops=technical)
    assert (found.technical, found.notes) == (action, (f"technical_stops: not read: {unread}",) if unread else ())


def test_a_column_that_repeats_the_tree_is_not_named_twice():
    whole = {
        "profit_targets": {"scaling": {"level_1": "Whatever"}},
        "stop_losses": {"technical": {"trend_reversal": "Exit on confirmed reversal"}},
        "greek_triggers": {"theta": {"condition": "Theta income < expected"}},
        "adjustment_triggers": {"rolling": {"x": "y"}},
    }
    copies = {
        "scaling_exits": whole["profit_targets"]["scaling"],
        "technical_stops": whole["stop_losses"]["technical"],
        "greek_triggers": whole["greek_triggers"],
        "adjustment_criteria": whole["adjustment_triggers"],
    }
    found, of_tree = conditions_of(risk(exit_conditions=whole, **copies))
    assert (found.notes, len(of_tree.notes)) == ((), 1)
    alone, _ = conditions_of(risk(exit_conditions={"profit_targets": 5}, **copies))
    assert alone.notes == (
        "scaling_exits: not read: level_1",
        "technical_stops: not read: trend_reversal",
        "greek_triggers: not read: theta",
        "adjustment_criteria: not read: rolling",
    )


def test_the_scaling_column_tells_the_max_profit_too():
    steps = {f"level_{n}": {"profit": 100 * n, "action": f"Close {25 * n}%"} for n in (1, 2, 3)}
    assert columns(scaling_exits=steps).max_profit == 40_000
