"""A TCP proxy between a client and a server that spoils the way between them, while it runs.

    async with FaultProxy("127.0.0.1", port) as proxy:
        client = await connect(proxy.url(exchange.feed_url))
        proxy.to_client.hold = True  # the server's packets no longer arrive

Times in seconds, sizes in bytes. Every setting acts at once, on live connections too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from core.paper.sockets import reset

HOST = "127.0.0.1"
CHUNK = 65_536
QUEUED_CHUNKS = 4_096
LOOK_AGAIN_S = 0.002
BANDWIDTH_STEPS_PER_S = 50


class CutError(Exception):
    """The connection ends here. Raised inside the proxy only."""


@dataclass
class Toxics:
    """What happens to the bytes of one direction, on all connections. Order is always kept."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this much more or less than `latency_s`, never less than none."""
    bytes_per_s: float = 0.0
    """Bandwidth of each connection; 0 is no limit."""
    slice_bytes: int = 0
    """Pass pieces of at most this size, each as a packet of its own; 0 passes chunks as they come."""
    slice_pause_s: float = 0.0
    hold: bool = False
    """Pass nothing, not even the end. What was sent arrives once this is False again, as after a healed network."""
    cut_after: int | None = None
    """End a connection when this many of its bytes were passed, counted from its beginning."""
    cut_with_reset: bool = False
    close_delay_s: float = 0.0
    """Pass the end (FIN) this much later."""


class Pipe:
    """One direction of one connection: read, wait as long as the toxics say, write."""

    def __init__(
        self, toxics: Toxics, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random
    ) -> None:
        self.is_held = False
        """Holds this connection alone; `Toxics.hold` holds all."""
        self.seen = 0
        self.passed = 0
        self._toxics = toxics
        self._reader = reader
        self._writer = writer
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(QUEUED_CHUNKS)

    async def read(self) -> None:
        due = 0.0
        while True:
            await self._released()
            try:
                chunk = await self._reader.read(CHUNK)
            except ConnectionError:
                chunk = None
            self.seen += len(chunk or b"")
            spread = self._toxics.jitter_s
            delay = self._toxics.latency_s + (self._random.uniform(-spread, spread) if spread else 0.0)
            due = max(due, self._loop.time() + delay)
            await self._waiting.put((due, chunk))
            if not chunk:
                return

    async def write(self) -> None:
        while True:
            due, chunk = await self._waiting.get()
            if (left := due - self._loop.time()) > 0:
                await asyncio.sleep(left)
            await self._released()
            if chunk is None:
                raise ConnectionResetError
            if not chunk:
                await asyncio.sleep(self._toxics.close_delay_s)
                self._writer.write_eof()
                return
            await self._pass(chunk)

    async def _released(self) -> None:
        while self.is_held or self._toxics.hold:
            if self._writer.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _pass(self, chunk: bytes) -> None:
        while chunk:
            toxics = self._toxics
            size = toxics.slice_bytes or CHUNK
            if toxics.bytes_per_s:
                size = min(size, max(1, int(toxics.bytes_per_s / BANDWIDTH_STEPS_PER_S)))
            room = size if toxics.cut_after is None else toxics.cut_after - self.passed
            piece, chunk = chunk[: min(size, max(room, 0))], chunk[min(size, max(room, 0)) :]
            self._writer.write(piece)
            await self._writer.drain()
            self.passed += len(piece)
            if toxics.cut_after is not None and self.passed >= toxics.cut_after:
                raise ConnectionResetError if toxics.cut_with_reset else CutError
            pause = len(piece) / toxics.bytes_per_s if toxics.bytes_per_s else 0.0
            if toxics.slice_bytes and chunk:
                pause = max(pause, toxics.slice_pause_s)
            if pause:
                await asyncio.sleep(pause)
                await self._released()


