"""What the journal reports durable is there after any crash, and a damaged journal is never believed."""

import asyncio
import contextlib
import sqlite3
import statistics
import sys
import time
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exit_journal import KEPT_NS, REMEMBERED_NS, ExitJournal
from core.journal_codec import encode
from core.model.errors import StoreError, TransportError
from core.model.exit_levels import Action, Rule
from core.model.journal_records import DayCounted, ExitFinished, ExitHalted, LimitReset, LimitTripped, RowsWritten
from core.model.memory import PositionMemory, ToldLevel
from core.model.signals import ExitRecord, Latency, Mode
from core.model.special_levels import LimitKind, Scope
from tests.unit.journal.records import any_record, observed, prepared, started


class ManualClock:
    def __init__(self):
        self.now = 1_800_000_000_000_000_000

    def monotonic_ns(self):
        return self.now

    def utc_ns(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "exit_journal.db"


@contextlib.asynccontextmanager
async def opened(path, mode=Mode.LIVE, **options):
    journal = ExitJournal(path, mode, **options)
    try:
        records = await journal.open()
        yield journal, records
    finally:
        await journal.close()


async def replayed(path, mode=Mode.LIVE, **options):
    async with opened(path, mode, **options) as (_, records):
        return records


def edit(path, statement, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


async def test_records_come_back_in_order(path):
    batch = (started(), prepared(1), observed(1), prepared(2))
    async with opened(path) as (journal, records):
        assert records == ()
        await journal.write(batch[:2])
        await journal.write(batch[2:])
    assert await replayed(path) == batch


async def test_write_returns_the_clock_after_the_commit(path):
    clock = ManualClock()
    async with opened(path, clock=clock) as (journal, _):
        clock.now += 5
        assert await journal.write([started()]) == clock.now
        assert await journal.write([]) == clock.now


@given(records=st.lists(any_record, max_size=8))
@settings(max_examples=25)
def test_any_records_survive_the_file(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "j.db"

    async def there_and_back():
        async with opened(path) as (journal, _):
            await journal.write(records)
        return await replayed(path)

    assert asyncio.run(there_and_back()) == tuple(records)


async def test_the_file_and_its_log_are_private(path):
    async with opened(path) as (journal, _):
        await journal.write([started()])
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert set(modes.values()) == {"0o600"}


async def test_the_connection_is_exclusive_durable_and_alone(path):
    made = []

    def connect(*args, **kwargs):
        made.append(sqlite3.connect(*args, **kwargs))
        return made[-1]

    async with opened(path, connect=connect) as (journal, _):
        await journal.write([started()])
        asked = ("locking_mode", "journal_mode", "synchronous")
        values = await journal._on_thread(lambda: [made[0].execute(f"PRAGMA {name}").fetchone()[0] for name in asked])
        assert values == ["exclusive", "wal", 2]
        assert len(made) == 1
        assert sorted(file.name for file in path.parent.iterdir()) == ["exit_journal.db", "exit_journal.db-wal"]


async def test_a_second_holder_is_refused(path):
    async with opened(path):
        with pytest.raises(StoreError, match="held by another process"):
            await replayed(path)


async def test_modes_do_not_see_each_other(path):
    async with opened(path, Mode.SIMULATION) as (journal, _):
        await journal.write([started("s", 9)])
        await journal.save_memories({"42": PositionMemory(peak=100)})
    async with opened(path) as (journal, records):
        assert records == ()
        assert journal.generations == {}
        assert await journal.load_memories() == {}
    assert await replayed(path, Mode.SIMULATION) == (started("s", 9),)


async def test_settled_exits_leave_after_a_week_and_open_ones_stay(path):
    clock = ManualClock()
    async with opened(path, clock=clock) as (journal, _):
        await journal.write([started("old", 1), prepared(1, "old"), RowsWritten("old"), started("open", 2)])
        clock.now += KEPT_NS // 2
        await journal.write([started("long", 3)])
        clock.now += KEPT_NS // 2 + 1
        await journal.write([RowsWritten("long")])
    async with opened(path, clock=clock) as (journal, records):
        assert [record.exit_id for record in records] == ["open", "long", "long"]
        assert journal.generations == {42: 3}


async def test_an_exit_of_a_share_is_kept_as_long_as_its_row_may_be_open(path):
    clock = ManualClock()
    share = ExitRecord(
        "half", 42, "NIFTY", "Long Call", Action.CLOSE_50, "", Rule.PROFIT_TARGET, 1, 1, (), 1, Latency(), Mode.LIVE, 1
    )
    async with opened(path, clock=clock) as (journal, _):
        await journal.write([started("half", 1), ExitFinished("half", share), RowsWritten("half")])
    clock.now += 10 * KEPT_NS
    assert [record.exit_id for record in await replayed(path, clock=clock)] == ["half"] * 3


async def test_what_limits_remember_is_a_matter_of_days(path):
    clock = ManualClock()
    limits = [
        LimitTripped(Scope.PORTFOLIO, "", LimitKind.MAX_LOSS, -1, -2, clock.now),
        DayCounted("gone", 42, "NIFTY", None, clock.now),
        LimitReset(Scope.PORTFOLIO, "", -2, clock.now),
    ]
    async with opened(path, clock=clock) as (journal, _):
        await journal.write([started("open", 1), *limits])
    clock.now += KEPT_NS
    assert await replayed(path, clock=clock) == (started("open", 1), *limits)
    clock.now += 1
    assert await replayed(path, clock=clock) == (started("open", 1),)


async def test_a_damaged_record_of_a_limit_keeps_nobody_from_starting_and_is_said_aloud(path, caplog):
    async with opened(path) as (journal, _):
        await journal.write([started(), LimitTripped(Scope.PORTFOLIO, "", LimitKind.MAX_LOSS, -1, -2, 3)])
        await journal.write([DayCounted("", 42, "NIFTY", 5, 3)])
    edit(path, "UPDATE exit_records SET crc = crc + 1 WHERE seq > 1")
    assert await replayed(path) == (started(),)
    aloud = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert ["a damaged LimitTripped was cut off" in text for text in aloud] == [True, False]
    assert await replayed(path) == (started(),), "said once"


async def test_generations_are_the_highest_of_each_strategy(path):
    async with opened(path) as (journal, _):
        await journal.write([started("a", 2, 1), started("b", 1, 1), started("c", 5, 2)])
    async with opened(path) as (journal, _):
        assert journal.generations == {1: 2, 2: 5}


async def test_memories_are_kept_replaced_and_forgotten_after_a_year_without_news(path):
    clock = ManualClock()
    told = ToldLevel(Rule.GREEKS, "delta", 8_000)
    full = PositionMemory(-5, (told,), 0.25, 0.18, date(2026, 11, 20), 70, "NIFTY")
    async with opened(path, clock=clock) as (journal, _):
        await journal.save_memories({"1": PositionMemory(peak=100), "2": full})
        clock.now += REMEMBERED_NS
        await journal.save_memories({"1": PositionMemory(peak=250)})
    async with opened(path, clock=clock) as (journal, _):
        assert await journal.load_memories() == {"1": PositionMemory(peak=250), "2": full}
        assert journal.saved_ns == {"1": clock.now, "2": clock.now - REMEMBERED_NS}
        clock.now += 1
        assert await journal.load_memories() == {"1": PositionMemory(peak=250)}


async def test_a_peak_of_the_format_before_is_still_known_until_there_is_something_newer(path):
    async with opened(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO peaks VALUES ('LIVE', 'old', 700, 1, 1), ('LIVE', 'not armed', 5, 0, 1)")
    connection.execute("INSERT INTO peaks VALUES ('LIVE', 'both', 7, 1, 1), ('SIMULATION', 'other', 7, 1, 1)")
    connection.commit()
    connection.close()
    async with opened(path) as (journal, _):
        await journal.save_memories({"both": PositionMemory(peak=9)})
        assert await journal.load_memories() == {"old": PositionMemory(peak=700), "both": PositionMemory(peak=9)}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"peak": "high"}', '{"unknown": 1}', '{"peak": NaN}'])
async def test_a_memory_that_cannot_be_read_takes_no_other_with_it(path, text, caplog):
    async with opened(path) as (journal, _):
        await journal.save_memories({"good": PositionMemory(peak=9), "bad": PositionMemory(peak=8)})
    connection = sqlite3.connect(path)
    connection.execute("UPDATE memories SET memory=? WHERE position_tag='bad'", (text,))
    connection.commit()
    connection.close()
    async with opened(path) as (journal, _):
        assert await journal.load_memories() == {"good": PositionMemory(peak=9)}
    assert "what was remembered of bad is not readable" in caplog.text


FLIPPED = [
    ("payload", "UPDATE exit_records SET payload = replace(payload, '65', '66') WHERE seq = ?"),
    ("time", "UPDATE exit_records SET utc_ns = utc_ns + 1 WHERE seq = ?"),
    ("mode", "UPDATE exit_records SET mode = 'ALERT' WHERE seq = ?"),
    ("checksum", "UPDATE exit_records SET crc = crc + 1 WHERE seq = ?"),
    ("blob", "UPDATE exit_records SET payload = x'00ff' WHERE seq = ?"),
]


@pytest.mark.parametrize("statement", [flip for _, flip in FLIPPED], ids=[name for name, _ in FLIPPED])
async def test_a_damaged_middle_is_refused(path, statement):
    async with opened(path) as (journal, _):
        await journal.write([started(), prepared(1), observed(1), prepared(2)])
    edit(path, statement, 2)
    with pytest.raises(StoreError, match="record 2 is damaged"):
        await replayed(path)


async def test_a_missing_middle_is_refused(path):
    async with opened(path) as (journal, _):
        await journal.write([started(), prepared(1), observed(1)])
    edit(path, "DELETE FROM exit_records WHERE seq = 2")
    with pytest.raises(StoreError, match="record 2 is damaged"):
        await replayed(path)


async def test_a_damaged_observation_at_the_end_is_cut_off(path, caplog):
    async with opened(path) as (journal, _):
        await journal.write([started(), prepared(1), observed(1)])
    edit(path, FLIPPED[0][1], 3)
    assert await replayed(path) == (started(), prepared(1))
    assert "1 damaged records at the end" in caplog.text
    async with opened(path) as (journal, records):
        assert records == (started(), prepared(1))
        await journal.write([observed(1)])
    assert await replayed(path) == (started(), prepared(1), observed(1))


async def test_a_damaged_permission_to_order_halts_its_exit(path):
    async with opened(path) as (journal, _):
        await journal.write([started(), prepared(1)])
    edit(path, FLIPPED[0][1], 2)
    *kept, halted = await replayed(path)
    assert kept == [started()]
    assert isinstance(halted, ExitHalted)
    assert (halted.exit_id, "AttemptPrepared" in halted.reason) == ("e1", True)
    assert await replayed(path) == (*kept, halted)


async def test_a_damaged_start_of_an_exit_is_refused(path):
    async with opened(path) as (journal, _):
        await journal.write([started()])
    edit(path, FLIPPED[0][1], 1)
    with pytest.raises(StoreError, match="cannot be named"):
        await replayed(path)


@given(data=st.data())
@settings(max_examples=60)
def test_a_flipped_byte_anywhere_never_changes_a_record(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "j.db"
    written = (started(), prepared(1), observed(1))

    async def write_all():
        async with opened(path) as (journal, _):
            await journal.write(written)

    asyncio.run(write_all())
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        records = asyncio.run(replayed(path))
    except (StoreError, TransportError):
        return
    facts = tuple(record for record in records if not isinstance(record, ExitHalted))
    assert facts == written[: len(facts)]
    assert len(facts) >= 2 or any(isinstance(record, ExitHalted) for record in records) or records == ()


async def test_a_file_that_is_no_database_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="corrupt"):
        await replayed(path)


async def test_a_newer_format_is_refused(path):
    await replayed(path)
    edit(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer build"):
        await replayed(path)


async def test_a_record_of_a_newer_build_is_refused_with_the_builds_name(path):
    async with opened(path, build="v9") as (journal, _):
        await journal.write([started()])
        entry = journal._as_entry(started())
        unknown = type(entry)(*(entry.utc_ns, entry.mode, entry.build, "e9", "ExitUndone", '{"@":"ExitUndone"}'))
        await journal._on_thread(lambda: journal._file.append([unknown]))
    with pytest.raises(StoreError, match="'v9'"):
        await replayed(path)


async def test_a_state_folder_that_cannot_be_made_is_a_transport_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransportError, match="could not be opened"):
        await replayed(tmp_path / "file" / "j.db")


class FailingDisk(sqlite3.Connection):
    """Refuses the statements in `failing`, after doing the first `done_first` of them: a commit whose fsync failed."""

    failing: tuple[str, ...] = ()
    takes_effect = False

    def execute(self, statement, *args):
        if statement.startswith(type(self).failing or ("\0",)):
            if type(self).takes_effect:
                super().execute(statement, *args)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(statement, *args)


@pytest.fixture
def disk():
    class Disk(FailingDisk):
        pass

    return Disk


def on(disk):
    return lambda *args, **kwargs: sqlite3.connect(*args, factory=disk, **kwargs)


@pytest.mark.parametrize("takes_effect", [False, True], ids=["lost", "reached the log"])
async def test_a_failed_commit_is_reported_and_is_not_there(path, disk, takes_effect):
    async with opened(path, connect=on(disk)) as (journal, _):
        await journal.write([started()])
        disk.failing, disk.takes_effect = ("COMMIT",), takes_effect
        with pytest.raises(TransportError, match="could not be written"):
            await journal.write([prepared(1)])
        disk.failing = ()
        await journal.write([prepared(2)])
    assert await replayed(path) == (started(), prepared(2))


async def test_the_same_records_may_be_written_again_after_a_failure(path, disk):
    async with opened(path, connect=on(disk)) as (journal, _):
        await journal.write([started()])
        disk.failing, disk.takes_effect = ("COMMIT",), True
        with pytest.raises(TransportError):
            await journal.write([prepared(1)])
        disk.failing = ()
        await journal.write([prepared(1)])
    assert await replayed(path) == (started(), prepared(1))


@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint", "DELETE FROM exit_records", "BEGIN"])
async def test_nothing_is_durable_until_the_file_is_whole_again(path, disk, statement):
    async with opened(path, connect=on(disk)) as (journal, _):
        await journal.write([started()])
        disk.failing = ("COMMIT",)
        with pytest.raises(TransportError):
            await journal.write([prepared(1)])
        disk.failing = (statement,)
        for _ in range(3):
            with pytest.raises(TransportError):
                await journal.write([prepared(1)])
        disk.failing = ()
        await journal.write([prepared(1)])
    assert await replayed(path) == (started(), prepared(1))


async def test_writes_do_not_hold_up_the_loop(path):
    async with opened(path) as (journal, _):
        release = asyncio.Event()

        async def slow():
            await journal._on_thread(lambda: time.sleep(0.05))
            release.set()

        task = asyncio.create_task(slow())
        ticks = 0
        while not release.is_set():
            await asyncio.sleep(0)
            ticks += 1
        await task
        assert ticks > 10


async def test_writing_is_fast(path, capsys):
    taken = []
    async with opened(path) as (journal, _):
        for number in range(300):
            begun = time.perf_counter()
            await journal.write([prepared(number)])
            taken.append((time.perf_counter() - begun) * 1e3)
    cuts = statistics.quantiles(taken, n=100)
    with capsys.disabled():
        sys.stdout.write(f"\n[journal] write until durable: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms\n")
    assert cuts[49] < 250


def test_the_codec_text_is_what_is_stored(path):
    async def write():
        async with opened(path) as (journal, _):
            await journal.write([started()])

    asyncio.run(write())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT payload FROM exit_records").fetchone() == (encode(started()),)
