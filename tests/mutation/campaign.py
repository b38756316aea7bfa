"""Which tests judge which mutant, in which order; and the two ways to run one.

Warm: the change is inside a function. Everything is loaded and collected once; a fork swaps the code of the function and runs
only the tests that run the changed lines. Milliseconds.
Cold: the change is a table, a default or a constant, which other modules may have copied when they were loaded. A fork of a
process that knows no module of the project loads them all with the change in place. About a second.
"""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.util
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import pytest
from coverage import Coverage

from tests.mutation.ledger import ROOT
from tests.mutation.mutants import Compiler, Mutant, function_codes, same_names
from tests.mutation.processes import KILLED, NO_CODE, SURVIVED, Verdict, ask_child
from tests.mutation.pytest_side import Baseline, Judge, prepare_item, run_items, run_pytest

_OURS: Final = ("core", "strategies", "data_scripts", "tests", "realtime_automated_monitor", "conftest")
_FIRST: Final = 12
"""Tests of the first, short round of a cold run."""
_BASELINE_SECONDS: Final = 1_800
Told = Callable[[Mutant, Verdict], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run without a change showed."""

    seconds: dict[str, float]
    """CPU time of each test."""
    tests_of_line: dict[str, dict[int, list[str]]]
    """By file and line. The name "" stands for the loading of the modules and the collection of the tests."""
    packages: list[str]
    """Modules of others that were loaded."""
    failures: list[str]
    """Tests that fail without a change: they do not take part."""


def measured(tests: Sequence[str], files: Sequence[str]) -> Facts:
    """Run all tests once, in a child.

    Raises:
        RuntimeError: pytest did not get to its end.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "facts.json"
        verdict = ask_child(lambda _: _measure(tests, files, out), _BASELINE_SECONDS)
        if verdict.status != SURVIVED:
            raise RuntimeError(f"expected a run of the tests without a change, the child {verdict.status} {verdict.by}")
        found = json.loads(out.read_text())
    lines = {file: {int(line): names for line, names in by_line.items()} for file, by_line in found["lines"].items()}
    return Facts(found["seconds"], lines, found["packages"], found["failures"])


def _measure(tests: Sequence[str], files: Sequence[str], out: Path) -> None:
    coverage = Coverage(data_file=None, config_file=False, include=[str(ROOT / file) for file in files])
    coverage.start()
    baseline = Baseline(coverage)
    run_pytest([*tests], baseline)
    coverage.stop()
    if not baseline.seconds:
        os._exit(1)
    data = coverage.get_data()
    packages = [name for name, module in sys.modules.items() if name.split(".")[0] not in _OURS and _is_file(module)]
    lines = {file: data.contexts_by_lineno(str(ROOT / file)) for file in files}
    seconds = {name: taken for name, taken in baseline.seconds.items() if name not in baseline.failures}
    found = {"seconds": seconds, "lines": lines, "packages": packages, "failures": baseline.failures}
    out.write_text(json.dumps(found))
    os._exit(0)


def _is_file(module: Any) -> bool:
    return getattr(module, "__spec__", None) is not None and getattr(module, "__file__", None) is not None


@dataclass(slots=True)
class Order:
    """Which tests, and who first: cheap ones, and those that found a change in the same function before."""

    facts: Facts
    tests: Sequence[str]
    found: dict[str, Counter[str]] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)
    """By file with tests: the modules that it imports."""

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run the changed lines.

        What is outside of functions has no lines of its own that tests run: all that run the module or import it. A module of
        which there are none is judged by all.
        """
        by_line = self.facts.tests_of_line.get(mutant.file, {})
        covering = {name for tests in by_line.values() for name in tests} - {""}
        if mutant.is_inside:
            names = {name for line in mutant.lines for name in by_line.get(line, ())}
        else:
            covering |= self._importing(mutant.file.removesuffix(".py").replace("/", "."))
            names = covering or set(self.facts.seconds)
        return sorted(
            names & self.facts.seconds.keys(), key=lambda name: self._cost(mutant, name, is_near=name in covering)
        )

    def _importing(self, module: str) -> set[str]:
        """The tests of files that import the module themselves."""
        if not self.imports:
            for file in {name.split("::", maxsplit=1)[0] for name in self.facts.seconds}:
                nodes = ast.walk(ast.parse((ROOT / file).read_text()))
                self.imports[file] = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        files = {file for file, modules in self.imports.items() if module in modules}
        return {name for name in self.facts.seconds if name.split("::", maxsplit=1)[0] in files}

    def is_loaded_early(self, mutant: Mutant) -> bool:
        """The lines run already while modules are loaded or tests are collected: a later swap would come too late."""
        by_line = self.facts.tests_of_line.get(mutant.file, {})
        return any("" in by_line.get(line, ()) for line in mutant.lines)

    def remember(self, key: str, by: str) -> None:
        """From an earlier run: this test noticed that change."""
        file, function, _ = key.split("::", 2)
        for place in (f"{file}::{function}", file) if by in self.facts.seconds else ():
            self.found.setdefault(place, Counter())[by] += 1

    def seconds(self, names: Iterable[str]) -> int:
        """CPU seconds that a child may take: a change may make it slower, but not without end."""
        return math.ceil(5 * sum(self.facts.seconds.get(name, 0.0) for name in names)) + 1

    def _cost(self, mutant: Mutant, name: str, *, is_near: bool) -> float:
        near = self.found.get(f"{mutant.file}::{mutant.function}", Counter())[name]
        far = self.found.get(mutant.file, Counter())[name]
        hope = near + far / 10 + (0.1 if is_near else 0.001)
        return (self.facts.seconds.get(name, 0.0) + 0.002) / hope


class Sources(dict[str, Compiler]):
    def __missing__(self, file: str) -> Compiler:
        self[file] = Compiler(ROOT / file, (ROOT / file).read_text())
        return self[file]


@dataclass(slots=True, eq=False)
class Warm:
    """The plugin that has everything loaded, and forks for each mutant. What it cannot do is left in `undone`."""

    mutants: list[Mutant]
    order: Order
    told: Told
    undone: list[Mutant] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            prepare_item(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = _live_functions({str(ROOT / mutant.file) for mutant in self.mutants})
        sources = Sources()
        gc.collect()
        gc.freeze()
        for mutant in self.mutants:
            code = sources[mutant.file].compiled(mutant)
            if code is None:
                self.told(mutant, Verdict(NO_CODE))
                continue
            names = self.order.of(mutant)
            if not names:
                self.told(mutant, Verdict(SURVIVED, "no test runs it"))
                continue
            pairs = _swaps(functions, mutant, code)
            if not pairs:
                self.undone.append(mutant)
                continue
            verdict = ask_child(lambda pipe, p=pairs, n=names: _judge(session, p, n, pipe), self.order.seconds(names))
            if verdict.status == KILLED:
                self.order.remember(mutant.key, verdict.by)
            self.told(mutant, verdict)
        return True


def _judge(session: pytest.Session, pairs: list[tuple[FunctionType, CodeType]], names: list[str], pipe: int) -> None:
    for function, code in pairs:
        function.__code__ = code
    run_items(session, names, pipe)


def _live_functions(files: set[str]) -> dict[tuple[str, str, int], list[FunctionType]]:
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return found


def _swaps(
    functions: dict[tuple[str, str, int], list[FunctionType]], mutant: Mutant, module: CodeType
) -> list[tuple[FunctionType, CodeType]]:
    """The live functions whose code the change alters, each with its new code. Empty: it cannot be swapped."""
    pairs = []
    for (name, line), code in function_codes(module).items():
        for function in functions.get((str(ROOT / mutant.file), name, line), ()):
            if function.__code__ != code:
                if not same_names(function, code):
                    return []
                pairs.append((function, code))
    return pairs


def run_warm(mutants: list[Mutant], order: Order, told: Told) -> list[Mutant]:
    """Judge mutants inside of functions; loads the project. Returns those whose code cannot be swapped."""
    warm = Warm(mutants, order, told)
    code = run_pytest([*order.tests], warm) if mutants else 0
    if code:
        raise RuntimeError(f"expected pytest to collect the tests, received its exit code {code}")
    return warm.undone


class _Finder:
    """Loads one module with a change in it."""

    def __init__(self, mutant: Mutant, code: CodeType) -> None:
        self.name, self.path, self.code = (
            mutant.file.removesuffix(".py").replace("/", "."),
            str(ROOT / mutant.file),
            code,
        )

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = SourceFileLoader(name, self.path)
        loader.get_code = lambda _: self.code  # type: ignore[method-assign]
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


def _load_and_judge(mutant: Mutant, code: CodeType, names: list[str], pipe: int) -> None:
    sys.meta_path.insert(0, _Finder(mutant, code))
    files = list(dict.fromkeys(name.split("::")[0] for name in names))
    judge = Judge(pipe, names)
    ended = run_pytest(files, judge)
    if ended not in {0, 5}:
        judge.killed_by("import")
    os._exit(0)


def run_cold(mutants: list[Mutant], order: Order, told: Told) -> None:
    """Judge mutants outside of functions. Only for a process that has not loaded the project."""
    for name in order.facts.packages:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.collect()
    gc.freeze()
    sources = Sources()
    for mutant in mutants:
        code = sources[mutant.file].compiled(mutant)
        if code is None:
            told(mutant, Verdict(NO_CODE))
            continue
        names = order.of(mutant)
        verdict = Verdict(SURVIVED)
        for part in (names[:_FIRST], names[_FIRST:]):
            if part and verdict.status == SURVIVED:
                verdict = ask_child(
                    lambda pipe, m=mutant, c=code, n=part: _load_and_judge(m, c, n, pipe), order.seconds(part) + 9
                )
        if verdict.status == KILLED:
            order.remember(mutant.key, verdict.by)
        told(mutant, verdict)
