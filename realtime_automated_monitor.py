"""Command line → settings → run the monitor → exit code. `--help` lists the options, README.md explains them."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from typing import TYPE_CHECKING

from core.exit_codes import IN_THE_LOG, ExitCode, code_of, only_error, sentences
from core.options import parse

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from core.options import Options

# Imports inside functions: a wrong option is answered before anything large is loaded.


def main(argv: Sequence[str]) -> int:
    """Run once from start to end. Whatever goes wrong becomes an exit code and two sentences on stderr."""
    try:
        return _run(parse(argv))
    except KeyboardInterrupt:
        return ExitCode.CLEAN
    except Exception as raised:  # noqa: BLE001  the outermost frame; core.watch has logged the trace where it could
        error = only_error(raised)
        code = code_of(error)
        if code is ExitCode.BUG and IN_THE_LOG not in getattr(raised, "__notes__", ()):
            traceback.print_exception(raised)
        print(sentences(error), file=sys.stderr)
        return code


def _run(options: Options) -> int:
    if options.demo:
        from core.demo import run_demo  # noqa: PLC0415

        return _on_loop(run_demo(options, sys.stdout))
    from core.settings import ENV_FILE, load_settings  # noqa: PLC0415

    settings = load_settings(os.environ, ENV_FILE)
    if options.why is not None:
        from core.why import explain  # noqa: PLC0415

        print(explain(settings.log_dir, settings.state_dir, options.why, options.at, as_json=options.as_json))
        return ExitCode.CLEAN
    from core.settings_sources import TokenSource  # noqa: PLC0415
    from core.watch import watch  # noqa: PLC0415

    source = TokenSource(os.environ, ENV_FILE)
    return _on_loop(watch(options, settings, sys.stdout, source_of_token=source))


def _on_loop(work: Coroutine[None, None, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415  optional: everything also runs on the standard library's loop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
