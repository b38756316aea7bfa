"""Stream first, REST where the stream is stale: what is asked for, in which order, and where the answers go."""

import asyncio
import contextlib

import pytest

from core.model.errors import RateLimitedError, TransportError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.price_cache import PriceCache
from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher, key_from_text, main
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually


def option(security_id):
    return InstrumentKey(Segment.NSE_FNO, security_id)


class Rig:
    def __init__(self, count=3):
        self.clock = ManualClock()
        self.keys = [option(n) for n in range(1, count + 1)]
        self.cache = PriceCache()
        self.cache.watch(self.keys)
        self.batches = []
        self.failures = []
        self.mute = set()
        self.delivered = []
        self.slept = []
        self.fetcher = RealtimeMarketFetcher(
            self.cache, self.read, self.delivered.append, self.clock, check_every_s=0.001, sleep=self.sleep
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)

    async def read(self, keys):
        self.batches.append(tuple(keys))
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return tuple(self.quote(key) for key in keys if key not in self.mute)

    def quote(self, key, source=QuoteSource.REST, last=500):
        return Quote(key, last, None, None, 0, 0, None, self.clock.monotonic_ns(), source)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.fetcher.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_at_most_a_thousand_instruments_go_into_one_request():
    rig = Rig(2_500)
    await rig.fetcher.fetch(rig.keys)
    assert [len(batch) for batch in rig.batches] == [1_000, 1_000, 500]
    assert len(rig.delivered) == 2_500


async def test_prices_come_from_the_stream_where_it_is_fresh():
    rig = Rig()
    rig.cache.put(rig.quote(option(1), QuoteSource.FEED, last=700))
    rig.mute = {option(3)}
    prices = await rig.fetcher.prices(rig.keys)
    assert {key.security_id: (price.last, price.source) for key, price in prices.items()} == {
        1: (700, QuoteSource.FEED),
        2: (500, QuoteSource.REST),
    }
    assert rig.batches == [(option(2), option(3))]


async def test_what_is_asked_for_is_fetched_and_delivered():
    rig = Rig()
    async with rig.running():
        rig.fetcher.ask([option(2)])
        await eventually(lambda: rig.delivered)
        assert [quote.key for quote in rig.delivered] == [option(2)]
        assert rig.batches == [(option(2),)]


async def test_nothing_is_polled_while_polling_is_off():
    rig = Rig()
    rig.fetcher.set_wanted(rig.keys)
    async with rig.running():
        await asyncio.sleep(0.02)
        assert rig.batches == []
        rig.fetcher.set_polling(is_on=True)
        await eventually(lambda: rig.batches)
        rig.fetcher.set_polling(is_on=False)
        rig.clock.pass_seconds(60)
        await asyncio.sleep(0.02)
        assert len(rig.batches) == 1


async def test_polling_asks_only_for_what_is_stale():
    rig = Rig()
    rig.fetcher.set_wanted(rig.keys)
    rig.fetcher.set_polling(is_on=True)
    async with rig.running():
        await eventually(lambda: len(rig.delivered) == 3)
        rig.clock.pass_seconds(4)
        rig.cache.put(rig.quote(option(1), QuoteSource.FEED))
        rig.clock.pass_seconds(2)
        await eventually(lambda: len(rig.batches) == 2)
        assert set(rig.batches[1]) == {option(2), option(3)}


async def test_an_instrument_without_a_price_neither_floods_nor_starves():
    rig = Rig(1_500)
    rig.mute = set(rig.keys[:1_000])
    rig.fetcher.set_wanted(rig.keys)
    rig.fetcher.set_polling(is_on=True)
    async with rig.running():
        await eventually(lambda: len(rig.delivered) == 500)
        await asyncio.sleep(0.02)
        assert [len(batch) for batch in rig.batches] == [1_000, 500]


async def test_a_failure_is_counted_waited_for_and_tried_again():
    rig = Rig()
    rig.failures = [TransportError("no answer"), RateLimitedError("too many")]
    rig.fetcher.set_wanted(rig.keys)
    rig.fetcher.set_polling(is_on=True)
    async with rig.running():
        await eventually(lambda: rig.fetcher.counts.failures == 1)
        rig.clock.pass_seconds(6)
        await eventually(lambda: rig.fetcher.counts.failures == 2)
        rig.clock.pass_seconds(6)
        await eventually(lambda: len(rig.delivered) == 3)
        assert rig.fetcher.counts.failures == 2
        assert rig.slept == [1.0, 2.0]


def test_instruments_are_written_as_segment_and_id():
    assert key_from_text("IDX_I:13") == InstrumentKey(Segment.IDX_I, 13)
    for text in ("", "13", "NSE_FNO:", "NSE_FNO:x", "NOPE:1", "NSE_FNO:²"):
        with pytest.raises(ValueError, match="SEGMENT:ID"):
            key_from_text(text)


def test_the_program_without_or_with_a_wrong_instrument_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert main(["NIFTY"]) == 2
    assert "NSE_FNO:61234" in capsys.readouterr().err
