"""Which index or share is behind a derivative: found by name, because the master's UNDERLYING_SECURITY_ID is the exchange's
token and not Dhan's id (dhan_v2_protocol 7.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.dhan.segments import SEGMENT_OF_EXCHANGE
from core.model.instrument import InstrumentKey, Segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.model.instrument import Instrument

INDEX: Final = "I"
SHARE: Final = "E"
EXCHANGE_OF: Final = {Segment.NSE_FNO: "NSE", Segment.BSE_FNO: "BSE"}
"""Derivatives whose underlying has a row of its own in the master. Commodities and currencies have none."""
SPOT_PREFIXES: Final = tuple(f"{exchange},{letter}," for exchange in ("NSE", "BSE") for letter in (INDEX, SHARE))

_BEST_SERIES: Final = "EQ"
_NO_SERIES: Final = frozenset({"", "NA", "X"})


class Underlyings:
    """Index and share rows by (exchange, letter, name). Give it every such row, in any order, then ask."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[bool, InstrumentKey]] = {}

    def note(self, place: tuple[str, str, str], names: tuple[str, ...], series: str) -> None:
        """`place`: exchange, segment letter and security id as they stand in the row. A row without a usable id is passed over."""
        exchange, letter, security_id = place
        segment = SEGMENT_OF_EXCHANGE.get((exchange, letter))
        if segment is None or not (security_id.isascii() and security_id.isdecimal()):
            return
        # The NSE lists bonds and rights under the name of the share; the BSE's groups (A, B, T …) are all shares.
        is_best = letter == INDEX or series == _BEST_SERIES
        if not is_best and exchange == "NSE" and series not in _NO_SERIES:
            return
        key = InstrumentKey(segment, int(security_id))
        for name in names:
            known = self._found.get((exchange, letter, name))
            if known is None or (is_best and not known[0]):
                self._found[exchange, letter, name] = (is_best, key)

    def of(self, instrument: Instrument) -> InstrumentKey | None:
        """The index of that name on the same exchange, else the share; None for what is no derivative or has none."""
        exchange = EXCHANGE_OF.get(instrument.key.segment)
        if exchange is None:
            return None
        for letter in (INDEX, SHARE):
            found = self._found.get((exchange, letter, instrument.underlying))
            if found is not None:
                return found[1]
        return None


def with_underlyings(
    instruments: Mapping[InstrumentKey, Instrument], underlyings: Underlyings
) -> dict[InstrumentKey, Instrument]:
    """The same instruments, each derivative with the key of its underlying where that is known."""
    return {
        key: instrument
        if (underlying := underlyings.of(instrument)) is None
        else replace(instrument, underlying_key=underlying)
        for key, instrument in instruments.items()
    }
