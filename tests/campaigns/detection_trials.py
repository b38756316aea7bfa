"""The trials of the detection campaign: each does one fault to a running monitor at a random moment and measures what it sees.

All times are taken in one process with one clock, from the last packet that the monitor has taken, in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.exits.price_trust import TrustState
from core.model.commands import Severity
from core.model.session_time import NS_PER_S
from tests.campaigns.detection_cell import Cell, Held, cell, key_of, positions, until

if TYPE_CHECKING:
    from pathlib import Path

    from core.paper.orders import PaperOrder

MUTE, MUTE_REST = "mute: the line is not live", "mute: every leg has a price again (REST)"
FAST, SLOW = "one stale leg, ticks 3 times a second", "one stale leg, ticks every 1 to 2 s"
HALF_OPEN, HALF_GONE = "half-open: every leg has a price again", "half-open: the line is given up"
STOP_ONE, STOP_CONDOR = "stop, one leg: first order", "stop, condor: first order"
BACK: Final = "back live when the way is free again"
LONG_S: Final = 600.0
FAST_S, SLOW_S, LAZY_S = 0.33, 1.5, 20.0


@dataclass
class Found:
    """`late`: seconds by what was measured. `wrong`: what must never be. `limited`: quote requests that came too soon (429)."""

    late: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    limited: int = 0

    def add(self, other: Found) -> None:
        for name, seconds in other.late.items():
            self.late[name] += seconds
        self.wrong += other.wrong
        self.limited += other.limited


def _period(number: int) -> float:
    """Of a position's legs, one in three is fast, one slow, and one hardly ever moves."""
    return (FAST_S, SLOW_S, LAZY_S)[number % 3]


def _since(last_ns: int) -> float:
    return (time.monotonic_ns() - last_ns) / NS_PER_S


def _last_packet_ns(one: Cell) -> int:
    last_ns = one.feed.status.last_data_ns
    assert last_ns is not None
    return int(last_ns)


async def _priced_again(one: Cell, last_ns: int) -> float:
    """Until every leg has a price again."""
    await until(lambda: one.has_prices_since(last_ns), 30)
    return _since(last_ns)


async def mute(folder: Path, seed: int, trials: int, found: Found) -> None:
    """All data stops, the socket stays open and pings flow, on new connections too."""
    async with cell(folder, seed, positions(2, 1, time.time_ns())) as one:
        one.move(_period)
        for _ in range(trials):
            await one.live()
            await asyncio.sleep(one.random.uniform(0.3, 3.0))
            begun_ns = time.monotonic_ns()
            one.exchange.add_fault({"kind": "feed_silence", "seconds": LONG_S})
            await until(lambda: not one.feed.is_live, 30)
            last_ns = _last_packet_ns(one)
            found.late[MUTE].append(_since(last_ns))
            if not -0.6 < (last_ns - begun_ns) / NS_PER_S < 0.6:
                found.wrong.append("mute: the last packet did not come when the silence began")
            found.late[MUTE_REST].append(await _priced_again(one, last_ns))
            one.exchange.clear_faults()
            found.late[BACK].append(await one.live())
        _look_for_pages(one, found)


