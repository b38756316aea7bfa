"""The instrument master from a path, from a server, from yesterday's copy, or not at all."""

import asyncio
import email.utils
import gzip
import logging
import os

import pytest

from core.instrument_source import InstrumentSource
from core.model.errors import ConfigurationError, DecodeError, TransportError
from core.model.instrument import InstrumentKey, Segment
from tests.fakes.http_server import raw_server, replying
from tests.fakes.manual_clock import ManualClock

KEY = InstrumentKey(Segment.NSE_FNO, 61234)
HEADER = (
    "EXCH_ID,SEGMENT,SECURITY_ID,ISIN,INSTRUMENT,UNDERLYING_SECURITY_ID,UNDERLYING_SYMBOL,SYMBOL_NAME,LOT_SIZE,"
    "SM_EXPIRY_DATE,STRIKE_PRICE,OPTION_TYPE,TICK_SIZE,SM_UPPER_LIMIT,SM_LOWER_LIMIT,SM_FREEZE_QTY,"
)
ROW = "NSE,D,61234,NA,OPTIDX,26000,NIFTY,NIFTY-Nov2026-26200-CE,{lot}.0,2026-11-24,26200.0,CE,5.0,471.6,0.05,1756,"


def csv(lot=65):
    return f"{HEADER}\n{ROW.format(lot=lot)}\n".encode()


def response(body, made_ns=None):
    date = "" if made_ns is None else f"Last-Modified: {email.utils.formatdate(made_ns / 1e9, usegmt=True)}\r\n"
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (date.encode(), len(body)) + body


async def lot(source):
    return (await source.load([KEY])).master.instruments[KEY].lot


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_path_is_read_plain_or_gzip_and_no_copy_is_kept(tmp_path, pack):
    path = tmp_path / "master.csv"
    path.write_bytes(pack(csv()))
    os.utime(path, ns=(ManualClock().utc,) * 2)
    state = tmp_path / "state"
    loaded = await InstrumentSource(str(path), state, ManualClock()).load([KEY])
    assert loaded.master.instruments[KEY].symbol == "NIFTY-Nov2026-26200-CE"
    assert loaded.is_from_today
    assert not state.exists()


async def test_a_path_that_is_not_there_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="DHAN_INSTRUMENTS"):
        await InstrumentSource(str(tmp_path / "none.csv"), tmp_path, ManualClock()).load([KEY])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_url_is_downloaded_once_a_day(tmp_path, pack):
    clock = ManualClock()
    async with raw_server(replying(response(pack(csv(65))), response(pack(csv(75))))) as server:
        source = InstrumentSource(f"http://127.0.0.1:{server.port}/master.csv", tmp_path / "state", clock)
        assert await lot(source) == 65
        assert await lot(source) == 65
        assert len(server.requests) == 1
        assert "access-token" not in server.requests[0].headers
        clock.pass_seconds(86_400)
        assert await lot(source) == 75


async def test_the_last_good_copy_is_used_and_marked_when_the_download_fails(tmp_path):
    clock = ManualClock()
    failure = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(replying(response(csv()), failure, response(b"<html>"), failure)) as server:
        source = InstrumentSource(f"http://127.0.0.1:{server.port}/", tmp_path, clock)
        await source.load([KEY])
        for _ in range(2):
            clock.pass_seconds(86_400)
            loaded = await source.load([KEY])
            assert not loaded.is_from_today
            assert KEY in loaded.master.instruments


async def test_only_a_few_copies_are_kept(tmp_path):
    clock = ManualClock()
    async with raw_server(replying(response(csv()))) as server:
        source = InstrumentSource(f"http://127.0.0.1:{server.port}/", tmp_path, clock)
        for _ in range(6):
            await source.load([KEY])
            clock.pass_seconds(86_400)
        assert len(list(tmp_path.iterdir())) == 3


async def test_without_download_and_copy_the_error_says_so(tmp_path):
    failure = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(replying(failure)) as server:
        with pytest.raises(TransportError, match="503"):
            await InstrumentSource(f"http://127.0.0.1:{server.port}/", tmp_path, ManualClock()).load([KEY])
    with pytest.raises(TransportError):
        await InstrumentSource("http://127.0.0.1:1/", tmp_path, ManualClock()).load([KEY])


async def test_a_damaged_copy_of_today_is_downloaded_again(tmp_path):
    async with raw_server(replying(response(csv()))) as server:
        source = InstrumentSource(f"http://127.0.0.1:{server.port}/", tmp_path, ManualClock())
        await source.load([KEY])
        next(tmp_path.iterdir()).write_text("damaged")
        assert await lot(source) == 65
        assert len(server.requests) == 2


