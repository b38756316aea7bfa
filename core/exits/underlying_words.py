"""How an underlying stands, in words for a trader, and why a level of it has fired."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.model.money import rupees_text
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from core.exits.underlying_candles import Close, LastSeen
    from core.model.money import Paise
    from core.model.special_levels import UnderlyingLevel


class SightState(StrEnum):
    SHOWN = "shown"
    NO_PRICE = "no price"
    SAVED = "only a saved price"
    STALE = "no fresh price"
    STILL = "stands still while its options move"


def why_not_seen(state: SightState, name: str, for_ns: int | None) -> str:
    """What keeps the levels of the underlying from firing, and for how long; "" when nothing does."""
    lasting = "" if for_ns is None else f" for {for_ns // NS_PER_S} s"
    match state:
        case SightState.SHOWN:
            return ""
        case SightState.STILL:
            return f"the underlying {name} has stood still{lasting} while its options move"
        case SightState.SAVED:
            return f"only a saved price for the underlying {name}, none of the market yet"
        case _:
            return f"{state.value} for the underlying {name}{lasting}"


def compared(level: UnderlyingLevel, mark: Paise) -> str:
    return f"{rupees_text(mark)} {'≥' if level.is_above else '≤'} {rupees_text(level.price)}"


def tick_reason(name: str, level: UnderlyingLevel, mark: Paise, age_ns: int, confirmed: str) -> str:
    """`confirmed`: what made a suspect quote fire, "" for a clean one."""
    how = f", {confirmed}" if confirmed else ""
    return f"underlying level: {name} {compared(level, mark)} (quote {age_ns / NS_PER_S:.1f} s old{how})"


def close_reason(name: str, level: UnderlyingLevel, close: Close, seen: LastSeen) -> str:
    before_s = (close.ends_at_ns - seen.received_ns) / NS_PER_S
    what = f"{level.candle_minutes}-minute candle {close.candle.times}"
    return (
        f"underlying level: {name} closed the {what} at {compared(level, seen.mark)} "
        f"(last quote {before_s:.1f} s before its end)"
    )


def close_text(close: Close) -> str:
    """How the candle ended, for a plan."""
    if close.seen is None:
        return f"candle {close.candle.times}: no close, {close.why}"
    return f"candle {close.candle.times} closed at {rupees_text(close.seen.mark)}"
