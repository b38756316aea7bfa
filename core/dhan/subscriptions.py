"""Messages to the market feed: JSON text frames (dhan_v2_protocol 2.2), and when one connection needs which.

Nothing acknowledges them. What brought no price is therefore sent again, and what turned mute is subscribed anew.
"""

from __future__ import annotations

import json
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count, islice
from typing import TYPE_CHECKING, Final

from core.model.instrument import Segment
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.model.instrument import InstrumentKey

MAX_INSTRUMENTS_PER_MESSAGE: Final = 100
MAX_INSTRUMENTS_PER_CONNECTION: Final = 5000
MAX_CONNECTIONS: Final = 5

MAX_RESENDS: Final = 3
"""Per subscription without a price. After that it is a contract that nobody trades, or one for which REST is asked."""
FIRST_LOOK_NS: Final = NS_PER_S
"""Most instruments send their state at once: what has spoken by then need not be looked at again."""
AGAIN_EVERY_NS: Final = NS_PER_S
_BATCHES_A_CALL: Final = 10
"""Looked through for instruments without a price: a thousand look-ups take about half a millisecond."""


class FeedMode(StrEnum):
    TICKER = "TICKER"
    QUOTE = "QUOTE"
    FULL = "FULL"


SUBSCRIBE_CODE: Final = {FeedMode.TICKER: 15, FeedMode.QUOTE: 17, FeedMode.FULL: 21}
"""The code to unsubscribe is one more."""


def mode_for(key: InstrumentKey, wanted: FeedMode = FeedMode.FULL) -> FeedMode:
    """The mode to subscribe `key` in: an index has no book, and whether it accepts Full is not known (2.6)."""
    if key.segment is Segment.IDX_I and wanted is FeedMode.FULL:
        return FeedMode.TICKER
    return wanted


def subscribe_messages(keys: Iterable[InstrumentKey], mode: FeedMode = FeedMode.FULL) -> list[str]:
    """Messages that subscribe every key once, each in `mode_for(key, mode)`, ≤ 100 keys a message."""
    return _messages(keys, mode, 0)


def unsubscribe_messages(keys: Iterable[InstrumentKey], mode: FeedMode = FeedMode.FULL) -> list[str]:
    """Messages that undo `subscribe_messages` with the same mode."""
    return _messages(keys, mode, 1)


def _messages(keys: Iterable[InstrumentKey], mode: FeedMode, code_offset: int) -> list[str]:
    grouped: dict[FeedMode, list[InstrumentKey]] = {}
    for key in dict.fromkeys(keys):
        grouped.setdefault(mode_for(key, mode), []).append(key)
    return [
        _message(SUBSCRIBE_CODE[used] + code_offset, wanted[at : at + MAX_INSTRUMENTS_PER_MESSAGE])
        for used, wanted in grouped.items()
        for at in range(0, len(wanted), MAX_INSTRUMENTS_PER_MESSAGE)
    ]


def _message(code: int, keys: list[InstrumentKey]) -> str:
    listed = [{"ExchangeSegment": key.segment.value, "SecurityId": str(key.security_id)} for key in keys]
    body = {"RequestCode": code, "InstrumentCount": len(listed), "InstrumentList": listed}
    return json.dumps(body, separators=(",", ":"))