async def stale_leg(folder: Path, seed: int, trials: int, found: Found) -> None:
    """One leg is dropped by the server without a word, or kept silent, while its price moves. Fast and slow legs in turn."""
    async with cell(folder, seed, positions(2, 3, time.time_ns())) as one:
        one.move(_period)
        legs = [leg for held in one.held for leg in held.legs]
        for number in range(trials):
            is_fast = number % 2 == 0
            leg = one.random.choice([leg for at, leg in enumerate(legs) if at % 3 == (0 if is_fast else 1)])
            key = key_of(leg)
            trust = one.parts.prices.watch.trust
            await one.live()
            await asyncio.sleep(one.random.uniform(0.3, 4.0))
            await until(lambda key=key, trust=trust: trust.state_of(key) is TrustState.LIVE)
            fault: dict[str, object] = {"kind": "feed_unsubscribe", "security_id": str(leg.security_id)}
            if number % 4 > 1:
                fault = {"kind": "feed_silence", "security_id": str(leg.security_id), "seconds": LONG_S}
            one.exchange.add_fault(fault)
            # What was under way has come: this is the last packet.
            await asyncio.sleep(0.05)
            quote = one.parts.price_cache.feed_quote(key)
            assert quote is not None
            last_ns = quote.received_ns
            # Found mute is subscribed anew, in the same look: the exchange sees it.
            last_utc_ns = time.time_ns() - (time.monotonic_ns() - last_ns)
            await until(lambda leg=leg, since=last_utc_ns: one.subscribed_at(leg.security_id, since), 30)
            seen_utc_ns = one.subscribed_at(leg.security_id, last_utc_ns)
            assert seen_utc_ns is not None
            found.late[FAST if is_fast else SLOW].append((seen_utc_ns - last_utc_ns) / NS_PER_S)
            one.exchange.clear_faults()
            # A silent one is subscribed anew every 10 s at the latest; here its packets flow again at once.
            await until(lambda key=key, trust=trust: trust.state_of(key) is TrustState.LIVE, 30)
        if one.feed.status.reconnects:
            found.wrong.append("stale leg: the line was dropped for the silence of one leg")
        _look_for_pages(one, found)


async def half_open(folder: Path, seed: int, trials: int, found: Found) -> None:
    """The way is dead without a FIN: both ways or from the server only, for the old connection or for new ones too."""
    async with cell(folder, seed, positions(2, 1, time.time_ns())) as one:
        one.move(_period)
        for number in range(trials):
            await one.live()
            await asyncio.sleep(one.random.uniform(0.3, 3.0))
            connections = one.proxy.connections
            if number % 3 == 2:
                one.proxy.to_client.hold = True
            else:
                one.proxy.blackhole(new=number % 3 == 1)
            await asyncio.sleep(0.02)
            last_ns = _last_packet_ns(one)
            await until(lambda: one.feed.status.connected == 0 or not one.feed.is_live, 30)
            gone = asyncio.create_task(until(lambda n=connections: _is_given_up(one, n), 60))
            found.late[HALF_OPEN].append(await _priced_again(one, last_ns))
            await gone
            found.late[HALF_GONE].append(_since(last_ns))
            one.proxy.calm()
            found.late[BACK].append(await one.live())
        _look_for_pages(one, found)


def _is_given_up(one: Cell, connections: int) -> bool:
    """The dead socket is dropped: none is open, or another one was begun."""
    return one.feed.status.connected == 0 or one.proxy.connections > connections


def _look_for_pages(one: Cell, found: Found) -> None:
    """REST worked all the time: nobody had to be paged."""
    found.wrong += [f"paged: {alert.subject}: {alert.text}" for alert in one.alerts if alert.severity is Severity.PAGE]
    found.limited += len(one.exchange.log.of("rate_limited"))


