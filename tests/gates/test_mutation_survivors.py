"""The list of mutants that may live: each names code that is there, and says why."""

import ast
from collections import Counter

from tests.gates.project import ROOT
from tests.mutation.mutants import MODULE
from tests.mutation.score import Listed, listed

SHORTEST_REASON = 15


def names_in(source: str) -> set[str]:
    """The qualified names of all classes and functions, and the name of what is outside of them."""
    found = {MODULE}

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{above}.{child.name}" if above else child.name
                found.add(name)
                walk(child, name)

    walk(ast.parse(source), "")
    return found


def problems(entry: Listed) -> list[str]:
    path = ROOT / entry.file
    found = []
    if not path.is_file():
        found.append("the file is not there")
    elif entry.function not in names_in(path.read_text(encoding="utf-8")):
        found.append("the function is not there")
    if not entry.changes or not all(" -> " in change for change in entry.changes):
        found.append("a change is not written as: before -> after")
    if len(entry.reason.strip()) < SHORTEST_REASON:
        found.append("no reason is given")
    return found


def test_every_survivor_is_of_code_that_is_there_and_has_a_reason():
    wrong = {f"{entry.file}::{entry.function}": found for entry in listed() if (found := problems(entry))}
    assert wrong == {}, "take away what is gone, or run `make mutation` and list what it prints"


def test_no_survivor_is_listed_twice():
    counted = Counter(key for entry in listed() for key in entry.keys)
    assert [key for key, count in counted.items() if count > 1] == []


def test_a_wrong_entry_is_found():
    file, function, change = "core/exits/order_gate.py", "RollingBudget.take", "a -> b"
    assert problems(Listed(file, function, (change,), "equivalent because nothing reads it")) == []
    assert problems(Listed("core/exits/gone.py", function, (change,), "equivalent because of that")) != []
    assert problems(Listed(file, "RollingBudget.gone", (change,), "equivalent because of that")) != []
    assert problems(Listed(file, function, (), "equivalent because of that")) != []
    assert problems(Listed(file, function, (change,), "")) != []
