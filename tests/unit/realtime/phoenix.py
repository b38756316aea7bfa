"""A small realtime server of our own: one socket, one channel, and every way to misbehave (supabase_and_redis 1.2, 1.3)."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class Phoenix:
    """`joins` holds each join's payload. The knobs are read at every join."""

    def __init__(self) -> None:
        self.joins: list[dict[str, Any]] = []
        self.topics: list[str] = []
        self.connections = 0
        self.paths: list[str] = []
        self.upgrade_status: int | None = None
        self.reply = "ok"
        self.reason = "no reason"
        self.confirms = True
        self.says_before_reply = ""
        self.swaps_bindings = False
        self._open: list[ServerConnection] = []
        self._server: Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def open_sockets(self) -> int:
        return len(self._open)

    async def start(self) -> None:
        self._server = await serve(
            self._talk, "127.0.0.1", self._port, process_request=self._upgrade, ping_interval=None, close_timeout=0.1
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            for connection in self._open:
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def _upgrade(self, connection: ServerConnection, request: Any) -> Any:
        self.paths.append(request.path)
        if self.upgrade_status is not None:
            return connection.respond(http.HTTPStatus(self.upgrade_status), "refused\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._open.append(connection)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for text in connection:
                    message = json.loads(text)
                    if message["event"] == "phx_join":
                        await self._join(connection, message)
        finally:
            self._open.remove(connection)

    async def _join(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        self.joins.append(message["payload"])
        self.topics.append(message["topic"])
        if self.says_before_reply:
            await self.say("system", _system(self.says_before_reply))
        if self.reply == "silence":
            return
        asked = message["payload"]["config"]["postgres_changes"]
        bindings = [{**binding, "id": 100 + i} for i, binding in enumerate(asked)]
        if self.swaps_bindings:
            bindings.reverse()
        response = {"postgres_changes": bindings} if self.reply == "ok" else {"reason": self.reason}
        answer = {
            "event": "phx_reply",
            "topic": message["topic"],
            "ref": message["ref"],
            "payload": {"status": self.reply, "response": response},
        }
        await connection.send(json.dumps(answer))
        if self.reply == "ok" and self.confirms:
            await self.confirm()

    async def say(self, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        message = {"event": event, "topic": self.topics[-1], "ref": ref, "payload": payload}
        await self.say_raw(json.dumps(message))

    async def say_raw(self, text: str) -> None:
        for connection in self._open:
            await connection.send(text)

    async def confirm(self) -> None:
        await self.say("system", _system("ok"))

    async def fail(self, message: str) -> None:
        await self.say("system", _system("error", message))

    async def change(self, table: str, record: dict[str, Any] | None, kind: str = "UPDATE", **more: Any) -> None:
        """A change on every binding, so that it is delivered once for each of its table's."""
        data: dict[str, Any] = {
            "schema": "public",
            "table": table,
            "commit_timestamp": "2026-11-20T10:04:29.039Z",
            "type": kind,
            "errors": None,
            "columns": [{"name": "id", "type": "int8"}],
            **more,
        }
        if record is not None:
            data["record"] = record
        bindings = [binding["table"] for binding in self.joins[-1]["config"]["postgres_changes"]]
        await self.say("postgres_changes", {"ids": [100 + bindings.index(table)], "data": data})

    async def echo(self, beat: int, name: str = "exit-monitor", holder: str = "me") -> None:
        await self.change("monitor_lease", {"name": name, "holder": holder, "beat": beat, "epoch": 1})

    def cut(self) -> None:
        for connection in self._open:
            connection.transport.abort()

    async def close_sockets(self, code: int) -> None:
        await asyncio.gather(*(connection.close(code) for connection in list(self._open)))

    def freeze(self) -> None:
        """Read nothing more and answer nothing, with the TCP connection open."""
        for connection in self._open:
            connection.transport.pause_reading()


def _system(status: str, message: str = "Subscribed to PostgreSQL") -> dict[str, Any]:
    return {"message": message, "status": status, "extension": "postgres_changes", "channel": "t"}
