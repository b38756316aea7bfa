"""The worlds that the contract is tested in. One that cannot be had here is skipped, with the reason."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.contract.sqlite_world import SqliteWorld
from tests.contract.supabase_worlds import (
    GatewayWorld,
    LiteWorld,
    ProjectWorld,
    empty,
    migrate,
    project_or_reason,
)
from tests.contract.world import StoreWorld
from tests.gateway.postgres import Cluster
from tests.gateway.server import SupabaseGateway
from tests.lite import server as lite
from tests.lite.server import LiteServer

PROJECT: Final = project_or_reason()
WORLDS: Final[dict[str, type[StoreWorld]]] = {"sqlite": SqliteWorld, "gateway": GatewayWorld, "lite": LiteWorld}
if not isinstance(PROJECT, str):
    # Where there is none, test_project.py says so once, and not each of a hundred tests.
    WORLDS["project"] = ProjectWorld

_TEMPLATE: Final = "contract_template"
_SHARED: Final = "contract"
# Fewer than a store asks for at once: a short page need not be the last one. The gateway gives 1,000, as the hosted service.
_LITE_MAX_ROWS: Final = 300
_NUMBERS: Final = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature): runs only in worlds of the contract tests with this feature")


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> StoreWorld:
    """Each test runs once in each world; one marked `needs("alters")` only in worlds with that feature."""
    kind = WORLDS[request.param]
    for feature in _needs(request):
        if not getattr(kind.features, feature):
            pytest.skip(f"{kind.__name__} lacks the feature {feature!r}")
    return request.getfixturevalue(f"{request.param}_world")


def _needs(request: pytest.FixtureRequest) -> set[str]:
    return {marker.args[0] for marker in request.node.iter_markers("needs")}


def _alters(request: pytest.FixtureRequest) -> bool:
    return "alters" in _needs(request)


@pytest.fixture
def sqlite_world(tmp_path: Path) -> SqliteWorld:
    return SqliteWorld(tmp_path / "trades.db")


@pytest.fixture(scope="session")
def _databases(cluster: Cluster) -> str:
    """The migrations are applied once: a template for the tests that alter tables, and a copy for all others. The copy."""

    async def make() -> None:
        await cluster.create_database(_TEMPLATE)
        await migrate(cluster.dsn(_TEMPLATE))
        await cluster.create_database(_SHARED, template=_TEMPLATE)

    asyncio.run(make())
    return cluster.dsn(_SHARED)


@pytest.fixture
async def database(request: pytest.FixtureRequest, cluster: Cluster, _databases: str) -> AsyncIterator[str]:
    """A database with empty tables; its dsn. A new one for a test that alters them. The gateway runs over it, too."""
    if not _alters(request):
        await empty(_databases)
        yield _databases
        return
    name = f"contract_{next(_NUMBERS)}"
    await cluster.create_database(name, template=_TEMPLATE)
    yield cluster.dsn(name)
    await cluster.drop_database(name)


@pytest.fixture
async def gateway_world(
    request: pytest.FixtureRequest, database: str, gateway: SupabaseGateway
) -> AsyncIterator[GatewayWorld]:
    # The role of the migrations may do what a monitor must, and no more. It has no rights on tables that are made anew.
    async with GatewayWorld(database, gateway, None if _alters(request) else "exit_monitor") as world:
        yield world


@pytest.fixture(scope="session")
def _lite_is_here() -> None:
    try:
        lite.node()
    except lite.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def _shared_lite(_lite_is_here: None, _databases: str) -> Iterator[LiteServer]:
    server = LiteServer(_databases, max_rows=_LITE_MAX_ROWS)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def lite_world(
    request: pytest.FixtureRequest, _shared_lite: LiteServer, database: str
) -> AsyncIterator[LiteWorld]:
    async with AsyncExitStack() as stack:
        server = _shared_lite
        if _alters(request):
            # It keeps what it knows of the tables, so this test has one of its own.
            server = await stack.enter_async_context(LiteServer(database, max_rows=_LITE_MAX_ROWS))
        yield await stack.enter_async_context(LiteWorld(database, server))


@pytest.fixture
async def project_world() -> AsyncIterator[ProjectWorld]:
    if isinstance(PROJECT, str):
        pytest.skip(PROJECT)
    async with ProjectWorld(PROJECT) as world:
        yield world
