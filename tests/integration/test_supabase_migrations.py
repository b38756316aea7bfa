"""The migrations on a real PostgreSQL, run by an owner who is no superuser, as in a hosted project."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    Connection = asyncpg.Connection[asyncpg.Record]

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "data_scripts" / "supabase_migrations"
TABLES_001: Final = "001_monitor_tables.sql"
REALTIME_002: Final = "002_realtime.sql"
PRIVILEGE_003: Final = "003_least_privilege.sql"
ALL: Final = (TABLES_001, REALTIME_002, PRIVILEGE_003)

TRADE_TABLES: Final = ("trades", "strategies", "strategy_risk_management", "strategy_exit_levels")
CALENDAR_TABLES: Final = ("trading_hours_templates", "trading_sessions", "market_holidays", "special_trading_sessions")
OWN_TABLES: Final = ("risk_events", "monitor_state", "monitor_lease", *CALENDAR_TABLES)

CALLERS: Final = 20
ROUNDS: Final = 50

_MAKE_OWNER: Final = """
DO $$
DECLARE
    each text;
BEGIN
    IF to_regrole('project_owner') IS NULL THEN
        CREATE ROLE project_owner LOGIN CREATEROLE;
    END IF;
    -- A role that another test's owner has made is this owner's to grant, as it is in a project of one owner.
    IF to_regrole('exit_monitor') IS NOT NULL THEN
        GRANT exit_monitor TO project_owner WITH ADMIN OPTION;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO project_owner', current_database());
    ALTER SCHEMA public OWNER TO project_owner;
    ALTER PUBLICATION supabase_realtime OWNER TO project_owner;
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER TABLE public.%I OWNER TO project_owner', each);
    END LOOP;
    FOREACH each IN ARRAY ARRAY['TABLES', 'SEQUENCES', 'FUNCTIONS'] LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE project_owner IN SCHEMA public GRANT ALL ON %s '
                       'TO anon, authenticated, service_role', each);
    END LOOP;