async def test_a_file_that_is_no_master_is_a_decode_error(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    os.utime(path, ns=(ManualClock().utc,) * 2)
    with pytest.raises(DecodeError):
        await InstrumentSource(str(path), tmp_path, ManualClock()).load([KEY])


DAY_S = 86_400
FAILURE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def many(rows, lot=65):
    """So many contracts, the wanted one among them."""
    others = (ROW.format(lot=lot).replace("61234", str(700_000 + number)) for number in range(rows - 1))
    return ("\n".join([HEADER, *others, ROW.format(lot=lot)]) + "\n").encode()


class Server:
    """A master server whose answer a test changes, and a source that asks it."""

    def __init__(self, port, state, clock):
        self.clock = clock
        self.told = []
        self.source = InstrumentSource(f"http://127.0.0.1:{port}/master.csv", state, clock)
        self.source.on_problem = self.told.append

    async def load(self):
        return await self.source.load([KEY])


GOOD = many(40, lot=75)
ANOTHER = b"NSE,I,13,NA,INDEX,,GOLD,GOLD,1.0,,,XX,5.0,,,,\n"
BROKEN = {
    "cut off in the last row": response(GOOD[:-20]),
    "shorter than it says": response(GOOD)[:-300],
    "not half as long": response(many(19, lot=75)),
    "rows that make no sense": response(GOOD.replace(b",75.0,", b",seventy,", 10)),
    "another list": response(GOOD + ANOTHER),
    "old by its rows": response(GOOD.replace(b"2026-11-24", b"2026-10-27")),
    "old by its date": response(GOOD, ManualClock().utc - 36 * DAY_S * 10**9),
    "gzip cut off": response(gzip.compress(GOOD)[:-30]),
    "empty": response(b""),
    "a page": response(b"<html>Bad Gateway</html>"),
    "a header alone": response(HEADER.encode() + b"\n"),
}


def closing(*responses):
    """As `replying`, and each connection ends with its answer."""
    reply = replying(*responses)

    async def answer(request, writer):
        await reply(request, writer)
        writer.close()

    return answer


@pytest.mark.parametrize("kind", BROKEN)
async def test_c08_a_download_that_is_not_believed_never_replaces_a_good_copy(tmp_path, kind, caplog):
    """The last good copy is used, that is said aloud, and the next good download takes over."""
    clock = ManualClock()
    async with raw_server(closing(response(many(40)), BROKEN[kind], response(many(40, lot=80)))) as server:
        rig = Server(server.port, tmp_path, clock)
        await rig.load()
        (copy,) = tmp_path.iterdir()
        before = copy.read_bytes()
        clock.pass_seconds(DAY_S)
        with caplog.at_level(logging.WARNING):
            loaded = await rig.load()
        assert loaded.master.instruments[KEY].lot == 65
        assert not loaded.is_from_today
        assert [path.name for path in tmp_path.iterdir()] == [copy.name]
        assert copy.read_bytes() == before
        (told,) = rig.told
        assert told == loaded.problems[0]
        assert "is used" in told
        assert told in caplog.text
        clock.pass_seconds(301)
        assert (await rig.load()).master.instruments[KEY].lot == 80
        assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if kind != "not half as long"])
async def test_c08_without_a_copy_a_file_that_is_not_believed_is_an_error(tmp_path, kind):
    async with raw_server(closing(BROKEN[kind])) as server:
        with pytest.raises((DecodeError, TransportError)):
            await Server(server.port, tmp_path, ManualClock()).load()
    assert list(tmp_path.iterdir()) == []


async def test_what_to_do_is_told_when_a_right_file_is_not_believed(tmp_path):
    clock = ManualClock()
    async with raw_server(replying(response(many(40)), response(many(19)))) as server:
        rig = Server(server.port, tmp_path, clock)
        await rig.load()
        clock.pass_seconds(DAY_S)
        (problem,) = (await rig.load()).problems
        assert "it has 19 rows, the last good copy has 40" in problem
        assert "delete instruments-" in problem
        for copy in tmp_path.iterdir():
            copy.unlink()
        clock.pass_seconds(301)
        loaded = await rig.load()
        assert (loaded.rows, loaded.problems) == (19, ())


async def test_a_failed_download_is_not_tried_again_at_once_while_a_copy_is_there(tmp_path):
    """A new trade must not wait for a server that does not answer."""
    clock = ManualClock()
    async with raw_server(replying(response(csv()), FAILURE, FAILURE, response(csv(75)))) as server:
        rig = Server(server.port, tmp_path, clock)
        await rig.load()
        clock.pass_seconds(DAY_S)
        for _ in range(3):
            await rig.load()
        assert len(server.requests) == 2
        clock.pass_seconds(301)
        await rig.load()
        assert len(server.requests) == 3
        assert len(rig.told) == 1, "said once"
        clock.pass_seconds(301)
        loaded = await rig.load()
        assert loaded.master.instruments[KEY].lot == 75
        assert loaded.problems == ()


async def test_copies_of_another_address_are_no_measure_and_no_stand_in(tmp_path):
    """Whoever turns from Dhan's list to his own small file must not be given the old one."""
    clock = ManualClock()
    async with (
        raw_server(replying(response(many(400)))) as first,
        raw_server(replying(response(csv(75)), FAILURE)) as other,
    ):
        await Server(first.port, tmp_path, clock).load()
        loaded = await Server(other.port, tmp_path, clock).load()
        assert (loaded.rows, loaded.master.instruments[KEY].lot) == (1, 75)
        for copy in tmp_path.iterdir():
            if b"75.0" in copy.read_bytes():
                copy.unlink()
        with pytest.raises(TransportError):
            await Server(other.port, tmp_path, clock).load()


