"""Blocks come back as they were written, or not at all."""

import dataclasses
import itertools
import types
from datetime import date, time
from enum import Enum
from typing import Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import journal_codec
from core.model import events as ev
from core.model.errors import DecodeError
from core.recording import facts
from core.recording.file_format import (
    BLOCK_HEAD_SIZE,
    Kind,
    Record,
    pack_block,
    pack_time,
    stored_size,
    unpack_block,
    unpack_time,
)

NS = st.integers(0, 2**62)
RECORDS = st.lists(
    st.builds(Record, st.sampled_from([int(kind) for kind in Kind]), st.integers(0, 255), NS, st.binary(max_size=300)),
    max_size=20,
)


def unpacked(data):
    size = stored_size(data[:BLOCK_HEAD_SIZE])
    if size is None:
        raise DecodeError("no head")
    return unpack_block(data[:BLOCK_HEAD_SIZE], data[BLOCK_HEAD_SIZE : BLOCK_HEAD_SIZE + size])


@given(RECORDS, NS, NS)
def test_a_block_gives_back_its_records_and_its_two_clocks(records, monotonic_ns, utc_ns):
    block = unpacked(pack_block(records, monotonic_ns, utc_ns))
    assert list(block.records()) == records
    assert (block.monotonic_ns, block.utc_ns, block.count) == (monotonic_ns, utc_ns, len(records))


@given(RECORDS, st.data())
def test_a_changed_byte_is_never_taken_for_what_was_written(records, data):
    packed = pack_block(records, 5, 7)
    at = data.draw(st.integers(0, len(packed) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = packed[:at] + bytes([packed[at] ^ bit]) + packed[at + 1 :]
    with pytest.raises(DecodeError):
        unpacked(changed)


@given(RECORDS, st.data())
def test_a_block_that_is_cut_off_is_refused(records, data):
    packed = pack_block(records, 5, 7)
    with pytest.raises(DecodeError):
        unpacked(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize(("is_open", "day", "cash"), [*itertools.product((True, False, None), repeat=3)])
def test_what_was_told_of_the_time_comes_back(is_open, day, cash):
    told = ev.TimePassed(11, 12, is_open, day, cash)
    assert unpack_time(11, pack_time(told)) == told


def test_a_file_from_before_shares_had_hours_of_their_own_lets_them_be_sold():
    assert unpack_time(11, bytes(8) + b"\x08") == ev.TimePassed(11, 0, session_open=True, is_trading_day=True)


@pytest.mark.parametrize("body", [b"", b"123456789", bytes(8) + b"\x1b", bytes(10)])
def test_what_no_time_is_is_refused(body):
    with pytest.raises(DecodeError):
        unpack_time(1, body)


def sample(hint):
    """A value of the type with everything in it set, so that no field is left to its default."""
    plain = {int: 7, float: 1.5, str: "text", bool: True, date: date(2026, 11, 20), time: time(15, 10)}
    if hint in plain:
        return plain[hint]
    if get_origin(hint) in {Union, types.UnionType}:
        return sample(next(part for part in get_args(hint) if part is not types.NoneType))
    if get_origin(hint) is tuple:
        return (sample(get_args(hint)[0]),)
    if issubclass(hint, Enum):
        return next(iter(hint))
    hints = get_type_hints(hint, localns=journal_codec._NAMES)
    names = [field.name for field in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else hint._fields
    return hint(**{name: sample(hints[name]) for name in names})


@pytest.mark.parametrize("kind", [facts.KINDS[name] for name in sorted(facts.KINDS)], ids=sorted(facts.KINDS))
def test_every_kind_of_fact_comes_back_with_everything_in_it(kind):
    fact = sample(kind)
    assert facts.decode_fact(facts.encode_fact(fact)) == fact


def test_the_fullest_position_has_every_level_in_it():
    levels = sample(ev.PositionOpened).levels
    assert all(getattr(levels, field.name) not in {None, ()} for field in dataclasses.fields(levels))


def test_every_event_of_the_engine_is_kept_or_known_to_be_left_out():
    assert set(get_args(ev.Event)) == facts.TOLD | facts._NOT_KEPT
    assert {ev.PositionOpened, ev.PositionGone, ev.PricesDoubted, ev.FeedStateChanged, ev.LoopStalled} <= facts.TOLD


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"@": 1}', b'{"@":"Unheard"}', b'{"@":"Gap"}', b'{"@":"Gap","frames":"x"}', b"\xff"]
)
def test_what_no_fact_is_is_refused(body):
    with pytest.raises(DecodeError):
        facts.decode_fact(body)
