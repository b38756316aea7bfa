"""Starts `@supabase/lite` over a PostgreSQL database. REST only: it has no realtime.

`make install-test` installs it into `tests/lite/node_modules`, by `package-lock.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, Final, Self

_FOLDER: Final = Path(__file__).parent
_NODE_MAJOR: Final = 20
_START_S: Final = 30.0
_STOP_S: Final = 5.0
_SHOWN_BYTES: Final = 1 << 16


class Unavailable(Exception):  # noqa: N818  it is a reason to skip a test, not a fault
    """Why the server cannot be started here, and what would change that."""


@cache
def node() -> str:
    """The path of the node program. Raises Unavailable where it, or the package, is absent."""
    program = shutil.which("node")
    if program is None:
        raise Unavailable(f"@supabase/lite needs node {_NODE_MAJOR} or newer, and there is none on the PATH")
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").split(".", maxsplit=1)[0]) < _NODE_MAJOR:
        raise Unavailable(f"@supabase/lite needs node {_NODE_MAJOR} or newer, and this is {version}")
    if not (_FOLDER / "node_modules" / "@supabase" / "lite").is_dir():
        raise Unavailable("@supabase/lite is not installed: `make install-test` installs it where npm is present")
    return program


class LiteServer:
    """One server process over one database, as an async context manager. `url` is the project's address.

    The tables are looked up once: after a change of columns or tables, `restart`. Its port changes then.
    """

    def __init__(self, dsn: str, *, max_rows: int = 1_000) -> None:
        self._dsn = dsn
        self._max_rows = max_rows
        self._process: subprocess.Popen[bytes] | None = None
        self._written: IO[bytes] | None = None
        self.url = ""
        self.secret_key = f"sb_secret_{secrets.token_hex(11)}_{secrets.token_hex(4)}"
        self.publishable_key = f"sb_publishable_{secrets.token_hex(11)}_{secrets.token_hex(4)}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when it answers. Raises Unavailable, or RuntimeError with what the server wrote."""
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    async def restart(self) -> None:
        """Stop and start again: columns and tables that changed are then seen."""
        await self.stop()
        await self.start()

    def _start(self) -> None:
        program = node()
        self._written = tempfile.TemporaryFile()  # noqa: SIM115  _stop closes it
        self._process = subprocess.Popen(
            [program, "serve.mjs"],
            cwd=_FOLDER,
            env=os.environ | self._settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._written,
        )
        line = self._first_line()
        if not line.startswith(b"port "):
            # By position: the server shares the file's offset.
            written = os.pread(self._written.fileno(), _SHOWN_BYTES, 0).decode("utf-8", "replace")
            self._stop()
            raise RuntimeError(f"@supabase/lite did not start. It wrote: {written[-2_000:]}")
        self.url = f"http://127.0.0.1:{int(line.removeprefix(b'port '))}"

    def _first_line(self) -> bytes:
        pipe = self._process.stdout
        ready, _, _ = select.select([pipe], [], [], _START_S)
        return pipe.readline() if ready else b""

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            process.kill()
            process.wait()
            process.stdout.close()
        if self._written is not None:
            self._written.close()
            self._written = None

    def _settings(self) -> dict[str, str]:
        return {
            "LITE_DSN": self._dsn,
            "LITE_SECRET_KEY": self.secret_key,
            "LITE_PUBLISHABLE_KEY": self.publishable_key,
            "LITE_MAX_ROWS": str(self._max_rows),
            "DO_NOT_TRACK": "1",
        }
