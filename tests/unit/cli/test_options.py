from datetime import datetime, time

import pytest

from core.model.errors import ConfigurationError
from core.model.session_time import IST
from core.model.signals import Mode
from core.options import VERSION, Options, parse


def test_nothing_given_is_a_simulation_over_the_websocket_without_end():
    options = parse([])
    assert options == Options()
    assert options.mode is Mode.SIMULATION
    assert options.use_websocket
    assert options.duration_s is None
    assert options.interval_s == 300


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--execute"], Options(execute=True)),
        (["--alert-only"], Options(alert_only=True)),
        (["--once", "--json"], Options(once=True, as_json=True)),
        (["--interval", "30"], Options(interval_s=30.0)),
        (["--interval=0.5"], Options(interval_s=0.5)),
        (["--duration", "60", "--demo"], Options(duration_s=60.0, demo=True)),
        (["--no-websocket"], Options(use_websocket=False)),
        (["--positions", "12, 15,12"], Options(positions=frozenset({12, 15}))),
        (["--log-level", "debug"], Options(log_level="DEBUG")),
        (["--plan", "--json"], Options(plan=True, as_json=True)),
        (["--why", "42", "--at", "9:05:30", "--json"], Options(why=42, at=time(9, 5, 30), as_json=True)),
        (["--why", "42", "--at", "14:05"], Options(why=42, at=time(14, 5))),
        (
            ["--why", "42", "--at", "2026-11-20 9:05:30"],
            Options(why=42, at=datetime(2026, 11, 20, 9, 5, 30, tzinfo=IST)),
        ),
        (["--why", "42", "--at", "2026-11-20T14:05"], Options(why=42, at=datetime(2026, 11, 20, 14, 5, tzinfo=IST))),
    ],
)
def test_every_option_is_read(argv, expected):
    assert parse(argv) == expected


def test_the_mode_follows_the_options():
    assert parse(["--execute"]).mode is Mode.LIVE
    assert parse(["--alert-only"]).mode is Mode.ALERT


@pytest.mark.parametrize(
    ("argv", "problem", "remedy"),
    [
        (["--exeute"], "--exeute is not an option", "--execute"),
        (["--exec"], "--exec is not an option", "--execute"),
        (["--dur", "5"], "--dur is not an option", "--duration"),
        (["--qqqqqqqq"], "--qqqqqqqq is not an option", "--help"),
        (["live"], "'live' is not an option", "Remove it"),
        (["-x"], "-x is not an option", "--help"),
        (["--execute", "--alert-only"], "contradict", "Leave out one"),
        (["--plan", "--why", "3"], "--plan and --why", "Leave out one"),
        (["--at", "10:00:00"], "--at only has a meaning with --why", "--why"),
        (["--why", "3", "--demo"], "--demo starts without", "Remove --demo"),
        (["--json"], "--json prints one document", "--once"),
        (["--interval", "0"], "above 0", "seconds"),
        (["--interval", "-3"], "above 0", "seconds"),
        (["--interval", "nan"], "above 0", "seconds"),
        (["--duration", "inf"], "above 0", "seconds"),
        (["--duration", "soon"], "'soon'", "seconds"),
        (["--duration"], "--duration has no value", "--duration"),
        (["--execute=yes"], "--execute takes no value", "alone"),
        (["--positions", ""], "strategy id", "12,15"),
        (["--positions", "12,"], "strategy id", "12,15"),
        (["--positions", "NIFTY"], "'NIFTY'", "12,15"),
        (["--positions", "-1"], "'-1'", "12,15"),
        (["--why", "last"], "'last'", "strategy id"),
        (["--why", "3", "--at", "25:00:00"], "'25:00:00'", "clock time"),
        (["--why", "3", "--at", "2026-11-20"], "'2026-11-20'", "in quotes"),
        (["--why", "3", "--at", "2026-02-30 12:00"], "there is no day 2026-02-30", "in quotes"),
        (["--log-level", "loud"], "'loud'", "DEBUG"),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong_and_how_to_mend_it(argv, problem, remedy):
    with pytest.raises(ConfigurationError) as caught:
        parse(argv)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert caught.value.problem.endswith(".")
    assert caught.value.remedy.endswith((".", "?"))


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--version"])
    assert caught.value.code == 0
    assert VERSION in capsys.readouterr().out


def test_the_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    names = "execute alert-only once interval duration no-websocket demo positions log-level json plan why at version"
    assert [name for name in names.split() if f"--{name}" not in text] == []
