"""What a position's options are priced with at one moment: the underlying, forwards where there are better ones, and the close."""

from __future__ import annotations

from datetime import date, time
from typing import TYPE_CHECKING, Final

from core.exits.position_greeks import PricingMoment
from core.model.instrument import Right, Segment
from core.pricing.forward import StrikePair, forward_of_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.model.position import Position

LATE_CLOSE_SINCE: Final = date(2026, 8, 3)
"""NSE/FAOP/74467: derivatives trade until 15:40 from this day on."""
_EQUITY_DERIVATIVES: Final = frozenset({Segment.NSE_FNO, Segment.BSE_FNO})


def closing_time(expiry: date, segment: Segment) -> time | None:
    """When (IST) options of that expiry end. None where that is not known here: commodities and currencies."""
    if segment not in _EQUITY_DERIVATIVES:
        return None
    return time(15, 40) if expiry >= LATE_CLOSE_SINCE else time(15, 30)


def pricing_moment(
    position: Position, marks: Mapping[InstrumentKey, Paise], spot: Paise | None, utc_ns: int
) -> PricingMoment | str:
    """Options are priced on a future of their expiry that the position holds, else on the spot.

    Without a spot (paise) on the forward that a call and a put of one strike of the position imply. `marks`, in paise, are of all
    legs and believed. A text says what is missing.
    """
    options = [leg.instrument for leg in position.legs if leg.instrument.right is not None]
    expiries = {option.expiry: option.key.segment for option in options if option.expiry is not None}
    closes = []
    for expiry, segment in expiries.items():
        closes_at = closing_time(expiry, segment)
        if closes_at is None:
            return f"nobody has said when options of {segment.value} end on their last day"
        closes.append(closes_at)
    forwards: dict[date, float] = {}
    for expiry in expiries:
        forward = _future(position, marks, expiry)
        if forward is None and spot is None:
            forward = forward_of_pairs(_pairs(position, marks, expiry))
        if forward is not None:
            forwards[expiry] = forward
    return PricingMoment(utc_ns, min(closes, default=time.max), spot, forwards)


def _future(position: Position, marks: Mapping[InstrumentKey, Paise], expiry: date) -> float | None:
    futures = (leg.instrument for leg in position.legs if leg.instrument.right is None)
    return next((float(marks[future.key]) for future in futures if future.expiry == expiry), None)


def _pairs(position: Position, marks: Mapping[InstrumentKey, Paise], expiry: date) -> Iterator[StrikePair]:
    calls: dict[Paise, Paise] = {}
    puts: dict[Paise, Paise] = {}
    for leg in position.legs:
        option = leg.instrument
        if option.expiry == expiry and option.strike is not None:
            (calls if option.right is Right.CALL else puts)[option.strike] = marks[option.key]
    for strike in calls.keys() & puts.keys():
        yield StrikePair(strike, calls[strike], puts[strike], is_clean=True)
