"""Mutation testing of the decisions: `make mutation`, or `python -m tests.mutation [FILE …]`.

Makes one small change at a time in `core/exits` and `strategies` and asks whether a fast test notices. The verdicts are kept in
logs/mutation.jsonl: a run that was interrupted goes on where it was, and only what changed is run again (`--fresh`: all, the
explained survivors too).
Prints the share of changes that were noticed, writes tests/mutation/score.md, and lists every survivor that
tests/mutation/survivors.toml does not explain. Ends with code 1 when a file is below the mark.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation.campaign import Order, measured, run_cold, run_warm
from tests.mutation.ledger import ROOT, Ledger, tests_hash
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.processes import Verdict
from tests.mutation.score import MARK, Row, listed_survivors, row_of, write_score

TESTS: Final = (
    "tests/unit/exits",
    "tests/unit/order_side",
    "tests/unit/strategies",
    "tests/unit/pricing",
    "tests/property/exits",
    # Of what stands on the decisions: explained, and planned.
    "tests/unit/decisions/test_decision_log.py",
    "tests/unit/decisions/test_why_compared.py",
    "tests/unit/shell/test_position_plan.py",
)
"""Fast ones without sockets, processes and recordings."""
FOLDERS: Final = ("core/exits", "strategies")
LEDGER: Final = ROOT / "logs" / "mutation.jsonl"


@dataclass(slots=True)
class Told:
    """Writes each verdict down and shows how far the run is."""

    ledger: Ledger
    total: int
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def __call__(self, mutant: Mutant, verdict: Verdict) -> None:
        self.ledger.note(mutant, verdict)
        self.done += 1
        if self.done % 100 == 0 or self.done == self.total:
            passed = time.monotonic() - self.started
            print(f"  {self.done:5} of {self.total}, {passed:5.0f} s, now in {mutant.file}", flush=True)


def files_of(names: list[str]) -> list[str]:
    """The files to change: the ones named, or all."""
    chosen = [Path(name) for name in names] or [Path(folder) for folder in FOLDERS]
    found = [path for name in chosen for path in (sorted((ROOT / name).glob("*.py")) or [ROOT / name])]
    return [str(path.resolve().relative_to(ROOT)) for path in found]


def run(files: list[str], explained: set[str], *, is_fresh: bool = False, is_report: bool = False) -> list[Row]:
    """Judge what has no verdict yet; nothing for a report.

    An explained survivor is taken for one: looking for its killer takes the longest.
    """
    tests = [name for name in TESTS if (ROOT / name).exists()]
    ledger = Ledger(LEDGER, tests_hash([*tests, "tests/conftest.py"]))
    ledger.read()
    mutants = [mutant for file in files for mutant in mutants_of(file, (ROOT / file).read_text())]
    waiting = [m for m in mutants if is_fresh or (m.key not in explained and ledger.known(m) is None)]
    waiting = [] if is_report else waiting
    print(f"{len(mutants)} mutants in {len(files)} files, {len(waiting)} of them to be judged", flush=True)
    if waiting:
        LEDGER.parent.mkdir(exist_ok=True)
        order = Order(measured(tests, files), tests)
        for name in order.facts.failures:
            print(f"  fails without a change, takes no part: {name}")
        for entry in ledger.entries.values():
            order.remember(entry.key, entry.by)
        told = Told(ledger, len(waiting))
        cold = [mutant for mutant in waiting if not mutant.is_inside]
        warm = [mutant for mutant in waiting if mutant.is_inside]
        early = {mutant for mutant in warm if order.is_loaded_early(mutant)}
        run_cold([*cold, *early], order, told)
        undone = run_warm([mutant for mutant in warm if mutant not in early], order, told)
        print("".join(f"  cannot be tried, has no verdict: {mutant.key}\n" for mutant in undone), end="")
    ledger.write_anew({mutant.key for mutant in mutants}, set(files))
    return [row_of(file, [m for m in mutants if m.file == file], ledger, explained) for file in files]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutation testing of the decisions.")
    parser.add_argument("files", nargs="*", help="files to change (default: core/exits and strategies)")
    parser.add_argument("--fresh", action="store_true", help="judge every mutant again")
    parser.add_argument("--report", action="store_true", help="judge nothing, write the table of the last verdicts")
    parser.add_argument("--show", action="store_true", help="print every survivor, the explained ones too")
    options = parser.parse_args()
    explained = listed_survivors()
    rows = run(files_of(options.files), explained, is_fresh=options.fresh, is_report=options.report)
    for row in rows:
        for key in row.survivors:
            if options.show or key not in explained:
                print(f"{'explained' if key in explained else 'SURVIVED'}  {key}")
    below = write_score(rows, explained)
    print(f"{len(below)} files below {MARK:.0%}" + "".join(f"\n  {row.file}: {row.share:.1%}" for row in below))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
