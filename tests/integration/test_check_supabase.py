"""The check script as a process of its own, against the gateway over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from tests.fakes.certificates import self_signed
from tests.integration.test_supabase_migrations import PRIVILEGE_003, REALTIME_002, TABLES_001, make_owner, migrate

if TYPE_CHECKING:
    from tests.gateway.server import SupabaseGateway

ROOT: Final = Path(__file__).resolve().parents[2]
TIME_LIMIT_S: Final = 60
READY: Final = {
    "address",
    "key",
    "table trades",
    "table strategies",
    "table strategy_risk_management",
    "table strategy_exit_levels",
    "table strategy_monitoring",
    "table strategy_details",
    "open trades",
    "closing a row",
    "risk_events",
    "own tables",
    "answers",
    "lease",
    "clock",
    "realtime trades",
    "realtime strategies",
    "realtime strategy_risk_management",
    "realtime strategy_exit_levels",
    "realtime monitor_lease",
    "canary",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str

    def __getitem__(self, check: str) -> tuple[str, str, str]:
        """Result, what was found, remedy."""
        [found] = [each for each in json.loads(self.out)["findings"] if each["check"] == check]
        return found["verdict"], found["found"], found["remedy"]

    @property
    def verdicts(self) -> dict[str, str]:
        return {each["check"]: each["verdict"] for each in json.loads(self.out)["findings"]}

    @property
    def not_ok(self) -> set[str]:
        return {check for check, verdict in self.verdicts.items() if verdict != "ok"}


async def run(environment: dict[str, str], *options: str) -> Outcome:
    clean = {name: value for name, value in os.environ.items() if "SUPABASE" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "data_scripts/check_supabase.py",
        *options,
        cwd=ROOT,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIME_LIMIT_S):
        out, err = await process.communicate()
    outcome = Outcome(process.returncode or 0, out.decode(), err.decode())
    for name in ("SUPABASE_KEY", "SUPABASE_ROLE_TOKEN"):
        for part in environment.get(name, "").split("."):
            assert not part or part not in outcome.out + outcome.err, "a key was printed"
    return outcome


async def check(gateway: SupabaseGateway, *, key: str | None = None, role: str | None = None, **more: str) -> Outcome:
    """As `role` by a token, else with `key`, else with the service key."""
    environment = {"SUPABASE_URL": gateway.url, "SUPABASE_KEY": key or gateway.service_key, **more}
    if role is not None:
        environment |= {"SUPABASE_KEY": gateway.anon_key, "SUPABASE_ROLE_TOKEN": gateway.token(role, 30 * 86_400)}
    return await run(environment, "--json")


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def project(database: str) -> str:
    """A project with the migrations and one open trade. Ask for it before `gateway`."""
    await make_owner(database)
    await migrate(database)
    await execute(database, "INSERT INTO trades (strategy_id, symbol, price) VALUES (7, 'NIFTY', 100)")
    return database


async def test_a_project_with_all_three_migrations_is_ready(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, role="exit_monitor")
    assert outcome.not_ok == set(), outcome.out
    assert outcome.verdicts.keys() == READY
    assert outcome.code == 0
    assert outcome.err.splitlines() == [f"ok   {check}" for check in outcome.verdicts], "each is named when it is done"
    assert outcome["open trades"][1] == "1 visible"
    assert "role exit_monitor" in outcome["key"][1]
    assert "ms after it was written" in outcome["canary"][1]


async def test_it_leaves_nothing_but_its_own_lease(project: str, gateway: SupabaseGateway) -> None:
    connection = await asyncpg.connect(project)
    try:
        before = await connection.fetch("TABLE trades")
        await check(gateway)
        assert await connection.fetch("TABLE trades") == before
        assert await connection.fetch("TABLE risk_events") == []
        [lease] = await connection.fetch("SELECT name, expires_at < clock_timestamp() AS is_free FROM monitor_lease")
    finally:
        await connection.close()
    assert (lease["name"], lease["is_free"]) == ("check_supabase", True)


async def test_the_table_for_a_person(project: str, gateway: SupabaseGateway) -> None:
    outcome = await run({"SUPABASE_URL": gateway.url, "SUPABASE_KEY": gateway.service_key})
    assert outcome.code == 0
    for word in ("Check", "Result", "Found", "Remedy", "open trades", "service_role", "003_least_privilege.sql"):
        assert word in outcome.out
    assert "\nReady. What says warn makes it better.\n" in outcome.out


async def test_a_wrong_key(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, key=gateway.service_key[:-6] + "AAAAAA")
    verdict, found, remedy = outcome["key"]
    assert (outcome.code, verdict) == (4, "FAIL")
    assert "SUPABASE_KEY is refused" in found
    assert "API Keys" in remedy
    assert outcome.verdicts.keys() == {"address", "key"}, "nothing else can be said"


async def test_an_expired_token(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(
        gateway, key=gateway.anon_key, SUPABASE_ROLE_TOKEN=gateway.token("exit_monitor", expires_in_s=-60)
    )
    verdict, found, remedy = outcome["key"]
    assert (outcome.code, verdict) == (4, "FAIL")
    assert "SUPABASE_ROLE_TOKEN is refused" in found
    assert "has expired" in remedy


async def test_a_token_of_a_role_that_is_not_there(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, role="no_such_role")
    assert outcome.code == 4
    assert outcome["key"][0] == "FAIL"
    assert PRIVILEGE_003 in outcome["key"][2]


async def test_a_token_that_ends_today(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, key=gateway.anon_key, SUPABASE_ROLE_TOKEN=gateway.token("exit_monitor", 3600))
    assert outcome.code == 0
    assert outcome.not_ok == {"key"}
    assert "valid for 0.0 days" in outcome["key"][1]


async def test_a_missing_table(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, role="exit_monitor", SUPABASE_LEVELS_TABLE="exit_levels")
    verdict, found, remedy = outcome["table exit_levels"]
    assert (outcome.code, verdict) == (4, "FAIL")
    assert "exit_levels" in found
    assert "SUPABASE_LEVELS_TABLE" in remedy
    assert outcome.not_ok == {"table exit_levels"}


async def test_an_optional_table_that_is_missing_or_closed_to_the_role(project: str, gateway: SupabaseGateway) -> None:
    missing = await check(gateway, role="exit_monitor", SUPABASE_MONITORING_TABLE="levels_of_others")
    assert missing["table levels_of_others"] == ("ok", "is not there, and is optional", "")
    assert (missing.code, missing.not_ok) == (0, set())
    await execute(project, "REVOKE ALL ON strategy_details FROM exit_monitor")
    closed = await check(gateway, role="exit_monitor")
    assert (closed.code, closed.not_ok) == (0, {"table strategy_details"})
    assert PRIVILEGE_003 in closed["table strategy_details"][2]


async def test_a_missing_column(project: str, gateway: SupabaseGateway) -> None:
    await execute(
        project,
        "ALTER TABLE trades DROP COLUMN exit_reason, DROP COLUMN account_id; "
        "ALTER TABLE strategies DROP COLUMN spread_type; NOTIFY pgrst, 'reload schema'",
    )
    outcome = await check(gateway)
    assert outcome.code == 4
    assert outcome["table trades"][:2] == ("FAIL", "has no column exit_reason")
    assert outcome["table strategies"][0] == "ok"
    assert "without exit_profile, spread_type, which are optional" in outcome["table strategies"][1]


async def test_another_schema_that_is_not_there(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, SUPABASE_SCHEMA="desk")
    assert outcome.code == 4
    assert "SUPABASE_SCHEMA" in outcome["table desk.trades"][2]


async def test_a_table_whose_changes_are_not_told(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "ALTER PUBLICATION supabase_realtime DROP TABLE strategy_exit_levels")
    outcome = await check(gateway, role="exit_monitor")
    verdict, _, remedy = outcome["realtime strategy_exit_levels"]
    assert (outcome.code, verdict) == (0, "warn")
    assert REALTIME_002 in remedy
    assert "in all tables changes are noticed by polling every 3 s" in remedy
    assert outcome.not_ok == {"realtime strategy_exit_levels"}


async def test_a_lease_whose_changes_are_not_told_is_a_warning(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "ALTER PUBLICATION supabase_realtime DROP TABLE monitor_lease")
    outcome = await check(gateway, role="exit_monitor")
    assert (outcome.code, outcome.not_ok) == (0, {"realtime monitor_lease"})


async def test_row_level_security_that_hides_the_rows(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
    hidden = await check(gateway, key=gateway.anon_key)
    verdict, found, remedy = hidden["open trades"]
    assert (hidden.code, verdict) == (4, "FAIL")
    assert "no row at all, open or closed, is visible to role anon" in found
    assert "guard nothing" in found
    assert "row-level security" in remedy
    assert PRIVILEGE_003 in remedy
    assert (await check(gateway, role="exit_monitor"))["open trades"] == ("ok", "1 visible", "")


async def test_an_empty_table_is_no_failure_for_the_service_key(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "DELETE FROM trades")
    outcome = await check(gateway)
    assert (outcome.code, outcome["open trades"][0]) == (0, "warn")


async def test_a_key_column_that_is_no_integer(project: str, gateway: SupabaseGateway) -> None:
    await execute(
        project,
        "ALTER TABLE trades DROP COLUMN new_id, ADD COLUMN new_id uuid PRIMARY KEY DEFAULT gen_random_uuid(); "
        "NOTIFY pgrst, 'reload schema'",
    )
    outcome = await check(gateway)
    verdict, found, remedy = outcome["closing a row"]
    assert (outcome.code, verdict) == (4, "FAIL")
    assert "uuid" in found
    assert "must be an integer" in remedy
    assert "set every row aside" in remedy


async def test_trades_without_a_primary_key(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "ALTER TABLE trades DROP CONSTRAINT trades_pkey")
    outcome = await check(gateway, role="exit_monitor")
    verdict, found, remedy = outcome["closing a row"]
    assert (outcome.code, outcome.not_ok, verdict) == (4, {"closing a row"}, "FAIL")
    assert "55000" in found
    assert "primary key: add one" in remedy
    assert "paused" not in remedy


async def test_slow_answers(project: str, gateway: SupabaseGateway) -> None:
    # Tables that are not there are fewer requests to wait for.
    await execute(project, "DROP FUNCTION beat_monitor_lease; NOTIFY pgrst, 'reload schema'")
    gateway.faults.rest_delay_s = 1.6
    outcome = await check(gateway, SUPABASE_TRADES_TABLE="nope", SUPABASE_LEVELS_TABLE="nope")
    verdict, found, remedy = outcome["answers"]
    assert verdict == "warn"
    assert found.startswith("answers take 1.6 s: a new trade is guarded only after")
    assert "overloaded" in remedy


async def test_a_file_of_trades_beside_the_project(project: str, gateway: SupabaseGateway) -> None:
    outcome = await check(gateway, role="exit_monitor", TRADES_DB="logs/trades.db")
    assert (outcome.code, outcome.not_ok) == (0, {"TRADES_DB"})
    assert "is not used" in outcome["TRADES_DB"][1]


async def test_only_closed_rows_are_no_reason_to_worry(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "UPDATE trades SET order_status = 'closed'")
    assert (await check(gateway, role="exit_monitor"))["open trades"] == (
        "ok",
        "none open; closed ones are visible",
        "",
    )


async def test_a_role_that_may_not_read(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "REVOKE ALL ON strategies FROM exit_monitor")
    outcome = await check(gateway, role="exit_monitor")
    assert outcome.code == 4
    assert outcome["table strategies"][0] == "FAIL"
    assert PRIVILEGE_003 in outcome["table strategies"][2]


@pytest.mark.parametrize("column", ["order_status", "exit_order_id", "exit_price", "exit_time", "exit_reason"])
async def test_a_role_that_may_not_close(project: str, gateway: SupabaseGateway, column: str) -> None:
    await execute(project, f"REVOKE UPDATE ({column}) ON trades FROM exit_monitor")
    outcome = await check(gateway, role="exit_monitor")
    assert (outcome.code, outcome.not_ok) == (4, {"closing a row"})
    assert PRIVILEGE_003 in outcome["closing a row"][2]


async def test_without_any_migration_it_is_ready_with_warnings(database: str, gateway: SupabaseGateway) -> None:
    await execute(database, "INSERT INTO trades (strategy_id, symbol, price) VALUES (7, 'NIFTY', 100)")
    outcome = await check(gateway)
    assert outcome.code == 0
    assert outcome.not_ok == {"key", "risk_events", "own tables", "lease", "clock"}
    for name in ("risk_events", "own tables", "lease", "clock"):
        assert outcome[name][0] == "warn"
        assert TABLES_001 in outcome[name][2]
    assert not [name for name in outcome.verdicts if "monitor_lease" in name or name == "canary"]


async def test_an_old_risk_events_that_lacks_what_is_needed(database: str, gateway: SupabaseGateway) -> None:
    await execute(
        database, "CREATE TABLE risk_events (event_id bigint PRIMARY KEY, notes text); NOTIFY pgrst, 'reload schema'"
    )
    verdict, _, remedy = (await check(gateway))["risk_events"]
    assert verdict == "warn"
    assert TABLES_001 in remedy


async def test_a_role_that_may_not_record(project: str, gateway: SupabaseGateway) -> None:
    await execute(project, "REVOKE INSERT ON risk_events FROM exit_monitor")
    outcome = await check(gateway, role="exit_monitor")
    assert (outcome.code, outcome.not_ok) == (0, {"risk_events"})
    assert PRIVILEGE_003 in outcome["risk_events"][2]


async def test_changes_that_are_confirmed_and_never_come(project: str, gateway: SupabaseGateway) -> None:
    gateway.faults.mute_changes = True
    outcome = await check(gateway, role="exit_monitor")
    assert (outcome.code, outcome.not_ok) == (0, {"canary"})
    assert "its echo did not come" in outcome["canary"][1]


async def test_no_way_to_the_change_stream(project: str, gateway: SupabaseGateway) -> None:
    gateway.faults.refuse_upgrade = 403
    outcome = await check(gateway, role="exit_monitor")
    assert (outcome.code, outcome.not_ok) == (4, {"realtime"})
    assert "403" in outcome["realtime"][1]
    assert "wss://" in outcome["realtime"][2]


async def test_the_server_is_away(project: str, gateway: SupabaseGateway) -> None:
    await gateway.stop()
    outcome = await check(gateway)
    assert outcome.code == 4
    assert outcome.verdicts == {"address": "FAIL"}
    assert outcome["address"][1].startswith("the connection: 127.0.0.1:")
    assert "paused" in outcome["address"][2]


async def test_the_server_answers_nonsense(project: str, gateway: SupabaseGateway) -> None:
    gateway.faults.rest_fail.extend([(503, "<html>", "text/html")] * 3)
    outcome = await check(gateway)
    assert (outcome.code, outcome.verdicts) == (4, {"address": "FAIL"})
    assert outcome["address"][1].startswith("the answer: ")


async def test_an_address_with_a_path(project: str, gateway: SupabaseGateway) -> None:
    outcome = await run({"SUPABASE_URL": f"{gateway.url}/project", "SUPABASE_KEY": gateway.service_key}, "--json")
    assert (outcome.code, outcome.verdicts) == (4, {"address": "FAIL"})
    assert outcome["address"][1].startswith("no Supabase project: 404")
    assert "without a path" in outcome["address"][2]


async def test_another_server(tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "0",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert server.stdout is not None
    try:
        port = (await server.stdout.readline()).decode().split(" port ")[1].split()[0]
        plain = await run({"SUPABASE_URL": f"http://127.0.0.1:{port}", "SUPABASE_KEY": "sb_secret_x"}, "--json")
        private = await run({"SUPABASE_URL": f"https://127.0.0.1:{port}", "SUPABASE_KEY": "sb_secret_x"}, "--json")
    finally:
        server.terminate()
        await server.wait()
    assert (plain.code, plain.verdicts) == (private.code, private.verdicts) == (4, {"address": "FAIL"})
    assert plain["address"][1].startswith("no Supabase project: 404")
    assert private["address"][1].startswith("the encryption: ")
    assert "speaks no TLS" in private["address"][2]
    assert "http://" in private["address"][2]


async def test_a_name_that_nobody_knows() -> None:
    outcome = await run({"SUPABASE_URL": "https://no-such-project.invalid", "SUPABASE_KEY": "sb_secret_x"}, "--json")
    assert (outcome.code, outcome.verdicts) == (4, {"address": "FAIL"})
    assert outcome["address"][1].startswith("the host name: ")


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context, _ = self_signed(tmp_path, "localhost")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await run({"SUPABASE_URL": f"https://localhost:{port}", "SUPABASE_KEY": "sb_secret_x"}, "--json")
    assert (outcome.code, outcome.verdicts) == (4, {"address": "FAIL"})
    assert outcome["address"][1].startswith("the certificate: ")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SUPABASE_URL": "https://x.supabase.co"}, "SUPABASE_KEY"),
        ({"SUPABASE_URL": "x.supabase.co", "SUPABASE_KEY": "sb_secret_x"}, "SUPABASE_URL"),
        ({}, "SUPABASE_URL"),
    ],
)
async def test_wrong_settings(environment: dict[str, str], said: str) -> None:
    outcome = await run(environment)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


async def test_an_option_that_is_not_there() -> None:
    outcome = await run({}, "--once")
    assert outcome.code == 2
    assert "--json" in outcome.err
