"""The Supabase look-alike: REST and realtime on one loopback port, over a real PostgreSQL database."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import asyncpg
from aiohttp import web

from tests.gateway.change_worker import ChangeWorker
from tests.gateway.channels import PhoenixSocket, Server, channels_of
from tests.gateway.faults import GatewayFaults
from tests.gateway.rest import RestApi
from tests.gateway.tokens import BadTokenError, claims_of, issue

REALTIME_PATH: Final = "/realtime/v1/websocket"
_HOST: Final = "127.0.0.1"
_SHUTDOWN_S: Final = 0.2
_POOL_SIZE: Final = 8
_PROTOCOL: Final = "1.0.0"


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One request that reached the gateway."""

    method: str
    path: str
    """Path and query, without the key."""
    status: int | None
    """None when the connection ended without an answer."""
    at: float
    """When it came, on the monotonic clock, in seconds."""


class SupabaseGateway:
    """Serves one database. Use it as an async context manager; set `faults` at any moment.

    Args:
        dsn: of the database, as a superuser: the gateway changes roles and reads the log.
    """

    def __init__(self, dsn: str) -> None:
        self.faults = GatewayFaults()
        self.requests: list[RequestSeen] = []
        self._dsn = dsn
        self._secret = secrets.token_hex(32)
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._pool: asyncpg.Pool | None = None
        self.rest: RestApi | None = None
        """The REST half once started: its `max_rows` and the like may be set. A restart keeps them."""
        self._sockets: set[PhoenixSocket] = set()
        self._worker = ChangeWorker(dsn, self.faults, self._sockets)
        self._server = Server(self._secret, self.faults, self._worker, self._sockets)
        self.anon_key = issue(self._secret, "anon")
        self.service_key = issue(self._secret, "service_role")

    @property
    def url(self) -> str:
        """The project's address, for `create_async_client`."""
        return f"http://{_HOST}:{self._port}"

    @property
    def socket_count(self) -> int:
        """Sockets that are open now."""
        return len(self._sockets)

    @property
    def live_count(self) -> int:
        """Channels whose change subscription has taken effect."""
        return sum(channel.is_live for channel in channels_of(self._sockets))

    def token(self, role: str, expires_in_s: float = 3600.0) -> str:
        """Return a signed token for a role. The database must have that role."""
        return issue(self._secret, role, expires_in_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Come up, on the port of the last time. Changes committed while down were read by nobody."""
        if self._runner is not None:
            return
        self._pool = await asyncpg.create_pool(self._dsn, min_size=0, max_size=_POOL_SIZE)
        await self._worker.start()
        application = web.Application(middlewares=[self._note])
        application.add_routes(self._new_rest(self._pool).routes())
        application.add_routes([web.get(REALTIME_PATH, self._on_upgrade)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away: no listener, every connection cut, the slot gone."""
        if self._runner is None:
            return
        for site in tuple(self._runner.sites):
            await site.stop()
        self._cut_everything()
        await self._runner.cleanup()
        self._runner = None
        if self._pool is not None:
            self._pool.terminate()
        await self._worker.stop()

    async def drop_slot(self) -> None:
        """Lose the slot in silence: changes from here to `create_slot` reach nobody."""
        await self._worker.drop_slot()

    async def create_slot(self) -> None:
        await self._worker.create_slot()

    async def recreate_slot(self) -> None:
        """Lose the slot and make a new one, without a word to the clients."""
        await self.drop_slot()
        await self.create_slot()

    async def restart_changes(self, gap_s: float = 0.1) -> None:
        """The change worker dies and comes back: changes in between are lost, live channels get a new `system ok`."""
        await self._worker.restart(gap_s)

    async def fail_changes(
        self, message: str = "Unable to connect to the project database", retry_s: float = 5.0
    ) -> None:
        """Every channel loses its change subscription with a `system error`; the server tries again by itself."""
        for channel in channels_of(self._sockets):
            if channel.bindings:
                channel.is_live = False
                channel.push_system("postgres_changes", "error", message)
                self._worker.subscribe(channel, retry_s)
        await asyncio.sleep(0)

    async def expire_channels(self) -> None:
        """Every channel ends as if its token had just expired."""
        for channel in channels_of(self._sockets):
            channel.shut_down("Token has expired 0 seconds ago")
        await asyncio.sleep(0)

    def crash_channels(self) -> None:
        """Every channel ends with `phx_error`."""
        for channel in channels_of(self._sockets):
            channel.crash()

    def freeze_open_channels(self) -> None:
        """The channel layer of the sockets open now is dead for good. New sockets work."""
        for socket in self._sockets:
            socket.is_frozen = True

    def cut_sockets(self) -> None:
        """Every websocket loses its TCP connection, without a close frame."""
        for socket in tuple(self._sockets):
            socket.cut()

    def close_sockets(self, code: int = 1001) -> None:
        """Every websocket is closed with a close frame."""
        for socket in tuple(self._sockets):
            socket.close(code)

    def send_raw(self, text: str) -> None:
        """Send a text to every socket as it is."""
        for socket in tuple(self._sockets):
            socket.push_text(text)

    def _new_rest(self, pool: asyncpg.Pool) -> RestApi:
        old, self.rest = self.rest, RestApi(pool, self._secret, self.faults)
        if old is not None:
            self.rest.max_rows = old.max_rows
            self.rest.schemas = old.schemas
            self.rest.expired_code = old.expired_code
        return self.rest

    def _cut_everything(self) -> None:
        server = self._runner.server if self._runner is not None else None
        for connection in tuple(server.connections) if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    @web.middleware
    async def _note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        at, status = time.monotonic(), None
        try:
            answer = await handler(request)
            # The entry of a socket is written at its start, not at its end.
            status = answer.status
            return answer
        except web.HTTPException as e:
            status = e.status
            raise
        finally:
            if request.path != REALTIME_PATH:
                self._log(request, status, at)

    def _log(self, request: web.Request, status: int | None, at: float) -> None:
        path = str(request.rel_url.without_query_params("apikey")) if "apikey" in request.query else request.path_qs
        self.requests.append(RequestSeen(request.method, path, status, at))

    async def _on_upgrade(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        await self.faults.thawed()
        if refusal := self._refusal(request):
            status, reason = refusal
            self._log(request, status, at)
            return web.json_response({"error": reason}, status=status)
        # Pings and closes are answered by PhoenixSocket, so that a fault can leave them unanswered.
        ws = web.WebSocketResponse(autoping=False, autoclose=False)
        await ws.prepare(request)
        self._log(request, ws.status, at)
        await PhoenixSocket(self._server, ws, request).serve()
        return ws

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        if self.faults.refuse_upgrade is not None:
            return self.faults.refuse_upgrade, "Refused by the test"
        if request.query.get("vsn") != _PROTOCOL:
            return 400, f"This gateway speaks vsn={_PROTOCOL} only"
        try:
            claims_of(self._secret, request.query.get("apikey"))
        except BadTokenError as e:
            return 401, e.reason
        return None