END
$$
"""


@asynccontextmanager
async def connected(dsn: str, *, role: str | None = None) -> AsyncIterator[Connection]:
    """As the superuser; or as the REST service does it: as authenticator, which becomes `role`."""
    connection = await (asyncpg.connect(dsn) if role is None else asyncpg.connect(dsn, user="authenticator"))
    try:
        if role is not None:
            await connection.execute(f"SET ROLE {role}")
        yield connection
    finally:
        await connection.close()


async def make_owner(dsn: str) -> None:
    """Give the trade tables to a role without superuser rights. Its new tables are open to everybody, as in a project."""
    async with connected(dsn) as connection:
        await connection.execute(_MAKE_OWNER)


async def migrate(dsn: str, files: Iterable[str] = ALL) -> list[str]:
    """Run the files as that owner; the warnings they gave."""
    warnings: list[str] = []
    connection = await asyncpg.connect(dsn, user="project_owner")
    try:
        connection.add_log_listener(lambda _, message: warnings.append(str(message)))
        for file in files:
            await connection.execute((MIGRATIONS / file).read_text(encoding="utf-8"))
    finally:
        await connection.close()
    return warnings


@pytest.fixture
async def owned(database: str) -> str:
    await make_owner(database)
    return database


@pytest.fixture
async def migrated(owned: str) -> str:
    await migrate(owned)
    return owned


async def add_trade(dsn: str, status: str = "open") -> int:
    async with connected(dsn) as connection:
        return int(
            await connection.fetchval(
                "INSERT INTO trades (strategy_id, symbol, price, order_status) VALUES (7, 'NIFTY', 100, $1) RETURNING new_id",
                status,
            )
        )


async def beat(connection: Connection, name: str, holder: str, number: int = 1, ttl_s: int = 30) -> asyncpg.Record:
    rows = await connection.fetch(
        "SELECT * FROM beat_monitor_lease(p_name => $1, p_holder => $2, p_beat => $3, p_build => 'test', p_ttl_s => $4)",
        name,
        holder,
        number,
        ttl_s,
    )
    assert len(rows) == 1
    return rows[0]


async def description(dsn: str) -> list[tuple[Any, ...]]:
    """Tables, columns, rights, policies, functions and what is published: everything that a second run could change."""
    async with connected(dsn) as connection:
        found = []
        for query in (
            """SELECT table_name, column_name, data_type, is_nullable, column_default
               FROM information_schema.columns WHERE table_schema = 'public'""",
            "SELECT relname, relacl::text, relrowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace",
            "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL",
            "SELECT tablename, policyname, roles::text, cmd, qual, with_check FROM pg_policies",
            """SELECT proname, prosrc, proconfig::text, proacl::text, prosecdef FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace""",
            "SELECT pubname, tablename FROM pg_publication_tables",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint",
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        ):
            found += sorted(tuple(map(str, row)) for row in await connection.fetch(query))
        return found


class TestApplying:
    async def test_a_second_run_changes_nothing(self, migrated: str) -> None:
        once = await description(migrated)
        assert await migrate(migrated) == []
        assert await description(migrated) == once

    async def test_no_table_of_others_changes(self, owned: str) -> None:
        of_others = """SELECT * FROM information_schema.columns WHERE table_schema = 'public' AND NOT table_name = ANY($1)
                       ORDER BY table_name, ordinal_position"""
        security = "SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relname = ANY($1)"
        async with connected(owned) as connection:
            before = await connection.fetch(of_others, OWN_TABLES)
            await migrate(owned)
            assert await connection.fetch(of_others, OWN_TABLES) == before
            assert await connection.fetch(security, OWN_TABLES) == []

    async def test_the_publication_holds_the_tables_whatever_it_was(self, owned: str) -> None:
        published = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime'"
        for made in (
            "",
            "CREATE PUBLICATION supabase_realtime FOR TABLE trades",
            "CREATE PUBLICATION supabase_realtime FOR ALL TABLES",
        ):
            async with connected(owned) as connection:
                await connection.execute(f"DROP PUBLICATION IF EXISTS supabase_realtime; {made}")
                if made:
                    await connection.execute("ALTER PUBLICATION supabase_realtime OWNER TO project_owner")
                assert await migrate(owned, (TABLES_001, REALTIME_002)) == []
                found = {row[0] for row in await connection.fetch(published)}
            assert found >= {*TRADE_TABLES, "monitor_lease"}, made

    async def test_what_realtime_would_not_tell_is_said(self, owned: str) -> None:
        async with connected(owned) as connection:
            await connection.execute("ALTER TABLE strategy_exit_levels DROP CONSTRAINT strategy_exit_levels_pkey")
            await connection.execute("ALTER PUBLICATION supabase_realtime SET (publish = 'insert, update')")
        warnings = " ".join(await migrate(owned, (TABLES_001, REALTIME_002)))
        assert "strategy_exit_levels has no primary key" in warnings
        assert "leaves out deletes" in warnings

    async def test_the_order_of_the_files_is_told(self, owned: str) -> None:
        with pytest.raises(asyncpg.RaiseError) as raised:
            await migrate(owned, (REALTIME_002,))
        assert "001_monitor_tables.sql" in str(raised.value.hint)

    async def test_a_risk_events_of_an_older_program_gets_columns_and_keeps_all_else(self, owned: str) -> None:
        async with connected(owned) as connection:
            await connection.execute(
                "CREATE TABLE risk_events (event_id serial PRIMARY KEY, strategy_id text, event_type varchar(9));"
                "INSERT INTO risk_events (strategy_id, event_type) VALUES ('x', 'stop'); GRANT SELECT ON risk_events TO anon;"
                "ALTER TABLE risk_events OWNER TO project_owner"
            )
        assert "risk_events exists already" in " ".join(await migrate(owned))
        await migrate(owned)
        async with connected(owned, role="anon") as connection:
            kept = await connection.fetchrow("SELECT * FROM risk_events")
        assert kept is not None
        assert (kept["strategy_id"], kept["event_type"], kept["execution_id"]) == ("x", "stop", None)
        async with connected(owned) as connection:
            await connection.execute(
                "INSERT INTO risk_events (execution_id) VALUES ('e') ON CONFLICT (execution_id) DO NOTHING"
            )

    async def test_another_schema_is_one_word_in_each_file(self, owned: str) -> None:
        async with connected(owned) as connection:
            await connection.execute("CREATE SCHEMA desk AUTHORIZATION project_owner")
            for table in TRADE_TABLES:
                await connection.execute(f"ALTER TABLE public.{table} SET SCHEMA desk")
        owner = await asyncpg.connect(owned, user="project_owner")
        try:
            for file in ALL:
                text = (MIGRATIONS / file).read_text(encoding="utf-8")
                edited = text.replace("search_path = public,", "search_path = desk,").replace(
                    ":= 'public';", ":= 'desk';"
                )
                assert edited != text
                await owner.execute(edited)
        finally:
            await owner.close()
        async with connected(owned, role="exit_monitor") as connection:
            row = await connection.fetchrow("SELECT * FROM desk.beat_monitor_lease('exits', 'a', 1, 'test', 30)")
            assert row is not None
            assert row["is_mine"]


class TestRights:
    """What the role may do, by trying."""

    async def test_it_closes_an_open_row_and_reads_it_back(self, migrated: str) -> None:
        key = await add_trade(migrated)
        async with connected(migrated, role="exit_monitor") as connection:
            close = (
                "UPDATE trades SET order_status='closed', exit_order_id='9', exit_price=101.05, exit_time='t', exit_reason='r' "
                "WHERE new_id=$1 AND order_status='open' RETURNING *"
            )
            first, second = await connection.fetch(close, key), await connection.fetch(close, key)
        assert [row["exit_order_id"] for row in first] == ["9"]
        assert second == []

    async def test_it_reads_what_the_monitor_reads(self, migrated: str) -> None:
        async with connected(migrated, role="exit_monitor") as connection:
            for table in (*TRADE_TABLES, "risk_events", "monitor_lease", *CALENDAR_TABLES):
                await connection.fetch(f"TABLE {table}")

    async def test_it_records_an_exit_once(self, migrated: str) -> None:
        record = (
            "INSERT INTO risk_events (execution_id, strategy_id, event_type, triggered_at) "
            "VALUES ('X1', 7, 'stop_loss', '2026-11-20T10:15:30.250+05:30') "
            "ON CONFLICT (execution_id) DO NOTHING RETURNING *"
        )
        async with connected(migrated, role="exit_monitor") as connection:
            assert len(await connection.fetch(record)) == 1
            assert await connection.fetch(record) == []
            written = await connection.fetchval("SELECT triggered_at AT TIME ZONE 'UTC' FROM risk_events")
        assert str(written) == "2026-11-20 04:45:30.250000"

    async def test_it_takes_renews_and_releases_the_lease(self, migrated: str) -> None:
        async with connected(migrated, role="exit_monitor") as connection:
            assert (await beat(connection, "exits", "a"))["is_mine"]
            assert (await beat(connection, "exits", "a", 2))["beat"] == 2
            assert await connection.fetchval("SELECT released FROM release_monitor_lease('exits', 'a')")

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM trades",
            "TRUNCATE trades",
            "UPDATE trades SET price = 1",
            "UPDATE trades SET quantity = 1",
            "UPDATE trades SET strategy_id = 1",
            "INSERT INTO trades (strategy_id) VALUES (1)",
            "UPDATE strategies SET strategy_type = 'Income'",
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type) VALUES (1, 'stop_loss')",
            "DELETE FROM strategy_exit_levels",
            "UPDATE strategy_risk_management SET trailing_stop = 1",
            "UPDATE strategy_details SET lots = 1",
            "DELETE FROM strategy_monitoring",
            "SELECT * FROM monitor_state",
            "INSERT INTO monitor_state (strategy_id, state) VALUES (1, '{}')",
            "DELETE FROM risk_events",
            "UPDATE risk_events SET notes = ''",
            "DELETE FROM monitor_lease",
            "TRUNCATE monitor_lease",
            "INSERT INTO market_holidays VALUES ('2026-01-26', 'NSE_FNO', 'x')",
            "ALTER TABLE trades ADD COLUMN x int",
            "ALTER TABLE trades DISABLE ROW LEVEL SECURITY",
            "DROP TABLE risk_events",
            "CREATE TABLE x (id int)",
            "CREATE ROLE x",
            "SELECT nextval('trades_new_id_seq')",
            "SELECT setval('risk_events_id_seq', 1)",
        ],
    )
    async def test_it_is_denied_everything_else(self, migrated: str, statement: str) -> None:
        await add_trade(migrated)
        async with connected(migrated, role="exit_monitor") as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)

    async def test_a_second_run_takes_back_what_was_granted_in_between(self, migrated: str) -> None:
        async with connected(migrated) as connection:
            await connection.execute(
                "GRANT ALL ON trades, monitor_state TO exit_monitor; GRANT UPDATE (price) ON trades TO exit_monitor"
            )
        await migrate(migrated, (PRIVILEGE_003,))
        async with connected(migrated, role="exit_monitor") as connection:
            for statement in ("DELETE FROM trades", "UPDATE trades SET price = 1", "SELECT * FROM monitor_state"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)

    async def test_with_row_level_security_on_a_closed_row_stays_closed(self, migrated: str) -> None:
        open_key, closed_key = await add_trade(migrated), await add_trade(migrated, "closed")
        async with connected(migrated) as connection:
            for table in TRADE_TABLES:
                await connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        async with connected(migrated, role="exit_monitor") as connection:
            change = "UPDATE trades SET order_status=$2, exit_reason='r' WHERE new_id=$1 RETURNING new_id"
            assert len(await connection.fetch("SELECT * FROM trades")) == 2
            assert await connection.fetch(change, closed_key, "open") == []
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(change, open_key, "pending")
            assert [row["new_id"] for row in await connection.fetch(change, open_key, "closed")] == [open_key]
        async with connected(migrated, role="anon") as connection:
            assert await connection.fetch("SELECT * FROM trades") == []

    @pytest.mark.parametrize("role", ["anon", "authenticated"])
    async def test_nobody_else_sees_the_own_tables(self, migrated: str, role: str) -> None:
        async with connected(migrated, role=role) as connection:
            for table in OWN_TABLES:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f"TABLE {table}")
            for call in (
                "SELECT * FROM beat_monitor_lease('exits', 'a', 1, 'test', 30)",
                "SELECT * FROM release_monitor_lease('exits', 'a')",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="for function"):
                    await connection.fetch(call)

    async def test_and_not_by_a_right_given_later(self, migrated: str) -> None:
        async with connected(migrated) as connection:
            await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO anon")
            await connection.execute(
                """INSERT INTO risk_events (execution_id) VALUES ('e');
                   INSERT INTO market_holidays VALUES ('2026-01-26', 'NSE_FNO', 'x')"""
            )
            await beat(connection, "exits", "a")
        async with connected(migrated, role="anon") as connection:
            for table in OWN_TABLES:
                assert await connection.fetch(f"TABLE {table}") == []

    async def test_the_service_role_may_do_it_all(self, migrated: str) -> None:
        async with connected(migrated, role="service_role") as connection:
            for table in OWN_TABLES:
                await connection.fetch(f"TABLE {table}")
            assert (await beat(connection, "exits", "a"))["is_mine"]
            await connection.execute("INSERT INTO risk_events (execution_id) VALUES ('e')")

    async def test_a_function_with_its_owners_rights_is_named(self, migrated: str) -> None:
        async with connected(migrated) as connection:
            await connection.execute(
                "CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM trades'"
            )
        assert any("wipe()" in warning for warning in await migrate(migrated, (PRIVILEGE_003,)))

    async def test_the_role_can_be_taken_away_as_the_file_says(self, migrated: str) -> None:
        async with connected(migrated) as connection:
            await connection.execute("DROP OWNED BY exit_monitor")
            assert await connection.fetch("SELECT * FROM pg_policies WHERE policyname LIKE 'exit_monitor%'") == []
            grants = "SELECT * FROM information_schema.role_column_grants WHERE grantee = 'exit_monitor'"
            assert await connection.fetch(grants) == []


class TestLease:
    async def test_of_twenty_callers_one_holds_it_each_time(self, migrated: str) -> None:
        async with AsyncExitStack() as stack:
            callers = [
                await stack.enter_async_context(connected(migrated, role="exit_monitor")) for _ in range(CALLERS)
            ]
            holders: dict[str, list[asyncpg.Record]] = {}
            for number in range(ROUNDS):
                # Half of the rounds begin without a row, the others with one that has expired.
                name = f"race {number // 2}"
                answers = await asyncio.gather(*(beat(each, name, f"{number}/{i}") for i, each in enumerate(callers)))
                winners = [answer for answer in answers if answer["is_mine"]]
                assert len(winners) == 1, name
                assert {(answer["holder"], answer["epoch"]) for answer in answers} == {
                    (winners[0]["holder"], winners[0]["epoch"])
                }
                holders.setdefault(name, []).append(winners[0])
                assert await callers[0].fetchval(
                    "SELECT released FROM release_monitor_lease($1, $2)", name, winners[0]["holder"]
                )
            assert [[each["epoch"] for each in winners] for winners in holders.values()] == [[1, 2]] * (ROUNDS // 2)

    async def test_it_is_held_until_it_expires(self, migrated: str) -> None:
        async with (
            connected(migrated, role="exit_monitor") as first,
            connected(migrated, role="exit_monitor") as second,
        ):
            assert (await beat(first, "exits", "a"))["epoch"] == 1
            refused = await beat(second, "exits", "b", 5)
            assert (refused["is_mine"], refused["holder"], refused["beat"], refused["epoch"]) == (False, "a", 1, 1)
            async with connected(migrated) as owner:
                await owner.execute("UPDATE monitor_lease SET expires_at = clock_timestamp() - interval '1 ms'")
            taken = await beat(second, "exits", "b", 6)
            assert (taken["is_mine"], taken["holder"], taken["beat"], taken["epoch"]) == (True, "b", 6, 2)
            assert not (await beat(first, "exits", "a", 2))["is_mine"]

    async def test_renewing_keeps_the_epoch_and_moves_the_end(self, migrated: str) -> None:
        async with connected(migrated, role="exit_monitor") as connection:
            first = await beat(connection, "exits", "a", 1, ttl_s=10)
            second = await beat(connection, "exits", "a", 2, ttl_s=60)
            left = await connection.fetchval("SELECT expires_at - beat_at FROM monitor_lease")
        assert (second["epoch"], second["is_mine"]) == (first["epoch"], True)
        assert 49 < (second["expires_at"] - first["expires_at"]).total_seconds() < 55
        assert left.total_seconds() == pytest.approx(60, abs=0.01)

    async def test_the_time_counts_at_which_the_row_was_free(self, migrated: str) -> None:
        """Who waits for the row's lock must not judge by the time at which he began to wait."""
        async with (
            connected(migrated, role="exit_monitor") as slow,
            connected(migrated, role="exit_monitor") as waiting,
        ):
            transaction = slow.transaction()
            await transaction.start()
            await beat(slow, "exits", "slow", ttl_s=1)
            asked = asyncio.create_task(beat(waiting, "exits", "waiting"))
            await slow.execute("SELECT pg_sleep(1.2)")
            assert not asked.done()
            await transaction.commit()
            answer = await asked
        assert (answer["is_mine"], answer["holder"]) == (True, "waiting")

    async def test_only_the_holder_releases(self, migrated: str) -> None:
        async with connected(migrated, role="exit_monitor") as connection:
            await beat(connection, "exits", "a")
            release = "SELECT released FROM release_monitor_lease('exits', $1)"
            assert not await connection.fetchval(release, "b")
            assert not (await beat(connection, "exits", "b"))["is_mine"]
            assert await connection.fetchval(release, "a")
            ended = await connection.fetchval("SELECT expires_at FROM monitor_lease")
            assert await connection.fetchval(release, "a")
            assert await connection.fetchval("SELECT expires_at FROM monitor_lease") == ended
            assert (await beat(connection, "exits", "b"))["epoch"] == 2

    @pytest.mark.parametrize(("name", "holder", "ttl_s"), [("", "a", 5), ("n", "", 5), ("n", "a", 0), ("n", "a", 3601)])
    async def test_senseless_requests_are_refused(self, migrated: str, name: str, holder: str, ttl_s: int) -> None:
        async with connected(migrated, role="exit_monitor") as connection:
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await beat(connection, name, holder, ttl_s=ttl_s)

    async def test_a_table_of_the_same_name_in_front_is_not_used(self, migrated: str) -> None:
        """The functions find their table wherever the caller's search path points."""
        async with connected(migrated) as connection:
            await connection.execute("CREATE TEMPORARY TABLE monitor_lease (name text)")
            await connection.execute("SET search_path = pg_temp")
            row = await connection.fetchrow("SELECT * FROM public.beat_monitor_lease('exits', 'a', 1, 'test', 30)")
            assert row is not None
            assert row["is_mine"]
            assert await connection.fetchval("SELECT count(*) FROM public.monitor_lease") == 1


