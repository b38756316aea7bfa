"""How fast a recorded day is replayed: `python -m tests.perf.replay_day [--instruments 5000] [--seconds 300] [--levels]`.

Writes a recording of so many instruments that tick once a second each (Full packets, 4-leg positions on all of them), replays it
in this process through `data_scripts/replay_session.py`, and says how long a day of six hours and a quarter takes at that pace.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from core.model.events import FeedStateChanged, PositionOpened
from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource, TrailingLevel
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.position import Leg, Position, Product
from core.model.session_time import IST_OFFSET_S, NS_PER_S
from core.recording.facts import LineWants, RecordingEnded, RecordingHeader, encode_fact
from core.recording.file_format import MAGIC, Kind, Record, pack_block
from data_scripts import replay_session
from tests.perf.bench_book import FIRST_ID, SEGMENT_CODE

START_S: Final = 1_763_609_400
"""2025-11-20 09:00 IST; the first price comes at 09:15:00."""
OPENING_S: Final = START_S + 900
SESSION_S: Final = 22_500
LEGS: Final = 4
PACKET: Final = np.dtype(
    [
        ("code", "u1"), ("length", "<u2"), ("segment", "u1"), ("id", "<u4"), ("last", "<f4"), ("quantity", "<u2"),
        ("time", "<u4"), ("average", "<f4"), ("volume", "<u4"), ("totals", "<u4", 2), ("interest", "<u4", 3),
        ("day", "<f4", 4),
        ("depth", [("bid_size", "<u4"), ("ask_size", "<u4"), ("orders", "<u2", 2), ("bid", "<f4"), ("ask", "<f4")], 5),
    ]
)  # fmt: skip


def positions_on(instruments: int) -> list[Position]:
    made = []
    for number in range(instruments // LEGS):
        legs = tuple(
            Leg(number * LEGS + at + 1, _option(FIRST_ID + number * LEGS + at), Product.MARGIN, units, 100_00)
            for at, units in enumerate((65, -65, -65, 65))
        )
        made.append(Position(number + 1, "Iron Condor", "NIFTY", legs))
    return made


def _option(security_id: int) -> Instrument:
    key = InstrumentKey(Segment.NSE_FNO, security_id)
    return Instrument(key, f"NIFTY-{security_id}", "NIFTY", 65, 5, 1_801, 24_000_00, date(2026, 3, 31), Right.CALL)


def write_recording(path: Path, instruments: int, seconds: int) -> int:
    """Returns the bytes of the file."""
    positions = positions_on(instruments)
    source = LevelSource.LEVEL_ROW
    levels = ExitLevels(
        stop=AmountLevel(50_000_00, source), trailing=TrailingLevel(2_000_00, 30_000_00, source),
        target=AmountLevel(40_000_00, source),
    )  # fmt: skip
    start_ns, base = OPENING_S * NS_PER_S, 10**15
    with path.open("wb") as file:
        header = RecordingHeader("bench", 1, "2025-11-20", "0", "record_feed", is_always_open=False)
        facts: list[Any] = [header, FeedStateChanged(is_live=True, at_ns=base)]
        facts += [LineWants(1, tuple(leg.instrument.key for each in positions for leg in each.legs))]
        facts += [PositionOpened(each, levels, base) for each in positions]
        file.write(
            MAGIC + pack_block([Record(Kind.FACT, 0, base, encode_fact(fact)) for fact in facts], base, start_ns)
        )
        for second, packets in enumerate(_market(instruments, seconds)):
            at_ns = base + (second + 1) * NS_PER_S
            step = NS_PER_S // instruments
            size = PACKET.itemsize
            raw = packets.tobytes()
            records = [
                Record(Kind.FRAME, 1, at_ns + number * step, raw[number * size : (number + 1) * size])
                for number in range(instruments)
            ]
            file.write(pack_block(records, at_ns, start_ns + at_ns - base))
        end = Record(Kind.FACT, 0, at_ns, encode_fact(RecordingEnded(goes_on=False)))
        file.write(pack_block([end], at_ns, start_ns + at_ns - base))
    return path.stat().st_size


def _market(instruments: int, seconds: int) -> Any:
    chance = np.random.default_rng(7)
    packets = np.zeros(instruments, dtype=PACKET)
    packets["code"], packets["length"], packets["segment"] = 8, PACKET.itemsize, SEGMENT_CODE
    packets["id"] = FIRST_ID + np.arange(instruments)
    ticks = np.full(instruments, 2_000)
    for second in range(seconds):
        ticks = np.clip(ticks + chance.integers(-3, 4, instruments), 200, 6_000)
        packets["last"] = ticks * 0.05
        packets["time"] = OPENING_S + second + IST_OFFSET_S
        packets["volume"] += chance.integers(0, 500, instruments).astype(np.uint32)
        for row in range(5):
            packets["depth"]["bid"][:, row] = (ticks - 1 - row) * 0.05
            packets["depth"]["ask"][:, row] = (ticks + 1 + row) * 0.05
        packets["depth"]["bid_size"] = chance.integers(1, 60, (instruments, 5)) * 65
        packets["depth"]["ask_size"] = chance.integers(1, 60, (instruments, 5)) * 65
        yield chance.permutation(packets)


def measure(instruments: int, seconds: int, *, with_levels: bool) -> dict[str, Any]:
    with TemporaryDirectory(prefix="replay-") as name:
        path, levels = Path(name) / "day.feedrec", Path(name) / "levels.toml"
        levels.write_text("[all]\ntrailing = { arm = 0, distance = 20000 }\n")
        size = write_recording(path, instruments, seconds)
        arguments = [str(path), "--json", *(("--levels", str(levels)) if with_levels else ())]
        out, begun, cpu = io.StringIO(), time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(out):
            code = replay_session.main(arguments)
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    if code != 0:
        raise RuntimeError(f"the replay ended with {code}")
    found = json.loads(out.getvalue())
    ticks = found["quotes"]
    return {
        "positions": len(found["positions"]), "exits": len(found["exits"]), "ticks": ticks,
        "bytes_per_tick": round(size / ticks, 1), "took_s": round(took_s, 1), "cpu_s": round(cpu_s, 1),
        "cpu_ns_per_tick": round(cpu_s * 1e9 / ticks),
        "day_minutes": round(took_s * SESSION_S / seconds / 60, 1),
        "day_cpu_minutes": round(cpu_s * SESSION_S / seconds / 60, 1),
        "load": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.perf.replay_day", description=__doc__)
    options.add_argument("--instruments", type=int, default=5_000)
    options.add_argument("--seconds", type=int, default=300)
    options.add_argument("--levels", action="store_true", help="also with other levels: two runs")
    given = options.parse_args()
    print(json.dumps(measure(given.instruments, given.seconds, with_levels=given.levels)))


if __name__ == "__main__":
    main()
