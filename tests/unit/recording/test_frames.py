"""Frames taken apart by the thousand say what they say one by one."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.dhan.feed_packets import DecodeCounts, decode_message, decode_single
from core.dhan.segments import feed_id_of
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import QuoteSource
from core.price_cache import PriceCache
from core.recording.file_format import BLOCK_HEAD_SIZE, Block, Kind, Record, pack_block, unpack_block
from core.recording.frames import Frames, Wanted, quotes_of, runs_of
from tests.unit.recording.scene import full_packet, key

WANTED = [key(1), key(2), key(70_000), InstrumentKey(Segment.IDX_I, 13)]
IDS = st.sampled_from([1, 2, 3, 13, 70_000])
RUPEES = st.one_of(
    st.sampled_from([0.0, 0.004, 0.005, 0.05, 99.95, 100.005, 1e6, 1.1e6, -3.0, float("nan"), float("inf")]),
    st.floats(0, 2e6, width=32),
)
TIMES = st.sampled_from([0, 1, 946_684_799, 946_684_800, 1_763_609_400, 2**32 - 1])
SIZES = st.sampled_from([0, 1, 75, 2**32 - 1])


@st.composite
def fulls(draw):
    head = struct.pack("<BHBIf2xI44x", 8, 162, draw(st.sampled_from([0, 2])), draw(IDS), draw(RUPEES), draw(TIMES))
    best = struct.pack("<II4xff80x", draw(SIZES), draw(SIZES), draw(RUPEES), draw(RUPEES))
    return head + best


@st.composite
def tickers(draw):
    return struct.pack("<BHBIfI", 2, 16, draw(st.sampled_from([0, 2])), draw(IDS), draw(RUPEES), draw(TIMES))


def quote_packets():
    return st.builds(
        lambda one, two: struct.pack("<BHBIf2xI", 4, 50, 2, one, two, 1_763_609_400) + bytes(32), IDS, RUPEES
    )


OTHERS = st.one_of(
    st.binary(max_size=200),
    st.binary(min_size=162, max_size=162),
    st.just(struct.pack("<BHBIH", 50, 10, 2, 1, 805)),
    st.just(struct.pack("<BHBII", 5, 12, 2, 1, 9)),
)
MESSAGES = st.one_of(fulls(), tickers(), quote_packets(), OTHERS, st.builds(bytes.__add__, fulls(), tickers()))
RECEIVED = st.lists(st.tuples(MESSAGES, st.integers(1, 3)), min_size=1, max_size=30)


def one_by_one(received, owners):
    """The way of the running monitor: the line decodes, the price cache makes the quote."""
    cache, counts, found = PriceCache(), DecodeCounts(), []
    cache.watch(WANTED)
    owner_of = {feed_id_of(each): line for each, line in owners.items()}
    for at_ns, (message, line) in enumerate(received, start=1_000):
        packet = decode_single(message, counts)
        for each in decode_message(message, counts) if packet is None else [packet]:
            if owner_of.get(each[0], line) == line:
                taken = cache.take(each, at_ns)
                found += [] if taken is None else [taken]
    return found


def block_of(received):
    records = [Record(Kind.FRAME, line, at, message) for at, (message, line) in enumerate(received, start=1_000)]
    packed = pack_block(records, 900, 0)
    return unpack_block(packed[:BLOCK_HEAD_SIZE], packed[BLOCK_HEAD_SIZE:])


@given(RECEIVED, st.booleans())
@example([(full_packet(1, 100.0, 1_763_609_400), 1)], False)
@example([(full_packet(1, 100.0, 1_763_609_400, bid_size=0, ask=-1.0), 1)], False)
@example([(full_packet(1, 100.0, 0, ask_size=0, bid=0.004), 1), (full_packet(2, 0.0, 0), 2)], True)
def test_quotes_of_many_frames_are_those_of_one_frame_after_the_other(received, is_shared):
    owners = {key(1): 1, key(2): 2} if is_shared else {}
    [frames] = runs_of(block_of(received))
    quotes = quotes_of(frames, Wanted(WANTED, owners), DecodeCounts())
    assert quotes == one_by_one(received, owners)
    assert all(type(value) in {int, type(None)} for quote in quotes for value in quote[1:8])
    assert all(quote.source is QuoteSource.FEED for quote in quotes)


def test_nothing_wanted_gives_no_quote():
    [frames] = runs_of(block_of([(full_packet(1, 100.0, 0), 1)]))
    assert quotes_of(frames, Wanted((), {}), DecodeCounts()) == []


def test_other_records_part_the_frames_and_are_named_by_number():
    message = full_packet(1, 100.0, 0)
    kinds = [Kind.TIME, Kind.FRAME, Kind.FRAME, Kind.FACT, Kind.FRAME, Kind.STATE]
    packed = pack_block([Record(kind, 1, 1_000 + at, message) for at, kind in enumerate(kinds)], 0, 0)
    found = runs_of(unpack_block(packed[:BLOCK_HEAD_SIZE], packed[BLOCK_HEAD_SIZE:]))
    assert [each.at_ns.tolist() if isinstance(each, Frames) else each for each in found] == [
        0,
        [1_001, 1_002],
        3,
        [1_004],
        5,
    ]


def test_sizes_that_do_not_fill_the_block_are_refused():
    block = block_of([(full_packet(1, 100.0, 0), 1)])
    with pytest.raises(DecodeError):
        runs_of(Block(block.monotonic_ns, block.utc_ns, block.count, block.heads, block.bodies[:-1]))
