"""The operator's override of one position, as it is typed: "stop=5000; target=30%; dte=2". What cannot be read is named.

Rupees are of the whole position. Per cent are of max profit or max loss (of the net premium where that is unlimited),
"30%premium" of the net premium, "2x" is a multiple of the net credit.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from core.exits.partial_close import PERCENT_OF
from core.model.money import PAISE_PER_RUPEE
from core.model.override import AskedTrail, AskedUnderlying, Kind, Override
from core.model.profile import Asked, Base

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.exit_levels import Action

_AMOUNT: Final = re.compile(r"(\d{1,11}(?:\.\d{1,2})?)(x|%|%premium)?", re.ASCII)
_PEAK: Final = re.compile(r"(\d{1,2}(?:\.\d{1,2})?)%peak", re.ASCII)
_DAYS: Final = re.compile(r"\d{1,4}", re.ASCII)
_UNDERLYING: Final = re.compile(r"(\d{1,6}(?:\.\d{1,2})?)(?:/(\d{1,3})m)?", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_MOST_DAYS: Final = 3_650
_SESSION_MINUTES: Final = 375
_SHARES: Final = {f"{percent}%": action for action, percent in PERCENT_OF.items()}
_BASES: Final = {None: Base.POSITION, "%": Base.PAYOFF, "%premium": Base.PREMIUM, "x": Base.CREDIT}
_AMOUNT_WORDS: Final = (
    "rupees (5000), per cent (30%), per cent of the premium (30%premium) or a multiple of the credit (2x)"
)


def parse_override(text: str) -> Override:
    """Raises ValueError that names the part, what was expected there and what was received."""
    found = Override()
    seen: set[str] = set()
    for part in filter(None, map(str.strip, text.split(";"))):
        key, equals, value = (piece.strip().lower() for piece in part.partition("="))
        if not equals or key not in _PARTS:
            raise ValueError(f"{part!r}: expected one of {', '.join(_PARTS)}, then = and a value")
        if key in seen:
            raise ValueError(f"{part!r}: {key} is said twice")
        seen.add(key)
        try:
            found = _PARTS[key](found, value)
        except ValueError as error:
            raise ValueError(f"{part!r}: {error}") from None
    _check(found)
    return found


def _check(found: Override) -> None:
    said = {
        Kind.STOP: found.stop,
        Kind.TARGET: found.target,
        Kind.TRAIL: found.trail,
        Kind.PREMIUM_TRAIL: found.premium_trail,
        Kind.LOCK: found.locks,
        Kind.SCALE: found.scale,
        Kind.DTE: found.dte,
        Kind.THETA: found.theta,
        Kind.LOSING: found.losing,
        Kind.HOLD: found.hold,
        Kind.SQUARE_OFF: found.square_off,
        Kind.UNDERLYING: found.underlying,
    }
    both = [kind for kind in sorted(found.off) if said.get(kind) not in {None, ()}]
    if both:
        raise ValueError(f"{both[0]} is set and switched off by none=")
    for one, other in pairwise(sorted(found.locks, key=lambda step: step[0].value)):
        is_same_unit = one[0].base is other[0].base
        if is_same_unit and not (one[0].value < other[0].value and one[1].value < other[1].value):
            raise ValueError("lock and cost_at: expected the floor to rise with the profit that it is locked at")


def _amount(text: str, *, may_be_0: bool = False) -> Asked:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {_AMOUNT_WORDS}, without separators; received {text!r}")
    value, base = float(found[1]), _BASES[found[2]]
    if not value and not may_be_0:
        raise ValueError("expected an amount above 0")
    if base is Base.POSITION:
        value *= PAISE_PER_RUPEE
    return Asked(value * 100 if base is Base.CREDIT else value, base)


def _days(text: str, least: int) -> int:
    if _DAYS.fullmatch(text) is None or not least <= int(text) <= _MOST_DAYS:
        raise ValueError(f"expected whole days, {least} to {_MOST_DAYS}; received {text!r}")
    return int(text)


def _trail(text: str) -> AskedTrail:
    """<distance>, or <distance>@<profit at which it arms>; the distance also as 20%peak."""
    distance, at, arm = text.partition("@")
    armed = _amount(arm, may_be_0=True) if at else None
    peak = _PEAK.fullmatch(distance)
    if peak is None:
        return AskedTrail(_amount(distance), None, armed)
    if not float(peak[1]):
        raise ValueError("expected a share of the peak above 0")
    return AskedTrail(None, float(peak[1]), armed)


def _premium_trail(text: str) -> Asked:
    asked = _amount(text)
    if asked.base is Base.CREDIT:
        raise ValueError("expected rupees or per cent of the net premium")
    return Asked(asked.value, Base.PREMIUM) if asked.base is Base.PAYOFF else asked


def _locks(text: str) -> tuple[tuple[Asked, Asked], ...]:
    """<profit>@<floor>, several with commas. Whichever way round: the larger one is the profit, for a floor is below it."""
    found = []
    for each in text.split(","):
        first, at, second = each.strip().partition("@")
        if not at:
            raise ValueError(f"expected <profit>@<floor>, received {each.strip()!r}")
        floor, trigger = sorted((_amount(first, may_be_0=True), _amount(second, may_be_0=True)), key=lambda x: x.value)
        if floor.base is not trigger.base or floor.value == trigger.value:
            raise ValueError("expected a profit and a smaller floor in the same unit")
        found.append((trigger, floor))
    return tuple(found)


def _scale(text: str) -> tuple[tuple[Action, Asked], ...]:
    """<share>:<profit>, several with commas; shares and profits rise together."""
    found = []
    for each in text.split(","):
        share, colon, profit = (piece.strip() for piece in each.partition(":"))
        if not colon or share not in _SHARES:
            raise ValueError(f"expected 25%, 50% or 75%, then : and a profit; received {each.strip()!r}")
        found.append((_SHARES[share], _amount(profit)))
    for (one, low), (other, high) in pairwise(found):
        is_rising = PERCENT_OF[one] < PERCENT_OF[other] and (low.base is not high.base or low.value < high.value)
        if not is_rising:
            raise ValueError("expected shares and profits that rise from step to step")
    return tuple(found)


def _underlying(text: str, *, is_above: bool) -> AskedUnderlying:
    found = _UNDERLYING.fullmatch(text)
    if found is None or not float(found[1]):
        raise ValueError(
            f"expected the underlying's price, 24000 or 24000/15m for the close of 15 minutes; received {text!r}"
        )
    minutes = None if found[2] is None else int(found[2])
    if minutes is not None and not 1 <= minutes <= _SESSION_MINUTES:
        raise ValueError(f"expected a candle of 1 to {_SESSION_MINUTES} minutes, received {minutes}")
    return AskedUnderlying(round(float(found[1]) * PAISE_PER_RUPEE), is_above, minutes)


def _clock(text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a clock time hh:mm or hh:mm:ss (IST), received {text!r}")
    hour, minute, second = (int(piece or 0) for piece in found.groups())
    return time(hour, minute, second)


def _off(text: str) -> frozenset[Kind]:
    words = [word.strip() for word in text.split(",")]
    if "stop" in words:
        raise ValueError("without a stop nothing limits the loss: write stop! where that is meant")
    kinds = {kind.value: kind for kind in Kind if kind is not Kind.STOP} | {"stop!": Kind.STOP}
    unknown = [word for word in words if word not in kinds]
    if unknown:
        raise ValueError(f"expected some of {', '.join(kinds)}; received {unknown[0]!r}")
    return frozenset(kinds[word] for word in words)


_PARTS: Final[dict[str, Callable[[Override, str], Override]]] = {
    "stop": lambda found, text: replace(found, stop=_amount(text)),
    "target": lambda found, text: replace(found, target=_amount(text)),
    "trail": lambda found, text: replace(found, trail=_trail(text)),
    "premium_trail": lambda found, text: replace(found, premium_trail=_premium_trail(text)),
    "cost_at": lambda found, text: replace(found, locks=(*found.locks, _at_cost(text))),
    "lock": lambda found, text: replace(found, locks=(*found.locks, *_locks(text))),
    "scale": lambda found, text: replace(found, scale=_scale(text)),
    "dte": lambda found, text: replace(found, dte=_days(text, 0)),
    "theta": lambda found, text: replace(found, theta=_days(text, 0)),
    "losing": lambda found, text: replace(found, losing=_days(text, 1)),
    "hold": lambda found, text: replace(found, hold=_days(text, 1)),
    "square_off": lambda found, text: replace(found, square_off=_clock(text)),
    "underlying_above": lambda found, text: _and_level(found, _underlying(text, is_above=True)),
    "underlying_below": lambda found, text: _and_level(found, _underlying(text, is_above=False)),
    "none": lambda found, text: replace(found, off=_off(text)),
}


def _at_cost(text: str) -> tuple[Asked, Asked]:
    trigger = _amount(text)
    return trigger, Asked(0, trigger.base)


def _and_level(found: Override, level: AskedUnderlying) -> Override:
    return replace(found, underlying=(*found.underlying, level))