async def stops(folder: Path, seed: int, trials: int, found: Found) -> None:
    """Stops are crossed while the feed is down: three in each outage, at random moments of it. Every third is a condor."""
    held = positions(trials - trials // 3, trials // 3, time.time_ns())
    async with cell(folder, seed, held) as one:
        one.move(lambda number: (FAST_S, SLOW_S)[number % 2])
        singles = [each for each in held if len(each.legs) == 1]
        condors = [each for each in held if len(each.legs) > 1]
        outage = seed
        while singles or condors:
            hit = [line.pop() for line in (singles, singles, condors) if line]
            await one.live()
            await asyncio.sleep(one.random.uniform(0.3, 3.0))
            for each in hit:
                each.outage = outage % 4
            is_down = _take_down(one, outage, hit)
            await asyncio.gather(*(_cross(one, each, found) for each in hit))
            if one.feed.is_live is is_down:
                found.wrong.append("stops: the feed did not stay as the outage has it")
            _bring_back(one)
            outage += 1
        await until(lambda: not any(one.net(each) for each in held) and not one.parts.engine.desk.exits, 60)
        for each in held:
            _check_orders(one, each, found)
        found.limited += len(one.exchange.log.of("rate_limited"))


def _take_down(one: Cell, outage: int, hit: list[Held]) -> bool:
    """Refused after a reset, wholly mute, half-open, or mute on these legs alone. Returns whether the line has to die of it."""
    match outage % 4:
        case 0:
            one.proxy.down()
        case 1:
            one.exchange.add_fault({"kind": "feed_silence", "seconds": LONG_S})
        case 2:
            one.proxy.blackhole()
        case _:
            for leg in (leg for held in hit for leg in held.legs):
                fault = {"kind": "feed_silence", "seconds": LONG_S, "security_id": str(leg.security_id)}
                one.exchange.add_fault(fault)
            return False
    return True


def _bring_back(one: Cell) -> None:
    one.exchange.clear_faults()
    one.proxy.calm()
    if one.proxy._listening is None:
        one.proxy.up()


async def _cross(one: Cell, held: Held, found: Found) -> None:
    await asyncio.sleep(one.random.choice((one.random.uniform(0.0, 3.0), one.random.uniform(0.0, 8.0))))
    held.cross(one.random.choice((1.2, 2.0)))
    crossed_utc_ns = time.time_ns()
    one.show(held)
    try:
        await until(lambda: len(one.orders(held)) > 0, 30)
    except TimeoutError:
        found.wrong.append(f"stop of {held.strategy_id} never fired in outage {held.outage}: {_why_not(one, held)}")
        return
    late_s = (int(one.orders(held)[0]["at_ns"]) - crossed_utc_ns) / NS_PER_S
    found.late[STOP_ONE if len(held.legs) == 1 else STOP_CONDOR].append(late_s)
    # The outage lasts until the position is flat: nothing of the exit may need the feed.
    await until(lambda: one.net(held) == 0, 30)


def _why_not(one: Cell, held: Held) -> str:
    now = time.monotonic_ns()
    guard = one.parts.engine.guards.get(held.strategy_id)
    if guard is None:
        return f"it is not guarded; guarded are {sorted(one.parts.engine.guards)}"
    keys = [key_of(leg) for leg in held.legs]
    states = [str(one.parts.prices.watch.trust.state_of(key)) for key in keys]
    quotes = [one.parts.price_cache.quote(key) for key in keys]
    seen = [quote and (quote.last, str(quote.source), (now - quote.received_ns) // 1_000_000) for quote in quotes]
    exits = [(each.strategy_id, str(each.state)) for each in one.parts.engine.desk.exits.values()]
    facts = (guard.booked.pnl, guard.booked.lower, guard.why_unprotected(now), states, seen, held.base, exits)
    return f"{facts}; {one.alerts}"


def _check_orders(one: Cell, held: Held, found: Found) -> None:
    """Flat, each leg filled exactly, shorts first. Nothing of an order was left to a second one but what it had not filled."""
    if one.net(held):
        found.wrong.append(f"{held.strategy_id} is not flat")
    sides = [order["body"]["transactionType"] for order in one.orders(held)]
    if sides != sorted(sides):
        found.wrong.append(f"{held.strategy_id}: a long was sold before a short was bought back")
    for leg in held.legs:
        orders = one.placed(leg.security_id)
        filled = sum(order.filled for order in orders)
        if filled != abs(leg.units):
            found.wrong.append(f"{held.strategy_id}: {leg.symbol} filled {filled} of {abs(leg.units)} units")
        if any(order.status.value not in {"TRADED", "CANCELLED"} for order in orders):
            found.wrong.append(f"{held.strategy_id}: an order was rejected, or is left")
        if len(orders) != 1 and not _was_chased(one, held, orders):
            found.wrong.append(f"{held.strategy_id}: {leg.symbol} has {len(orders)} orders in outage {held.outage}")


def _was_chased(one: Cell, held: Held, orders: list[PaperOrder]) -> bool:
    """The first order was priced before REST had told of this leg: too low to fill, it was cancelled and another took its place."""
    first, *others = orders
    is_below = first.price < held.base[first.key.security_id] + 5
    return len(held.legs) > 1 and is_below and first.filled == 0 and len(others) == 1