class Link:
    """One connection through the proxy; `number` counts from 1 in the order of arrival."""

    def __init__(self, number: int, to_server: Pipe, to_client: Pipe, ends: tuple[asyncio.StreamWriter, ...]) -> None:
        self.number = number
        self.to_server = to_server
        self.to_client = to_client
        self._ends = ends

    async def run(self) -> None:
        """Pump until both ends are closed, one is broken, or the connection is cut."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for pipe in (self.to_server, self.to_client):
                    tasks.create_task(pipe.read())
                    tasks.create_task(pipe.write())
        except* CutError:
            pass  # A polite end: what was passed arrives.
        except* OSError:
            self.reset()
        for end in self._ends:
            end.close()
        for end in self._ends:
            with suppress(OSError):
                await end.wait_closed()

    def hold(self, *, is_held: bool) -> None:
        self.to_server.is_held = self.to_client.is_held = is_held

    def reset(self) -> None:
        """RST to both sides, now."""
        for end in self._ends:
            reset(end.transport)


class FaultProxy:
    """Listens on a port of its own. `to_server` and `to_client` may be changed at any time; `calm()` makes them harmless."""

    def __init__(self, upstream_host: str, upstream_port: int, *, seed: int = 1) -> None:
        self.to_server = Toxics()
        self.to_client = Toxics()
        self.links: dict[int, Link] = {}
        """The live connections by number."""
        self.connections = 0
        """Connections taken since the start."""
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        """Read from the other side, on connections that have ended; `seen()` adds the live ones."""
        self.reset_new: Callable[[int], bool] = lambda _number: False
        """Asked with the number of each new connection: True resets it at once."""
        self.hold_new = False
        """New connections are taken and held, in both directions; `release()` lets them go on."""
        self.port = 0
        self._upstream = (upstream_host, upstream_port)
        self._random = Random(seed)
        self._listening: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.down()
        await asyncio.sleep(0)  # A task that never began could not close its socket.
        for task in tuple(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await asyncio.sleep(0)

    def url(self, upstream: str) -> str:
        """The same address through the proxy: "ws://host:1/feed?x=1" keeps its scheme, "/v2" becomes http."""
        parts = urlsplit(upstream)
        return urlunsplit((parts.scheme or "http", f"{HOST}:{self.port}", parts.path, parts.query, parts.fragment))

    def seen(self) -> tuple[int, int]:
        """Bytes received (from clients, from the server) so far."""
        live = self.links.values()
        return (
            self.bytes_to_server + sum(link.to_server.seen for link in live),
            self.bytes_to_client + sum(link.to_client.seen for link in live),
        )

    def calm(self) -> None:
        """Take back every toxic and every hold; closed connections stay closed."""
        for toxics in (self.to_server, self.to_client):
            vars(toxics).update(vars(Toxics()))
        self.reset_new = lambda _number: False
        self.release()

    def blackhole(self, *, existing: bool = True, new: bool = True) -> None:
        """Accept, hold, forward nothing in either direction. For one direction set `to_server.hold` or `to_client.hold`."""
        self.hold_new = new
        if existing:
            for link in self.links.values():
                link.hold(is_held=True)

    def release(self) -> None:
        """End the black hole: what waits is passed."""
        self.hold_new = False
        for link in self.links.values():
            link.hold(is_held=False)

    def reset(self, number: int | None = None) -> None:
        """RST to both sides of one live connection, or of all. KeyError when that one is gone."""
        for link in tuple(self.links.values()) if number is None else (self.links[number],):
            link.reset()

    def up(self) -> None:
        """Listen; after `down` on the same port again."""
        self._listening = socket.create_server((HOST, self.port), backlog=1_024)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listening, self._accept, self._listening)

    def down(self, *, keep_existing: bool = False) -> None:
        """Refuse new connections, and reset those that exist unless they are kept."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        if not keep_existing:
            self.reset()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):
            accepted, _ = listening.accept()
            self.connections += 1
            task = asyncio.create_task(self._serve(self.connections, accepted), name="fault-proxy-link")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, number: int, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        from_client, client = await asyncio.open_connection(sock=accepted)
        ends: tuple[asyncio.StreamWriter, ...] = (client,)
        try:
            if self.reset_new(number):
                return
            from_server, server = await asyncio.open_connection(*self._upstream)
            ends = (client, server)
            to_server = Pipe(self.to_server, from_client, server, self._random)
            to_client = Pipe(self.to_client, from_server, client, self._random)
            link = self.links[number] = Link(number, to_server, to_client, ends)
            link.hold(is_held=self.hold_new)
            await link.run()
        except OSError:
            pass  # Nobody listens upstream: the client is reset below.
        finally:
            for end in ends:
                reset(end.transport)
            if link := self.links.pop(number, None):
                self.bytes_to_server += link.to_server.seen
                self.bytes_to_client += link.to_client.seen
