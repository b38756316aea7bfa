"""The oracle is a second opinion: it shares no code with the monitor, not even by a detour."""

import ast

import pytest

from tests.gates.project import imported_names, python_files, read

ALLOWED = ("tests.oracle",)
MONITOR = ("core", "data_scripts", "strategies", "realtime_automated_monitor")


def detours(source: str) -> list[tuple[int, str]]:
    """Line and name of each import of the monitor, or of test code that is not the oracle's own."""
    return [
        (line, name)
        for line, name in imported_names(ast.parse(source))
        if name.split(".")[0] in MONITOR
        or (name.split(".")[0] == "tests" and not any(f"{name}.".startswith(f"{own}.") for own in ALLOWED))
    ]


def test_the_oracle_imports_nothing_of_the_monitor():
    files = python_files("tests/oracle")
    assert files
    found = {str(path): detours(read(path)) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import core.model.market", "core.model.market"),
        ("def f():\n    from strategies.profiles import X", "strategies.profiles.X"),
        ("from tests.replay.conversion import key_of", "tests.replay.conversion.key_of"),
    ],
)
def test_a_detour_is_found(source, name):
    assert [found for _, found in detours(source)] == [name]


@pytest.mark.parametrize("source", ["import math", "from tests.oracle.book import Leg", "from corelib import x"])
def test_what_the_oracle_may_import_passes(source):
    assert detours(source) == []
