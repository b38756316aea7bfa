"""Every fault of the feed's catalogue (reliability 1.1) has a test that carries its ID."""

import ast
import re

from tests.gates.project import python_files, read

FAULTS = tuple(f"f{number:02}" for number in range(1, 33))
_IDS = re.compile(r"f\d\d(?=_)")


def fault_ids(name: str) -> set[str]:
    """The IDs at the beginning of a test's name: `test_f15_f16_a_cut_packet` has two."""
    ids: set[str] = set()
    rest = name.removeprefix("test_")
    while rest != name and (found := _IDS.match(rest)) is not None:
        ids.add(found.group())
        rest = rest[found.end() + 1 :]
    return ids


def test_names(source: str) -> list[str]:
    """The tests that pytest collects from a file: functions of the module, and methods of its Test classes."""
    tree = ast.parse(source)
    bodies = [
        tree.body,
        *(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name[:4] == "Test"),
    ]
    return [
        node.name
        for body in bodies
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


test_names.__test__ = False  # type: ignore[attr-defined]


def test_every_fault_of_the_catalogue_has_a_test_that_carries_its_id():
    files = [path for path in python_files("tests") if path.name.startswith("test_")]
    found = {fault for path in files for name in test_names(read(path)) for fault in fault_ids(name)}
    missing = [fault.upper() for fault in FAULTS if fault not in found]
    assert not missing, f"no test carries {', '.join(missing)}"


def test_ids_are_read_from_names():
    assert fault_ids("test_f03_a_leg") == {"f03"}
    assert fault_ids("test_f15_f16_cut") == {"f15", "f16"}
    assert fault_ids("test_a_f03_leg") == fault_ids("f03_x") == fault_ids("test_f3_x") == set()
    source = "def test_f01_a(): ...\nclass TestB:\n    async def test_f02_b(self): ...\ndef helper(): ...\n"
    assert test_names(source) == ["test_f01_a", "test_f02_b"]
