"""One monitor per state directory: a lock that the kernel drops when its holder dies, however it dies; and its name."""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from core.model.errors import AlreadyRunningError, ConfigurationError

LOCK_NAME: Final = "monitor.lock"
HOLDER_NAME: Final = "holder_id"
_MAX_PID_BYTES: Final = 32


def holder_of(folder: Path) -> str:
    """Who a lease in the database belongs to: this state directory on this machine, the same after every restart.

    Raises ConfigurationError when the folder cannot be used.
    """
    path = folder / HOLDER_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"{uuid.uuid4().hex[:12]}\n", encoding="ascii")
        own = path.read_text(encoding="ascii", errors="replace").strip()[:32]
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be used ({error.strerror}).", "Make it a file you may write to."
        ) from None
    # The machine's name too: a copy of the folder on another machine is another holder.
    return f"{socket.gethostname()[:40]}/{own}"


class StateDirLock:
    """Held from `acquire` to `release`. The file stays: removing it would let two holders lock two different files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or fail at once, without waiting.

        Raises AlreadyRunningError naming the holder, ConfigurationError when the folder cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / LOCK_NAME
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"STATE_DIR {self._folder} cannot be used ({error.strerror}).", "Name a folder that you may write to."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _MAX_PID_BYTES, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunningError(
                f"Another monitor (process {holder or 'unknown'}) holds {self._folder}. "
                "Stop it, or give this one another STATE_DIR."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
