"""One run with its log and its screen around it: the same for a real account and for the demo."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from core.dashboard import open_dashboard
from core.exit_codes import IN_THE_LOG, ExitCode, code_of, only_error
from core.log_setup import LogSetup, set_up_logging
from core.model.errors import ConfigurationError
from core.monitor import run
from core.monitor_parts import check_settings
from core.settings import LogFormat

if TYPE_CHECKING:
    from typing import TextIO

    from core.monitor_view import MonitorView
    from core.options import Options
    from core.settings import Settings
    from core.settings_sources import TokenSource

_log = logging.getLogger(__name__)


class Seen:
    """The last view of a run, for who wants to talk about it afterwards."""

    def __init__(self) -> None:
        self.last: MonitorView | None = None


async def watch(
    options: Options,
    settings: Settings,
    stream: TextIO,
    seen: Seen | None = None,
    source_of_token: TokenSource | None = None,
) -> int:
    """Run the monitor, showing it on `stream`; its exit code. Raises what `core.monitor.run` raises."""
    check_settings(options, settings)
    # On a terminal the changing picture and log lines would write over each other; the log file has them all.
    has_picture = stream.isatty() and not options.prints_once
    logs = _open_logs(options, settings, None if has_picture else sys.stderr)
    dashboard = open_dashboard(options, stream)

    def show(view: MonitorView) -> None:
        if seen is not None:
            seen.last = view
        dashboard.show(view)

    try:
        return await run(options, settings, show, source_of_token=source_of_token)
    except Exception as error:
        is_bug = code_of(only_error(error)) is ExitCode.BUG
        _log.critical("The monitor ended: %s", only_error(error), exc_info=is_bug)
        error.add_note(IN_THE_LOG)
        raise
    finally:
        dashboard.close()
        logs.close()


def _open_logs(options: Options, settings: Settings, screen: TextIO | None) -> LogSetup:
    try:
        return set_up_logging(
            settings.log_dir,
            options.log_level or settings.log_level.value,
            as_json=settings.log_format is LogFormat.JSON,
            secrets=settings.secrets,
            screen=screen,
        )
    except OSError as error:
        raise ConfigurationError(
            f"LOG_DIR {settings.log_dir} cannot be used ({error.strerror}).", "Name a folder that you may write to."
        ) from None
