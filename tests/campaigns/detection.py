"""How soon is a feed that lies found out? `python -m tests.campaigns.detection [--trials 200]` prints a table.

The real monitor in execute mode, real sockets, the local exchange, a fault proxy before its feed; many at once, in a process for
each core. The bounds are those of issue 4; the exit code is 1 when one is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.campaigns import detection_calm, detection_trials
from tests.campaigns.detection_trials import Found
from tests.integration.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKERS: Final = min(os.cpu_count() or 1, 4)
CALM_S: Final = 75.0
TRIALS_OF_A_CELL: Final = 9
CELLS_AT_ONCE: Final = 14
START_APART_S: Final = 0.35
KINDS: Final = {
    "mute": detection_trials.mute,
    "stale_leg": detection_trials.stale_leg,
    "half_open": detection_trials.half_open,
    "stops": detection_trials.stops,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """`of_all`: also the slowest trial, and not only p99, must stay within the seconds."""

    seconds: float
    of_all: bool = True


BOUNDS: Final = {
    detection_trials.MUTE: Bound(3.0),
    detection_trials.MUTE_REST: Bound(5.0),
    detection_trials.FAST: Bound(5.0),
    detection_trials.SLOW: Bound(5.0),
    detection_trials.HALF_GONE: Bound(10.0),
    detection_trials.HALF_OPEN: Bound(10.0),
    detection_trials.STOP_ONE: Bound(5.0, of_all=False),
    detection_trials.STOP_CONDOR: Bound(5.0, of_all=False),
}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def broken(found: Found, away_s: float = 0.0) -> list[str]:
    """Everything that is not as it must be. `away_s`: by how much all bounds are later, because the machine was busy elsewhere."""
    problems = list(found.wrong)
    for name, bound in BOUNDS.items():
        late = found.late.get(name, [])
        worst = (max(late) if bound.of_all else quantile(late, 0.99)) if late else 0.0
        if worst > bound.seconds + away_s:
            problems.append(f"{name}: {worst:.2f} s, at most {bound.seconds:g} s are allowed")
    return problems


def table(found: Found) -> str:
    lines = [f"{'measured, in s':44} {'n':>4} {'p50':>6} {'p99':>6} {'max':>6} {'bound':>6} {'over':>5}"]
    for name, late in found.late.items():
        bound = BOUNDS.get(name)
        limit = f"{bound.seconds:6g} {sum(each > bound.seconds for each in late):5}" if bound else f"{'-':>6} {'-':>5}"
        figures = f"{quantile(late, 0.5):6.2f} {quantile(late, 0.99):6.2f} {max(late):6.2f}"
        lines.append(f"{name:44} {len(late):4} {figures} {limit}")
    return "\n".join(lines)


async def run_trials(kinds: dict[str, int], seed: int = 0, *, per_cell: int = TRIALS_OF_A_CELL) -> Found:
    """So many trials of each kind here, with several monitors at once."""
    found = Found()
    turns = asyncio.Semaphore(CELLS_AT_ONCE)
    start = asyncio.Lock()

    async def one(kind: str, number: int, trials: int, folder: Path) -> None:
        async with turns:
            async with start:
                # A start reads an instrument master, which nobody's trial is about.
                await asyncio.sleep(START_APART_S)
            await KINDS[kind](folder, number, trials, found)

    with tempfile.TemporaryDirectory() as place:
        async with asyncio.TaskGroup() as group:
            number = seed * 1_000
            parts = {kind: [min(per_cell, n - at) for at in range(0, n, per_cell)] for kind, n in kinds.items()}
            for row in range(max(map(len, parts.values()))):
                for kind, sizes in parts.items():
                    if row < len(sizes):
                        number += 1
                        group.create_task(one(kind, number, sizes[row], Path(place, str(number))))
    return found


async def run_calm(scenes: Sequence[detection_calm.Scene], seed: int = 0) -> Found:
    found = Found()
    with tempfile.TemporaryDirectory() as place:
        async with asyncio.TaskGroup() as group:
            for number, scene in enumerate(scenes):
                group.create_task(detection_calm.watch(Path(place, str(number)), seed + number, scene, found))
    return found


async def _worker(trials: int, seed: int) -> None:
    """One process of the campaign: its result is one line of JSON."""
    logging.disable(logging.CRITICAL)
    found = await run_trials(dict.fromkeys(KINDS, trials), seed)
    if seed == 0:
        found.add(await run_calm(detection_calm.scenes(CALM_S) + detection_calm.controls()))
    print(json.dumps({"late": found.late, "wrong": found.wrong, "limited": found.limited}))


async def _campaign(trials: int) -> Found:
    shares = [trials // WORKERS + (number < trials % WORKERS) for number in range(WORKERS)]
    command = (sys.executable, "-m", "tests.campaigns.detection", "--worker")
    processes = [
        await asyncio.create_subprocess_exec(*command, str(n), str(share), cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        for n, share in enumerate(shares)
    ]
    whole = Found()
    try:
        for process, (out, _) in zip(
            processes, await asyncio.gather(*(p.communicate() for p in processes)), strict=True
        ):
            if process.returncode:
                whole.wrong.append(f"a worker ended with {process.returncode}")
                continue
            found: dict[str, Any] = json.loads(out.splitlines()[-1])
            whole.add(Found(defaultdict(list, found["late"]), found["wrong"], found["limited"]))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return whole


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.detection", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--worker", nargs=2, type=int, metavar=("NUMBER", "TRIALS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        asyncio.run(_worker(options.worker[1], options.worker[0]))
        return 0
    begun = time.monotonic()
    before = os.getloadavg()[0]
    found = asyncio.run(_campaign(options.trials))
    print(table(found))
    problems = broken(found)
    for name, late in ((name, found.late.get(name, [])) for name in BOUNDS):
        if not late:
            problems.append(f"{name}: not measured")
    calm = len(detection_calm.scenes(CALM_S))
    print(f"{calm} calm scenes of {CALM_S:g} s with their controls; {time.monotonic() - begun:.0f} s in all;", end=" ")
    print(f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    print(f"{found.limited} quote requests were refused with 429")
    print("\n".join(problems) if problems else "no bound is broken, no false alarm")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
