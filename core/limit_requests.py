"""Operators' wishes to let limits go on that have fired: a file each in the state directory, and the monitor's answer beside it.

A file and not a signal or a socket: it works while the monitor runs, and it waits for the next start when it does not. Each wish
has a name of its own: a second operator neither replaces what a first one has asked for, nor takes his answer away.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.special_levels import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

REQUESTS: Final = "reset_limits*.json"
ANSWERS: Final = "reset_limits*.answer"
REFUSED: Final = "refused: "
"""How the answer begins to a wish that names what is not there."""
_OLD_S: Final = 3_600
_MAX_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """Which scopes are to go on. `scope` None: all. `name`: a strategy id or an underlying in capitals, "" for each of the kind."""

    scope: Scope | None = None
    name: str = ""


def nothing_text(request: ResetRequest, limited: Iterable[tuple[Scope, str]]) -> str:
    """What to answer when nothing was reset. `limited`: the scopes that have a limit now, with their names."""
    names = {name for scope, name in limited if scope is request.scope}
    if request.scope is None or not request.name or request.name in names:
        return "no limit has fired there: there is nothing to reset"
    listed = ", ".join(sorted(names)) or "none"
    return f"{REFUSED}there is no limit on {request.scope.value} {request.name}; there are: {listed}"


def ask(folder: Path, request: ResetRequest) -> Path:
    """Put the wish where the monitor finds it, beside those that wait already. Returns its file. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(ANSWERS):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _OLD_S:  # Nobody waits for it any more.
                path.unlink()
    path = folder / REQUESTS.replace("*", f".{time.time_ns():020d}-{os.getpid()}")
    _write(path, {"scope": None if request.scope is None else request.scope.value, "name": request.name})
    return path


def waiting(folder: Path) -> list[Path]:
    """The wishes that wait, the oldest first. Cheap: a look at the folder."""
    return sorted(folder.glob(REQUESTS))


def read_request(request: Path) -> ResetRequest | None:
    """A wish that waits, None when it is no wish that this build understands. Raises OSError."""
    wish = _read(request)
    if not isinstance(wish, dict) or not isinstance(wish.get("name"), str):
        return None
    scope = wish.get("scope")
    if scope is not None and scope not in set(Scope):
        return None
    return ResetRequest(None if scope is None else Scope(scope), wish["name"])


def answer(request: Path, texts: Sequence[str]) -> None:
    """Say what was done, then take the wish away: whoever waits for that finds the answer. Raises OSError."""
    _write(_answer_of(request), list(texts))
    request.unlink(missing_ok=True)


def take_answer(request: Path) -> tuple[str, ...] | None:
    """What the monitor said to the wish; None when there is no answer. Raises OSError."""
    path = _answer_of(request)
    if not path.exists():
        return None
    said = _read(path)
    path.unlink(missing_ok=True)
    return tuple(str(text) for text in said) if isinstance(said, list) else ()


def _answer_of(request: Path) -> Path:
    return request.with_suffix(".answer")


def _read(path: Path) -> object:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_MAX_BYTES)
    try:
        found: object = json.loads(content)
    except ValueError:
        return None
    return found


def _write(path: Path, content: object) -> None:
    """Whole or not at all, and for its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
