"""A client that speaks the wire and hides nothing: what the gateway sends is checked message by message."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.gateway.server import REALTIME_PATH, SupabaseGateway

TRADES = {"event": "*", "schema": "public", "table": "trades"}
WITHIN_S = 5.0


class RawClient:
    """One socket. `all` keeps every message that came, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.all: list[dict[str, Any]] = []
        self._next = 0
        self._ref = 0

    async def send(self, topic: str, event: str, payload: Any = None, join_ref: str | None = None) -> str:
        """Send a message with a new ref, which is returned."""
        self._ref += 1
        ref = str(self._ref)
        message = {"topic": topic, "event": event, "payload": payload or {}, "ref": ref, "join_ref": join_ref}
        await self.socket.send(json.dumps(message))
        return ref

    async def join(self, *bindings: dict[str, Any], topic: str = "realtime:t", token: str | None = None) -> str:
        """Send a join, without waiting for anything."""
        config = {"broadcast": {"ack": True, "self": False}, "private": False, "postgres_changes": list(bindings)}
        return await self.send(topic, "phx_join", {"config": config, "access_token": token})

    async def join_live(self, *bindings: dict[str, Any], topic: str = "realtime:t", token: str | None = None) -> str:
        """Join and wait until the change subscription is confirmed."""
        ref = await self.join(*(bindings or (TRADES,)), topic=topic, token=token)
        confirmed = await self.wait("system", topic)
        assert confirmed["payload"]["status"] == "ok", confirmed
        return ref

    async def receive(self, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Return the next message that was not handed out yet."""
        if self._next == len(self.all):
            async with asyncio.timeout(within_s):
                self.all.append(json.loads(await self.socket.recv()))
        self._next += 1
        return self.all[self._next - 1]

    async def wait(self, event: str, topic: str | None = None) -> dict[str, Any]:
        """Return the next message with that event, passing over the others."""
        while True:
            message = await self.receive()
            if message["event"] == event and topic in (None, message["topic"]):
                return message

    async def change(self) -> dict[str, Any]:
        """Return the `data` of the next change."""
        return (await self.wait("postgres_changes"))["payload"]["data"]

    async def quiet(self, for_s: float = 0.12) -> list[str]:
        """Return the events that come within that time."""
        seen = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                while True:
                    seen.append((await self.receive())["event"])
        return seen


@contextlib.asynccontextmanager
async def raw_client(gateway: SupabaseGateway, key: str | None = None) -> AsyncIterator[RawClient]:
    """Open a socket with the service key or another."""
    address = gateway.url.replace("http", "ws") + REALTIME_PATH
    query = f"?apikey={gateway.service_key if key is None else key}&vsn=1.0.0"
    async with connect(address + query, ping_interval=None, close_timeout=0.2) as socket:
        yield RawClient(socket)