class ConnectionSubscriptions:
    """What one connection shall carry, what it was asked for, and the next messages that bring the two together.

    `next_messages` until it returns nothing, after every change and now and then. Times are monotonic nanoseconds.
    A new connection carries nothing: `restart`.
    """

    def __init__(self, mode: FeedMode = FeedMode.FULL, resend_after_ns: int = 10 * NS_PER_S) -> None:
        self._mode = mode
        self._resend_after_ns = resend_after_ns
        self._wanted: dict[InstrumentKey, None] = {}
        self._asked: dict[InstrumentKey, int] = {}
        self._new: dict[InstrumentKey, None] = {}
        self._gone: dict[InstrumentKey, None] = {}
        self._again: dict[InstrumentKey, None] = {}
        self._again_from_ns = 0
        self._unheard: list[tuple[int, int, int, int, list[InstrumentKey]]] = []
        """Heap: when to look, a number (to be unique), when sent, how often looked, which."""
        self._number = count()
        self.resent = 0

    @property
    def asked_count(self) -> int:
        return len(self._asked)

    def restart(self) -> None:
        """The connection is a new one: everything wanted is subscribed from the beginning."""
        self._asked.clear()
        self._gone.clear()
        self._again.clear()
        self._unheard.clear()
        self._new = dict(self._wanted)

    def add(self, keys: Iterable[InstrumentKey]) -> None:
        for key in keys:
            self._wanted[key] = None
            if key in self._gone:
                del self._gone[key]
            elif key not in self._asked:
                self._new[key] = None

    def remove(self, keys: Iterable[InstrumentKey]) -> None:
        for key in keys:
            self._wanted.pop(key, None)
            self._new.pop(key, None)
            self._again.pop(key, None)
            if key in self._asked:
                self._gone[key] = None

    def again(self, keys: Iterable[InstrumentKey]) -> None:
        """These turned mute: unsubscribe and subscribe them, at most 100 a second.

        Both, because a server that believes in the old subscription may take a second one for nothing new. An instrument
        that is mute loses nothing by it.
        """
        for key in keys:
            if key in self._asked and key not in self._gone:
                self._again[key] = None

    def next_messages(self, now: int, *, is_live: bool, has_spoken: Callable[[InstrumentKey, int], bool]) -> list[str]:
        """At most 100 instruments: one message, or two when an index is among them. Room is made before it is taken.

        `has_spoken(key, since_ns)`: whether the feed gave a price of it since. Without `is_live` nothing is sent a second
        time: a connection that gives no prices at all needs another remedy.
        """
        if self._gone:
            keys = _take_batch(self._gone)
            self._forget(keys)
            return unsubscribe_messages(keys, self._mode)
        if self._new:
            keys = _take_batch(self._new)
            self._note(keys, now, now + FIRST_LOOK_NS, 0)
            return subscribe_messages(keys, self._mode)
        if self._again and now >= self._again_from_ns:
            keys = _take_batch(self._again)
            self._again_from_ns = now + AGAIN_EVERY_NS
            self._forget(keys)
            self._new = dict.fromkeys(keys)
            return unsubscribe_messages(keys, self._mode)
        if self._unheard and now >= self._unheard[0][0]:
            return self._resends(now, has_spoken, is_live=is_live)
        return []

    def _resends(self, now: int, has_spoken: Callable[[InstrumentKey, int], bool], *, is_live: bool) -> list[str]:
        mute: list[InstrumentKey] = []
        most_looks = 0
        waiting = self._unheard
        for _ in range(_BATCHES_A_CALL):
            if not waiting or waiting[0][0] > now or len(mute) + len(waiting[0][4]) > MAX_INSTRUMENTS_PER_MESSAGE:
                break
            _, _, sent_ns, looks, keys = heappop(waiting)
            # Another time: subscribed anew since then, and looked after under its newer time.
            keys = [key for key in keys if self._asked.get(key) == sent_ns and not has_spoken(key, sent_ns)]
            if looks == 0:
                self._look(keys, sent_ns, sent_ns + self._resend_after_ns, 1)
            elif not is_live:
                self._look(keys, sent_ns, now + FIRST_LOOK_NS, looks)
            elif looks <= MAX_RESENDS:
                mute += keys
                most_looks = max(most_looks, looks)
        if not mute:
            return []
        self.resent += len(mute)
        # Later each time: 10, 20, 40 s.
        self._note(mute, now, now + (self._resend_after_ns << most_looks), most_looks + 1)
        return subscribe_messages(mute, self._mode)

    def _note(self, keys: list[InstrumentKey], now: int, look_ns: int, looks: int) -> None:
        for key in keys:
            self._asked[key] = now
        self._look(keys, now, look_ns, looks)

    def _look(self, keys: list[InstrumentKey], sent_ns: int, look_ns: int, looks: int) -> None:
        if keys:
            heappush(self._unheard, (look_ns, next(self._number), sent_ns, looks, keys))

    def _forget(self, keys: list[InstrumentKey]) -> None:
        for key in keys:
            del self._asked[key]


def _take_batch(queue: dict[InstrumentKey, None]) -> list[InstrumentKey]:
    keys = list(islice(queue, MAX_INSTRUMENTS_PER_MESSAGE))
    for key in keys:
        del queue[key]
    return keys
