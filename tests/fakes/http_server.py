"""A TCP server that answers as a test tells it and remembers every request byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class SeenRequest:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = Callable[[SeenRequest, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    answer: Answer
    port: int = 0
    requests: list[SeenRequest] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: set[asyncio.Task] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.writers.append(writer)
        self.tasks.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("Content-Length", 0)))
                request = SeenRequest(method, path, headers, body, number)
                self.requests.append(request)
                await self.answer(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def replying(*responses: bytes) -> Answer:
    """Answer with these, in turn; the last one again and again."""
    left = list(responses)

    async def answer(_request: SeenRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return answer


def json_response(body: str, status: str = "200 OK") -> bytes:
    payload = body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(payload)}\r\n\r\n".encode() + payload


async def dropping(_request: SeenRequest, writer: asyncio.StreamWriter) -> None:
    """Take the request and reset the connection: accepted, answer lost."""
    writer.transport.abort()


async def silent(_request: SeenRequest, _writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""


@asynccontextmanager
async def raw_server(answer: Answer, ssl=None):
    state = RawServer(answer)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0, ssl=ssl)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        # asyncio leaks a connection that is accepted when the server is closed already: let those come in first.
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        for writer in state.writers:
            writer.transport.abort()
        await asyncio.gather(*state.tasks)
        await asyncio.sleep(0)
