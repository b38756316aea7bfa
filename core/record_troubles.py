"""What of the record files could not be read: each file named, with what to do. Whatever is readable is used all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NAMED_LINES: Final = 5


class RecordTroubles:
    """Told while files are read, also of one that is read twice."""

    def __init__(self) -> None:
        self._files: dict[Path, str] = {}
        self._lines: dict[Path, set[int]] = {}

    def unreadable(self, path: Path, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        self._files[path] = (
            f"{path} cannot be read ({reason}): expected a file or folder that this user may read; mend it"
        )

    def damaged(self, path: Path, problem: str) -> None:
        """The file goes on behind what could be read of it, or not at all."""
        self._files[path] = f"{path} {problem}: what stands before that is used"

    def line(self, path: Path, number: int) -> None:
        """`number` from 1."""
        self._lines.setdefault(path, set()).add(number)

    def texts(self) -> tuple[str, ...]:
        return (*self._files.values(), *(_lines_text(path, numbers) for path, numbers in self._lines.items()))


def _lines_text(path: Path, numbers: set[int]) -> str:
    named = ", ".join(map(str, sorted(numbers)[:_NAMED_LINES]))
    more = " and others" if len(numbers) > _NAMED_LINES else ""
    what = "1 damaged line is" if len(numbers) == 1 else f"{len(numbers)} damaged lines are"
    return f"{path}: {what} left out (line {named}{more}); look at it there, the other lines are used"
