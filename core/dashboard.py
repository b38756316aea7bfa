"""The screen: shows each view on a thread of its own, so that a slow or stopped terminal never delays an exit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

from core import json_view, plan_view
from core.view_tables import (
    POSITION_HEADERS,
    alerts_block,
    bad_rows_blocks,
    closing_statistics,
    connection_line,
    exits_block,
    headline,
    most_pressing_first,
    overview,
    position_row,
    statistics_line,
)

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.table import Table

    from core.monitor_view import MonitorView, PositionView
    from core.options import Options

PLAIN_EVERY_S: Final = 30.0
DEMO_EVERY_S: Final = 5.0
PLAIN_ROWS: Final = 60
LIVE_ROWS_OFF_SCREEN: Final = 18
"""Lines of the live view that are not positions."""
LEAST_ROWS: Final = 5
CLOSE_WITHIN_S: Final = 3.0


class Painter(Protocol):
    """Puts views on a stream. Called from one thread. May raise OSError or ValueError when the stream is gone."""

    def paint(self, view: MonitorView) -> None: ...

    def finish(self, view: MonitorView) -> None:
        """The last view of the run."""


class Dashboard:
    """`show` returns at once and keeps only the newest view; `close` paints the last one and waits a little for it."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._changed = threading.Condition()
        self._newest: MonitorView | None = None
        self._is_new = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)
        self._thread.start()

    def show(self, view: MonitorView) -> None:
        with self._changed:
            self._newest = view
            self._is_new = True
            self._changed.notify()

    def close(self) -> None:
        """Paint the end of the run. Safe to call twice. Gives up on a stream that takes nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        try:
            while (view := self._next()) is not None:
                self._painter.paint(view)
            if self._newest is not None:
                self._painter.finish(self._newest)
        except (OSError, ValueError):
            # The reader of our output is gone. Guarding goes on without a screen.
            return

    def _next(self) -> MonitorView | None:
        with self._changed:
            while not self._is_new and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return None
            self._is_new = False
            return self._newest


class PlainTables:
    """For files and pipes: the tables at most every `every_s` seconds, and at once after an exit."""

    def __init__(self, stream: TextIO, every_s: float) -> None:
        self._stream = stream
        self._every_s = every_s
        self._painted_at_s: float | None = None
        self._finished = 0

    def paint(self, view: MonitorView) -> None:
        uptime_s = view.statistics.uptime_s
        is_due = self._painted_at_s is None or uptime_s - self._painted_at_s >= self._every_s
        if not is_due and len(view.finished) == self._finished:
            return
        self._painted_at_s, self._finished = uptime_s, len(view.finished)
        print(overview(view, PLAIN_ROWS), file=self._stream, flush=True)

    def finish(self, view: MonitorView) -> None:
        print(overview(view), file=self._stream)
        print(closing_statistics(view), file=self._stream, flush=True)


class OneResult:
    """For `--once` and `--plan`: nothing until the end, then one result, as text or as one JSON document."""

    def __init__(self, stream: TextIO, options: Options) -> None:
        self._stream = stream
        self._options = options

    def paint(self, view: MonitorView) -> None:
        pass

    def finish(self, view: MonitorView) -> None:
        if self._options.as_json:
            text = json_view.document(view, with_plan=self._options.plan)
        elif self._options.plan:
            text = plan_view.plan(view)
        else:
            text = f"{overview(view)}\n{closing_statistics(view)}"
        print(text, file=self._stream, flush=True)


class LiveTables:
    """For a terminal: one picture that changes in place, and the closing statistics under it."""

    def __init__(self, console: Console) -> None:
        # Only a terminal needs rich; a start by cron or systemd is spared the import.
        from rich.live import Live  # noqa: PLC0415

        self._console = console
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._is_started = False

    def paint(self, view: MonitorView) -> None:
        if not self._is_started:
            self._live.start()
            self._is_started = True
        self._live.update(self._picture(view), refresh=True)

    def finish(self, view: MonitorView) -> None:
        self.paint(view)
        self._live.stop()
        self._console.print(closing_statistics(view), markup=False, highlight=False)

    def _picture(self, view: MonitorView) -> RenderableType:
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        extra_lines = len(view.finished) + len(view.set_aside) + len(view.not_read)
        rows = max(self._console.height - LIVE_ROWS_OFF_SCREEN - extra_lines, LEAST_ROWS)
        blocks: list[RenderableType] = [
            Text(headline(view), style="bold"),
            _live_positions(most_pressing_first(view.positions), rows),
            Text(connection_line(view.connection)),
            Text(statistics_line(view.statistics)),
        ]
        if view.finished:
            blocks.append(Text(exits_block(view)))
        blocks += [Text(block, style="yellow") for block in bad_rows_blocks(view)]
        if view.alerts:
            blocks.append(Text(alerts_block(view), style="yellow"))
        return Group(*blocks)


def _live_positions(positions: list[PositionView], rows: int) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    hidden = max(len(positions) - rows, 0)
    drawn = Table(*POSITION_HEADERS, caption=f"… and {hidden} less pressing positions" if hidden else None)
    for view in positions[:rows]:
        strategy, symbol, pnl, action, urgency, reason = position_row(view)
        colour = "dim" if view.pnl is None else "red" if view.pnl < 0 else "green"
        pressing = {"HIGH": "bold red", "MEDIUM": "yellow"}.get(urgency, "")
        drawn.add_row(strategy, symbol, Text(pnl, style=colour), action, Text(urgency, style=pressing), Text(reason))
    return drawn


def open_dashboard(options: Options, stream: TextIO) -> Dashboard:
    """The screen that fits the options and the stream."""
    if options.prints_once:
        return Dashboard(OneResult(stream, options))
    if stream.isatty():
        from rich.console import Console  # noqa: PLC0415

        return Dashboard(LiveTables(Console(file=stream)))
    return Dashboard(PlainTables(stream, DEMO_EVERY_S if options.demo else PLAIN_EVERY_S))
