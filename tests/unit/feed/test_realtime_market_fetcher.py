"""What is asked over REST, in which order, how often, and where the answers go. In virtual time."""

import asyncio
import functools

import pytest

from core.model.errors import DecodeError, RateLimitedError, RefusedError, TokenError, TransportError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.price_cache import PriceCache
from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher, key_from_text, main
from tests.unit.feed.virtual_time import LoopClock, run_virtually

S = 1_000_000_000


def option(security_id):
    return InstrumentKey(Segment.NSE_FNO, security_id)


class Rig:
    """`due` is what `next_batch` hands out; `problems` are raised by the next requests, one each."""

    def __init__(self, count=3):
        self.clock = LoopClock()
        self.keys = [option(n) for n in range(1, count + 1)]
        self.cache = PriceCache()
        self.cache.watch(self.keys)
        self.batches, self.at, self.problems, self.delivered, self.failed, self.tokens = [], [], [], [], [], []
        self.due, self.mute, self.answer_s = [], set(), 0.0
        self.fetcher = RealtimeMarketFetcher(
            self.cache, self.read, self.delivered.append, self.clock, jitter=lambda: 0.5
        )
        self.fetcher.next_batch = self.hand_out
        self.fetcher.on_failure = self.take_back
        self.fetcher.on_token_error = self.tokens.append

    def hand_out(self, limit):
        batch, self.due = self.due[:limit], self.due[limit:]
        return batch

    def take_back(self, keys):
        self.failed.append(keys)
        self.due += [key for key in keys if key == option(1)]

    async def read(self, keys):
        self.batches.append(tuple(keys))
        self.at.append(self.now_s)
        await asyncio.sleep(self.answer_s)
        if self.problems:
            raise self.problems.pop(0)
        return tuple(self.quote(key) for key in keys if key not in self.mute)

    def quote(self, key, source=QuoteSource.REST, last=500):
        return Quote(key, last, None, None, 0, 0, None, self.clock.monotonic_ns(), source)

    @property
    def now_s(self):
        return round(asyncio.get_running_loop().time(), 3)

    def begin(self):
        self.task = asyncio.create_task(self.fetcher.run())

    async def end(self):
        self.task.cancel()
        await asyncio.wait([self.task])


def virtually(scene):
    @functools.wraps(scene)
    def test(*given, **named):
        return run_virtually(scene(*given, **named))

    # pytest runs coroutine functions itself, on its own loop.
    del test.__wrapped__
    return test


@virtually
async def test_at_most_a_thousand_instruments_go_into_one_request():
    rig = Rig(2_500)
    await rig.fetcher.fetch(rig.keys)
    assert [len(batch) for batch in rig.batches] == [1_000, 1_000, 500]
    assert len(rig.delivered) == rig.fetcher.counts.quotes == 2_500
    assert rig.fetcher.counts.requests == 3


@virtually
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
    assert set(await rig.fetcher.prices(rig.keys[:2])) == {option(1), option(2)}
    assert len(rig.batches) == 1


@virtually
async def test_what_is_asked_for_is_fetched_and_delivered():
    rig = Rig()
    rig.begin()
    await asyncio.sleep(5)
    assert rig.batches == [], "nobody has asked"
    rig.fetcher.ask([option(2)])
    await asyncio.sleep(0.1)
    assert [quote.key for quote in rig.delivered] == [option(2)]
    assert (rig.batches, rig.at) == ([(option(2),)], [5])
    await rig.end()


@virtually
async def test_what_is_due_is_asked_at_the_pace_until_nothing_is():
    rig = Rig(2_200)
    rig.due = list(rig.keys)
    rig.begin()
    rig.fetcher.wake()
    await asyncio.sleep(60)
    assert [len(batch) for batch in rig.batches] == [1_000, 1_000, 200]
    assert rig.at == [0, 1.05, 2.1]
    await rig.end()


@virtually
async def test_a_batch_is_chosen_when_it_can_leave_and_what_an_exit_asks_goes_first():
    rig = Rig(4)
    rig.due = [option(1)]
    rig.begin()
    rig.fetcher.wake()
    await asyncio.sleep(0.5)
    rig.due = [option(2), option(3)]
    rig.fetcher.wake()
    await asyncio.sleep(0.4)
    rig.fetcher.ask([option(4), option(3)])
    await asyncio.sleep(1)
    assert rig.batches == [(option(1),), (option(4), option(3), option(2))]
    await rig.end()


@virtually
async def test_more_asks_than_a_request_holds_go_into_the_next():
    rig = Rig(1_200)
    rig.begin()
    rig.fetcher.ask(rig.keys)
    await asyncio.sleep(5)
    assert [len(batch) for batch in rig.batches] == [1_000, 200]
    assert len(rig.delivered) == 1_200
    await rig.end()


