"""The price model and the replay of recordings."""

import asyncio
import csv
import gzip
import math
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.instrument import InstrumentKey, Right, Segment
from core.paper import instruments as listed
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.paper.price_model import PriceModel, black_scholes
from core.paper.replay import instruments_beside
from tests.paper.clients import Feed, eventually

DAY = date(2026, 11, 20)
RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "replay"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}")


def model(seed=3, **kwargs):
    return PriceModel(listed.generate(DAY, 5), DAY, ExchangeOptions(seed=seed, **kwargs), lambda: 1_795_146_300)


def path_of(found, key, steps=50):
    prices = []
    for _ in range(steps):
        found.step()
        prices.append(found.data(key))
    return prices


@pytest.mark.parametrize("key", [InstrumentKey(Segment.IDX_I, 13), InstrumentKey(Segment.NSE_FNO, 40_011)])
def test_the_same_seed_gives_the_same_prices_and_another_gives_others(key):
    assert path_of(model(), key) == path_of(model(), key) != path_of(model(seed=4), key)


def test_asking_for_other_instruments_does_not_change_a_price():
    key, busy, quiet = InstrumentKey(Segment.NSE_FNO, 40_011), model(), model()
    for _ in range(20):
        busy.step()
        quiet.step()
        for listing in busy._instruments:
            busy.data(listing.instrument.key)
    assert busy.data(key) == quiet.data(key)


def test_a_call_rises_and_a_put_falls_with_the_underlying():
    found = model()
    call, put = InstrumentKey(Segment.NSE_FNO, 40_011), InstrumentKey(Segment.NSE_FNO, 40_012)
    before = found.data(call).last, found.data(put).last
    found.move("NIFTY", 200, steps=0)
    assert found.data(call).last > before[0]
    assert found.data(put).last < before[1]


def test_a_forced_move_is_spread_over_its_steps():
    forced, free = model(), model()
    forced.move("NIFTY", 400, steps=10)
    for step in range(1, 15):
        forced.step()
        free.step()
        assert forced.spot("NIFTY") - free.spot("NIFTY") == pytest.approx(40 * min(step, 10), rel=0.02)


def test_every_generated_book_is_on_the_tick_uncrossed_and_inside_the_band():
    found = model()
    found.step()
    for listing in found._instruments:
        contract = listing.instrument
        data = found.data(contract.key)
        prices = [price for price, _ in data.bids + data.asks]
        assert all(price % contract.tick == 0 and price > 0 for price in prices)
        assert not data.bids or not data.asks or data.bids[0][0] < data.asks[0][0]
        assert data.last is not None
        assert data.last > 0
        if contract.lower_limit is not None and contract.upper_limit is not None:
            assert all(contract.lower_limit <= price <= contract.upper_limit for price in prices)


@given(
    spot=st.floats(10_000, 90_000),
    moneyness=st.floats(0.8, 1.2),
    years=st.floats(0, 0.5),
    volatility=st.floats(0.05, 0.8),
)
def test_option_prices_obey_put_call_parity_and_their_bounds(spot, moneyness, years, volatility):
    strike = spot * moneyness
    call = black_scholes(spot, strike, years, volatility, Right.CALL)
    put = black_scholes(spot, strike, years, volatility, Right.PUT)
    assert math.isclose(call - put, spot - strike, abs_tol=1e-6 * spot)
    assert max(spot - strike, 0) - 1e-6 * spot <= call <= spot


def test_the_master_reads_back_as_what_was_generated(tmp_path):
    generated = listed.generate(DAY, 3)
    path = tmp_path / "master.csv"
    path.write_bytes(listed.master_csv(generated))
    read = listed.load(path)
    assert [x.instrument for x in read] == [x.instrument for x in generated]
    rows = path.read_text(encoding="utf-8").splitlines()
    assert all(row.endswith(",") for row in rows[1:])
    nifty = next(row for row in csv.DictReader(rows) if row["SYMBOL_NAME"] == "NIFTY-Nov2026-26100-CE")
    assert (nifty["UNDERLYING_SECURITY_ID"], nifty["LOT_SIZE"], nifty["SM_FREEZE_QTY"]) == ("26000", "65.0", "1756")
    assert (nifty["TICK_SIZE"], nifty["STRIKE_PRICE"], nifty["SM_EXPIRY_DATE"]) == (
        "5.0000",
        "26100.00000",
        "2026-11-24",
    )


