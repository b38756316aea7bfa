"""When faults happen that need no occasion, and whom they concern."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.paper.fault_kinds import AT_A_REQUEST, OF_NEW_CONNECTIONS, FaultKind
from core.paper.market_faults import OF_THE_MARKET, MarketFaults
from core.paper.options import TokenDeath
from core.paper.rest_faults import OF_QUOTES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.paper.faults import Fault
    from core.paper.feed import FeedServer
    from core.paper.order_updates import OrderUpdates
    from core.paper.venue import Venue


class FaultSchedule:
    """`begin` starts a task that the exchange ends."""

    def __init__(
        self,
        venue: Venue,
        feed: FeedServer,
        order_updates: OrderUpdates,
        begin: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]],
    ) -> None:
        self._venue = venue
        self._feed = feed
        self._order_updates = order_updates
        self._market = MarketFaults(venue.market)
        self._begin = begin
        self._tasks: set[asyncio.Task[None]] = set()
        venue.tokens.on_death = self._token_died

    def add(self, fault: Fault) -> None:
        """Put a fault in force: at its occasion, at its time, or now."""
        if fault.kind in AT_A_REQUEST:
            self._venue.faults.active.append(fault)
        elif fault.after_s or fault.every_s:
            self.schedule(fault)
        else:
            self._inflict(fault)

    def schedule(self, fault: Fault) -> None:
        """`after_s` counts from the first subscription of any client."""
        task = self._begin(self._run(fault), f"fault {fault.kind}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Take back every fault: those that wait for an occasion, those that last, those still to come."""
        for task in tuple(self._tasks):
            task.cancel()
        self._venue.faults.clear()
        self._venue.quote_faults.clear()
        self._feed.faults.clear()
        self._order_updates.clear()
        self._market.clear()

    async def _run(self, fault: Fault) -> None:
        await self._feed.first_subscription.wait()
        await asyncio.sleep(fault.after_s)
        self._inflict(fault)
        while fault.every_s:
            await asyncio.sleep(fault.every_s)
            self._inflict(fault)

    def _inflict(self, fault: Fault) -> None:
        if fault.kind not in OF_NEW_CONNECTIONS and not fault.is_due(self._venue.faults.random):
            return
        self._venue.log.add("fault", kind=fault.kind.value)
        if fault.kind in {FaultKind.TOKEN_INVALIDATED, FaultKind.TOKEN_EXPIRED}:
            self._kill_token(fault)
        elif fault.kind in OF_QUOTES:
            self._venue.quote_faults.inflict(fault)
        elif fault.kind in OF_THE_MARKET:
            self._market.inflict(fault)
        else:
            self._feed.faults.inflict(fault)
            self._order_updates.inflict(fault)

    def _kill_token(self, fault: Fault) -> None:
        options = self._venue.options
        usual = options.token_death
        if fault.sockets is not None:
            options.token_death = TokenDeath(fault.sockets)
        if fault.kind is FaultKind.TOKEN_EXPIRED:
            self._venue.tokens.expire()
        else:
            self._venue.tokens.invalidate()
        options.token_death = usual

    def _token_died(self, code: int) -> None:
        death = self._venue.options.token_death
        self._venue.log.add("token_died", code=code, sockets=death.value)
        self._feed.token_died(death, code)
        self._order_updates.token_died(death)
