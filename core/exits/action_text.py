"""The free text of an exit level's action, read into an action (database.md, trap 1)."""

from __future__ import annotations

import re
from typing import Final

from core.model.exit_levels import Action

_PARTS: Final = {
    "25": Action.CLOSE_25,
    "quarter": Action.CLOSE_25,
    "50": Action.CLOSE_50,
    "half": Action.CLOSE_50,
    "75": Action.CLOSE_75,
    "three quarters": Action.CLOSE_75,
    "100": Action.CLOSE_POSITION,
}
_WHOLE: Final = re.compile(r"\b(position|positions|entire|all|full|fully|everything|trade|strategy|immediately|now)\b")
_NEGATION: Final = re.compile(r"\b(not|never|no|don'?t|avoid|unless|if|or)\b")
_VERB: Final = re.compile(r"\b(close|exit|square[ -]?off|book)\b")
_FRACTION: Final = re.compile(r"three quarters|\bhalf\b|\bquarter\b|(\d+(?:\.\d+)?)(?=\s*%)")
_IMMEDIATE: Final = re.compile(r"\b(immediately|now)\b")
_PURPOSE: Final = re.compile(r" to (?:avoid|capture|limit|lock|prevent|protect|secure|stop) .+")
"""Why it is to be closed, with nothing said of a part: "Exit to stop time decay losses". "Close to the strike" is a place."""
_PLAIN: Final = {"adjust": Action.ADJUST, "monitor": Action.MONITOR, "hold": Action.HOLD}


def parse_action(text: str) -> Action | None:
    """What the text asks for, or None when it is not certain: a condition, a negation, two fractions, an odd fraction.

    Only what follows the verb counts: in "50% profit - close half position" the 50 % is when, half is how much.
    """
    words = re.sub(r"[\s_]+", " ", text.strip().lower()).replace("three-quarters", "three quarters")
    if words in _PLAIN:
        return _PLAIN[words]
    verbs = list(_VERB.finditer(words))
    if len(verbs) != 1 or _NEGATION.search(words):
        return None
    asked = words[verbs[0].end() :]
    fractions = {found.group() for found in _FRACTION.finditer(asked)}
    if len(fractions) > 1:
        return None
    if fractions:
        return _PARTS.get(fractions.pop().removesuffix(".0").removesuffix(".00"))
    if _IMMEDIATE.search(asked):
        return Action.CLOSE_IMMEDIATELY
    is_whole = not asked.strip(" .!") or _WHOLE.search(asked) or _PURPOSE.fullmatch(asked)
    return Action.CLOSE_POSITION if is_whole else None
