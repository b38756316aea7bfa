"""Large answers are parsed in small steps, and mean exactly what they mean parsed at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.json_fields import loads
from core.dhan.rest_quotes import ROWS_PER_STEP, parse_quotes, quotes_in_steps
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey, Segment
from tests.unit.dhan.test_rest_quotes_and_account import QUOTE


def answer(rows, **more):
    return json.dumps({"data": rows, "status": "success", **more}).encode()


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_STEP - 1, ROWS_PER_STEP, ROWS_PER_STEP + 1, 3 * ROWS_PER_STEP])
def test_steps_are_small_and_together_they_are_the_answer(count):
    body = answer({"NSE_FNO": {str(n): QUOTE | {"last_price": n + 1} for n in range(count)}, "IDX_I": {"13": QUOTE}})
    steps = list(quotes_in_steps(body, 7))
    assert max(len(step) for step in steps) <= ROWS_PER_STEP
    quotes = [quote for step in steps for quote in step]
    assert [quote.last for quote in quotes] == [100 * (n + 1) for n in range(count)] + [9840]
    assert quotes[-1].key == InstrumentKey(Segment.IDX_I, 13)
    assert tuple(quotes) == parse_quotes(body, 7)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.text(max_size=5) | st.just("success"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def plain(body):
    """What the answer means when it is read whole: security ids and last prices, by the documented shape alone."""
    whole = loads(body)
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), dict):
        return None
    status = whole.get("status")
    if status is not None and not (isinstance(status, str) and status.upper() == "SUCCESS"):
        return None
    rows = [row for name, listed in whole["data"].items() if name in Segment.__members__ and isinstance(listed, dict)
            for row in listed.items()]  # fmt: skip
    return [(name, row["last_price"]) for name, row in rows
            if name.isascii() and name.isdecimal() and isinstance(row, dict) and set(row) == {"last_price"}
            and type(row["last_price"]) is int and row["last_price"] > 0]  # fmt: skip


@given(
    whole=VALUES
    | st.fixed_dictionaries(
        {
            "data": st.dictionaries(
                st.sampled_from(["NSE_FNO", "IDX_I", "NSE_COMM"]),
                VALUES
                | st.dictionaries(st.sampled_from(["1", "13", "x"]), st.fixed_dictionaries({"last_price": VALUES})),
            )
        },
        optional={"status": st.sampled_from(["success", "SUCCESS", "failed", None, 5]), "other": VALUES},
    ),
    indent=st.sampled_from([None, 1, "\t"]),
)
def test_read_in_steps_is_read_at_once(whole, indent):
    body = json.dumps(whole, indent=indent).encode()
    expected = plain(body)
    if expected is None:
        with pytest.raises(DecodeError):
            parse_quotes(body, 7)
        return
    found = {(str(quote.key.security_id), quote.last) for quote in parse_quotes(b" \n" + body + b" ", 7)}
    assert {(name, price * 100) for name, price in expected if price < 10**5} <= found


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"data":{}', b'{"data":{}} x', b'{"data":{},}', b'{"data" {}}', b"\xff", b"{1:2}",
        b'{"data":{"IDX_I":{"13":{"last_price":NaN}}}}', b'{"data":{"IDX_I":{"13":{}', b'{"data":[]}', b'{"status":"success"}',
        b'{"data":{"807":"expired"},"status":"failed"}', b'{"data":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(body):
    with pytest.raises(DecodeError):
        parse_quotes(body, 7)
