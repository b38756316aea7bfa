"""The parts of the condition tree: each takes one branch, marks what it has read, and gives what is asked for there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.exits.action_text import parse_action
from core.exits.condition_tree import magnitude
from core.exits.condition_words import (
    Sentence,
    days_words,
    greek_words,
    losing_words,
    plain,
    step_words,
    stop_words,
    target_words,
)
from core.exits.partial_close import PERCENT_OF
from core.model.exit_levels import FULL_EXITS
from core.model.money import PAISE_PER_RUPEE
from core.model.profile import Asked, Base
from core.model.special_levels import GreekKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.exits.condition_tree import Branch
    from core.exits.condition_words import LosingWords
    from core.model.exit_levels import Action

DESCRIBES: Final = ("reasoning", "type", "rationale", "theta_adjusted", "theta_recommendation", "theta_analysis")
"""Keys that explain a level and hold none."""
TRAILS_REST: Final = frozenset({"trail stop on remainder", "trail the remainder", "trail stop on the rest"})


@dataclass(frozen=True, slots=True)
class Step:
    """One scaling level. `action` None: its text is not certain."""

    name: str
    asked: Asked
    action: Action | None
    text: str


@dataclass(frozen=True, slots=True)
class GreekAsked:
    """`threshold` by kind, `note` how it was read. `action` is what `text` asks for, None where that is not certain."""

    kind: GreekKind
    threshold: float
    text: str
    action: Action | None
    note: str = ""


def targets_of(root: Branch, primary: Branch) -> tuple[tuple[Sentence, ...], str]:
    """An amount, and the per cent of max profit that it is; or a sentence. And the text of the action."""
    found = []
    amount = stored(primary, "target")
    if amount is not None:
        found.append(Sentence(amount))
    elif sentence := target_words(primary.text("target")):
        primary.used("target")
        found.append(sentence)
    percent = primary.number("target_pct")
    if percent is not None:
        found.append(Sentence(Asked(percent)))
    primary.used("action", *DESCRIBES)
    if sentence := target_words(root.text("profit_target")):
        root.used("profit_target")
        found.append(sentence)
    return tuple(found), primary.text("action")


def stops_of(root: Branch, primary: Branch) -> tuple[tuple[Sentence, ...], str]:
    """As for targets; and what is odd about the action: a stop closes everything, whatever is written."""
    found = []
    amount = stored(primary, "loss_amount")
    if amount is not None:
        found.append(Sentence(amount))
    percent = primary.number("loss_pct")
    if percent is not None:
        found.append(Sentence(Asked(percent)))
    if sentence := stop_words(primary.text("trigger")):
        primary.used("trigger")
        found.append(sentence)
    if sentence := stop_words(root.text("stop_loss")):
        root.used("stop_loss")
        found.append(sentence)
    action = primary.text("action")
    primary.used("action", *DESCRIBES)
    if not found or not action or parse_action(action) in FULL_EXITS:
        return tuple(found), ""
    return tuple(found), f"exit_conditions: the stop's action {action!r} is not read: a stop closes the whole position"


def stored(branch: Branch, key: str) -> Asked | None:
    amount = branch.number(key)
    return None if amount is None else Asked(amount * PAISE_PER_RUPEE, Base.STORED)


def steps_of(branch: Branch) -> tuple[tuple[Step, ...], bool]:
    """The scaling levels, and whether the rest is to be trailed."""
    steps, has_rest = [], False
    for key, value in branch.content.items():
        name = str(key)
        if isinstance(value, str):
            step = step_words(value)
            if step is not None:
                steps.append(Step(name, step[0], parse_action(step[1]), value.strip()))
            is_rest = plain(value) in TRAILS_REST
            has_rest |= is_rest
            if step is not None or is_rest:
                branch.used(key)
            continue
        level = branch.branch(key)
        amount, action = stored(level, "profit"), level.text("action")
        level.used("action", *DESCRIBES)
        if amount is not None:
            steps.append(Step(name, amount, parse_action(action), action))
    return tuple(steps), has_rest


def flat_days(root: Branch) -> int | None:
    days = days_words(root.text("time_exit"))
    if days is not None:
        root.used("time_exit")
    return days


def theta_of(threshold: Branch) -> int | None:
    action = threshold.text("action")
    if action and plain(action) != "close if not profitable" and parse_action(action) not in FULL_EXITS:
        return None
    threshold.used("action", *DESCRIBES)
    return threshold.days("dte")


def losing_of(stop: Branch) -> LosingWords | None:
    words = losing_words(stop.text("trigger"))
    if words is not None:
        stop.used("trigger", "action", *DESCRIBES)
    return words


def technical_of(technical: Branch) -> Action | None:
    """What is asked for when a level of the underlying breaks; "Exit if key levels broken" is a condition, so it is not certain."""
    action = parse_action(technical.text("support_resistance") or technical.text("action"))
    technical.used("support_resistance", "trigger", "action")
    return action if action in FULL_EXITS or action in PERCENT_OF else None


def greeks_of(triggers: Branch) -> tuple[GreekAsked, ...]:
    found = []
    for key in triggers.content:
        trigger = triggers.branch(key)
        asked = _greek(str(key), trigger)
        if asked is not None:
            trigger.used("threshold", "condition", "action", *DESCRIBES)
            found.append(asked)
    return tuple(found)


def _greek(key: str, trigger: Branch) -> GreekAsked | None:
    """By its sentence where that says a measure, else by name and threshold where the unit leaves no choice."""
    words, text = greek_words(trigger.text("condition")), trigger.text("action")
    threshold = magnitude(trigger.content.get("threshold"))
    if words is not None:
        note = "" if words[0] is not GreekKind.GAMMA or not threshold else _OTHER_GAMMA.format(threshold)
        return GreekAsked(*words, text, parse_action(text), note)
    if key in _OF_A_KNOWN_UNIT and threshold:
        return GreekAsked(GreekKind(key), threshold, text, parse_action(text))
    return None


_OF_A_KNOWN_UNIT: Final = frozenset(
    {GreekKind.DELTA, GreekKind.IV_DOWN, GreekKind.IV_UP, GreekKind.IV_BELOW, GreekKind.IV_ABOVE}
)
_OTHER_GAMMA: Final = "the stored threshold {:g} counts every leg as bought and is not used"


def whole_of(sentences: tuple[Sentence, ...]) -> float | None:
    """Max profit or loss in stored paise, from an amount and the per cent that it is."""
    amounts = [sentence.asked.value for sentence in sentences if sentence.asked.base is Base.STORED]
    shares = [sentence.asked.value for sentence in sentences if sentence.asked.base is Base.PAYOFF]
    return amounts[0] * 100 / shares[0] if amounts and shares else None


def whole_of_steps(steps: tuple[Step, ...]) -> float | None:
    """Max profit in stored paise, from three levels at a quarter, a half and three quarters of it."""
    return whole_of_quarters(sorted(step.asked.value for step in steps if step.asked.base is Base.STORED))


def whole_of_quarters(amounts: Sequence[float]) -> float | None:
    """Four times the first of three amounts (paise) in the proportion 1:2:3; else None.

    Give or take half a per cent, and what rounding to a paisa does to amounts of one unit.
    """
    if len(amounts) != len(_QUARTERS):
        return None
    first = amounts[0]
    is_even = all(
        abs(amount - part * first) <= first / 200 + _ROUNDING for amount, part in zip(amounts, _QUARTERS, strict=True)
    )
    return 4 * first if is_even else None


_QUARTERS: Final = (1, 2, 3)
_ROUNDING: Final = 2
