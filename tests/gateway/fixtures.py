"""pytest fixtures: a PostgreSQL cluster, a fresh database, a running Supabase look-alike."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

import pytest

from tests.gateway.postgres import Cluster, Unavailable, new_folder, start_cluster

if TYPE_CHECKING:
    from tests.gateway.server import SupabaseGateway

_NUMBERS: Final = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL server for the session. Skips, with the reason, where it cannot be run."""
    try:
        running = start_cluster(new_folder())
    except Unavailable as e:
        pytest.skip(f"no PostgreSQL for the Supabase tests: {e}")
    yield running
    running.close()


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[str]:
    """A fresh database with the empty trade tables; its dsn."""
    name = f"trades_{next(_NUMBERS)}"
    await cluster.create_database(name)
    yield cluster.dsn(name)
    await cluster.drop_database(name)


@pytest.fixture
async def gateway(database: str) -> AsyncIterator[SupabaseGateway]:
    """A running gateway over the fresh database."""
    from tests.gateway.server import SupabaseGateway  # noqa: PLC0415 - tests of the database alone need no server

    async with SupabaseGateway(database) as running:
        yield running