class TestTradingHours:
    async def test_they_hold_what_the_calendar_knows_and_refuse_nonsense(self, migrated: str) -> None:
        async with connected(migrated) as connection:
            await connection.execute(
                "INSERT INTO trading_hours_templates (name, segment, valid_from) VALUES ('F&O', 'NSE_FNO', '2026-08-03')"
            )
            session = "INSERT INTO trading_sessions (template_id, opens, closes) SELECT id, "
            await connection.execute(session + "'09:15', '15:40' FROM trading_hours_templates")
            await connection.execute("INSERT INTO market_holidays VALUES ('2026-01-26', 'NSE_FNO', 'Republic Day')")
            special = "INSERT INTO special_trading_sessions (session_date, segment, opens, closes, reason) VALUES "
            await connection.execute(
                special
                + "('2024-03-02', 'NSE_FNO', '09:15', '10:00', 'test'), ('2024-03-02', 'NSE_FNO', '11:30', '12:30', 'test'), "
                "('2026-11-08', 'NSE_FNO', NULL, NULL, 'muhurat, hours not announced')"
            )
            for nonsense in (
                special + "('2024-03-02', 'NSE_FNO', '15:00', '10:00', 'ends before it begins')",
                special + "('2024-03-02', 'NSE_FNO', '15:00', NULL, 'has no end')",
                session + "'10:00', '10:00' FROM trading_hours_templates",
                """INSERT INTO trading_hours_templates (name, segment, valid_from, weekdays)
                   VALUES ('x', 'NSE_FNO', '2026-01-01', '{8}')""",
            ):
                with pytest.raises(asyncpg.CheckViolationError):
                    await connection.execute(nonsense)
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute(special + "('2026-11-08', 'NSE_FNO', NULL, NULL, 'twice')")
