"""A market feed that does what a test tells it: it records every message and sends hand-made packets."""

from __future__ import annotations

import json
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


def ticker(security_id: int, rupees: float, *, time: int = 1_795_000_000 + 19_800, segment: int = 2) -> bytes:
    return struct.pack("<BHBIfI", 2, 16, segment, security_id, rupees, time)


def disconnect(reason: int) -> bytes:
    return struct.pack("<BHBIH", 50, 10, 0, 0, reason)


@dataclass
class FeedServer:
    port: int = 0
    refuse_with: int | None = None
    location: str = ""
    drop_after_upgrade: bool = False
    greeting: bytes = b""
    connections: list[ServerConnection] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
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

    def _check(self, connection: ServerConnection, request):
        self.paths.append(request.path)
        if self.refuse_with is not None:
            response = connection.respond(HTTPStatus(self.refuse_with), "no")
            if self.location:
                response.headers["Location"] = self.location
            return response
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        number = len(self.connections)
        if self.greeting:
            connection.transport.write(self.greeting)
        if self.drop_after_upgrade:
            connection.transport.abort()
            return
        try:
            async for message in connection:
                self.messages.append((number, json.loads(message)))
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
