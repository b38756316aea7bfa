"""The lines of levels that are judged beside the guard: the underlying, Greeks and volatility, a user's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.explain_line import UNKNOWN, Around, Threshold
from core.model.exit_levels import LevelSource, Rule
from core.model.money import rupees_text
from core.model.special_levels import GreekKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.rules import RuleFacts

GREEK_WORDS: Final = {
    GreekKind.DELTA: "|delta| per unit of the largest leg ≥ {0:g}",
    GreekKind.GAMMA: "|gamma| ≥ {0:g} × its reference",
    GreekKind.THETA: "decay of one day ≥ {0:g} % of the value",
    GreekKind.VEGA: "|vega| of one point ≥ {0:g} % of |net premium|",
    GreekKind.IV_DOWN: "volatility {0:g} % or more below its reference",
    GreekKind.IV_UP: "volatility {0:g} % or more above its reference",
    GreekKind.IV_BELOW: "volatility ≤ {0:g} %",
    GreekKind.IV_ABOVE: "volatility ≥ {0:g} %",
}
"""By kind; the threshold is put in."""


def underlying_lines(facts: RuleFacts, around: Around) -> Iterator[Threshold]:
    for level in facts.levels.underlying:
        sign, minutes = "≥" if level.is_above else "≤", level.candle_minutes
        what = "underlying" if minutes is None else f"close of its {minutes}-minute candle"
        seen = around.underlying.get(level, UNKNOWN)
        yield Threshold(
            Rule.UNDERLYING_LEVEL,
            f"{what} {sign} {rupees_text(level.price)}",
            None,
            level.source,
            level.note,
            level.action,
            level.price,
            seen.value,
            seen.text,
            # A candle that has no close is followed by one that may have.
            seen.text if minutes is None and seen.value is None else "",
            level.price,
            level.is_above,
            level.name,
        )


def greek_lines(facts: RuleFacts, around: Around) -> Iterator[Threshold]:
    for level in facts.levels.greeks:
        seen = around.greeks.get(level, UNKNOWN)
        yield Threshold(
            Rule.GREEKS,
            GREEK_WORDS[level.kind].format(level.threshold),
            None,
            level.source,
            level.note,
            level.action,
            level.in_units,
            seen.value,
            seen.text,
            "" if seen.value is not None else seen.text,
            is_above=level.kind is not GreekKind.IV_BELOW,
            name=level.kind.value,
        )


def own_rule_lines(facts: RuleFacts, around: Around) -> Iterator[Threshold]:
    for name in facts.levels.own_rules:
        resting = around.resting.get(name)
        yield Threshold(
            Rule.OWN_RULE,
            f"the own rule {name} asks for it",
            None,
            LevelSource.PROFILE,
            now="" if resting else "asked while it is safe to trade",
            waits=f"rests: {resting}" if resting else "",
            name=name,
        )
