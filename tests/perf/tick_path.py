"""What one packet costs inside the process: decoding, the caches, and a decision that finds nothing to do. No sockets."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from core.clock import SystemClock
from core.dhan.feed_packets import DecodeCounts, decode_message, decode_single
from core.exit_runner import ExitRunner
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.feed_line import FeedAccess, FeedLine, FeedSettings
from core.feed_socket import FeedSocket
from core.model.events import FeedStateChanged, TimePassed
from core.model.session_time import IST_OFFSET_S
from core.model.signals import Mode
from core.paper.feed_encoding import QUOTE, QUOTE_CODE, TICKER, TICKER_CODE
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from tests.perf.bench_book import ENTRY_RUPEES, SEGMENT_CODE, make_book
from tests.perf.book_load import load_book
from tests.perf.feed_sender import full_packet
from tests.perf.web_frames import BINARY, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKETS: Final = 20_000
ROUNDS: Final = 7


def measure() -> dict[str, float]:
    """Nanoseconds per packet, the best of some rounds: what the code costs when the machine does nothing else."""
    book = make_book(1_000, 5_000, 300)
    ids = random.Random(7).choices(book.ids, k=PACKETS)
    now_s = int(time.time()) + IST_OFFSET_S
    fulls = [
        full_packet(one, round(ENTRY_RUPEES + random.Random(n).randint(-3, 3) * 0.05, 2), now_s)
        for n, one in enumerate(ids)
    ]
    quotes = [_quote(one, now_s) for one in ids]
    tickers = [TICKER.pack(TICKER_CODE, TICKER.size, SEGMENT_CODE, one, ENTRY_RUPEES, now_s) for one in ids]
    counts = DecodeCounts()
    found: dict[str, float] = {}
    for name, packets in (("ticker", tickers), ("quote", quotes), ("full", fulls)):
        found[f"decode_{name}"] = _best(lambda packet: decode_single(packet, counts), packets)
    found["decode_full_any_message"] = _best(lambda packet: decode_message(packet, counts), fulls)
    chain = _Chain(book)
    for name, packets in (("ticker", tickers), ("full", fulls)):
        decoded = [decode_single(packet, counts) for packet in packets]
        found[f"price_cache_{name}"] = _best(lambda packet: chain.prices.take(packet, 1), decoded)
    found["decode_and_price_cache_full"] = _best(
        lambda packet: chain.prices.take(decode_single(packet, counts), 1), fulls
    )
    chain.feed_all(fulls, now_s)
    found["message_to_decision_full"] = _best(chain.line.on_binary, fulls)
    found["message_to_decision_ticker"] = _best(chain.line.on_binary, tickers)
    frames = [frame(BINARY, packet) for packet in fulls]
    found["socket_bytes_to_decision_full"] = _best(chain.socket.data_received, frames)
    reads = [b"".join(frames[at : at + 16]) for at in range(0, PACKETS, 16)]
    found["socket_bytes_to_decision_full_16_a_read"] = _best(chain.socket.data_received, reads) / 16
    return found


class _Chain:
    """Feed line → price cache → runner → engine → position cache, joined as `core.monitor_parts` does."""

    def __init__(self, book: Any) -> None:
        clock: Any = SystemClock()
        self.prices = PriceCache()
        cache = PositionCacheManager()
        engine = Engine(cache, GuardSettings(), DeskSettings(), Mode.LIVE)
        unused: Any = SimpleNamespace()
        runner = ExitRunner(
            engine=engine, broker=unused, journal=unused, store=unused, records=unused, clock=clock, spawn=unused
        )
        with TemporaryDirectory(prefix="bench-") as name:
            loaded = load_book(Path(name), book, engine)
        self.prices.watch(loaded.keys)
        access = FeedAccess("ws://127.0.0.1/feed", "1", lambda: "t")
        settings = FeedSettings()
        self.line = FeedLine(
            access, self.prices, DecodeCounts(), runner.on_quote, lambda: None, lambda _: None, clock, settings
        )
        self.line._connection.connecting(clock.monotonic_ns())
        self.line._connection.opened(clock.monotonic_ns())
        self.socket = FeedSocket.__new__(FeedSocket)
        self.socket.sink, self.socket._is_early = self.line, True
        self._engine, self._clock, self._ids = engine, clock, book.ids

    def feed_all(self, packets: Sequence[bytes], now_s: int) -> None:
        """Prices for every instrument, and the time, so that every position has its band and rests.

        `now_s` is the packets' trade time: a later one here would make all of them late, and measure dropping.
        """
        for security_id in self._ids:
            self.line.on_binary(full_packet(security_id, ENTRY_RUPEES, now_s))
        for packet in packets:
            self.line.on_binary(packet)
        self._engine.handle(FeedStateChanged(is_live=True, at_ns=self._clock.monotonic_ns()))
        for _ in range(12):
            now = self._clock.monotonic_ns()
            self._engine.handle(TimePassed(now, self._clock.utc_ns(), session_open=True, is_trading_day=True))


def _quote(security_id: int, now_s: int) -> bytes:
    price = ENTRY_RUPEES
    head = (QUOTE_CODE, QUOTE.size, SEGMENT_CODE, security_id, price, 65, now_s, price)
    return QUOTE.pack(*head, 100_000, 5_000, 5_000, price, price, price, price)


def _best(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for item in items:
            work(item)
        found.append((time.perf_counter_ns() - start) / len(items))
    return min(found)


if __name__ == "__main__":
    print(json.dumps(measure()), flush=True)
