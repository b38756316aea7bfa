# ruff: noqa: E402  imports follow the line that makes them possible
"""Let limits over several positions go on that have fired, before the next session.

    python data_scripts/reset_limits.py [--scope strategy|underlying|account|portfolio] [--name NAME]

Without --scope: every limit that has fired, and every daily loss that cannot be judged today. --name is a strategy id or an
underlying (NIFTY), and needs its scope. The daily loss of what is reset counts from now on; a loss or profit of what is still
open is compared with its limit as before, and fires again while it is beyond it.

A running monitor answers within a second or two, and what it has reset is printed. When none runs on this STATE_DIR the request
waits there for the next start, beside those of others. Exit code: 0 asked for, 2 wrong options or settings, or a name
that has no limit, 4 the folder cannot be written to.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Run as a file, Python looks for modules in this folder only.
    sys.path.insert(0, str(ROOT))

from core.exit_codes import ExitCode
from core.limit_requests import REFUSED, ResetRequest, ask, take_answer
from core.model.errors import ConfigurationError
from core.model.special_levels import Scope
from core.settings import ENV_FILE, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_S: Final = 5.0
_LOOK_S: Final = 0.05
_NAMED: Final = frozenset({Scope.STRATEGY, Scope.UNDERLYING})


def request_of(arguments: Sequence[str]) -> ResetRequest:
    """Raises SystemExit(2), as argparse does, for options that mean nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--scope", choices=[scope.value for scope in Scope])
    parser.add_argument("--name", default="")
    given = parser.parse_args(arguments)
    scope = None if given.scope is None else Scope(given.scope)
    name = given.name.strip().upper()
    if name and scope not in _NAMED:
        parser.error("--name needs --scope strategy (an id) or --scope underlying (NIFTY)")
    if name and scope is Scope.STRATEGY and not name.isdecimal():
        parser.error(f"--name of a strategy is its id, a number; received {name!r}")
    return ResetRequest(scope, name)


def wait_for_answer(request: Path, seconds: float) -> tuple[str, ...] | None:
    """What a running monitor says; None when none has taken the request."""
    until = time.monotonic() + seconds
    while request.exists():
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)
    return take_answer(request) or ()


def main(arguments: Sequence[str]) -> ExitCode:
    request = request_of(arguments)
    try:
        folder = load_settings(os.environ, ENV_FILE).state_dir
    except ConfigurationError as error:
        print(error.problem, error.remedy, sep="\n", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    try:
        said = wait_for_answer(ask(folder, request), WAIT_S)
    except OSError as error:
        print(f"{folder} cannot be used ({error.strerror}).\nRun this as the monitor's user.", file=sys.stderr)
        return ExitCode.REFUSED
    if said is None:
        print(f"No monitor runs on {folder}: the next start takes the request before anything else.")
        return ExitCode.CLEAN
    if said and said[0].startswith(REFUSED):
        print(*said, "Give --name as it is listed there.", sep="\n", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    print("\n".join(said))
    return ExitCode.CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
