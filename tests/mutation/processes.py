"""Children of this process, one for each mutant: forked, bounded in time and memory, and heard to their end."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KILLED: Final = "killed"
SURVIVED: Final = "survived"
TIMED_OUT: Final = "timed out"
CRASHED: Final = "crashed"
NO_CODE: Final = "does not compile"

_MEMORY: Final = 3 << 30
_WALL_FACTOR: Final = 20
"""The machine may be shared: real time runs up to so much faster than the child's own time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: str
    by: str = ""
    """The test that failed, or "import" when the code did not even load."""


def ask_child(work: Callable[[int], None], cpu_seconds: int) -> Verdict:
    """Fork, let the child work, and say how it ended.

    The child gets a pipe to name the test that failed, and must end by itself: code 0 alive, 1 killed.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _bound(cpu_seconds)
        try:
            work(writer)
        finally:
            os._exit(70)  # It came back, or raised: neither may reach the parent's code.
    os.close(writer)
    try:
        return _wait(child, reader, cpu_seconds * _WALL_FACTOR)
    finally:
        os.close(reader)


def _bound(cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)


def _wait(child: int, reader: int, wall_seconds: float) -> Verdict:
    """The pipe closes when the child ends, however it ends."""
    told, ends_at = b"", time.monotonic() + wall_seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, ends_at - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Verdict(TIMED_OUT)
        chunk = os.read(reader, 4096)
        if not chunk:
            break
        told += chunk
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return Verdict(TIMED_OUT if os.WTERMSIG(ended) in {signal.SIGXCPU, signal.SIGKILL} else CRASHED)
    code = os.WEXITSTATUS(ended)
    if code == 1:
        return Verdict(KILLED, told.decode(errors="replace"))
    return Verdict(SURVIVED) if code == 0 else Verdict(CRASHED, str(code))
