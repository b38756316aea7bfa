"""A real Redis server in a folder of its own, on a free loopback port: started, stopped, frozen, flushed and asked by tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_S: Final = 10.0
_NAMES: Final = ("redis-server", "valkey-server", "redis-check-rdb")
"""The last one is Debian's redis-tools: the same program, which is a server when it is called redis-server."""


class Unavailable(Exception):  # noqa: N818 - it is a reason to skip, not a fault
    """No Redis server can be run here; the text says what is missing."""


def server_program() -> str:
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise Unavailable("no redis-server; `make install-test` as root installs redis-tools")


class RedisServer:
    """`with RedisServer() as server:`. It saves nothing to disk and ends with the `with` block, frozen or not."""

    def __init__(self, *arguments: str, password: str | None = None) -> None:
        self._program = server_program()
        self._arguments = arguments
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"redis://{'' if self._password is None else f':{self._password}@'}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers. Empty: nothing of an earlier life is loaded."""
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self._folder, "save": "", "logfile": "server.log"}
        if self._password is not None:
            options["requirepass"] = self._password
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            ("redis-server", *words, *self._arguments), executable=self._program, stdin=subprocess.DEVNULL
        )
        ends = time.monotonic() + _START_S
        while True:
            try:
                self.ask("PING")
                return
            except redis.ConnectionError:
                log = self._folder / "server.log"
                assert time.monotonic() < ends, log.read_text() if log.exists() else "no redis-server log"
                time.sleep(0.01)

    def stop(self) -> None:
        """As a crash: at once, also when it is frozen."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and its port, and does nothing any more."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def ask(self, *words: str | bytes) -> Any:
        """One command over a connection of its own."""
        with redis.Redis(
            port=self.port, password=self._password, socket_timeout=_START_S, protocol=2, retry=Retry(NoBackoff(), 0)
        ) as client:
            return client.execute_command(*words)
