"""Every box sees every quote, keeps the newest of each instrument, and counts what its consumer missed."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from core.dhan.feed_packets import DecodeCounts, decode_message
from core.model.errors import BugError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.price_cache import PriceCache
from core.price_fanout import PriceFanout, Rank
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

MS = 1_000_000
TICK_BYTES = 16
INSTRUMENTS = 50
KEYS = [InstrumentKey(Segment.NSE_FNO, 60_000 + number) for number in range(4)]


def quote(key, last=100, at_ns=0):
    return Quote(key, last, None, None, 0, 0, None, at_ns)


def fanout_with(*names, every_s=0.1):
    clock = ManualClock(monotonic=0)
    fanout = PriceFanout(clock)
    return clock, fanout, [fanout.add(name, Rank.CACHE, every_s) for name in names]


def test_without_a_box_there_is_nothing_to_offer_to():
    _, fanout, _ = fanout_with()
    assert not fanout.is_used
    fanout.add("display", Rank.DISPLAY, 1.0)
    assert fanout.is_used


@given(st.lists(st.one_of(st.tuples(st.integers(0, 3), st.integers(1, 99)), st.none()), max_size=60))
def test_the_newest_of_each_instrument_waits_and_nothing_is_lost_count_of(steps):
    """None is a visit of the consumer of the first box; that of the second box never comes."""
    clock, fanout, (visited, forgotten) = fanout_with("visited", "forgotten")
    oracle, ever, offered, delivered = {}, {}, 0, 0
    for step in steps:
        clock.monotonic += MS
        if step is None:
            assert visited.take(clock.monotonic) == oracle
            delivered += len(oracle)
            oracle = {}
            continue
        new = quote(KEYS[step[0]], step[1], clock.monotonic)
        fanout.offer(new)
        oracle[new.key] = ever[new.key] = new
        offered += 1
    counts, never = fanout.counts()
    assert (counts.delivered, counts.waiting) == (delivered, len(oracle))
    assert counts.conflated == offered - delivered - len(oracle)
    assert (never.delivered, never.waiting, never.conflated) == (0, len(ever), offered - len(ever))
    assert forgotten.waiting == ever


def test_the_lag_is_the_age_of_what_came_first_not_of_what_replaced_it():
    clock, fanout, (box,) = fanout_with("slow")
    fanout.offer(quote(KEYS[0], at_ns=0))
    clock.monotonic = 1_999 * MS
    fanout.offer(quote(KEYS[0], at_ns=clock.monotonic))
    clock.monotonic = 2_000 * MS
    assert fanout.counts()[0].waited_ns == 2_000 * MS
    box.take(clock.monotonic)
    fanout.offer(quote(KEYS[0], at_ns=clock.monotonic))
    clock.monotonic += 5 * MS
    box.take(clock.monotonic)
    (counts,) = fanout.counts()
    assert (counts.waited_ns, counts.lag_ns, counts.lag_max_ns) == (0, 5 * MS, 2_000 * MS)


def test_a_visit_to_an_empty_box_is_no_lag():
    clock, fanout, (box,) = fanout_with("idle")
    clock.monotonic = 60_000 * MS
    assert box.take(clock.monotonic) == {}
    (counts,) = fanout.counts()
    assert (counts.waited_ns, counts.lag_ns, counts.lag_max_ns, counts.delivered) == (0, 0, 0, 0)


def test_what_was_taken_is_the_consumers_own():
    _, fanout, (box,) = fanout_with("one")
    fanout.offer(quote(KEYS[0], 1))
    taken = box.take(0)
    fanout.offer(quote(KEYS[0], 2))
    assert [each.last for each in taken.values()] == [1]


def test_a_box_that_joins_later_counts_from_then_on():
    _, fanout, _ = fanout_with("first")
    for _ in range(5):
        fanout.offer(quote(KEYS[0]))
    fanout.add("second", Rank.RECORDING, 1.0)
    fanout.offer(quote(KEYS[0]))
    assert [(counts.name, counts.conflated, counts.waiting) for counts in fanout.counts()] == [
        ("first", 5, 1),
        ("second", 0, 1),
    ]


def test_a_stalled_consumer_costs_memory_by_the_number_of_instruments_only():
    _, fanout, (box,) = fanout_with("stalled")
    for key in KEYS:
        fanout.offer(quote(key))
    size = sys.getsizeof(box.waiting)
    for number in range(20_000):
        fanout.offer(quote(KEYS[number % 4], number + 1))
    assert (len(box.waiting), sys.getsizeof(box.waiting)) == (4, size)


async def test_those_that_are_due_together_go_by_rank():
    clock = ManualClock(monotonic=0)
    fanout = PriceFanout(clock)
    seen = []

    async def consumer(box):
        while True:
            await box.turn()
            seen.append(box.name)

    # The one that must go last is added, started and therefore waiting first.
    boxes = [fanout.add(rank.name, rank, 0.1) for rank in reversed(Rank)]
    tasks = [asyncio.create_task(consumer(box)) for box in boxes]
    for _ in range(3):
        await asyncio.sleep(0)
        fanout.beat()
        clock.pass_seconds(0.1)
    await asyncio.sleep(0)
    assert seen == ["PROFIT", "DISPLAY", "CACHE", "RECORDING"] * 3
    for task in tasks:
        task.cancel()


async def test_each_consumer_comes_at_its_own_pace_and_a_stalled_one_holds_up_nobody():
    clock, fanout, (often,) = fanout_with("often")
    seldom, stalled = fanout.add("seldom", Rank.DISPLAY, 0.5), fanout.add("stalled", Rank.PROFIT, 0.1)
    turns, for_ever = Counter(), asyncio.Event()

    async def consumer(box, wait=None):
        while True:
            await box.turn()
            turns[box.name] += 1
            if wait is not None:
                await wait.wait()

    tasks = [
        asyncio.create_task(consumer(box, for_ever if box is stalled else None)) for box in (often, seldom, stalled)
    ]
    for _ in range(40):  # two seconds of beats
        await asyncio.sleep(0)
        fanout.beat()
        clock.pass_seconds(0.05)
    await asyncio.sleep(0)
    assert turns == {"often": 20, "seldom": 4, "stalled": 1}
    for task in tasks:
        task.cancel()


async def test_a_beat_that_comes_a_moment_too_soon_costs_no_turn():
    clock, fanout, (box,) = fanout_with("one")
    turns = 0
    for number in range(1, 41):
        waiting = asyncio.create_task(box.turn())
        await asyncio.sleep(0)
        clock.monotonic = number * 49 * MS
        fanout.beat()
        await asyncio.sleep(0)
        turns += waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert turns == 20


async def test_run_beats_until_it_is_cancelled():
    clock, pauses = ManualClock(monotonic=0), []

    async def sleep(seconds):
        pauses.append(seconds)
        clock.pass_seconds(seconds)
        await asyncio.sleep(0)

    fanout = PriceFanout(clock, sleep=sleep)
    box = fanout.add("one", Rank.CACHE, 0.1)
    task = asyncio.create_task(fanout.run())
    for _ in range(2):
        await box.turn()
    assert sum(pauses) <= 0.3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_consumer_that_was_cancelled_leaves_its_place_free():
    _, fanout, (box,) = fanout_with("one")
    task = asyncio.create_task(box.turn())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    fanout.beat()
    again = asyncio.create_task(box.turn())
    await asyncio.sleep(0)
    fanout.beat()
    await again


async def test_a_second_consumer_and_a_second_box_of_the_name_are_bugs():
    _, fanout, (box,) = fanout_with("one")
    first = asyncio.create_task(box.turn())
    await asyncio.sleep(0)
    with pytest.raises(BugError, match="'one'"):
        await box.turn()
    fanout.beat()
    await first
    with pytest.raises(BugError, match="'one'"):
        fanout.add("one", Rank.DISPLAY, 1.0)


async def test_a_consumer_that_raises_ends_its_supervisor_and_never_the_tick_path():
    _, fanout, (box,) = fanout_with("broken")

    async def broken():
        await box.turn()
        raise ZeroDivisionError

    async def supervised():
        async with asyncio.TaskGroup() as group:
            group.create_task(broken())
            await asyncio.sleep(0)
            fanout.beat()
            fanout.offer(quote(KEYS[0]))

    with pytest.raises(ExceptionGroup) as caught:
        await supervised()
    assert [type(each) for each in caught.value.exceptions] == [ZeroDivisionError]
    fanout.offer(quote(KEYS[0], 7))
    assert box.waiting[KEYS[0]].last == 7


class TickReceiver(asyncio.Protocol):
    """The tick path as it is: bytes → packets → newest price → the engine's callback → boxes. Nothing is awaited in it."""

    def __init__(self, prices, engine, fanout):
        self._prices, self._engine, self._fanout = prices, engine, fanout
        self._rest = b""

    def data_received(self, data):
        received_ns = time.monotonic_ns()
        data = self._rest + data
        whole = len(data) // TICK_BYTES * TICK_BYTES
        self._rest = data[whole:]
        for at in range(0, whole, TICK_BYTES):
            for packet in decode_message(data[at : at + TICK_BYTES], DecodeCounts()):
                quote = self._prices.take(packet, received_ns)
                self._engine(quote)
                self._fanout.offer(quote)