def test_expiries_are_tuesdays_on_nse_and_the_monthly_is_the_last():
    found = listed.expiries(DAY, listed.TUESDAY, 4)
    assert found == [date(2026, 11, 24), date(2026, 12, 1), date(2026, 12, 8), date(2026, 12, 15)]
    assert listed.expiries(date(2026, 12, 30), listed.TUESDAY, 0) == [date(2027, 1, 26), date(2027, 2, 23)]


def recording(tmp_path, rows, header="ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi"):
    path = tmp_path / "nse_2026-11-20_made_up.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([header, *rows]) + "\n")
    with gzip.open(tmp_path / "nse_2026-11-20_instruments.csv.gz", "wb") as file:
        file.write(listed.master_csv(listed.generate(DAY, 5)))
    return path


async def test_a_recording_arrives_in_order_row_for_row_with_its_own_times(tmp_path, session):
    rows = [f"{1_795_146_300_000 + 7 * n},NSE_FNO,{40_011 + n % 2},{100 + n % 50}.05,,,,,," for n in range(5_000)]
    async with LocalExchange(ExchangeOptions(replay=recording(tmp_path, rows), speed=0)) as exchange:
        feed = await Feed.connect(exchange, session)
        assert exchange.venue.replay.position == 0  # nothing moves before somebody listens
        await feed.send(15, ("NSE_FNO", 40_011))
        wanted = [(100 + n % 50, (1_795_146_300_000 + 7 * n) // 1_000 + 19_800) for n in range(0, 5_000, 2)]
        got = [await feed.packet() for _ in wanted]
        assert [(int(packet["last"]), packet["time"]) for packet in got] == wanted
        await asyncio.wait_for(exchange.venue.replay.finished.wait(), 20)
        other = exchange.market.book(InstrumentKey(Segment.NSE_FNO, 40_012))
        assert other.last == 14_905  # the last row's price
        assert [(level.price, level.size) for level in other.bids] == [(14_900, 1_300)]


async def test_the_replay_waits_for_a_client_that_does_not_read(tmp_path, session):
    rows = [f"{1_795_146_300_000 + n},NSE_FNO,40011,{100 + n % 50}.05,,,,,," for n in range(200_000)]
    async with LocalExchange(ExchangeOptions(replay=recording(tmp_path, rows), speed=0)) as exchange:
        feed = await Feed.connect(exchange, session)
        feed.socket._response.connection.transport.pause_reading()
        await feed.send(21, ("NSE_FNO", 40_011))
        connection = exchange.feed.connections[0]
        await eventually(connection.transport.get_write_buffer_size, 30)
        stuck = exchange.venue.replay.position
        assert stuck < 200_000
        feed.socket._response.connection.transport.resume_reading()
        for n in range(3_000):
            assert int((await feed.packet())["last"]) == 100 + n % 50


async def test_a_bad_row_is_named_when_the_replay_reaches_it(tmp_path, session):
    path = recording(tmp_path, ["1,NSE_FNO,40011,1.05,,,,,,", "2,NSE_FNO,40011,abc,,,,,,"])
    failures = []
    async with LocalExchange(ExchangeOptions(replay=path, speed=0)) as exchange:
        exchange.on_failure = failures.append
        feed = await Feed.connect(exchange, session)
        await feed.send(15, ("NSE_FNO", 40_011))
        assert round((await feed.packet())["last"], 2) == 1.05
        await eventually(lambda: failures)
        assert "row 3" in exchange.log.of("task_failed")[0]["error"]


def test_a_recording_names_the_master_beside_it():
    assert instruments_beside(Path("x/nse_2025-08-29_normal_day.csv.gz")) == Path("x/nse_2025-08-29_instruments.csv.gz")


@needs_recordings
@pytest.mark.replay
@pytest.mark.parametrize("name", ["nse_2025-08-29_normal_day.csv.gz", "nse_2026-08-18_expiry_day.csv.gz"])
async def test_a_real_recording_reaches_the_client_whole(session, name):
    path = RECORDINGS / name
    with gzip.open(path, "rt", encoding="utf-8") as file:
        wanted = [(int(row["security_id"]), round(float(row["ltp"]) * 100)) for row in csv.DictReader(file)]
    async with LocalExchange(ExchangeOptions(replay=path, speed=0, feed_first_quote=False)) as exchange:
        feed = await Feed.connect(exchange, session)
        keys = [(key.segment.value, key.security_id) for key in exchange.venue.instruments.by_key]
        for start in range(0, len(keys), 100):
            await feed.send(15, *keys[start : start + 100])
        got = []
        async with asyncio.timeout(60):
            while len(got) < len(wanted):
                packet = await feed.packet()
                got.append((packet["id"], round(packet["last"] * 100)))
        assert got == wanted
