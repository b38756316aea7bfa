"""Does memory stay flat over thousands of lost connections? `python -m tests.campaigns.feed_memory`, about a minute.

The collector is set as in the monitor: dead connections are cycles, and wait for it. Memory rises until its first turn over the
older generation and is flat from then on. The feed server lives in the same process, so both ends count.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from pathlib import Path
from typing import Final

from core.dhan.feed_connection import FeedPolicy
from tests.fakes.feed_server import feed_server
from tests.integration.feed_rig import MS, feed_running, options

LOST: Final = 6_000
STEP: Final = 500
FLAT_FROM: Final = 4_000
MOST_MB: Final = 4.0
_PAGE_KB: Final = 4


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KB / 1024


async def measure() -> list[tuple[int, float]]:
    """(connections lost, resident MB) at each step."""
    policy = FeedPolicy(first_delay_ns=4 * MS, least_delay_ns=1 * MS, most_delay_ns=4 * MS)
    draw = random.Random(7)
    found = []
    async with feed_server() as server:
        server.answers = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000)
        async with feed_running(server.url, policy, distance_ns=0, on_quote=lambda _: None) as rig:
            rig.manager.set_wanted(options(3))
            for number in range(1, LOST + 1):
                while not (rig.status.connected and len(rig.retries) == (number - 1) % STEP):  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(0.0005)
                if draw.randrange(2):
                    server.newest.transport.abort()
                else:
                    await server.newest.close()
                if number % STEP == 0:
                    while len(rig.retries) < STEP:  # noqa: ASYNC110  nobody tells
                        await asyncio.sleep(0.0005)
                    for kept in (rig.retries, rig.states, rig.lines, rig.doubts):
                        kept.clear()
                    server.connections[:] = server.connections[-2:]
                    found.append((number, resident_mb()))
    return found


def main() -> int:
    found = asyncio.run(measure())
    for number, used in found:
        print(f"{number:6,} connections lost: {used:.1f} MB")
    late = [used for number, used in found if number >= FLAT_FROM]
    growth = late[-1] - late[0]
    print(f"growth over the last {LOST - FLAT_FROM:,}: {growth:.1f} MB, at most {MOST_MB} are allowed")
    return int(growth > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
