"""25,000 instruments over five connections, with the server in a process of its own: the figures are the client's."""

import asyncio
import contextlib
import json
import sys
import time

from core.dhan.feed_connection import FeedPolicy
from tests.fakes.waiting import eventually
from tests.integration.feed_rig import MS, NIFTY, feed_running, options

EACH = 5_000
BACK_WITHIN_S = 10.0
STALL_BOUND_S = 1.0
SLICES_DIFFER = 50
"""One piece of subscribing against the usual one, in CPU time: no piece is the whole. Ratios, because machines differ."""
AS_DEAR_AS_SORTING = 3
"""A wish of thousands that changes a little, against sorting its names."""
"""Of a shared machine, in which others test. What one slice of our own costs is measured in the thread's own CPU time."""


class Stalls:
    """The longest time between two turns that should be a millisecond apart."""

    def __init__(self):
        self.worst_s = 0.0

    async def watch(self):
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.worst_s = max(self.worst_s, now - before - 0.001)
            before = now

    def take(self):
        worst, self.worst_s = self.worst_s, 0.0
        return worst


class SeparateServer:
    def __init__(self, process):
        self.process = process

    async def say(self, command):
        self.process.stdin.write(f"{command}\n".encode())
        return json.loads(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def separate_server():
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.fakes.feed_server"]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        port = int(await process.stdout.readline())
        yield SeparateServer(process), f"ws://127.0.0.1:{port}/feed"
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def slices(rig, monkeypatch):
    """Note how long each piece of subscribing takes, without the time other tasks get."""
    found = []
    for line in rig.manager._lines:
        subscriptions = line._subscriptions
        real = subscriptions.next_messages

        def timed(*arguments, real=real, **options):
            begun = time.thread_time()
            messages = real(*arguments, **options)
            found.append(time.thread_time() - begun)
            return messages

        monkeypatch.setattr(subscriptions, "next_messages", timed)
    return found


class Load:
    """All instruments wanted at once, then one line after the other lost; `report` is what to print."""

    def __init__(self, rig, server):
        self.rig, self.server = rig, server
        self.keys = options(5 * EACH)
        self.stalls = Stalls()
        self.report = []

    async def subscribe(self):
        rig = self.rig
        await asyncio.sleep(0.05)
        self.stalls.take()
        cpu, begun = time.process_time(), time.perf_counter()
        rig.manager.set_wanted(self.keys)
        placing = time.process_time() - cpu
        await eventually(lambda: rig.status.lines_live == 5 and rig.status.subscribed == 5 * EACH)
        await eventually(lambda: len(rig.quotes) >= 5 * EACH)
        took, worst = time.perf_counter() - begun, self.stalls.take()
        self.report.append(f"placing {placing * 1e3:.1f} ms of CPU, all priced after {took:.2f} s")
        self.report.append(f"CPU {time.process_time() - cpu:.2f} s, longest stall {worst * 1e3:.1f} ms")
        assert all(rig.cache.feed_quote(key) is not None for key in self.keys)
        cpu = time.process_time()
        rig.manager.set_wanted(self.keys)
        self.report.append(f"set_wanted without a change {(time.process_time() - cpu) * 1e3:.2f} ms of CPU")

    async def lose(self, number):
        rig = self.rig
        rig.quotes.clear()
        self.stalls.take()
        cpu, begun, since_ns = time.process_time(), time.perf_counter(), rig.clock.monotonic_ns()
        await self.server.say(f"reset {number}")
        await eventually(lambda: rig.status.lines_live == 4)
        assert rig.states == [True]
        await eventually(lambda: rig.status.lines_live == 5 and len(rig.quotes) >= EACH)
        took, worst, used = time.perf_counter() - begun, self.stalls.take(), time.process_time() - cpu
        lost = {quote.key for quote in rig.quotes}
        assert len(lost) == EACH
        assert all(rig.cache.feed_quote(key).received_ns >= since_ns for key in lost)
        self.report.append(f"line {number} lost: back {took:.2f} s, CPU {used:.2f} s, stall {worst * 1e3:.1f} ms")
        assert took < BACK_WITHIN_S
        assert worst < STALL_BOUND_S


async def test_25_000_instruments_survive_the_loss_of_each_line(monkeypatch, capsys):
    settings = {"distance_ns": 150 * MS, "check_every_s": 0.1, "canaries": (NIFTY,)}
    async with separate_server() as (server, url), feed_running(url, FeedPolicy(), **settings) as rig:
        rig.manager.market(is_open=False)  # the server answers and is silent then
        load, slice_times = Load(rig, server), slices(rig, monkeypatch)
        watching = asyncio.create_task(load.stalls.watch())
        await load.subscribe()
        for number in range(1, 6):
            await load.lose(number)
        held = await server.say("held")
        assert sorted(held.values()) == [EACH] * 5
        await asyncio.sleep(1.2)  # the first look at what has given no price
        watching.cancel()
    slice_times.sort()
    longest, usual = slice_times[-1] * 1e3, slice_times[len(slice_times) // 2] * 1e6
    load.report.append(f"{len(slice_times)} slices of subscribing: longest {longest:.2f} ms, median {usual:.0f} us")
    with capsys.disabled():
        print("\n".join(["", *load.report]))  # noqa: T201  figures of the run
    assert slice_times[int(len(slice_times) * 0.99)] < SLICES_DIFFER * slice_times[len(slice_times) // 2]


async def test_a_wish_of_5_000_that_changes_a_little_is_cheap(capsys):
    async with (
        separate_server() as (_, url),
        feed_running(url, FeedPolicy(), check_every_s=0.1, canaries=(NIFTY,)) as rig,
    ):
        keys = options(EACH - 1)
        rig.manager.set_wanted(keys)
        await eventually(lambda: len(rig.quotes) >= EACH - 1)
        took, sorting = [], []
        for number in range(50):
            wish = [*keys[number + 1 :], *options(number + 1, first=90_000)]
            begun = time.process_time()
            rig.manager.set_wanted(wish)
            taken = time.process_time()
            sorted(wish, key=str)
            took.append(taken - begun)
            sorting.append(time.process_time() - taken)
            await asyncio.sleep(0.005)
        await eventually(lambda: rig.status.subscribed == EACH)
        took.sort()
        sorting.sort()
        with capsys.disabled():
            print(  # noqa: T201  figures of the run
                f"\nset_wanted(4,999) with one change: median {took[25] * 1e3:.2f} ms, longest {took[-1] * 1e3:.2f} ms, "
                f"sorting them {sorting[25] * 1e3:.2f} ms"
            )
        assert took[25] < AS_DEAR_AS_SORTING * sorting[25]
