"""No long files and no long functions."""

import ast

from tests.gates.project import CODE, python_files, read

FILE_LINES = 400
FUNCTION_LINES = 60


def long_functions(source: str) -> list[tuple[int, str, int]]:
    """Return the line, name and length of each function that is too long."""
    return [
        (node.lineno, node.name, length)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


def test_no_file_is_too_long():
    lengths = {str(path): len(read(path).splitlines()) for path in python_files(*CODE)}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_too_long():
    found = {str(path): long_functions(read(path)) for path in python_files(*CODE)}
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_a_long_function_is_found():
    body = "    pass\n" * FUNCTION_LINES
    assert long_functions(f"def f():\n{body}") == [(1, "f", FUNCTION_LINES + 1)]
    assert long_functions(f"def f():\n{body[:-9]}") == []
