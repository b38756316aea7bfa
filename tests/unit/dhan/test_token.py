import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.token import TokenClaims, read_claims, says_too_soon


def token_of(payload):
    encode = lambda part: base64.urlsafe_b64encode(part).rstrip(b"=").decode()  # noqa: E731  one use, one line
    return f"{encode(b'{}')}.{encode(payload)}.signature"


@pytest.mark.parametrize("padding", ["", "x", "xx", "xxx", "ÿ?>"])
def test_account_and_expiry_are_read_without_the_key(padding):
    claims = {"iss": "dhan", "dhanClientId": "1100000042", "exp": 1795230300, "pad": padding}
    assert read_claims(token_of(json.dumps(claims, ensure_ascii=False).encode())) == TokenClaims(
        "1100000042", 1795230300
    )


@pytest.mark.parametrize(
    ("claims", "read"),
    [
        ({}, TokenClaims(None, None)),
        ({"dhanClientId": "", "exp": "soon"}, TokenClaims(None, None)),
        ({"dhanClientId": 5, "exp": True}, TokenClaims(None, None)),
        ({"exp": 5}, TokenClaims(None, 5)),
    ],
)
def test_a_claim_that_is_missing_is_unknown(claims, read):
    assert read_claims(token_of(json.dumps(claims).encode())) == read


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c.d", "a.!!.c", "a.é.c", "a.YWJj.c", token_of(b"[1]"), token_of(b"\xff")]
)
def test_what_is_no_jwt_is_unreadable(token):
    assert read_claims(token) is None


@given(st.text(max_size=60))
def test_no_text_raises(text):
    read_claims(text)
    read_claims(f"a.{text}.c")


def test_a_token_pasted_with_a_line_break_is_read():
    assert read_claims(f" {token_of(b'{}')}\n") == TokenClaims(None, None)


def test_only_too_early_is_told_from_every_other_refusal():
    assert says_too_soon("Dhan answered HTTP 200:  Token can be generated once every 2 minutes.")
    assert not says_too_soon("Dhan answered HTTP 400:  Invalid Pin or TOTP")
