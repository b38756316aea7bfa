"""The first benchmark: `make bench`, or `python -m tests.perf.bench`. Prints a table and writes logs/bench.json.

It passes or fails nothing. Read ratios within one run, not single numbers: the machine may be shared.

What is measured
1. Packets a second inside the process: decoding, the price cache, the way to a decision that finds nothing to do. The same with
   10,000 positions that have three levels each, and with every rule and limit in force: `rules_cost`.
2. The whole chain over loopback, one run for each tick rate and book. Three processes: a light
   feed (`feed_sender`), the real `core.monitor.Monitor` in execute mode with its journal on a real file (`monitor_run`), and
   an order server (`order_server`). Every trigger is one breaching tick for another single-leg position among background
   ticks that fire nothing. `fresh`: the broker's positions are at hand, because the monitor re-reads them while a position is
   near a level. `stale`: the price jumps from far away, so the exit first reads the positions.
   Wire → received is the network, the kernel and whatever kept the event loop busy.
3. Memory of a position and the time to load a book.

Not as in real life: plain TCP instead of TLS, an order budget of 1,000 a second instead of 8, an order that fills in 2 ms.
`--quick` measures fewer triggers. All processes are its own and end with it; nothing but 127.0.0.1 is spoken to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

from tests.perf.chain import ROOT, child, measure
from tests.perf.figures import machine
from tests.perf.monitor_run import ORDERS_PER_SECOND

LARGE: Final = (1_000, 5_000)
"""Positions, instruments."""
SMALL: Final = (250, 450)
"""Nearer to one trader's book: shows what of the figures above is the size of the book."""
RATES: Final = ((100, LARGE), (1_000, LARGE), (10_000, LARGE), (1_000, SMALL))
_GAP_S: Final = 0.15
STALE_AT: Final = (1_000, LARGE)
"""The one run at which the stale case is measured: it needs seconds between two triggers."""
_STEPS: Final = (
    ("wire_to_received", "tick sent → received"),
    ("received_to_decision", "received → decision"),
    ("decision_to_order_ready", "decision → positions read"),
    ("order_ready_to_durable", "→ journal on disk"),
    ("durable_to_sent", "→ order bytes written"),
    ("received_to_sent", "received → order bytes written"),
    ("received_to_sent_without_journal", "the same without the journal"),
    ("received_to_order_server", "received → at the order server"),
    ("wire_to_order_server", "tick sent → at the order server"),
)


async def run(*, is_quick: bool) -> dict[str, Any]:
    started = time.monotonic()
    found: dict[str, Any] = {"machine": machine(), "chain": [], "books": []}
    async with child("tick_path", {}) as process:
        found["tick_path_ns"] = await process.hear(60)
    async with child("rules_cost", {}) as process:
        found["rules_cost"] = await process.hear(180)
    for positions in (1_000,) if is_quick else (1_000, 10_000):
        async with child("book_load", {"positions": positions}) as process:
            found["books"].append(await process.hear(60))
    for rate, size in RATES:
        triggers = 40 if is_quick else 200
        stale = 0 if (rate, size) != STALE_AT else 4 if is_quick else 20
        found["chain"].append(await measure(rate, size, fresh=triggers, fresh_gap_s=_GAP_S, stale=stale))
    found["orders_per_second_budget"] = ORDERS_PER_SECOND
    found["took_s"] = time.monotonic() - started
    return found


def table(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    on = found["machine"]
    where = f"{on['cpu']}, {on['cores']} cores, Python {on['python']}, {on['loop']}, {on['system']}"
    lines = [
        f"{where}, load {on['load_before']} before; {found['took_s']:.0f} s",
        "",
        "| one packet | ns | packets/s |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name.replace('_', ' ')} | {ns:,.0f} | {1e9 / ns:,.0f} |" for name, ns in found["tick_path_ns"].items()
    ]
    lines += ["", *_rules_lines(found["rules_cost"])]
    for run_of in found["chain"]:
        for name, group in run_of["groups"].items():
            lines += ["", *_chain_lines(run_of, name, group)]
    lines += ["", "| positions (5 legs each) | bytes per position | load, s |", "| --- | ---: | ---: |"]
    lines += [f"| {b['positions']:,} | {b['bytes_per_position']:,.0f} | {b['load_s']:.2f} |" for b in found["books"]]
    return "\n".join(lines)


def _rules_lines(cost: dict[str, Any]) -> list[str]:
    size = f"{cost['positions']:,} positions on {cost['instruments']:,} instruments"
    return [
        f"| a tick that fires nothing, packet → decision; {size} | three rules | every rule | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| ns | {cost['three_rules_ns']:,.0f} | {cost['every_rule_ns']:,.0f} | {cost['ratio']:.2f} |",
        f"| a quarter-second beat, ms | {cost['beat_three_rules_ms']:.1f} | {cost['beat_every_rule_ms']:.1f} | |",
    ]


def _chain_lines(run_of: dict[str, Any], name: str, group: dict[str, Any]) -> list[str]:
    cpu = f"{run_of['cpu_us_per_tick']:.0f} µs CPU a tick ({100 * run_of['cpu_share']:.1f} % of a core)"
    size = f"{run_of['positions']:,} positions on {run_of['instruments']:,} instruments"
    head = f"{run_of['ticks_per_second']:,} ticks/s, {size}, {name}: {group['sent']} of {group['triggers']} exits sent"
    if group["waited_for_positions"]:
        head += f", {group['waited_for_positions']} after a read of the positions"
    head += f"; fsync alone {run_of['disk_fsync_ms']['p50']:.2f} / {run_of['disk_fsync_ms']['p99']:.2f} ms"
    lines = [f"| {head}; {cpu}; ms | p50 | p99 | p99.9 |", "| --- | ---: | ---: | ---: |"]
    for step, label in _STEPS:
        us = group["us"].get(step)
        if us is not None and us["max"] > 0:
            lines.append(f"| {label} | {us['p50'] / 1e3:.2f} | {us['p99'] / 1e3:.2f} | {us['p99_9'] / 1e3:.2f} |")
    return lines


def write(found: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.perf.bench", description="Measure the hot paths.")
    options.add_argument("--quick", action="store_true", help="fewer triggers, about a minute")
    chosen = options.parse_args()
    print("Measuring, about a minute" if chosen.quick else "Measuring, about four minutes", flush=True)
    found = asyncio.run(run(is_quick=chosen.quick))
    path = write(found, ROOT / "logs")
    print(table(found))
    print(
        f"\nOrder budget lifted to {ORDERS_PER_SECOND} a second for the run. With fewer than 1,000 triggers p99.9 is the worst."
    )
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
