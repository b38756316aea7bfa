"""A six-hour day, compressed, with a storm on the feed: `python -m tests.campaigns.feed_day [--speed 60] [--seed 1]`.

The same recorded day is played twice to the real monitor, in execute mode, through the same proxies: once calm, once with a fault
every two seconds or so. Prints a table; exits 1 when a promise was broken. Times of faults, silence, back-off and bounds are
real; only the market runs `--speed` times as fast. What is changed in the monitor: see `feed_day_monitor`.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.model.session_time import ist_datetime
from tests.campaigns.feed_day_judge import Health, Verdict, exits_of, health_of, judge, p99
from tests.campaigns.feed_day_market import Day, make_day
from tests.campaigns.feed_day_run import Ran, run_day
from tests.campaigns.feed_day_truth import STEP_S

TAIL_S: Final = 50.0
LONGEST_NS: Final = 20 * 60 * 10**9
SLOPE_KB_PER_MIN: Final = 512.0
MORE_MB: Final = 6.0
MORE_OBJECTS: Final = 2_000
MORE_TASKS: Final = 2
MORE_DESCRIPTORS: Final = 3
MORE_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Campaign:
    day: Day
    clean: Ran
    storm: Ran
    verdict: Verdict
    healths: tuple[Health, Health]


async def run_campaign(day: Day, folder: Path, seed: int, least_reconnects: int) -> Campaign:
    """Both days side by side: whatever else the machine does meanwhile, it does to both."""
    async with asyncio.TaskGroup() as runs:
        calm = runs.create_task(run_day(day, folder / "clean", seed, with_storm=False))
        rough = runs.create_task(run_day(day, folder / "storm", seed, with_storm=True))
    clean, storm = calm.result(), rough.result()
    verdict, healths = judge(day, clean, storm), (health_of(clean), health_of(storm))
    verdict.broken += list(_leaks(healths, least_reconnects))
    return Campaign(day, clean, storm, verdict, healths)


def _leaks(healths: tuple[Health, Health], least_reconnects: int) -> list[str]:
    found = []
    calm, health = healths
    if health.reconnects <= least_reconnects:
        found.append(f"{health.reconnects} reconnects of the feed, expected more than {least_reconnects}")
    for name, (start, end, _), more in (
        ("tasks", health.tasks, MORE_TASKS),
        ("descriptors", health.descriptors, MORE_DESCRIPTORS),
        ("threads", health.threads, MORE_THREADS),
    ):
        if end > start + more:
            found.append(f"{name}: {start} at the start, {end} at the end")
    slope = health.slope_kb_per_min
    if slope is not None and slope > max(SLOPE_KB_PER_MIN, 2 * (calm.slope_kb_per_min or 0.0)):
        found.append(f"memory grows by {slope:.0f} kB a minute")
    if health.rss_mb[1] > health.rss_mb[0] + MORE_MB:
        found.append(f"memory: {health.rss_mb[0]:.1f} MB at the start, {health.rss_mb[1]:.1f} MB at the end")
    more = (health.objects[1] - health.objects[0]) - (calm.objects[1] - calm.objects[0])
    if more > MORE_OBJECTS:
        found.append(f"{more} objects more are held after the storm than after the clean day")
    if least_reconnects >= 100 and health.last["lines_live"] != health.last["lines_needed"]:
        found.append(f"{health.last['lines_live']} of {health.last['lines_needed']} connections are live at the end")
    if not health.last["idle"]:
        found.append("exits are under way at the end")
    return found


def table(found: Campaign) -> str:
    calm, health = found.healths
    before, after = exits_of(found.day, found.clean), exits_of(found.day, found.storm)
    late, storm = found.verdict.late_s, found.storm.storm
    assert storm is not None
    length_s, faults = found.day.steps * STEP_S, storm.counts.total()
    lines = [
        f"{len(found.day.plans)} positions, {len(found.day.prices)} instruments; {length_s:.0f} s at x{found.day.speed:g}",
        f"{faults} faults, one each {length_s / faults:.1f} s",
        "",
        f"{'':<34}{'clean':>22}{'storm':>22}",
    ]

    def row(name: str, one: object, other: object) -> None:
        lines.append(f"{name:<34}{one!s:>22}{other!s:>22}")

    def three(values: tuple[float, float, float]) -> str:
        return " / ".join(f"{value:g}" if isinstance(value, int) else f"{value:.1f}" for value in values)

    for rule in sorted({done.rule for done in (*before.values(), *after.values())}):
        row(
            f"exits: {rule}",
            sum(done.rule == rule for done in before.values()),
            sum(done.rule == rule for done in after.values()),
        )
    row("exits", len(before), len(after))
    row("orders", len(found.clean.orders), len(found.storm.orders))
    row("feed reconnects", calm.reconnects, health.reconnects)
    row("feed upgrades refused", *(sum(ran.connections["refused"].values()) for ran in (found.clean, found.storm)))
    row("order-update connections", calm.order_streams, health.order_streams)
    row("quote requests (failed)", *(f"{x.last['rest_requests']} ({x.last['rest_failures']})" for x in found.healths))
    row("corrupt, unusable prices", *(f"{x.last['corrupt']}, {x.last['bad_prices']}" for x in found.healths))
    row("RSS MB: start / end / most", three(calm.rss_mb), three(health.rss_mb))
    slopes = [x.slope_kb_per_min for x in found.healths]
    row("RSS slope, kB a minute", *("too short" if each is None else f"{each:.0f}" for each in slopes))
    row("objects held: start / end", *(f"{x.objects[0]} / {x.objects[1]}" for x in found.healths))
    row("garbage that waited: start / end", *(f"{x.garbage[0]} / {x.garbage[1]}" for x in found.healths))
    row("tasks: start / end / most", three(calm.tasks), three(health.tasks))
    row("descriptors", three(calm.descriptors), three(health.descriptors))
    row("threads", three(calm.threads), three(health.threads))
    row("event-loop stall p99 ms", f"{calm.stall_p99_ms:.1f}", f"{health.stall_p99_ms:.1f}")
    row("event-loop stall max ms", f"{calm.stall_max_ms:.1f}", f"{health.stall_max_ms:.1f}")
    row("CPU of one core", f"{calm.cpu_share:.0%}", f"{health.cpu_share:.0%}")
    row("the replay ended late by, s", f"{found.clean.replay_late_s:.2f}", f"{found.storm.replay_late_s:.2f}")
    ordered = sorted(late)
    middle, many = ordered[len(ordered) // 2], sum(x > 0.5 for x in late)
    lines += [
        "",
        f"later than without the storm, s: p50 {middle:.2f}, p99 {p99(late):.2f}, max {ordered[-1]:.2f}",
        f"{many} of {len(late)} by more than 0.5 s, {sum(x < -0.5 for x in late)} earlier by more than 0.5 s",
        "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(storm.counts.items())),
    ]
    for title, texts in (
        ("named: in their own time or by their own rule, each justified", found.verdict.named),
        ("the clean day and the slow calculation differ", found.verdict.oracle_apart),
        ("BROKEN PROMISES", found.verdict.broken),
    ):
        lines += ["", f"{title}: {len(texts)}", *(f"  {text}" for text in texts)]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.campaigns.feed_day", description=__doc__.partition("\n")[0])
    parser.add_argument("--speed", type=float, default=60.0, help="how much faster than the market (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the book and of the storm")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the logs there")
    chosen = parser.parse_args(arguments)
    today = ist_datetime(time.time_ns()).date()
    if ist_datetime(time.time_ns() + LONGEST_NS).date() != today:
        sys.stderr.write(
            "The Indian day ends during the run, and with it the days to expiry. Start after midnight IST.\n"
        )
        return 2
    day = make_day(chosen.seed, chosen.speed, today, tail_s=TAIL_S)
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="feed_day_"))
    try:
        found = asyncio.run(run_campaign(day, folder, chosen.seed, least_reconnects=100))
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(table(found) + "\n")
    return 1 if found.verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