def send_ticks(peer, rate, count, sent_ns):
    """Ticker packets over 50 instruments at a steady pace, on a thread of its own. The price is the number of the tick."""
    began = time.monotonic()
    for number in range(count):
        due = began + number / rate
        while (ahead := due - time.monotonic()) > 0:
            time.sleep(ahead)
        tick = struct.pack("<BHBIfI", 2, TICK_BYTES, 2, 60_000 + number % INSTRUMENTS, number + 1.0, 0)
        sent_ns.append(time.monotonic_ns())
        peer.sendall(tick)


@pytest.mark.slow
async def test_f06_a_consumer_that_stalls_for_two_seconds_at_5000_ticks_a_second_delays_no_decision():
    """A consumer that blocks the loop itself is another fault (P04): nothing inside one process can outrun that."""
    fanout, count = PriceFanout(SystemClock()), 20_000
    box = fanout.add("stalled", Rank.DISPLAY, 0.05)
    prices, decided, sent_ns, stall, visits = PriceCache(), [], [], [], []
    keys = [InstrumentKey(Segment.NSE_FNO, 60_000 + number) for number in range(INSTRUMENTS)]
    prices.watch(keys)

    async def consumer():
        while True:
            await box.turn()
            visits.append(box.take(time.monotonic_ns()))
            if not stall and len(decided) > 5_000:
                stall.append(time.monotonic_ns())
                await asyncio.sleep(2.0)
                stall.append(time.monotonic_ns())
                assert box.waiting == {key: prices.quote(key) for key in keys}

    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        lambda: TickReceiver(prices, lambda quote: decided.append((quote.last, time.monotonic_ns())), fanout), sock=ours
    )
    tasks = [asyncio.create_task(fanout.run()), asyncio.create_task(consumer())]
    try:
        await asyncio.to_thread(send_ticks, theirs, 5_000, count, sent_ns)
        await eventually(lambda: len(decided) == count)
        await eventually(lambda: not box.waiting)
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        transport.close()
        theirs.close()
    assert [last for last, _ in decided] == [100 * (number + 1) for number in range(count)]
    during, otherwise = [], []
    for sent, (_, at) in zip(sent_ns, decided, strict=True):
        (during if stall[0] <= sent < stall[1] else otherwise).append(at - sent)
    assert len(during) > 8_000
    # The machine is shared: what may not happen is a wait that has to do with the stall, which is 2,000 ms.
    for share in (0.5, 0.99):
        assert ranked(during, share) < 3 * ranked(otherwise, share) + 5 * MS
    (counts,) = fanout.counts()
    assert 1_900 * MS < counts.lag_max_ns < 3_000 * MS
    assert counts.delivered + counts.conflated == count
    assert counts.conflated > 8_000
    assert max(len(visit) for visit in visits) == INSTRUMENTS


def ranked(values, share):
    return sorted(values)[int(share * len(values))]
