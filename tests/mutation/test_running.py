"""The children, the ledger, the score, and a whole run on a toy project."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import ledger as ledger_module
from tests.mutation.ledger import Ledger
from tests.mutation.mutants import mutants_of
from tests.mutation.processes import CRASHED, KILLED, SURVIVED, TIMED_OUT, Verdict, ask_child

FILE = "core/exits/toy.py"
HERE = Path(__file__).parent
TOY = """
LIMIT = 3
_ROWS = {"a": 1, "b": 2}


def is_over(count):
    return count > LIMIT


def row(name):
    return _ROWS.get(name)


def endless(n):
    while True:
        break
    return n


def never_called(n):
    return n + 1
"""
TOY_TESTS = """
import pytest
from hypothesis import given, settings, strategies as st
from core.exits.toy import endless, is_over, row


def test_is_over():
    assert is_over(4)
    assert not is_over(2)


def test_row():
    assert row("a") == 1
    assert row("c") is None


@settings(max_examples=400)
@given(st.integers(1, 5))
def test_endless(n):
    assert endless(n) == n


def test_that_fails():
    assert row("a") == 2
"""

TOY_SURVIVORS = """
[[survivor]]
file = "core/exits/toy.py"
function = "<module>"
changes = ["row 'b': 2 -> removed"]
reason = "nobody asks for it"
"""


def exits(code: int):
    return lambda _: os._exit(code)


def test_a_child_that_ends_well_is_a_survivor_and_one_that_says_so_is_killed():
    def kill(pipe):
        os.write(pipe, b"tests/test_a.py::test_b")
        os._exit(1)

    assert ask_child(exits(0), 5) == Verdict(SURVIVED)
    assert ask_child(kill, 5) == Verdict(KILLED, "tests/test_a.py::test_b")


def test_a_child_that_neither_ends_nor_says_anything_is_bounded():
    def spin(_):
        while True:
            pass

    assert ask_child(spin, 1).status == TIMED_OUT
    assert ask_child(lambda _: os.kill(os.getpid(), signal.SIGTERM), 5).status == CRASHED


def test_a_child_that_comes_back_or_raises_does_not_go_on_as_a_second_parent():
    assert ask_child(lambda _: None, 5) == Verdict(CRASHED, "70")
    assert ask_child(lambda _: 1 / 0, 5).status == CRASHED


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "ROOT", tmp_path)
    ledger_module.file_hash.cache_clear()
    yield tmp_path
    ledger_module.file_hash.cache_clear()


def test_a_verdict_is_kept_until_the_function_or_the_test_that_found_it_changes(project):
    test = project / "test_a.py"
    test.write_text("1")
    first, second = mutants_of("f.py", "def f(a):\n    return a > 1\n")[:2]
    book = Ledger(project / "book.jsonl", "tests-1")
    book.note(first, Verdict(KILLED, "test_a.py::test_b"))
    book.note(second, Verdict(SURVIVED))

    def again(tests: str) -> Ledger:
        ledger_module.file_hash.cache_clear()
        made = Ledger(project / "book.jsonl", tests)
        made.read()
        return made

    assert again("tests-1").known(first).by == "test_a.py::test_b"
    assert again("tests-1").known(second).status == SURVIVED
    assert again("tests-2").known(first) is not None, "more tests do not bring a dead mutant back"
    assert again("tests-2").known(second) is None, "a survivor must face new tests"
    test.write_text("2")
    assert again("tests-1").known(first) is None, "its test has changed"
    assert again("tests-1").known(mutants_of("f.py", "def f(a):\n    return a > 2\n")[0]) is None


def test_a_line_cut_off_by_an_interruption_is_left_out(project):
    mutant = mutants_of("f.py", "X = 1\n")[0]
    book = Ledger(project / "book.jsonl", "t")
    book.note(mutant, Verdict(SURVIVED))
    with book.path.open("a") as file:
        file.write('{"key": "f.py::')
    read = Ledger(book.path, "t")
    read.read()
    assert list(read.entries) == [mutant.key]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A project with one module and its tests, and the program in it."""
    root = tmp_path_factory.mktemp("toy")
    for folder in ("core/exits", "tests/unit/exits", "tests/mutation", "logs"):
        (root / folder).mkdir(parents=True)
    (root / "core/exits/toy.py").write_text(TOY)
    (root / "tests/unit/exits/test_toy.py").write_text(TOY_TESTS)
    for path in HERE.glob("*.py"):
        if not path.name.startswith("test_"):
            (root / "tests/mutation" / path.name).write_text(path.read_text())
    (root / "tests/mutation/survivors.toml").write_text(TOY_SURVIVORS)
    return root


def run(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutation", FILE]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)


def test_a_whole_run_finds_what_the_tests_do_not_see_and_a_second_one_has_nothing_to_do(toy):
    first = run(toy)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "takes no part: tests/unit/exits/test_toy.py::test_that_fails" in first.stdout
    survived = {line.split("::", 1)[1] for line in first.stdout.splitlines() if line.startswith("SURVIVED")}
    assert survived == {
        "is_over::return count > LIMIT -> return count >= LIMIT",
        "<module>::LIMIT = 3 -> LIMIT = 2",
        "<module>::row 'b': 2 -> 1",
        "<module>::_ROWS = {'a': 1, 'b': 2} -> _ROWS = {'a': 1, 'b': 3}",
        "<module>::_ROWS = {'a': 1, 'b': 2} -> _ROWS = {'a': 1, 'b': 1}",
        "endless::True -> False",
        "never_called::return n + 1 -> return None",
        "never_called::return n + 1 -> return n - 1",
        "never_called::return n + 1 -> return n + 2",
        "never_called::return n + 1 -> return n + 0",
    }
    table = (toy / "tests/mutation/score.md").read_text()
    assert "| core/exits/toy.py |" in table
    assert "| 11 | 1 |" in table, "eleven survive, one of them is explained"
    ledger = [json.loads(line) for line in (toy / "logs/mutation.jsonl").read_text().splitlines()]
    assert [entry["key"] for entry in ledger if entry["status"] == TIMED_OUT] == [f"{FILE}::endless::break -> removed"]
    second = run(toy)
    assert "0 of them to be judged" in second.stdout
    assert second.returncode == 1
    assert (toy / "tests/mutation/score.md").read_text() == table
