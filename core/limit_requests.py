"""An operator's wish to let limits go on that have fired: a file in the state directory, and the monitor's answer beside it.

A file and not a signal or a socket: it works while the monitor runs, and it waits for the next start when it does not.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.special_levels import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

REQUEST_NAME: Final = "reset_limits.json"
ANSWER_NAME: Final = "reset_limits.answer.json"
REFUSED: Final = "refused: "
"""How the answer begins to a wish that names what is not there."""
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


def ask(folder: Path, request: ResetRequest) -> None:
    """Put the wish where the monitor finds it, in place of one before. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWER_NAME).unlink(missing_ok=True)
    _write(
        folder / REQUEST_NAME, {"scope": None if request.scope is None else request.scope.value, "name": request.name}
    )


def waits(folder: Path) -> bool:
    """Whether a wish waits. Cheap: a look at the folder."""
    return (folder / REQUEST_NAME).exists()


def read_request(folder: Path) -> ResetRequest | None:
    """The wish that waits, None when it is no wish that this build understands. Raises OSError."""
    wish = _read(folder / REQUEST_NAME)
    if not isinstance(wish, dict) or not isinstance(wish.get("name"), str):
        return None
    scope = wish.get("scope")
    if scope is not None and scope not in set(Scope):
        return None
    return ResetRequest(None if scope is None else Scope(scope), wish["name"])


def answer(folder: Path, texts: Sequence[str]) -> None:
    """Say what was done, then take the wish away: whoever waits for that finds the answer. Raises OSError."""
    _write(folder / ANSWER_NAME, list(texts))
    (folder / REQUEST_NAME).unlink(missing_ok=True)


def take_answer(folder: Path) -> tuple[str, ...] | None:
    """What the monitor said; None when there is no answer. Raises OSError."""
    path = folder / ANSWER_NAME
    if not path.exists():
        return None
    said = _read(path)
    path.unlink(missing_ok=True)
    return tuple(str(text) for text in said) if isinstance(said, list) else ()


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
