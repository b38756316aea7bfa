"""A feed, an engine and a clock in a process of their own, for tests that stop it: `python -m tests.faults.stalled_monitor URL`.

Three positions, 75 bought at ₹100 each with a stop of ₹3,000 (at ₹60). A line of JSON for each exit that begins.
"""

import asyncio
import json
import sys

from core.model.exit_levels import ExitLevels
from tests.faults.chain import Chain, running
from tests.unit.exits.builders import amount, leg, position

IDS = (1, 2, 3)


async def watch(url: str) -> None:
    held = [(position(leg(one, 75, 100), strategy_id=one), ExitLevels(stop=amount(3_000))) for one in IDS]
    chain, said, is_ready = Chain(url, *held), 0, False
    async with running(chain):
        while True:
            await asyncio.sleep(0.005)
            if not is_ready and len(chain.taken) >= len(IDS):
                is_ready = True
                say({"ready": True})
            for record, at_ns in chain.started[said:]:
                said += 1
                say({"strategy": record.position.strategy_id, "pnl": record.signal.pnl, "at_ns": at_ns})


def say(what: dict) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1]))
