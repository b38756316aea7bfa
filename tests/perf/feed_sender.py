"""A light price feed in a process of its own: one client, prebuilt Full packets, one packet a message, a steady pace.

`core.paper` is not used for this: it builds each packet from its book when it is due, which at 10,000 a second would
measure the exchange. Phases, told by lines on stdin and stdout:
1. after the subscriptions a packet for each instrument, then background ticks until `go`;
2. `quiet`: background only, no position near a level;
3. `approach`: each `fresh` instrument moves near its stop;
4. `fresh`: background, and one breaching tick for each of them;
5. `stale`: background, and one breaching tick for each `stale` instrument, from far away.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from core.model.session_time import IST_OFFSET_S, NS_PER_S
from tests.perf import web_frames
from tests.perf.bench_book import BREACH_RUPEES, ENTRY_RUPEES, NEAR_RUPEES, SEGMENT_CODE

_FULL: Final = struct.Struct("<BHBIfHIfIIIIIIffff" + "IIHHff" * 5)
_LOOK_EVERY_NS: Final = 20_000_000
_MOST_AT_ONCE: Final = 64
_LONGEST_S: Final = 120.0


def full_packet(security_id: int, rupees: float, wire_time: int) -> bytes:
    """A Full packet with a tight book: bid one tick below the last price, ask one tick above."""
    levels: list[float] = []
    for step in range(5):
        away = 0.05 * (step + 1)
        levels += (650, 650, 3, 3, round(rupees - away, 2), round(rupees + away, 2))
    head = (8, _FULL.size, SEGMENT_CODE, security_id, rupees, UNITS_TRADED, wire_time, rupees)
    return _FULL.pack(*head, 100_000, 5_000, 5_000, 1_000, 1_000, 900, rupees, rupees, rupees, rupees, *levels)


UNITS_TRADED: Final = 65


@dataclass(slots=True)
class Phase:
    start_ns: int
    end_ns: int = 0
    ticks: int = 0


@dataclass(slots=True)
class Sender:
    client: socket.socket
    rate: int
    ids: list[int]
    frames: dict[int, list[bytes]]
    received: bytearray = field(default_factory=bytearray)
    subscribed: int = 0
    breaches: deque[tuple[int, int]] = field(default_factory=deque)
    breach_frames: dict[int, bytes] = field(default_factory=dict)
    sent_ns: dict[int, int] = field(default_factory=dict)
    worst_lag_ns: int = 0
    said_go: bool = False

    def look(self) -> None:
        """Read what the client and the parent say. Ends the process when either is gone."""
        ready, _, _ = select.select([self.client, sys.stdin], [], [], 0)
        if self.client in ready:
            data = self.client.recv(1 << 16)
            if not data:
                sys.exit("the monitor closed the feed")
            self.received += data
            for first, payload in web_frames.take_frames(self.received):
                if first == web_frames.PING:
                    self.client.sendall(web_frames.frame(web_frames.PONG, payload))
                elif first == web_frames.TEXT and (asked := json.loads(payload))["RequestCode"] % 2:
                    self.subscribed += asked["InstrumentCount"]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                sys.exit(0)
            self.said_go = True

    def run(self, seconds: float, order: Any) -> Phase:
        """Send at the pace until the time is over, or until `go` while that has not come."""
        phase = Phase(time.monotonic_ns())
        ends_ns, looked_ns, waits_for_go = phase.start_ns + int(seconds * NS_PER_S), 0, not self.said_go
        while (now := time.monotonic_ns()) < ends_ns and not (waits_for_go and self.said_go):
            due = (now - phase.start_ns) * self.rate // NS_PER_S
            if due > phase.ticks:
                self.worst_lag_ns = max(self.worst_lag_ns, (due - phase.ticks - 1) * NS_PER_S // self.rate)
                phase.ticks += self._send(min(due - phase.ticks, _MOST_AT_ONCE), order, now)
            elif now - looked_ns > _LOOK_EVERY_NS:
                looked_ns = now
                self.look()
            else:
                time.sleep(max(phase.start_ns + (phase.ticks + 1) * NS_PER_S // self.rate - now, 0) / NS_PER_S)
        phase.end_ns = time.monotonic_ns()
        return phase

    def _send(self, count: int, order: Any, now: int) -> int:
        parts = [next(variants) for variants in (self._variants[next(order)] for _ in range(count))]
        if self.breaches and self.breaches[0][0] <= now:
            _, security_id = self.breaches.popleft()
            parts[-1] = self.breach_frames[security_id]
            self.set_price(security_id, BREACH_RUPEES)
            self.sent_ns[security_id] = time.monotonic_ns()
        self.client.sendall(b"".join(parts))
        return count
