"""The instrument master from a path, from a server, from yesterday's copy, or not at all."""

import gzip

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


def response(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def lot(source):
    return (await source.load([KEY])).master.instruments[KEY].lot


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_path_is_read_plain_or_gzip_and_no_copy_is_kept(tmp_path, pack):
    path = tmp_path / "master.csv"
    path.write_bytes(pack(csv()))
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
    with pytest.raises(DecodeError):
        await InstrumentSource(str(path), tmp_path, ManualClock()).load([KEY])
