"""The sentences in which a strategy builder writes levels. Each pattern fits a whole sentence: what is left over is not guessed.

A range such as "50-100% of debit paid" is read by its lower end: that is where it begins to be true.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from core.model.profile import Asked, Base
from core.model.special_levels import GreekKind

_N: Final = r"(\d{1,6}(?:\.\d{1,20})?)"
_RANGE: Final = rf"{_N}(?:\s*(?:-|–|to)\s*{_N})?\s*%"
_PREMIUM: Final = r"(?:(?:the )?(?:net )?(?:max )?(debit|premium|credit)(?: (?:paid|received|collected))?)"
_TARGET_SHARE: Final = re.compile(
    rf"{_RANGE}(?: of)?(?: the)? (?:max(?:imum)? profit(?: potential)?|profit|{_PREMIUM})", re.ASCII
)
_STOP_SHARE: Final = re.compile(rf"{_N}\s*%(?: of)?(?: the)? (?:max(?:imum)? (?:loss|risk)|{_PREMIUM})", re.ASCII)
_LOST_VALUE: Final = re.compile(rf"(?:if )?(?:debit|premium) loses {_N}\s*% of (?:its )?value", re.ASCII)
_MULTIPLE: Final = re.compile(rf"{_N}\s*(?:x|times) {_PREMIUM}", re.ASCII)
_LEAD: Final = re.compile(
    r"(?:exit |close )?(?:if |when )?(?:(?:the )?(?:loss|position) (?:exceeds|shows|>|>=) )", re.ASCII
)
_DAYS: Final = re.compile(r"(?:with |at )?(\d{1,4}) (?:days to expiry|days|dte)", re.ASCII)
_LOSING: Final = re.compile(r"loss > ₹?\s*(\d{1,13}(?:\.\d{1,20})?) with < (\d{1,4}) dte", re.ASCII)
_STEP: Final = re.compile(rf"{_N}\s*% profit - (.+)", re.ASCII)
_GREEKS: Final = (
    (GreekKind.THETA, re.compile(rf"daily theta > {_N}\s*% of position value", re.ASCII)),
    (GreekKind.IV_DOWN, re.compile(rf"iv contracts > {_N}\s*%", re.ASCII)),
    (GreekKind.IV_UP, re.compile(rf"iv expands > {_N}\s*%", re.ASCII)),
)
GAMMA_DOUBLES: Final = frozenset({"gamma risk doubles", "gamma doubles"})


class Sentence(NamedTuple):
    """`note` says how it was read where that leaves a choice."""

    asked: Asked
    note: str = ""


def plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .")


def target_words(text: str) -> Sentence | None:
    """ "50% of max profit", "50-100% of debit paid", "1x credit"; None when it is anything else."""
    words = plain(text)
    found = _TARGET_SHARE.fullmatch(words)
    if found is not None:
        low, high, of = found.groups()
        base = _base_of(of)
        note = f"{low} % of {text!r}, where the range begins" if high is not None else ""
        return _sentence(float(low), base, note)
    return _multiple(words)


def stop_words(text: str) -> Sentence | None:
    """ "50% of max loss", "2.0x credit received", "If premium loses 50% of value"; None when it is anything else."""
    words = plain(text)
    lost = _LOST_VALUE.fullmatch(words)
    if lost is not None:
        return _sentence(float(lost[1]), Base.PREMIUM)
    words = _LEAD.sub("", words, count=1) if _LEAD.match(words) else words
    found = _STOP_SHARE.fullmatch(words)
    return _multiple(words) if found is None else _sentence(float(found[1]), _base_of(found[2]))


def days_words(text: str) -> int | None:
    """ "With 21 days to expiry", "7 DTE"."""
    found = _DAYS.fullmatch(plain(text))
    return None if found is None else int(found[1]) or None


class LosingWords(NamedTuple):
    """`loss` in paise as stored."""

    loss: float
    days: int


def losing_words(text: str) -> LosingWords | None:
    """ "Loss > 1838.43 with < 21 DTE"."""
    found = _LOSING.fullmatch(plain(text))
    return None if found is None or not int(found[2]) else LosingWords(float(found[1]) * 100, int(found[2]))


def step_words(text: str) -> tuple[Asked, str] | None:
    """ "50% profit - close half position" → per cent of max profit, and what is to be done."""
    found = _STEP.fullmatch(plain(text))
    return None if found is None or not float(found[1]) else (Asked(float(found[1])), found[2])


def greek_words(text: str) -> tuple[GreekKind, float] | None:
    """ "Daily theta > 5% of position value", "IV contracts > 20%", "IV expands > 50%", "Gamma risk doubles"."""
    words = plain(text)
    if words in GAMMA_DOUBLES:
        return GreekKind.GAMMA, 2.0
    for kind, pattern in _GREEKS:
        found = pattern.fullmatch(words)
        if found is not None and float(found[1]):
            return kind, float(found[1])
    return None


def _base_of(word: str | None) -> Base:
    if word is None:
        return Base.PAYOFF
    return Base.CREDIT if word == "credit" else Base.PREMIUM


def _multiple(words: str) -> Sentence | None:
    found = _MULTIPLE.fullmatch(words)
    return None if found is None else _sentence(float(found[1]) * 100, _base_of(found[2]))


def _sentence(percent: float, base: Base, note: str = "") -> Sentence | None:
    return Sentence(Asked(percent, base), note) if percent else None
