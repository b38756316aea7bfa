"""Statistics, 25,000 instruments, and days at a speed."""

import asyncio
import gzip
import time
from datetime import date

import pytest

from core.paper import instruments as listed
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions, PreviousClose, ReplayTime
from tests.paper.clients import Feed, eventually

CALL = ("NSE_FNO", 40_051)


async def statistics(exchange, session, since_ns=0):
    async with session.get(f"{exchange.control_url}/statistics?since_ns={since_ns}") as answer:
        return await answer.json()


async def test_each_connection_is_counted_by_its_number(exchange, session):
    exchange.options.previous_close, exchange.options.feed_first_quote = PreviousClose.NONE, False
    before_ns = time.time_ns()
    first, second = [await Feed.connect(exchange, session) for _ in range(2)]
    await first.subscribe(exchange, 15, CALL, ("IDX_I", 13))
    await second.subscribe(exchange, 21, CALL)
    for _ in range(3):
        exchange.market.set_quote(*CALL, 10_000, 9_995, 10_005)
    for _ in range(3):
        await first.packet()
    exchange.add_fault({"kind": "feed_reset", "connection": 1})
    await second.socket.send_json({"RequestCode": 16})
    found = (await statistics(exchange, session))["feed"]
    assert (found["opened"], found["ended"], found["packets"]) == (2, {"reset": 1}, 6)
    (live,), (closed,) = found["live"], found["closed"]
    assert (live["number"], live["subscribed"], live["packets"], live["ended_by"]) == (2, 1, 3, None)
    assert (closed["number"], closed["subscribed"], closed["packets"], closed["ended_by"]) == (1, 2, 3, "reset")
    assert before_ns <= closed["opened_at_ns"] <= closed["closed_at_ns"] <= time.time_ns()


async def test_quote_requests_are_listed_with_their_times(exchange, session, rest):
    exchange.options.rate_limits = False
    for path in ("quote", "ltp"):
        await rest.call("POST", f"/marketfeed/{path}", {"NSE_FNO": [40_051, 40_052], "IDX_I": [13]})
    await rest.call("GET", "/positions")
    await rest.call("GET", "/orders/1")
    await rest.call("GET", "/orders/2")
    found = await statistics(exchange, session)
    assert [(x["path"], x["status"], x["instruments"]) for x in found["quote_requests"]] == [
        ("/marketfeed/quote", 200, 3),
        ("/marketfeed/ltp", 200, 3),
    ]
    assert found["requests"]["GET /positions 200"] == 1
    assert sum(found["requests"].values()) == 5
    later = await statistics(exchange, session, found["quote_requests"][1]["at_ns"])
    assert len(later["quote_requests"]) == 1
    async with session.get(f"{exchange.control_url}/statistics?since_ns=yesterday") as answer:
        assert answer.status == 400


async def test_a_long_list_of_ids_is_logged_by_its_beginning(exchange, rest):
    await rest.call("POST", "/marketfeed/ltp", {"NSE_FNO": list(range(40_001, 40_801))})
    (logged,) = [x["body"]["NSE_FNO"] for x in exchange.log.of("request")]
    assert (len(logged), logged[:2], logged[-1]) == (51, [40_001, 40_002], "and 750 more")


def test_extra_instruments_have_ids_of_their_own():
    found = listed.generate(date(2026, 11, 20), 249, 12_000)
    contracts = [listing.instrument for listing in found]
    expected = len(list(listed.generate(date(2026, 11, 20), 0))) + 12_000
    assert len(contracts) > expected
    assert len({(c.symbol, c.expiry) for c in contracts}) == len(contracts)
    with pytest.raises(ValueError, match="249"):
        listed.generate(date(2026, 11, 20), 250)


@pytest.mark.slow
async def test_25_000_instruments_over_five_connections(session):
    started = time.monotonic()
    options = ExchangeOptions(
        strikes_each_side=5, extra_instruments=25_000, model_step_s=0, previous_close=PreviousClose.NONE
    )
    async with LocalExchange(options) as exchange:
        exchange.options.feed_first_quote = False
        assert time.monotonic() - started < 20
        keys = [(key.segment.value, key.security_id) for key in exchange.venue.instruments.by_key]
        keys = [key for key in keys if key[0] == "NSE_FNO" and key[1] > 100_000]
        feeds = [await Feed.connect(exchange, session) for _ in range(5)]
        for n, feed in enumerate(feeds):
            for start in range(n * 5_000, (n + 1) * 5_000, 100):
                await feed.send(21, *keys[start : start + 100])
        await eventually(lambda: len(exchange.feed.watched) == 25_000)
        exchange.options.contract_every = 40

        async def read(feed):
            return {(await feed.packet())["id"] for _ in range(5_000)}

        readers = [asyncio.create_task(read(feed)) for feed in feeds]
        for _ in range(40):
            exchange.step()
            await asyncio.sleep(0)
        seen = await asyncio.gather(*readers)
        assert set.union(*seen) == {number for _, number in keys}
        assert [len(numbers) for numbers in seen] == [5_000] * 5
        assert exchange.venue.statistics.shown()["feed"]["packets"] == 25_000


def recording(tmp_path, seconds):
    path = tmp_path / "nse_2026-11-20_made_up.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi\n")
        file.writelines(f"{1_795_146_300_000 + 1_000 * n},NSE_FNO,40011,{100 + n}.05,,,,,,\n" for n in range(seconds))
    with gzip.open(tmp_path / "nse_2026-11-20_instruments.csv.gz", "wb") as file:
        file.write(listed.master_csv(listed.generate(date(2026, 11, 20), 5)))
    return path


@pytest.mark.parametrize("replay_time", list(ReplayTime))
async def test_at_a_speed_trade_times_are_the_recorded_ones_or_now(tmp_path, session, replay_time):
    options = ExchangeOptions(
        replay=recording(tmp_path, 60), speed=120, replay_time=replay_time, previous_close=PreviousClose.NONE
    )
    async with LocalExchange(options) as exchange:
        feed = await Feed.connect(exchange, session)
        await feed.send(15, ("NSE_FNO", 40_011))
        times, first_at = [(await feed.packet())["time"] - 19_800], time.monotonic()
        started_s = int(time.time())
        times += [(await feed.packet())["time"] - 19_800 for _ in range(59)]
        took_s = time.monotonic() - first_at
    assert 0.4 < took_s < 5
    if replay_time is ReplayTime.RECORDED:
        assert times == [1_795_146_300 + n for n in range(60)]
    else:
        assert times == sorted(times)
        assert {times[0], times[-1]} <= {started_s + n for n in range(-1, 6)}


async def test_at_a_speed_a_client_that_does_not_read_holds_up_nobody(tmp_path, session):
    options = ExchangeOptions(replay=recording(tmp_path, 100_000), speed=1e9, previous_close=PreviousClose.NONE)
    async with LocalExchange(options) as exchange:
        stuck, feed = await Feed.connect(exchange, session), await Feed.connect(exchange, session)
        stuck.socket._response.connection.transport.pause_reading()
        for found in (stuck, feed):
            await found.send(21, ("NSE_FNO", 40_011))
        await asyncio.wait_for(exchange.venue.replay.finished.wait(), 20)
        assert exchange.feed.connections[0].is_congested
        assert exchange.feed.connections[0].transport.get_write_buffer_size() < 1_000_000
        exchange.feed.connections[0].cut()
