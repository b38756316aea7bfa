"""The private cluster: fresh databases, logical decoding, outages, and nothing left behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests.gateway import postgres
from tests.gateway.postgres import Cluster, Unavailable, find_binaries, start_cluster

ROOT = Path(__file__).parents[2]

START_AND_DIE = """
import os, signal, sys
from tests.gateway.postgres import new_folder, start_cluster
cluster = start_cluster(new_folder())
sys.stdout.write(f"{cluster.port} {cluster.folder}")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


async def ask(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_each_database_has_the_trade_tables_and_nothing_in_them(database: str) -> None:
    assert await ask(database, "SELECT count(*) FROM trades") == 0
    await ask(database, "INSERT INTO trades (symbol) VALUES ('NIFTY') RETURNING new_id")


async def test_a_database_does_not_see_what_the_test_before_wrote(database: str) -> None:
    assert await ask(database, "INSERT INTO trades (symbol) VALUES ('NIFTY') RETURNING new_id") == 1


async def test_the_publication_names_the_tables_that_the_monitor_reads(database: str) -> None:
    names = await ask(database, "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_publication_tables")
    assert names == ["strategies", "strategy_exit_levels", "strategy_risk_management", "trades"]


async def test_the_roles_have_the_rights_of_a_supabase_project(database: str) -> None:
    rights = "SELECT has_table_privilege('anon', 'trades', 'SELECT, INSERT, UPDATE, DELETE')"
    assert await ask(database, rights) is True
    assert await ask(database, "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'service_role'") is True
    assert await ask(database, "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'authenticated'") is False
    assert await ask(database, "SELECT pg_has_role('authenticator', 'authenticated', 'MEMBER')") is True


async def test_wal2json_shows_a_commit(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("SELECT pg_create_logical_replication_slot('mine', 'wal2json')")
    await connection.execute("INSERT INTO strategies (stock_name, strategy_name) VALUES ('NIFTY', 'Iron Condor')")
    changes = await connection.fetch("SELECT data FROM pg_logical_slot_get_changes('mine', NULL, NULL)")
    await connection.close()
    assert "Iron Condor" in changes[0]["data"]
    # The slot stays: the fixture must be able to drop the database all the same.


async def test_a_database_with_a_slot_in_use_is_dropped(cluster: Cluster) -> None:
    await cluster.create_database("busy")
    connection = await asyncpg.connect(cluster.dsn("busy"))
    await connection.execute("SELECT pg_create_logical_replication_slot('held', 'wal2json', true)")
    await cluster.drop_database("busy")
    connection.terminate()
    found = await ask(cluster.dsn("postgres"), "SELECT count(*) FROM pg_database WHERE datname = 'busy'")
    assert found == 0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_after_an_outage_the_data_is_there_on_the_same_port(cluster: Cluster, database: str, mode: str) -> None:
    await ask(database, "INSERT INTO trades (symbol) VALUES ('BANKNIFTY') RETURNING new_id")
    await cluster.stop(mode)
    try:
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(database)
    finally:
        await cluster.start()
    assert await ask(database, "SELECT symbol FROM trades") == "BANKNIFTY"


@pytest.mark.usefixtures("cluster")
def test_a_killed_test_run_leaves_no_server_and_no_folder() -> None:
    run = subprocess.run(
        (sys.executable, "-c", START_AND_DIE), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    port, folder = run.stdout.split()
    deadline = time.monotonic() + 10
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_packaged_folders", list)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(Unavailable, match="initdb, pg_ctl, postgres and psql"):
        find_binaries()


def test_without_the_programs_nothing_stays_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_packaged_folders", list)
    monkeypatch.setenv("PATH", os.devnull)
    folder = tmp_path / "cluster"
    folder.mkdir()
    with pytest.raises(Unavailable):
        start_cluster(folder)
    assert not folder.exists()


def test_the_failing_program_and_its_words_are_named(cluster: Cluster) -> None:
    with pytest.raises(Unavailable, match=r"psql --nonsense failed: .*unrecognized option"):
        cluster.run("psql", "--nonsense")
    with pytest.raises(Unavailable, match=r"no-such-program cannot be run"):
        cluster.run("no-such-program")
    with pytest.raises(Unavailable, match=r'relation "nothing" does not exist'):
        cluster.sql("SELECT FROM nothing")
