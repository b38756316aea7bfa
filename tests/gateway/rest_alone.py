"""The REST half without the rest of the gateway, for its own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx
from aiohttp import web
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from tests.gateway.faults import GatewayFaults
from tests.gateway.rest import RestApi
from tests.gateway.tokens import issue

SECRET: Final = "a-secret-of-the-tests-that-is-long-enough"
SERVICE: Final = issue(SECRET, "service_role")
ANON: Final = issue(SECRET, "anon")


@dataclass(slots=True)
class Rest:
    """A running REST half. `sql` runs a statement as the superuser."""

    url: str
    api: RestApi
    faults: GatewayFaults
    dsn: str

    async def sql(self, text: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(text)
        finally:
            await connection.close()

    async def script(self, text: str) -> None:
        """Run several statements."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(text)
        finally:
            await connection.close()

    async def ask(
        self, method: str, path: str, *, token: str = SERVICE, prefer: str = "", body: str = "", **headers: str
    ) -> httpx.Response:
        """One plain HTTP request, `path` from the table's name on."""
        known = {"apikey": token, "Authorization": f"Bearer {token}", "Prefer": prefer, **headers}
        async with httpx.AsyncClient() as http:
            return await http.request(
                method,
                f"{self.url}/rest/v1/{path}",
                content=body or None,
                headers={name.replace("_", "-"): value for name, value in known.items() if value},
            )


@asynccontextmanager
async def running_rest(dsn: str) -> AsyncIterator[Rest]:
    """Serve the database on a free loopback port."""
    faults = GatewayFaults()
    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        api = RestApi(pool, SECRET, faults)
        application = web.Application()
        application.add_routes(api.routes())
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Rest(f"http://127.0.0.1:{runner.addresses[0][1]}", api, faults, dsn)
        await runner.cleanup()


@asynccontextmanager
async def client_of(rest: Rest) -> AsyncIterator[AsyncClient]:
    """The official client as the service role, without its own retries."""
    async with httpx.AsyncClient(timeout=5) as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        options.postgrest_client_retry = False
        yield await create_async_client(rest.url, SERVICE, options=options)