async def test_copies_of_other_addresses_do_not_pile_up(tmp_path):
    clock = ManualClock()
    for _ in range(8):
        async with raw_server(replying(response(csv()))) as server:
            await Server(server.port, tmp_path, clock).load()
    assert len(list(tmp_path.iterdir())) == 4


async def test_the_age_is_that_of_the_servers_file_and_a_day_is_worth_a_word(tmp_path):
    clock = ManualClock()
    made_ns = clock.utc - 30 * 3_600 * 10**9
    async with raw_server(replying(response(csv(), made_ns))) as server:
        rig = Server(server.port, tmp_path, clock)
        for _ in range(2):
            loaded = await rig.load()
            assert loaded.age_s == pytest.approx(30 * 3_600, abs=1)
            assert loaded.is_from_today
            assert "1.2 days old" in loaded.problems[0]
        assert len(rig.told) == len(server.requests) == 1


async def test_a_file_of_today_has_no_problem_and_says_what_it_is(tmp_path):
    clock = ManualClock()
    async with raw_server(replying(response(many(40), clock.utc - 3_600 * 10**9))) as server:
        rig = Server(server.port, tmp_path, clock)
        first, second = await rig.load(), await rig.load()
        assert (first.rows, first.problems, first.origin) == (40, (), "download")
        assert (second.rows, second.problems) == (40, ())
        assert second.origin.startswith("instruments-")
        assert rig.source.last == second


async def test_a_last_copy_that_is_too_old_is_refused_and_the_error_says_how_to_use_it_all_the_same(tmp_path):
    clock = ManualClock()
    async with raw_server(replying(response(csv()), FAILURE)) as server:
        rig = Server(server.port, tmp_path, clock)
        await rig.load()
        clock.pass_seconds(36 * DAY_S)
        with pytest.raises(ConfigurationError, match="INSTRUMENTS_MAX_AGE_DAYS"):
            await rig.load()
        patient = InstrumentSource(f"http://127.0.0.1:{server.port}/master.csv", tmp_path, clock, max_age_days=40)
        assert KEY in (await patient.load([KEY])).master.instruments


async def test_a_path_that_is_too_old_is_refused(tmp_path):
    clock = ManualClock()
    path = tmp_path / "master.csv"
    path.write_bytes(csv())
    os.utime(path, ns=(clock.utc - 36 * DAY_S * 10**9,) * 2)
    with pytest.raises(ConfigurationError, match=r"36.0 days old.*INSTRUMENTS_MAX_AGE_DAYS"):
        await InstrumentSource(str(path), tmp_path, clock).load([KEY])
    await InstrumentSource(str(path), tmp_path, clock, max_age_days=37).load([KEY])


async def test_a_path_that_is_not_to_be_believed_is_an_error_and_one_that_is_over_only_a_problem(tmp_path):
    """Nothing else is at hand: shares in an old file stay guarded, contracts are set aside one by one."""
    clock = ManualClock()
    path = tmp_path / "master.csv"
    source = InstrumentSource(str(path), tmp_path, clock)

    async def load(data):
        path.write_bytes(data)
        clock.pass_seconds(1)
        os.utime(path, ns=(clock.utc,) * 2)
        return await source.load([KEY])

    assert (await load(csv())).problems == ()
    with pytest.raises(DecodeError, match="GOLD"):
        await load(csv() + ANOTHER)
    loaded = await load(csv().replace(b"2026-11-24", b"2026-10-27"))
    assert "has expired" in loaded.problems[0]
    assert KEY in loaded.master.instruments


async def test_a_look_keeps_nothing(tmp_path):
    async with raw_server(replying(response(csv()))) as server:
        source = InstrumentSource(f"http://127.0.0.1:{server.port}/", tmp_path, ManualClock(), keeps=False)
        assert KEY in (await source.load([KEY])).master.instruments
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_is_whole_or_not_there(tmp_path, monkeypatch):
    """A disk that is full while the copy is written leaves the older copies alone."""
    clock = ManualClock()
    async with raw_server(replying(response(csv()), response(csv(75)))) as server:
        rig = Server(server.port, tmp_path, clock)
        await rig.load()
        clock.pass_seconds(DAY_S)

        def full(*_args, **_options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.write_bytes", full)
        assert (await rig.load()).master.instruments[KEY].lot == 75
        monkeypatch.undo()
        assert [path.suffix for path in tmp_path.iterdir()] == [".csv"]


@pytest.mark.parametrize("last_modified", ["yesterday", "Wed, 99 Nov 2026 00:00:00 GMT", ""])
async def test_a_date_that_makes_no_sense_is_no_date(tmp_path, last_modified):
    body = csv()
    head = f"HTTP/1.1 200 OK\r\nLast-Modified: {last_modified}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with raw_server(replying(head.encode() + body)) as server:
        loaded = await Server(server.port, tmp_path, ManualClock()).load()
        assert (loaded.age_s, loaded.problems) == (None, ())
    await asyncio.sleep(0)
