"""The files of the project, for the gates to read."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("core", "data_scripts", "strategies", "realtime_automated_monitor.py")
UNLISTED_FOLDERS = {".git", ".venv", "__pycache__", "htmlcov", "node_modules"}


@cache
def project_files() -> tuple[Path, ...]:
    """Return every file that is committed or could be, relative to the root."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path) for path in _walk()]
    return tuple(sorted(Path(name) for name in listed if name and (ROOT / name).is_file()))


def _walk() -> Iterator[Path]:
    """List the files without git, as in an unpacked archive."""
    for path in ROOT.rglob("*"):
        inner = path.relative_to(ROOT)
        hidden = any(part in UNLISTED_FOLDERS or part.endswith("_cache") for part in inner.parts)
        written = inner.parts[0] in {".env", ".coverage", ".hypothesis"}
        if not hidden and not written and (inner.parts[0] != "logs" or inner.name == ".gitkeep"):
            yield inner


def python_files(*roots: str) -> list[Path]:
    """Return the Python files at or under the given paths."""
    return [
        path for path in project_files() if path.suffix == ".py" and any(path.is_relative_to(root) for root in roots)
    ]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of each import, `a.b` for `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
