"""A market feed that does what a test tells it: it records every message and sends hand-made packets.

`python -m tests.fakes.feed_server` runs one in a process of its own, for tests that measure the client's loop.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


def ticker(security_id: int, rupees: float, *, time: int = 1_795_000_000 + 19_800, segment: int = 2) -> bytes:
    return struct.pack("<BHBIfI", 2, 16, segment, security_id, rupees, time)


def disconnect(reason: int) -> bytes:
    return struct.pack("<BHBIH", 50, 10, 0, 0, reason)


def price_frame(security_id: int, *, segment: int = 2) -> bytes:
    """A whole frame, as Dhan sends it: Full for a contract, Ticker for an index."""
    rupees, time = 10.0 + security_id % 100, 1_795_000_000 + 19_800
    if segment == 0:
        return b"\x82\x10" + ticker(security_id, rupees, segment=0)
    head = struct.pack("<BHBIfHI", 8, 162, segment, security_id, rupees, 65, time)
    level = struct.pack("<IIHHff", 130, 65, 2, 1, rupees - 0.05, rupees + 0.05)
    return b"\x82\x7e\x00\xa2" + head + bytes(44) + level + bytes(80)


SEGMENT_CODES = {"IDX_I": 0, "NSE_FNO": 2}


@dataclass
class FeedServer:
    """`answers`: each subscription is answered with a price at once. `held`: what each connection is subscribed to now."""

    port: int = 0
    answers: bool = False
    loses: int = 0
    """So many of the next subscription messages are lost."""
    held: list[dict[tuple[int, int], None]] = field(default_factory=list)
    retry_after: str = ""
    refuse_with: int | None = None
    location: str = ""
    drop_after_upgrade: bool = False
    greeting: bytes = b""
    connections: list[ServerConnection] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    """The loop's time of each path."""
    messages: list[tuple[int, dict]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/feed"

    @property
    def newest(self) -> ServerConnection:
        return self.connections[-1]

    def subscribed(self, connection: int | None = None) -> list[str]:
        """Security ids in the order of their subscriptions, on one connection (counted from 1) or on all."""
        return [
            item["SecurityId"]
            for number, message in self.messages
            if (connection is None or number == connection) and message["RequestCode"] % 2 == 1
            for item in message["InstrumentList"]
        ]

    def unsubscribed(self) -> list[str]:
        return [
            item["SecurityId"]
            for _, message in self.messages
            if message["RequestCode"] in {16, 18, 22}
            for item in message["InstrumentList"]
        ]

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            await self.newest.send(packet)

    @property
    def open_numbers(self) -> list[int]:
        """Of the connections that are not lost, counted from 1."""
        numbered = enumerate(self.connections, start=1)
        return [number for number, each in numbered if not each.transport.is_closing()]

    def beat(self, *numbers: int, only: tuple[int, int] | None = None) -> None:
        """A price of everything subscribed (or `only` of one) on these connections, on all open ones when none is named."""
        for number in numbers or self.open_numbers:
            held = self.held[number - 1]
            keys = held if only is None else [only] if only in held else []
            frames = b"".join(price_frame(security_id, segment=segment) for segment, security_id in keys)
            if frames:
                self.connections[number - 1].transport.write(frames)

    def _note(self, number: int, message: dict) -> None:
        is_subscription = message["RequestCode"] % 2 == 1
        if is_subscription and self.loses:
            self.loses -= 1
            return
        listed = message["InstrumentList"]
        keys = [(SEGMENT_CODES[item["ExchangeSegment"]], int(item["SecurityId"])) for item in listed]
        held = self.held[number - 1]
        for key in keys:
            if is_subscription:
                held[key] = None
            else:
                held.pop(key, None)
        if is_subscription and self.answers:
            frames = (price_frame(security_id, segment=segment) for segment, security_id in keys)
            self.connections[number - 1].transport.write(b"".join(frames))

    def _check(self, connection: ServerConnection, request):
        self.paths.append(request.path)
        self.arrivals.append(asyncio.get_running_loop().time())
        if self.refuse_with is not None:
            response = connection.respond(HTTPStatus(self.refuse_with), "no")
            if self.location:
                response.headers["Location"] = self.location
            if self.retry_after:
                response.headers["Retry-After"] = self.retry_after
            return response
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.held.append({})
        number = len(self.connections)
        if self.greeting:
            connection.transport.write(self.greeting)
        if self.drop_after_upgrade:
            connection.transport.abort()
            return
        try:
            async for message in connection:
                self.messages.append((number, json.loads(message)))
                if "InstrumentList" in self.messages[-1][1]:
                    self._note(number, self.messages[-1][1])
        except ConnectionClosed:
            pass


@asynccontextmanager
async def feed_server():
    state = FeedServer()
    async with serve(state._serve, "127.0.0.1", 0, process_request=state._check, close_timeout=0.1) as server:
        state.port = next(iter(server.sockets)).getsockname()[1]
        yield state
        for connection in state.connections:
            connection.transport.abort()


async def _serve_alone() -> None:
    """Says its port. Each line of input is a command: "reset 3" ends the third connection, "held" asks how much each holds."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def beat(server: FeedServer) -> None:
        while True:
            await asyncio.sleep(0.1)
            server.beat(only=(0, 13))

    async with feed_server() as server:
        server.answers = True
        beating = asyncio.create_task(beat(server))
        print(server.port, flush=True)  # noqa: T201  the parent reads it
        while line := (await lines.readline()).decode().split():
            if line[0] == "reset":
                server.connections[int(line[1]) - 1].transport.abort()
            held = {number: len(server.held[number - 1]) for number in server.open_numbers}
            print(json.dumps(held), flush=True)  # noqa: T201  the parent reads it
        beating.cancel()


if __name__ == "__main__":
    asyncio.run(_serve_alone())
