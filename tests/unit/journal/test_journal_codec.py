"""Every record comes back from its JSON as it was; anything else is refused."""

import contextlib
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.journal_codec import KINDS, decode, encode
from core.model.errors import BugError, DecodeError
from core.model.journal_records import AttemptAbsent, ExitHalted, JournalRecord
from core.model.signals import Latency
from tests.unit.journal.records import any_record, prepared, started


@given(any_record)
def test_every_record_survives_the_round_trip(record):
    assert decode(encode(record)) == record


@given(any_record)
def test_the_text_is_one_line_of_ascii(record):
    assert encode(record).isascii()
    assert "\n" not in encode(record)


def test_every_kind_of_record_has_a_tag():
    assert set(KINDS.values()) == set(get_args(JournalRecord))


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_else_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        decode(text)


@given(any_record, st.data())
def test_a_wrong_type_anywhere_is_a_decode_error_or_another_record(record, data):
    fields = json.loads(encode(record))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(st.none() | st.booleans() | st.floats() | st.just({}) | st.just([1, [2]]))
    with contextlib.suppress(DecodeError):
        assert decode(json.dumps(fields)) is not None


def changed(record, /, **fields):
    return json.dumps({**json.loads(encode(record)), **fields})


@pytest.mark.parametrize(
    "text",
    [
        changed(started(), generation=True),
        changed(started(), generation=1.0),
        changed(started(), generation="1"),
        changed(started(), later_field=1),
        changed(started(), **{"@": "ExitReversed"}),
        changed(prepared(), intent=None),
        '{"@":"ExitHalted","exit_id":"e"}',
        '{"@":"ExitHalted","exit_id":"e","reason":NaN}',
        "[" * 100_000,
    ],
)
def test_a_record_this_build_does_not_know_is_refused(text):
    with pytest.raises(DecodeError):
        decode(text)


def test_an_absent_field_gets_its_default():
    fields = json.loads(encode(prepared()))
    del fields["intent"]["validity"]
    assert decode(json.dumps(fields)) == prepared()


@pytest.mark.parametrize("bad", [ExitHalted("e", None), ExitHalted("e", 1), AttemptAbsent("e", b"x")])
def test_a_value_outside_its_type_is_a_bug_not_a_record(bad):
    with pytest.raises(BugError):
        encode(bad)


def test_a_number_that_is_none_is_never_written():
    from core.journal_codec import _codec  # noqa: PLC0415

    with pytest.raises(BugError):
        _codec(Latency).encode(Latency(float("nan")))


@pytest.mark.parametrize("hint", [dict[str, int], tuple[int, str], int | str, bytes])
def test_a_type_without_a_form_is_a_bug(hint):
    from core.journal_codec import _codec  # noqa: PLC0415

    with pytest.raises(BugError):
        _codec(hint)
