"""Command line → settings → run the monitor → exit code. `--help` lists the options, README.md explains them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from core.model.errors import (
    AlreadyRunningError,
    BugError,
    ConfigurationError,
    MonitorError,
    StoreError,
    TokenError,
    TransportError,
)
from core.options import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from core.dashboard import Dashboard
    from core.log_setup import LogSetup
    from core.options import Options
    from core.settings import Settings

CLEAN: Final = 0
BUG: Final = 1
BAD_OPTIONS: Final = 2
REFUSED: Final = 4
ALREADY_RUNNING: Final = 75
_log = logging.getLogger("realtime_automated_monitor")


def main(argv: Sequence[str]) -> int:
    """Run once from start to end; the exit code of the contract. Errors are told on stderr."""
    try:
        return _run(parse(argv))
    except KeyboardInterrupt:
        return CLEAN
    except ConfigurationError as error:
        return _tell(BAD_OPTIONS, f"{error.problem}\n{error.remedy}")
    except AlreadyRunningError as error:
        return _tell(ALREADY_RUNNING, str(error))
    except (MonitorError, ExceptionGroup) as error:
        return _tell_failure(error)
    # The one broad clause of the program: whatever else gets here is our bug, and it must not go unrecorded.
    except Exception as error:  # noqa: BLE001
        return _tell_failure(error)


def _run(options: Options) -> int:
    if options.demo:
        from core.demo import run_demo  # noqa: PLC0415  the demo brings the whole local exchange with it

        return _on_loop(lambda: run_demo(options, sys.stdout))
    from core.settings import ENV_FILE, load_settings  # noqa: PLC0415  pydantic; wrong options are answered before it

    settings = load_settings(os.environ, ENV_FILE)
    if options.why is not None:
        from core.why import explain  # noqa: PLC0415

        print(explain(settings.log_dir, options.why, options.at, as_json=options.as_json))
        return CLEAN
    return _watch(options, settings)


def _watch(options: Options, settings: Settings) -> int:
    from core.dashboard import open_dashboard  # noqa: PLC0415
    from core.monitor import run  # noqa: PLC0415
    from core.monitor_parts import check_settings  # noqa: PLC0415

    check_settings(options, settings)
    logs = _open_logs(options, settings)
    dashboard: Dashboard | None = None
    try:
        dashboard = screen = open_dashboard(options, sys.stdout)
        return _on_loop(lambda: run(options, settings, screen.show))
    except Exception:
        # Told once more, in words, by `main`; the log is closed by then.
        _log.critical("The monitor ended on an error.", exc_info=True)
        raise
    finally:
        if dashboard is not None:
            dashboard.close()
        logs.close()


def _open_logs(options: Options, settings: Settings) -> LogSetup:
    from core.log_setup import open_logs  # noqa: PLC0415

    return open_logs(options, settings)


def _on_loop(work: Callable[[], Coroutine[None, None, int]]) -> int:
    try:
        import uvloop  # noqa: PLC0415  optional: everything also runs on the loop of the standard library
    except ImportError:
        return asyncio.run(work())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
