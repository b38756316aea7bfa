"""The pure layers do no I/O and read no clock. They get the time and the data as arguments."""

import ast

import pytest

from tests.gates.project import imported_names, python_files, read

PURE = (
    "core/model",
    "core/dhan",
    "core/exits",
    "core/position_cache_manager.py",
    "core/position_backlog.py",
    "core/position_tally.py",
    "core/pricing",
    "strategies",
)

FORBIDDEN = (
    "aiohttp",
    "asyncio",
    "concurrent",
    "dotenv",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "pydantic",
    "pydantic_settings",
    "queue",
    "random",
    "requests",
    "rich",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tabulate",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uvloop",
    "websockets",
)

CLOCK_READS = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("date", "today"),
}
FORBIDDEN_CALLS = {"__import__", "eval", "exec", "input", "open", "print"}


def impurities(source: str) -> list[tuple[int, str]]:
    """Return the line and the name of each forbidden import, clock read or call."""
    tree = ast.parse(source)
    found = [
        (line, name)
        for line, name in imported_names(tree)
        if any(f"{name}.".startswith(f"{module}.") for module in FORBIDDEN)
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=attribute) if (
                owner,
                attribute,
            ) in CLOCK_READS:
                found.append((node.lineno, f"{owner}.{attribute}"))
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append((node.lineno, name))
            case _:
                pass
    return found


def test_the_pure_layers_are_pure():
    found = {str(path): impurities(read(path)) for path in python_files(*PURE)}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_pure_layers_are_there():
    assert [layer for layer in PURE if not python_files(layer)] == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time", "time"),
        ("import os.path as p", "os.path"),
        ("from asyncio import sleep", "asyncio.sleep"),
        ("def f():\n    import socket", "socket"),
        ("from urllib import request", "urllib.request"),
        ("import datetime\ndatetime.datetime.now()", "datetime.now"),
        ("from datetime import date\nf = date.today", "date.today"),
        ("open('x')", "open"),
    ],
)
def test_an_impurity_is_found(source, name):
    assert [found for _, found in impurities(source)] == [name]


@pytest.mark.parametrize(
    "source", ["import timeit2", "from datetime import datetime", "from urllib.parse import quote"]
)
def test_a_pure_import_passes(source):
    assert impurities(source) == []
