"""Phoenix channels in protocol version 1.0.0, JSON: the sockets of the realtime server and what is joined on them."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from tests.gateway.bindings import binding_of
from tests.gateway.faults import GatewayFaults
from tests.gateway.tokens import BadTokenError, claims_of, expired_message


class Subscriptions(Protocol):
    """Where channels ask for changes."""

    def subscribe(self, channel: "Channel", after_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Server:
    """What every socket shares."""

    secret: str
    faults: GatewayFaults
    subscriptions: Subscriptions
    sockets: "set[PhoenixSocket]"


class Channel:
    """One joined topic on one socket."""

    def __init__(self, socket: "PhoenixSocket", message: dict[str, Any], token: str, claims: dict[str, Any]) -> None:
        config = message["payload"].get("config") or {}
        broadcast = config.get("broadcast") or {}
        self.topic: str = message["topic"]
        self.join_ref: str | None = message.get("ref")
        self.bindings = tuple(binding_of(asked) for asked in config.get("postgres_changes") or () if asked)
        self.acks_broadcast = bool(broadcast.get("ack"))
        self.echoes_broadcast = bool(broadcast.get("self"))
        self.token = token
        self.claims = claims
        self.next_claims = claims
        """Taken over with the next `system ok`."""
        self.is_live = False
        """The change subscription has taken effect."""
        self.is_closed = False
        self._socket = socket
        self._expiry: asyncio.TimerHandle | None = None
        self._watch_expiry()

    @property
    def name(self) -> str:
        return self.topic.removeprefix("realtime:")

    def push(self, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        self._socket.push(self.topic, event, payload, ref)

    def push_system(self, extension: str, status: str, message: str) -> None:
        self.push("system", {"message": message, "status": status, "extension": extension, "channel": self.name})

    def push_change(self, ids: list[int], data: str) -> None:
        """Send one event. `data` is JSON text and is sent as it is."""
        if not self.is_closed:
            self._socket.push_text(
                f'{{"ref": null, "event": "postgres_changes", "topic": {json.dumps(self.topic)}, '
                f'"payload": {{"ids": {json.dumps(ids)}, "data": {data}}}}}'
            )

    def renew(self, token: str | None) -> bool:
        """Take a new access token. True when the changes must be subscribed again with its claims."""
        if token is None or token == self.token or token.startswith("sb_"):
            return False
        try:
            claims = claims_of(self._socket.server.secret, token)
        except BadTokenError as e:
            self.shut_down(e.reason)
            return False
        self.token = token
        self.next_claims = claims
        self._watch_expiry()
        return bool(self.bindings)

    def expire(self) -> None:
        self.shut_down(expired_message(max(0.0, time.time() - self.next_claims["exp"])))

    def shut_down(self, message: str) -> None:
        """The server ends the channel: a system error, then the close."""
        self.push_system("system", "error", message)
        self.close()

    def crash(self) -> None:
        self.push("phx_error", {"reason": "channel_crash"}, self.join_ref)
        self.forget()

    def close(self) -> None:
        self.push("phx_close", {}, self.join_ref)
        self.forget()

    def forget(self) -> None:
        """Take the channel off its socket without a word."""
        self.is_closed = True
        self.is_live = False
        if self._expiry is not None:
            self._expiry.cancel()
        if self._socket.channels.get(self.topic) is self:
            del self._socket.channels[self.topic]

    def _watch_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(max(0.0, self.next_claims["exp"] - time.time()), self.expire)


def channels_of(sockets: "Iterable[PhoenixSocket]") -> "Iterator[Channel]":
    """Yield every open channel. The caller may end channels and sockets meanwhile."""
    for socket in tuple(sockets):
        yield from tuple(socket.channels.values())


class PhoenixSocket:
    """One websocket of one client, from its upgrade to its end."""

    def __init__(self, server: Server, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.server = server
        self.channels: dict[str, Channel] = {}
        self.is_frozen = False
        """The channel layer of this socket alone is dead."""
        self._ws = ws
        self._transport = request.transport
        self._apikey: str = request.query["apikey"]
        self._outbox: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self._handlers: dict[str, Callable[[Channel, dict[str, Any]], None]] = {
            "phx_leave": self._on_leave,
            "access_token": self._on_access_token,
            "broadcast": self._on_broadcast,
            "presence": lambda _, message: self._reply(message, {}),
        }

    async def serve(self) -> None:
        """Return when the socket is gone."""
        self.server.sockets.add(self)
        writer = asyncio.create_task(self._write(), name="gateway socket writer")
        try:
            await self._read()
        finally:
            self.server.sockets.discard(self)
            writer.cancel()
            for channel in tuple(self.channels.values()):
                channel.forget()

    def push(self, topic: str, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        self.push_text(json.dumps({"ref": ref, "event": event, "payload": payload, "topic": topic}))

    def push_text(self, text: str) -> None:
        if not self._is_dumb:
            self._outbox.put_nowait(text)

    def cut(self) -> None:
        """End the TCP connection at once, without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def close(self, code: int) -> None:
        self._outbox.put_nowait(code)

    @property
    def _is_dumb(self) -> bool:
        return self.is_frozen or self.server.faults.freeze_channels

    async def _read(self) -> None:
        while True:
            try:
                frame = await self._ws.receive(timeout=self.server.faults.silence_limit_s)
            except TimeoutError:
                return self.cut()
            await self.server.faults.thawed()
            match frame.type:
                case WSMsgType.PING:
                    self._outbox.put_nowait(bytes(frame.data))
                case WSMsgType.TEXT:
                    self._on_text(frame.data)
                case WSMsgType.PONG | WSMsgType.BINARY:
                    pass
                case WSMsgType.CLOSE:
                    await self._ws.close()
                    return None
                case _:
                    return None

    async def _write(self) -> None:
        """Send what is in the outbox: text, the echo of a ping (bytes), or the close with a code."""
        with contextlib.suppress(ConnectionError):
            while True:
                item = await self._outbox.get()
                await self.server.faults.thawed()
                match item:
                    case str():
                        await self._ws.send_str(item)
                    case bytes():
                        await self._ws.pong(item)
                    case _:
                        await self._ws.close(code=item)

    def _on_text(self, text: str) -> None:
        if self._is_dumb:
            return
        message = json.loads(text)
        topic, event = message["topic"], message["event"]
        channel = self.channels.get(topic)
        if topic == "phoenix" and event == "heartbeat":
            self._reply(message, {})
        elif event == "phx_join" and topic.startswith("realtime:"):
            self._on_join(channel, message)
        elif channel is not None:
            if event in self._handlers:
                self._handlers[event](channel, message)
        elif event == "phx_leave":
            self._reply(message, {})
        else:
            self._refuse(message, "unmatched topic")

    def _on_join(self, old: Channel | None, message: dict[str, Any]) -> None:
        token = message["payload"].get("access_token") or self._apikey
        try:
            claims = claims_of(self.server.secret, self._apikey if token.startswith("sb_") else token)
        except BadTokenError as e:
            self._refuse(message, str(e))
            return
        if old is not None:
            old.forget()
        channel = self.channels[message["topic"]] = Channel(self, message, token, claims)
        answer = [binding.asked | {"id": binding.id} for binding in channel.bindings]
        self._reply(message, {"postgres_changes": answer})
        if old is not None:
            # Phoenix sends the close of the replaced channel after the answer to the new join.
            self.push(old.topic, "phx_close", {}, old.join_ref)
        channel.push("presence_state", {})
        if channel.bindings:
            self.server.subscriptions.subscribe(channel, self.server.faults.confirm_delay_s)

    def _on_leave(self, channel: Channel, message: dict[str, Any]) -> None:
        self._reply(message, {})
        channel.close()

    def _on_access_token(self, channel: Channel, message: dict[str, Any]) -> None:
        if channel.renew(message["payload"].get("access_token")):
            self.server.subscriptions.subscribe(channel, self.server.faults.confirm_delay_s)

    def _on_broadcast(self, channel: Channel, message: dict[str, Any]) -> None:
        for other in channels_of(self.server.sockets):
            if other.topic == channel.topic and (other is not channel or channel.echoes_broadcast):
                other.push("broadcast", message["payload"])
        if channel.acks_broadcast:
            self._reply(message, {})

    def _reply(self, message: dict[str, Any], response: dict[str, Any], status: str = "ok") -> None:
        self.push(message["topic"], "phx_reply", {"status": status, "response": response}, message.get("ref"))

    def _refuse(self, message: dict[str, Any], reason: str) -> None:
        self._reply(message, {"reason": reason}, "error")
