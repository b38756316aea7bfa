import io
import json
import threading

from rich.console import Console

from core.dashboard import Dashboard, LiveTables, OneResult, PlainTables, open_dashboard
from core.options import Options
from tests.unit.dashboard.views import alert, position_view, record, statistics, view


def at(uptime_s, **changed):
    return view(statistics=statistics(uptime_s=uptime_s), **changed)


def test_plain_tables_come_at_most_every_so_often():
    stream = io.StringIO()
    tables = PlainTables(stream, 30.0)
    for uptime_s in (0.0, 1.0, 29.0, 30.0, 31.0):
        tables.paint(at(uptime_s))
    assert stream.getvalue().count("POSITION DETAILS") == 2


def test_plain_tables_come_at_once_after_an_exit():
    stream = io.StringIO()
    tables = PlainTables(stream, 30.0)
    tables.paint(at(0.0))
    tables.paint(at(1.0, finished=(record(),)))
    assert stream.getvalue().count("POSITION DETAILS") == 2


def test_the_end_of_a_plain_run_is_the_table_and_the_statistics():
    stream = io.StringIO()
    PlainTables(stream, 30.0).finish(at(60.0))
    assert "POSITION DETAILS" in stream.getvalue()
    assert "CLOSING STATISTICS" in stream.getvalue()


def test_one_result_is_one_json_document_and_nothing_else():
    stream = io.StringIO()
    dashboard = Dashboard(OneResult(stream, Options(once=True, as_json=True)))
    dashboard.show(view())
    dashboard.show(view(positions=()))
    dashboard.close()
    assert json.loads(stream.getvalue())["positions"] == []


def test_one_result_as_text_is_the_table_or_the_plan():
    table, plan = io.StringIO(), io.StringIO()
    OneResult(table, Options(once=True)).finish(view())
    OneResult(plan, Options(plan=True)).finish(view())
    assert "CLOSING STATISTICS" in table.getvalue()
    assert "Level from" in plan.getvalue()


class BlockedPainter:
    """A terminal on which somebody pressed Ctrl-S."""

    def __init__(self):
        self.is_painting = threading.Event()
        self.may_go_on = threading.Event()
        self.painted = []

    def paint(self, shown):
        self.is_painting.set()
        self.may_go_on.wait(10)
        self.painted.append(shown.statistics.uptime_s)

    def finish(self, shown):
        self.painted.append("end")


def test_a_stopped_terminal_never_holds_up_the_caller_and_gets_the_newest_view_later():
    painter = BlockedPainter()
    dashboard = Dashboard(painter)
    dashboard.show(at(1.0))
    assert painter.is_painting.wait(10)
    for uptime_s in (2.0, 3.0, 4.0):
        dashboard.show(at(uptime_s))
    painter.may_go_on.set()
    dashboard.close()
    assert painter.painted[0] == 1.0
    assert painter.painted[-1] == "end"
    assert set(painter.painted) <= {1.0, 4.0, "end"}


class ClosedPipe(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_reader_that_went_away_does_not_end_the_run():
    dashboard = Dashboard(PlainTables(ClosedPipe(), 1.0))
    dashboard.show(view())
    dashboard.show(view())
    dashboard.close()


def test_closing_without_a_view_prints_nothing():
    stream = io.StringIO()
    dashboard = Dashboard(PlainTables(stream, 1.0))
    dashboard.close()
    dashboard.close()
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_live_picture_and_the_closing_statistics():
    stream = Terminal()
    live = LiveTables(Console(file=stream, force_terminal=True, width=160, height=24))
    live.paint(view(finished=(record(),), set_aside=("trades row 14: x",), alerts=(alert(),)))
    live.finish(view(positions=tuple(position_view(n) for n in range(12))))
    text = stream.getvalue()
    assert "₹-1,020.00 (-4.21%)" in text
    assert "less pressing" in text
    assert "CLOSING STATISTICS" in text


def test_the_screen_fits_the_stream():
    kinds = []
    for options, stream in (
        (Options(), io.StringIO()),
        (Options(), Terminal()),
        (Options(once=True), Terminal()),
    ):
        dashboard = open_dashboard(options, stream)
        kinds.append(type(dashboard._painter))
        dashboard.close()
    assert kinds == [PlainTables, LiveTables, OneResult]
