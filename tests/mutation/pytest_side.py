"""What runs inside pytest: the settings of these runs, and the plugins that collect, measure and judge."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from coverage import Coverage
from hypothesis import Phase, settings

KILLED: Final = 1
ALIVE: Final = 0
IMPORT: Final = "import"
EXAMPLES: Final = 25
"""Of each property test. Always the same ones: a mutant must not live by luck."""
_UNUSED: Final = ("cacheprovider", "terminal", "pytest_cov", "xdist", "xdist.looponfail")
ARGUMENTS: Final = (
    "-o",
    "addopts=",
    "-s",
    "--assert=plain",
    *(word for name in _UNUSED for word in ("-p", f"no:{name}")),
)


def prepare_item(item: pytest.Item) -> None:
    """Few examples, no shrinking, no database: only whether it fails is asked."""
    test = getattr(item, "obj", None)
    test = getattr(test, "__func__", test)
    if getattr(test, "is_hypothesis_test", False):
        known = getattr(test, "_hypothesis_internal_use_settings", None) or settings()
        test._hypothesis_internal_use_settings = settings(
            known,
            max_examples=min(known.max_examples, EXAMPLES),
            phases=(Phase.explicit, Phase.generate),
            derandomize=True,
            database=None,
            deadline=None,
        )


@dataclass(slots=True, eq=False)
class Baseline:
    """Runs every test once without a change. Notes how long each takes and which lines it runs."""

    coverage: Coverage
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            prepare_item(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        started = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - started
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append(report.nodeid)


@dataclass(slots=True, eq=False)
class Judge:
    """Ends the process at the first test that fails, and says through `pipe` which one it was."""

    pipe: int
    order: list[str] | None = None
    """The tests that take part, in this order. None: all that were collected."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            rank = {name: place for place, name in enumerate(self.order)}
            items[:] = sorted((i for i in items if i.nodeid in rank), key=lambda item: rank[item.nodeid])
        for item in items:
            prepare_item(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.killed_by(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.killed_by(IMPORT)

    def killed_by(self, name: str) -> None:
        os.write(self.pipe, name.encode())
        os._exit(KILLED)


def run_items(session: pytest.Session, names: list[str], pipe: int) -> None:
    """Run some of the collected tests in the given order and end the process. Only for a forked child."""
    judge = Judge(pipe)
    session.config.pluginmanager.register(judge, "judge")
    items = {item.nodeid: item for item in session.items}
    chosen = [items[name] for name in names if name in items]
    for item, following in zip(chosen, [*chosen[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    os._exit(ALIVE)


def run_pytest(arguments: list[str], plugin: Any) -> int:
    return int(pytest.main([*ARGUMENTS, *arguments], plugins=[plugin]))
