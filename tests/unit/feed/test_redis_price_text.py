"""Prices as text: what is written can be read by anyone with a JSON parser, and nothing that others wrote does harm."""

from __future__ import annotations

import json

import hiredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.price_text import HASH, LIFE_MS, PING, WarmCounts, from_value, hmget, hset, hset_pair, to_field, to_value

MS = 1_000_000
S = 1_000 * MS
KEY = InstrumentKey(Segment.NSE_FNO, 61_234)
NOW = 50_000 * S
UTC = 1_795_000_000 * S
OFFSET = UTC - NOW
GOOD = {
    "v": 1, "last": 100, "bid": 95, "ask": 105, "bid_size": 75, "ask_size": 150, "exchange_time": 1_794_999_990,
    "received_ms": UTC // MS - 4_000, "source": "feed", "writer": "0a1b2c3d",
}  # fmt: skip

PAISE = st.integers(1, 10**9)
QUOTES = st.builds(
    Quote, key=st.just(KEY), last=PAISE, bid=PAISE | st.none(), ask=PAISE | st.none(), bid_size=st.integers(0, 10**9),
    ask_size=st.integers(0, 10**9), exchange_time=st.integers(0, 2**32) | st.none(),
    received_ns=st.integers(NOW - 10 * S, NOW), source=st.sampled_from([QuoteSource.FEED, QuoteSource.REST]),
)  # fmt: skip


def read(raw, max_age_s=15):
    counts = WarmCounts()
    return from_value(KEY, raw, OFFSET, NOW, max_age_s * S, counts), counts


def changed(**changes):
    return json.dumps(GOOD | changes).encode()


def test_a_value_says_what_the_guide_says():
    quote = Quote(KEY, 12_345, 12_340, None, 650, 0, None, NOW - 1_500 * MS, QuoteSource.REST)
    value = to_value(quote, OFFSET, "0a1b2c3d")
    assert json.loads(value) == {
        "v": 1, "last": 12_345, "bid": 12_340, "ask": None, "bid_size": 650, "ask_size": 0, "exchange_time": None,
        "received_ms": 1_795_000_000_000 - 1_500, "source": "rest", "writer": "0a1b2c3d",
    }  # fmt: skip
    assert b" " not in value
    assert to_field(KEY) == b"NSE_FNO:61234"
    assert HASH == b"dhan:prices:1"


@given(QUOTES)
def test_what_is_written_comes_back_as_cached_with_its_age(quote):
    found, counts = read(to_value(quote, OFFSET, "0a1b2c3d"))
    assert counts == WarmCounts(taken=1)
    assert found._replace(received_ns=0, source=quote.source) == quote._replace(received_ns=0)
    assert found.source is QuoteSource.CACHE
    # The text has whole milliseconds.
    assert 0 <= quote.received_ns - found.received_ns < MS


def test_the_largest_value_is_read():
    most = 2**53 - 1
    quote = Quote(KEY, most, most, most, most, most, most, NOW)
    assert read(to_value(quote, OFFSET, "0a1b2c3d"))[1] == WarmCounts(taken=1)


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(15.0, "taken"), (15.001, "old"), (3_600, "old"), (0, "taken"), (-2.0, "taken"), (-2.001, "future")],
)
def test_ages_are_judged(age_s, expected):
    found, counts = read(changed(received_ms=UTC // MS - round(age_s * 1_000)))
    assert counts == WarmCounts(**{expected: 1})
    assert (found is None) == (expected != "taken")
    if found is not None:
        assert found.received_ns == NOW - max(0, round(age_s * S))


def test_an_instrument_without_a_value_is_missing():
    assert read(None) == (None, WarmCounts(missing=1))


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.0, True])
def test_another_layout_is_left_alone(version):
    assert read(changed(v=version)) == (None, WarmCounts(foreign=1))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"1", b"null", b"\xff\xfe", b"\x80\x04\x95pickle", b"[" * 399, b'{"v":1}', 5, "text", [b"{}"],
        b'{"v":1,"last":' + b"9" * 4_400 + b"}", json.dumps(GOOD).encode() + b" " * 400,
    ],
)  # fmt: skip
def test_garbage_is_counted_and_dropped(raw):
    assert read(raw) == (None, WarmCounts(malformed=1))


@pytest.mark.parametrize("name", sorted(GOOD.keys() - {"v", "writer"}))
@pytest.mark.parametrize("value", ["100", 1.5, True, -1, [], {}, 2**53, "absent"])
def test_one_bad_part_spoils_the_value(name, value):
    changes = GOOD | {name: value}
    if value == "absent":
        del changes[name]
    assert read(json.dumps(changes).encode()) == (None, WarmCounts(malformed=1))


@pytest.mark.parametrize("changes", [{"last": 0}, {"last": None}, {"bid": 0}, {"ask": 0}, {"source": "cache"}])
def test_no_price_is_nought_and_none_comes_from_a_cache(changes):
    assert read(changed(**changes)) == (None, WarmCounts(malformed=1))


def test_not_a_number_is_no_number():
    raw = json.dumps(GOOD).replace('"last": 100', '"last": NaN').encode()
    assert read(raw) == (None, WarmCounts(malformed=1))


@given(
    st.binary(max_size=500)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
@example(b'{"v":1,"v":2}')
def test_nothing_that_others_wrote_raises(raw):
    found, counts = read(raw)
    assert found is None
    assert sum(getattr(counts, name) for name in counts.__slots__) == 1


def parsed(command):
    """By the parser of the other side."""
    reader = hiredis.Reader()
    reader.feed(command)
    found = []
    while (one := reader.gets()) is not False:
        found.append(one)
    return found


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=300)), min_size=1, max_size=5))
def test_commands_are_what_redis_reads(pairs):
    assert parsed(hset([hset_pair(*pair) for pair in pairs])) == [
        [b"HSET", HASH, *(word for pair in pairs for word in pair)],
        [b"PEXPIRE", HASH, str(LIFE_MS).encode()],
    ]
    assert parsed(hmget([name for name, _ in pairs])) == [[b"HMGET", HASH, *(name for name, _ in pairs)]]
    assert parsed(PING) == [[b"PING"]]
