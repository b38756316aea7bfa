"""What the gateway's own tests share."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.gateway.postgres import Cluster
from tests.gateway.server import SupabaseGateway


@pytest.fixture(scope="session")
def used_database(cluster: Cluster) -> str:
    """One database for the tests that leave nothing but rows of trades. A new one for each test costs 0.2 s."""
    asyncio.run(cluster.create_database("used"))
    return cluster.dsn("used")


@pytest.fixture
async def emptied_database(used_database: str) -> str:
    """The used database as a test expects it: no trades, keys from 1 on."""
    connection = await asyncpg.connect(used_database)
    await connection.execute("truncate trades restart identity")
    await connection.close()
    return used_database


@pytest.fixture
def gateway(gateway: SupabaseGateway) -> SupabaseGateway:
    """The shared fixture's gateway, reading its log more often, so that the tests wait less."""
    gateway.faults.poll_s = gateway.faults.idle_poll_s = 0.02
    return gateway


@pytest.fixture
async def sql(gateway: SupabaseGateway, database: str) -> AsyncIterator[asyncpg.Connection]:
    """A direct connection, as another program writes."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()
