"""Large position lists are parsed in small steps, and mean exactly what they mean parsed at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.json_fields import array_elements, loads
from core.dhan.rest_positions import ROWS_PER_STEP, parse_positions, positions_in_steps
from core.model.errors import DecodeError
from tests.unit.dhan.test_rest_orders_and_positions import POSITION, encoded


def elements(body):
    return list(array_elements(body))


@given(
    rows=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 1, "\t"]),
)
def test_an_array_read_element_by_element_is_the_array_read_at_once(rows, indent):
    body = json.dumps(rows, default=float, indent=indent).encode()
    assert elements(body) == loads(body)
    assert elements(b" \n" + body + b" ") == loads(body)


@given(st.binary(max_size=40) | st.text(alphabet='[]{},:"1 a\\', max_size=20).map(str.encode))
def test_bytes_that_are_no_array_are_refused_as_a_whole_read_refuses_them(body):
    try:
        whole = loads(body)
    except DecodeError:
        whole = None
    if isinstance(whole, list):
        assert elements(body) == whole
    else:
        with pytest.raises(DecodeError):
            elements(body)


@pytest.mark.parametrize("body", [b"[] x", b"[1] x", b"[1,]", b"[,1]", b"[1 2]", b"[1", b"{}", b"", b"[NaN]", b"\xff"])
def test_what_is_almost_an_array_is_refused(body):
    with pytest.raises(DecodeError):
        elements(body)


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_STEP - 1, ROWS_PER_STEP, ROWS_PER_STEP + 1, 3 * ROWS_PER_STEP])
def test_steps_are_small_and_together_they_are_the_report(count):
    rows = [POSITION | {"securityId": str(1000 + at), "netQty": at} for at in range(count)]
    steps = list(positions_in_steps(encoded(rows)))
    assert max(len(step) for step in steps) <= ROWS_PER_STEP
    assert [row.net for step in steps for row in step] == list(range(count))
    assert tuple(row for step in steps for row in step) == parse_positions(encoded(rows))
