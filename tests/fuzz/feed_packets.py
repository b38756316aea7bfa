"""Random bytes into the feed decoder: `python -m tests.fuzz.feed_packets --millions 10 --seed 1`.

Half of the inputs are real packets that are then cut, glued together, or have bytes, lengths and prices overwritten; the rest
is noise. For each message a second reading of dhan_v2_protocol 2.4, written without a look at the decoder, says how many
packets it holds and where it breaks off. An input that raises or disagrees is printed as hex; the seed repeats the run.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Iterator

from core.dhan.feed_packets import (
    DecodeCounts,
    FullPacket,
    QuotePacket,
    Ticker,
    decode_message,
    decode_single,
)

SIZES = {2: 16, 4: 50, 5: 12, 6: 16, 7: 8, 8: 162, 50: 10}
ODD_FLOATS = tuple(
    struct.pack("<f", value)
    for value in (0.0, -0.0, 0.004, 0.05, -1.0, 1e-40, 3.4e38, 1_000_000.0, float("nan"), float("inf"), float("-inf"))
)
ODD_LENGTHS = (0, 1, 7, 8, 9, 15, 16, 17, 50, 161, 162, 163, 65_535)


def packet(rng: random.Random) -> bytes:
    """A packet as Dhan sends it."""
    code = rng.choice((2, 2, 4, 5, 6, 7, 8, 8, 50))
    head = struct.pack("<BHBI", code, SIZES[code], rng.randrange(9), rng.getrandbits(20))
    body = bytearray(rng.randbytes(SIZES[code] - 8))
    if code in {2, 4, 6, 8}:
        body[:4] = struct.pack("<f", rng.randrange(1, 400_000) * 0.05)
    return head + bytes(body)


def mutated(rng: random.Random) -> bytes:
    """One to four packets, then what a bad line or a new version of the server could make of them."""
    message = bytearray(b"".join(packet(rng) for _ in range(rng.choice((1, 1, 1, 2, 4)))))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        at = rng.randrange(len(message))
        match rng.randrange(7):
            case 0:
                del message[at + 1 :]
            case 1:
                message[at] = rng.getrandbits(8)
            case 2:
                message[1:3] = struct.pack("<H", rng.choice(ODD_LENGTHS))
            case 3:
                message[8:12] = rng.choice(ODD_FLOATS)
            case 4:
                message[0] = rng.choice((0, 1, 3, 9, 41, 51, 255))
            case 5:
                message += rng.randbytes(rng.randrange(1, 40))
            case _:
                del message[at : at + rng.randrange(1, 9)]
        if not message:
            break
    return bytes(message)


def messages(seed: int, count: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        yield mutated(rng) if rng.random() < 0.8 else rng.randbytes(rng.randrange(0, 200))


def expected(message: bytes) -> tuple[int, int, int]:
    """How many packets, unknown ones and broken ends the message holds."""
    packets = unknown = 0
    rest = message
    while rest:
        if len(rest) < 8:
            return packets, unknown, 1
        code, length = rest[0], rest[1] + 256 * rest[2]
        if length > len(rest) or length < SIZES.get(code, 8):
            return packets, unknown, 1
        packets, unknown = (packets + 1, unknown) if code in SIZES else (packets, unknown + 1)
        rest = rest[length:]
    return packets, unknown, 0


def check(message: bytes) -> None:
    """Raises AssertionError where the decoder disagrees, or whatever it raises itself."""
    counts = DecodeCounts()
    found = decode_message(message, counts)
    assert (counts.packets, counts.unknown, counts.corrupt) == expected(message)
    assert len(found) == counts.packets
    for one in found:
        if isinstance(one, Ticker | QuotePacket | FullPacket):
            assert one.last is None or 0 < one.last <= 100_000_000
        if isinstance(one, FullPacket):
            assert (one.bid is None) == (one.bid_size == 0)
            assert (one.ask is None) == (one.ask_size == 0)
            assert len(one.levels) == 5
        if isinstance(one, QuotePacket | FullPacket):
            assert len(one.day) == 8
    single_counts = DecodeCounts()
    single = decode_single(message, single_counts)
    if single is None:
        assert single_counts == DecodeCounts()
    else:
        assert found == [single]
        assert single_counts == counts


def campaign(seed: int, count: int) -> bytes | None:
    """The first message that fails, None when none does."""
    for message in messages(seed, count):
        try:
            check(message)
        except Exception:  # noqa: BLE001  any exception at all is the finding
            return message
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the decoder of the market feed.")
    parser.add_argument("--millions", type=float, default=10.0, help="how many messages, in millions (10)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; each 100,000 messages have their own (1)")
    options = parser.parse_args()
    chunk, chunks = 100_000, max(round(options.millions * 10), 1)
    start = time.monotonic()
    for number in range(chunks):
        failed = campaign(options.seed + number, chunk)
        if failed is not None:
            sys.stderr.write(f"seed {options.seed + number}: {failed.hex()}\n")
            return 1
    took = time.monotonic() - start
    sys.stdout.write(f"{chunks * chunk:,} messages, none raised or was misread, {took:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
