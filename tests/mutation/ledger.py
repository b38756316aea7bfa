"""The verdicts, one line each, in a file that outlives a run: what has not changed is not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from tests.mutation.mutants import Mutant
from tests.mutation.processes import SURVIVED, Verdict

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    source: str
    """Hash of the mutated function, or of the file for what is outside of functions."""
    tests: str
    """Hash of the file with the test that failed. Of a survivor: of all the tests that took part."""
    status: str
    by: str


@cache
def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def tests_hash(tests: Iterable[str]) -> str:
    """Of every file with tests, and of what they stand on."""
    files = sorted(
        path for name in tests for path in ((ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else (ROOT / name,))
    )
    return hashlib.sha256("".join(file_hash(path) for path in files).encode()).hexdigest()[:16]


@dataclass(slots=True)
class Ledger:
    path: Path
    all_tests: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def read(self) -> None:
        """A line cut off by an interruption is left out."""
        for line in self.path.read_text().splitlines() if self.path.is_file() else ():
            try:
                entry = Entry(**json.loads(line))
            except ValueError:
                continue
            self.entries[entry.key] = entry

    def known(self, mutant: Mutant) -> Entry | None:
        """The verdict on this mutant, if it was found on the same code by the same tests."""
        entry = self.entries.get(mutant.key)
        if entry is None or entry.source != mutant.source_hash:
            return None
        return entry if entry.tests == self._tests(entry.status, entry.by) else None

    def last(self, mutant: Mutant) -> Entry | None:
        """The last verdict on this code, by whichever tests."""
        entry = self.entries.get(mutant.key)
        return entry if entry is not None and entry.source == mutant.source_hash else None

    def note(self, mutant: Mutant, verdict: Verdict) -> Entry:
        entry = Entry(
            mutant.key, mutant.source_hash, self._tests(verdict.status, verdict.by), verdict.status, verdict.by
        )
        self.entries[entry.key] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        return entry

    def write_anew(self, keys: set[str], files: set[str]) -> None:
        """Forget what is overwritten, and the mutants of these files that are no more."""
        kept = [e for e in self.entries.values() if e.key in keys or e.key.split("::")[0] not in files]
        self.entries = {entry.key: entry for entry in kept}
        lines = (json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in kept)
        self.path.write_text("".join(lines))

    def _tests(self, status: str, by: str) -> str:
        if status == SURVIVED:
            return self.all_tests
        return file_hash(ROOT / by.split("::", maxsplit=1)[0]) if "::" in by else ""
