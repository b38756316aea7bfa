"""The bench feed with the time of sending in every tick: as the size of the best bid, microseconds of the monotonic clock.

Nothing reads that size on the way to a decision. It wraps every 71 minutes.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from itertools import cycle
from typing import Final

from core.model.session_time import NS_PER_S
from tests.perf import feed_sender, web_frames

WRAP: Final = 1 << 32
_STAMP: Final = struct.Struct("<I")
_BID_SIZE_AT: Final = 62
"""Of a Full packet, at the end of its fixed part (dhan_v2_protocol 2.6)."""
_MOST_AT_ONCE: Final = 64


class StampedSender(feed_sender.Sender):
    def _move(self, security_id: int, rupees: float) -> None:
        wire_time = int(time.time()) + feed_sender.IST_OFFSET_S
        packets = [
            feed_sender.full_packet(security_id, round(rupees + step, 2), wire_time) for step in feed_sender._STEPS
        ]
        self._stamp_at = len(web_frames.frame(web_frames.BINARY, packets[0])) - len(packets[0]) + _BID_SIZE_AT
        self._frames[security_id] = cycle([bytearray(web_frames.frame(web_frames.BINARY, each)) for each in packets])

    def _send(self, count: int, now: int) -> int:
        parts = [next(self._frames[next(self._order)]) for _ in range(count)]
        stamp = time.monotonic_ns() * 1_000_000 // NS_PER_S % WRAP
        for part in parts:
            _STAMP.pack_into(part, self._stamp_at, stamp)
        self._client.sendall(b"".join(parts))
        return count


if __name__ == "__main__":
    feed_sender.Sender = StampedSender
    feed_sender.main(json.loads(sys.argv[1]))
