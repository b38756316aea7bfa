"""A market that halts, loses a side of its book, or does not trade: seen alike by the feed, REST and the matching."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.paper.fault_kinds import FaultKind

if TYPE_CHECKING:
    from core.paper.faults import Fault
    from core.paper.market import Market, MarketData

OF_THE_MARKET: Final = frozenset({FaultKind.MARKET_HALT, FaultKind.MARKET_ONE_SIDED, FaultKind.MARKET_FROZEN_LAST})


class MarketFaults:
    """Stands between the prices and the books. Costs one test per update while nothing is wrong."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._loop = asyncio.get_running_loop()
        self._in_force: dict[tuple[FaultKind, str | None], tuple[float, Fault]] = {}
        market.change = self._change

    def inflict(self, fault: Fault) -> None:
        """Begin (`seconds` 0: end) a fault of the market, and show its effect at once."""
        scope = (fault.kind, fault.security_id)
        until = self._loop.time() + fault.seconds
        if fault.seconds:
            self._in_force[scope] = (until, fault)
            self._loop.call_at(until, self._expire)
        else:
            self._in_force.pop(scope, None)
        self._show()

    def clear(self) -> None:
        if self._in_force:
            self._in_force.clear()
            self._show()

    def _expire(self) -> None:
        now = self._loop.time()
        ended = [scope for scope, (until, _) in self._in_force.items() if until <= now]
        for scope in ended:
            del self._in_force[scope]
        if ended:
            self._show()

    def _change(self, data: MarketData) -> MarketData | None:
        """What the books get instead: None is no update at all."""
        if not self._in_force:
            return data
        for (kind, security_id), (_, fault) in self._in_force.items():
            if security_id is not None and security_id != str(data.key.security_id):
                continue
            match kind:
                case FaultKind.MARKET_HALT:
                    return None
                case FaultKind.MARKET_FROZEN_LAST:
                    data = replace(data, last=None)
                case _:
                    bids = () if fault.without in {"bid", "both"} else data.bids
                    asks = () if fault.without in {"ask", "both"} else data.asks
                    data = replace(data, bids=bids, asks=asks)
        return data

    def _show(self) -> None:
        self._market.show_again()