@virtually
async def test_f21_failures_are_waited_for_ever_longer_and_never_given_up():
    rig = Rig()
    rig.problems = [TransportError("x"), DecodeError("x"), RefusedError("x"), TransportError("x")]
    rig.due = [option(1)]
    rig.begin()
    rig.fetcher.wake()
    await asyncio.sleep(60)
    assert rig.at == [0, 1.05, 3.05, 8.05, 13.05]
    assert rig.failed == [(option(1),)] * 4
    assert len(rig.delivered) == 1
    assert rig.fetcher.counts.failures == 4
    await rig.end()


@virtually
async def test_an_exit_that_asks_does_not_wait_for_the_back_off():
    rig = Rig()
    rig.problems = [TransportError("x")] * 3
    rig.due = [option(1)]
    rig.begin()
    rig.fetcher.wake()
    await asyncio.sleep(1.2)
    rig.fetcher.ask([option(2)])
    await asyncio.sleep(20)
    assert rig.at == [0, 1.05, 2.1, 7.1]
    assert rig.batches[2] == (option(2),), "alone: the others wait"
    assert rig.batches[3] == (option(2), option(1)), "a failed ask is not forgotten"
    assert len(rig.delivered) == 2
    await rig.end()


@virtually
async def test_f21_too_many_requests_hold_up_exits_too():
    rig = Rig()
    rig.problems = [RateLimitedError("too many", "DH-904")] * 2
    rig.begin()
    rig.fetcher.ask([option(1)])
    await asyncio.sleep(0.5)
    rig.fetcher.ask([option(2)])
    await asyncio.sleep(20)
    assert rig.at == [0, 2, 7]
    assert set(rig.batches[1]) == {option(1), option(2)}
    assert len(rig.delivered) == 2
    await rig.end()


@virtually
async def test_a_refused_token_is_reported():
    rig = Rig()
    rig.problems = [TokenError("Dhan answered HTTP 401: 807 expired", "807")]
    rig.begin()
    rig.fetcher.ask([option(1)])
    await asyncio.sleep(5)
    assert rig.tokens == ["Dhan answered HTTP 401: 807 expired"]
    assert len(rig.delivered) == 1
    await rig.end()


@virtually
async def test_only_what_the_judge_takes_is_delivered_and_he_hears_what_is_missing():
    rig = Rig(120)
    rig.mute = {option(7)}
    heard = []

    def judge(asked, quotes, requested_ns):
        heard.append((asked, [quote.key for quote in quotes], requested_ns))
        return [quote for quote in quotes if quote.key.security_id % 2]

    rig.fetcher.on_answer = judge
    rig.answer_s = 0.3
    began = rig.clock.monotonic_ns()
    await rig.fetcher.fetch(rig.keys)
    assert [len(asked) for asked, _, _ in heard] == [50, 50, 20], "in portions, so that ticks go first"
    assert [key for asked, _, _ in heard for key in asked] == rig.keys
    assert option(7) not in heard[0][1]
    assert {requested for _, _, requested in heard} == {began}
    assert [quote.key.security_id for quote in rig.delivered] == [n for n in range(1, 121, 2) if n != 7]


@virtually
async def test_a_packet_that_came_meanwhile_is_newer_than_the_answer():
    rig = Rig()
    stamp = rig.clock.monotonic_ns()

    async def slow(keys):
        await asyncio.sleep(0.2)
        rig.cache.put(rig.quote(option(1), QuoteSource.FEED, last=900))
        return (rig.quote(option(1))._replace(received_ns=stamp),)

    rig.fetcher._read_quotes = slow
    await rig.fetcher.fetch([option(1)])
    assert rig.delivered == []
    assert rig.cache.quote(option(1)).last == 900


@virtually
async def test_quotes_nobody_asked_for_are_dropped():
    rig = Rig()

    async def wrong(keys):
        return (rig.quote(option(3)),)

    rig.fetcher._read_quotes = wrong
    await rig.fetcher.fetch([option(1)])
    assert rig.delivered == []


def test_instruments_are_written_as_segment_and_id():
    assert key_from_text("IDX_I:13") == InstrumentKey(Segment.IDX_I, 13)
    for text in ("", "13", "NSE_FNO:", "NSE_FNO:x", "NOPE:1", "NSE_FNO:²"):
        with pytest.raises(ValueError, match="SEGMENT:ID"):
            key_from_text(text)


def test_the_program_without_or_with_a_wrong_instrument_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert main(["NIFTY"]) == 2
    assert "NSE_FNO:61234" in capsys.readouterr().err
