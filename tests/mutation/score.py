"""The table of the last run, and the list of the survivors with the reason why each may live."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.ledger import Ledger
from tests.mutation.mutants import Mutant
from tests.mutation.processes import NO_CODE, SURVIVED

FOLDER: Final = Path(__file__).resolve().parent
SCORE: Final = FOLDER / "score.md"
SURVIVORS: Final = FOLDER / "survivors.toml"
MARK: Final = 0.9
"""Share of the mutants of a file that the tests must notice."""
_HEAD: Final = (
    "# Mutation testing of core/exits and strategies\n\n"
    "Written by `make mutation`. Killed: a test failed, or the run did not end.\n"
    "Explained: listed in `survivors.toml` with a reason.\n"
    "The score counts every survivor against the tests, the explained ones too.\n\n"
    "| file | judged | killed | survived | explained | not judged yet | score |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)


@dataclass(frozen=True, slots=True)
class Row:
    """`total` counts the mutants with a verdict, `open` those without one yet."""

    file: str
    total: int
    open: int
    survivors: tuple[str, ...]

    @property
    def share(self) -> float:
        return 1 - len(self.survivors) / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the list."""

    file: str
    function: str
    changes: tuple[str, ...]
    reason: str

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"{self.file}::{self.function}::{change}" for change in self.changes)


def listed() -> list[Listed]:
    entries = tomllib.loads(SURVIVORS.read_text()).get("survivor", []) if SURVIVORS.is_file() else []
    return [Listed(e["file"], e["function"], tuple(e["changes"]), e["reason"]) for e in entries]


def listed_survivors() -> set[str]:
    return {key for entry in listed() for key in entry.keys}


def row_of(file: str, mutants: list[Mutant], ledger: Ledger, explained: set[str]) -> Row:
    """What Python does not compile is no mutant. An explained survivor is one until a verdict says otherwise."""
    entries = {mutant.key: ledger.last(mutant) for mutant in mutants}
    status = {key: SURVIVED if key in explained else "" for key in entries}
    status |= {key: entry.status for key, entry in entries.items() if entry is not None}
    judged = [key for key, said in status.items() if said not in {"", NO_CODE}]
    lost = tuple(key for key in judged if status[key] == SURVIVED)
    return Row(file, len(judged), sum(not said for said in status.values()), lost)


def _line(row: Row, explained: set[str]) -> str:
    known, lost = sum(key in explained for key in row.survivors), len(row.survivors)
    figures = (row.total, row.total - lost, lost, known, row.open or "", f"{row.share:.1%}" if row.total else "")
    return f"| {row.file} | {' | '.join(map(str, figures))} |"


def _old_lines() -> dict[str, str]:
    lines = SCORE.read_text().splitlines() if SCORE.is_file() else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| ") and ".py" in line}


def write_score(rows: list[Row], explained: set[str]) -> list[Row]:
    """Print the table and write it; files that were not in this run keep their lines. Returns the rows below the mark."""
    lines = _old_lines() | {row.file: _line(row, explained) for row in rows if row.total or row.open}
    lines = {file: line for file, line in sorted(lines.items()) if (FOLDER.parents[1] / file).is_file()}
    cells = [[cell.strip() for cell in line.split("|")[2:5]] for line in lines.values()]
    total, killed = sum(int(row[0]) for row in cells), sum(int(row[1]) for row in cells)
    share = f"{killed / total:.1%}" if total else "none"
    SCORE.write_text(_HEAD + "\n".join(lines.values()) + f"\n\n**{killed} of {total} killed: {share}**\n")
    for row in rows:
        print(_line(row, explained))
    print(f"{killed} of {total} killed: {share}")
    return [row for row in rows if row.share < MARK]
