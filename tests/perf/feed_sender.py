"""A light price feed in a process of its own: one client, prebuilt Full packets, one packet a message, a steady pace.

`core.paper` is not used for this: it builds each packet from its book when it is due, which at 10,000 a second would
measure the exchange. Its life, told by lines on stdin and stdout:
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
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from core.model.session_time import IST_OFFSET_S, NS_PER_S
from tests.perf import web_frames
from tests.perf.bench_book import BREACH_RUPEES, ENTRY_RUPEES, NEAR_RUPEES, SEGMENT_CODE, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FULL: Final = struct.Struct("<BHBIfHIfIIIIIIffff" + "IIHHff" * 5)
_LOOK_EVERY_NS: Final = 20_000_000
_MOST_AT_ONCE: Final = 64
_CONNECT_S: Final = 30.0
_WARM_S: Final = 60.0
_STEPS: Final = (0.0, 0.1, -0.1, 0.05)
"""Rupees around the middle price that the background ticks cycle through."""


def full_packet(security_id: int, rupees: float, wire_time: int) -> bytes:
    """A Full packet with a tight book: bid one tick below the last price, ask one tick above."""
    levels: list[float] = []
    for step in range(1, 6):
        levels += (650, 650, 3, 3, round(rupees - 0.05 * step, 2), round(rupees + 0.05 * step, 2))
    head = (8, _FULL.size, SEGMENT_CODE, security_id, rupees, UNITS, wire_time, rupees)
    return _FULL.pack(*head, 100_000, 5_000, 5_000, 1_000, 1_000, 900, rupees, rupees, rupees, rupees, *levels)


class Sender:
    """`sent_ns`: monotonic time just before each breaching tick went out. `worst_lag_ns`: how far behind its pace it was."""

    def __init__(self, client: socket.socket, rate: int, ids: Iterable[int]) -> None:
        self.subscribed = 0
        self.sent_ns: dict[int, int] = {}
        self.worst_lag_ns = 0
        self._client = client
        self._rate = rate
        self._ids = list(ids)
        self._wire_time = int(time.time()) + IST_OFFSET_S
        self._received = bytearray()
        self._breaches: deque[tuple[int, int]] = deque()
        self._may_go = False
        self._frames: dict[int, Iterator[bytes]] = {}
        for security_id in self._ids:
            self._move(security_id, ENTRY_RUPEES)
        self._order = cycle(random.sample(self._ids, len(self._ids)))

    def send_all_once(self) -> None:
        for at in range(0, len(self._ids), _MOST_AT_ONCE):
            part = self._ids[at : at + _MOST_AT_ONCE]
            self._client.sendall(b"".join(next(self._frames[security_id]) for security_id in part))
            self.look()

    def phase(self, seconds: float) -> dict[str, int]:
        """Keep the pace for so long; the first phase ends with `go`."""
        start = now = looked = time.monotonic_ns()
        ends, ticks, waits = start + int(seconds * NS_PER_S), 0, not self._may_go
        while (now := time.monotonic_ns()) < ends and not (waits and self._may_go):
            due = (now - start) * self._rate // NS_PER_S
            if due > ticks:
                self.worst_lag_ns = max(self.worst_lag_ns, (due - ticks - 1) * NS_PER_S // self._rate)
                ticks += self._send(min(due - ticks, _MOST_AT_ONCE), now)
            if now - looked > _LOOK_EVERY_NS:
                looked = now
                self.look()
            elif due <= ticks:
                next_ns = start + (ticks + 1) * NS_PER_S // self._rate
                time.sleep(min(max(next_ns - time.monotonic_ns(), 0), _LOOK_EVERY_NS) / NS_PER_S)
        return {"start_ns": start, "end_ns": now, "ticks": ticks}

    def approach(self, ids: Iterable[int]) -> dict[str, int]:
        """One tick each, at 400 a second at most: prices near the stop."""
        start, ticks = time.monotonic_ns(), 0
        for security_id in ids:
            self._move(security_id, NEAR_RUPEES)
            self._client.sendall(next(self._frames[security_id]))
            ticks += 1
            self.look()
            time.sleep(1 / min(self._rate, 400))
        return {"start_ns": start, "end_ns": time.monotonic_ns(), "ticks": ticks}

    def breach_phase(self, ids: list[int], gap_s: float) -> dict[str, int]:
        """Background, and a breaching tick about every `gap_s` at an uneven distance, so that no timer can be in step."""
        start = time.monotonic_ns()
        for number, security_id in enumerate(ids):
            due_s = gap_s * (number + random.random())
            self._breaches.append((start + int(due_s * NS_PER_S), security_id))
        return self.phase(gap_s * (len(ids) + 1))

    def look(self) -> None:
        """Hear the client and the parent; end when either is gone."""
        ready, _, _ = select.select([self._client, sys.stdin], [], [], 0)
        if self._client in ready:
            data = self._client.recv(1 << 16)
            if not data:
                sys.exit(0)
            self._received += data
            for first, payload in web_frames.take_frames(self._received):
                if first == web_frames.PING:
                    self._client.sendall(web_frames.frame(web_frames.PONG, payload))
                elif first == web_frames.TEXT and (asked := json.loads(payload))["RequestCode"] % 2:
                    self.subscribed += asked["InstrumentCount"]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                sys.exit(0)
            self._may_go = True

    def _send(self, count: int, now: int) -> int:
        parts = [next(self._frames[next(self._order)]) for _ in range(count)]
        if self._breaches and self._breaches[0][0] <= now:
            _, security_id = self._breaches.popleft()
            self._move(security_id, BREACH_RUPEES)
            parts[-1] = next(self._frames[security_id])
            self.sent_ns[security_id] = time.monotonic_ns()
        self._client.sendall(b"".join(parts))
        return count

    def _move(self, security_id: int, rupees: float) -> None:
        packets = [full_packet(security_id, round(rupees + step, 2), self._wire_time) for step in _STEPS]
        self._frames[security_id] = cycle([web_frames.frame(web_frames.BINARY, packet) for packet in packets])


def _client_of(server: socket.socket) -> socket.socket:
    server.settimeout(_CONNECT_S)
    client, _ = server.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.settimeout(_CONNECT_S)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(4_096) or sys.exit(0)
    client.sendall(web_frames.upgrade_answer(head))
    return client


def main(plan: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(json.dumps({"port": server.getsockname()[1]}), flush=True)
        client = _client_of(server)
    with client:
        sender = Sender(client, plan["rate"], plan["ids"])
        ends = time.monotonic() + _CONNECT_S
        while sender.subscribed < len(plan["ids"]) and time.monotonic() < ends:
            sender.look()
            time.sleep(0.01)
        sender.send_all_once()
        phases = {"warm": sender.phase(_WARM_S)}
        phases["quiet"] = sender.phase(plan["quiet_s"])
        phases["approach"] = sender.approach(plan["fresh"])
        phases["fresh"] = sender.breach_phase(plan["fresh"], plan["fresh_gap_s"])
        if plan["stale"]:
            phases["pause"] = sender.phase(plan["stale_gap_s"])
            phases["stale"] = sender.breach_phase(plan["stale"], plan["stale_gap_s"])
        told = {"phases": phases, "sent_ns": sender.sent_ns, "worst_lag_ms": sender.worst_lag_ns / 1e6}
        print(json.dumps(told), flush=True)
        with suppress(ConnectionError):
            sender.phase(_WARM_S)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
