"""The command line as one frozen fact. Imports nothing heavy: a wrong option is answered at once."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final, NoReturn

from core.model.errors import ConfigurationError
from core.model.session_time import IST
from core.model.signals import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "realtime_automated_monitor.py"
VERSION: Final = "0.1.0"
DEFAULT_INTERVAL_S: Final = 300.0
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_MOMENT: Final = re.compile(
    r"(?:(?P<day>\d{4}-\d\d-\d\d)(?:[ ]+|T))?(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?",
    re.ASCII,
)
_SEE_HELP: Final = "Run it with --help for the list of options."


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is asked to do. Without any option: simulation until it is stopped.

    `interval_s` is the polling interval of what is not streamed. `duration_s` None runs until it is stopped.
    `positions` None is every position. `log_level` None leaves it to the settings. `at` is IST: a moment, or a
    clock time of a day that is not said.
    """

    execute: bool = False
    alert_only: bool = False
    once: bool = False
    interval_s: float = DEFAULT_INTERVAL_S
    duration_s: float | None = None
    use_websocket: bool = True
    demo: bool = False
    positions: frozenset[int] | None = None
    log_level: str | None = None
    as_json: bool = False
    plan: bool = False
    why: int | None = None
    at: datetime | time | None = None

    @property
    def mode(self) -> Mode:
        if self.execute:
            return Mode.LIVE
        return Mode.ALERT if self.alert_only else Mode.SIMULATION

    @property
    def prints_once(self) -> bool:
        """Whether there is one result to print at the end, instead of a view that changes."""
        return self.once or self.plan or self.why is not None


class _Parser(argparse.ArgumentParser):
    """argparse with one sentence on what is wrong and one on how to mend it, instead of its usage dump."""

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument ")
        option, colon, problem = text.partition(": ")
        if not colon or not option.startswith("--"):
            raise ConfigurationError(f"The command line is wrong: {text}.", _SEE_HELP)
        if problem.startswith("expected one argument"):
            raise ConfigurationError(f"{option} has no value.", f"Write {option} and then {_WANTED[option]}.")
        if problem.startswith("ignored explicit argument"):
            raise ConfigurationError(f"{option} takes no value.", f"Write {option} alone.")
        raise ConfigurationError(f"{option}: {problem}.", f"Give it {_WANTED[option]}.")


_WANTED: Final = {
    "--interval": "a number of seconds above 0, such as 300",
    "--duration": "a number of seconds above 0, such as 60",
    "--positions": "strategy ids with commas between them, such as 12,15",
    "--log-level": f"one of {', '.join(LOG_LEVELS)}",
    "--why": "one strategy id, such as 12",
    "--at": "an Indian clock time, such as 14:05:30, or a day with it in quotes, such as '2026-11-20 14:05:30'",
}


def parse(argv: Sequence[str]) -> Options:
    """Read the command line (without the program's name). `--help` and `--version` print and raise SystemExit(0).

    Raises ConfigurationError for an unknown, incomplete or contradictory option.
    """
    found, unknown = _parser().parse_known_args(list(argv))
    if unknown:
        _refuse_unknown(unknown)
    options = Options(**vars(found))
    _refuse_contradictions(options)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Watches open option positions tick by tick and closes them at their exit levels. "
        "Without options: simulation, no real order.",
        epilog="Exit codes: 0 clean, 1 bug, 2 bad options or configuration, 3 an exit is unresolved, "
        "4 refused by the broker or the store, 75 another monitor is running.",
    )
    parser.add_argument("--execute", action="store_true", help="live: send real exit orders")
    parser.add_argument("--alert-only", action="store_true", help="report what would be done; send nothing")
    parser.add_argument("--once", action="store_true", help="evaluate and act once, finish the exits, print, exit")
    parser.add_argument(
        "--interval",
        dest="interval_s",
        metavar="SECONDS",
        type=_seconds,
        default=DEFAULT_INTERVAL_S,
        help="fallback polling interval (default 300)",
    )
    parser.add_argument("--duration", dest="duration_s", metavar="SECONDS", type=_seconds, help="stop after this long")
    parser.add_argument("--no-websocket", dest="use_websocket", action="store_false", help="REST prices only")
    parser.add_argument("--demo", action="store_true", help="run against a local exchange; needs no account")
    parser.add_argument("--positions", metavar="ID[,ID]", type=_strategy_ids, help="only these strategy ids")
    parser.add_argument("--log-level", metavar="LEVEL", type=_log_level, help=", ".join(LOG_LEVELS))
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="one JSON document (with --once, --plan, --why)"
    )
    parser.add_argument("--plan", action="store_true", help="print where each rule fires and what it would order; exit")
    parser.add_argument("--why", metavar="ID", type=_strategy_id, help="print what was compared with what; exit")
    parser.add_argument(
        "--at",
        metavar="[DAY ]HH:MM:SS",
        type=_moment,
        help="with --why: at this time, as '2026-11-20 14:05:30' of that day",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    return parser


def _refuse_unknown(unknown: Sequence[str]) -> NoReturn:
    first = unknown[0]
    name = first.partition("=")[0]
    if not name.startswith("-"):
        raise ConfigurationError(f"{first!r} is not an option.", f"Remove it. {_SEE_HELP}")
    near = difflib.get_close_matches(name, _option_names(), n=1, cutoff=0.5)
    raise ConfigurationError(f"{name} is not an option.", f"Did you mean {near[0]}?" if near else _SEE_HELP)


def _option_names() -> list[str]:
    flags = ("--execute", "--alert-only", "--once", "--no-websocket", "--demo", "--json", "--plan", "--help")
    return [*flags, "--version", *_WANTED]


def _refuse_contradictions(options: Options) -> None:
    if options.execute and options.alert_only:
        raise ConfigurationError("--execute and --alert-only contradict each other.", "Leave out one of them.")
    if options.plan and options.why is not None:
        raise ConfigurationError("--plan and --why print different things.", "Leave out one of them.")
    if options.at is not None and options.why is None:
        raise ConfigurationError("--at only has a meaning with --why.", "Add --why and a strategy id, or remove --at.")
    if options.why is not None and options.demo:
        raise ConfigurationError(
            "--why reads recorded decisions and --demo starts without any.",
            "Remove --demo; for a past demo set LOG_DIR and STATE_DIR to the folder it printed.",
        )
    if options.as_json and not options.prints_once:
        raise ConfigurationError(
            "--json prints one document and this run would have no end.", "Add --once, --plan or --why, or remove it."
        )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, received {text!r}")
    return value


def _strategy_id(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise argparse.ArgumentTypeError(f"expected a strategy id, a whole number, received {text!r}")
    return int(text)


def _strategy_ids(text: str) -> frozenset[int]:
    return frozenset(_strategy_id(part) for part in text.split(","))


def _log_level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"there is no level {text!r}")
    return text.upper()


def _moment(text: str) -> datetime | time:
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a clock time HH:MM:SS or 'YYYY-MM-DD HH:MM:SS', received {text!r}")
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    clock = time(hour, minute, second)
    if found["day"] is None:
        return clock
    try:
        return datetime.combine(date.fromisoformat(found["day"]), clock, tzinfo=IST)
    except ValueError:
        raise argparse.ArgumentTypeError(f"there is no day {found['day']}") from None
