# ruff: noqa: E402  imports follow the line that makes them possible
"""A recorded day through the monitor's own engine, without sockets: its exits, its P&L, and what other levels would have made.

    python data_scripts/replay_session.py FILE... [options]

FILE: recordings of data_scripts/record_feed.py or of a monitor with RECORD_DIR (all files of a day together), or one file of
price rows (ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi; plain or gzip).

    --trades-db PATH     positions and levels from this SQLite file; without it those in the recording
    --instruments FILE   instrument master of the day; of price rows the file beside them stands in
    --positions ID,...   only these strategies; those that are not there are named
    --levels FILE        other levels (TOML or JSON), and what they would have made (see core/recording/other_levels.py):
                         [all] or [<strategy id>], then stop = 5000, trailing = { distance = 750 }, target = "off", ...
    --stale-after S      a price without news for so long fires nothing. Recordings: MARK_STALE_S, by connection (of a monitor's
                         own recording: as it judged). Price rows: three times their usual interval, by instrument
    --curve S            seconds between two samples of the P&L (60)
    --json               one JSON document

The time is the recording's. Orders are filled at once at the executable side. Rule settings come from .env and the environment, no
account is needed, nothing is written. Exit code: 0 replayed, 2 something named wrong.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Run as a file, Python looks for modules in this folder only.
    sys.path.insert(0, str(ROOT))

from core.exit_codes import ExitCode
from core.model.errors import ConfigurationError, DecodeError
from core.recording.other_levels import check_strategies, read_other_levels
from core.recording.outcomes import outcome_of
from core.recording.replay_document import document_of
from core.recording.replay_run import ReplayRun, RunPlan
from core.recording.replay_setup import ReplaySource, ReplayWish, missing_notes, open_source
from core.recording.replay_text import text_of
from core.settings import ENV_FILE, load_settings
from data_scripts.script_options import OptionParser, seconds, strategy_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.recording.other_levels import OtherLevels
    from core.recording.replay_result import RunOutcome

DEFAULT_CURVE_S: Final = 60.0


def parser() -> OptionParser:
    found = OptionParser("replay_session.py")
    found.add_argument("files", nargs="+", type=Path)
    found.add_argument("--trades-db", type=Path)
    found.add_argument("--instruments", type=Path)
    found.add_argument("--positions", type=strategy_ids)
    found.add_argument("--levels", type=Path)
    found.add_argument("--stale-after", type=seconds)
    found.add_argument("--curve", type=seconds, default=DEFAULT_CURVE_S)
    found.add_argument("--json", action="store_true")
    return found


def replayed(source: ReplaySource, curve_s: float, levels: OtherLevels | None = None) -> RunOutcome:
    """One run of the whole source. Raises ConfigurationError for levels that fit no position, DecodeError for strange facts."""
    engine = source.engine()
    plan = RunPlan(
        source.calendar,
        is_told=source.is_told,
        silence=source.silence(engine),
        curve_s=curve_s,
        only=source.wish.only,
        levels_of=None if levels is None else levels.levels_of,
    )
    run = ReplayRun(engine, plan)
    began = time.perf_counter()
    played = source.play(run)
    took_s = time.perf_counter() - began
    played.notes += source.problems()
    return outcome_of(run, played, took_s)


def printed(arguments: Sequence[str]) -> str:
    given = parser().parse_args(arguments)
    settings = load_settings(os.environ, ENV_FILE)
    levels = None if given.levels is None else read_other_levels(given.levels)
    wish = ReplayWish(tuple(given.files), given.trades_db, given.instruments, given.positions, given.stale_after)
    source = open_source(wish, settings)
    if levels is not None and source.book is not None:
        check_strategies(levels, [each.position.strategy_id for each in source.book.positions])
    # Quotes come and go by the million, and none of them is in a cycle.
    gc.disable()
    base = replayed(source, given.curve)
    known = [position.strategy_id for position in base.positions]
    base = replace(base, notes=(*base.notes, *missing_notes(wish.only, known)))
    if levels is not None:
        check_strategies(levels, known)
    other = None if levels is None else replayed(source, given.curve, levels)
    if given.json:
        return document_of(source.name, base, other)
    return text_of(source.name, base, other, given.curve)


def main(arguments: Sequence[str]) -> ExitCode:
    if not arguments or {"--help", "-h"} & set(arguments):
        print(__doc__, file=sys.stderr)
        return ExitCode.CLEAN if arguments else ExitCode.BAD_OPTIONS
    try:
        print(printed(arguments))
    except ConfigurationError as error:
        print(error.problem, error.remedy, sep="\n", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    except DecodeError as error:
        print(f"The recording cannot be replayed: {error}", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    return ExitCode.CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
