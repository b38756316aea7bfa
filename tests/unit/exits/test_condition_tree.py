"""JSON that others wrote: whatever it is, reading it ends, and what was not read is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.condition_tree import Branch, magnitude, read_object, unread_note


@pytest.mark.parametrize("text", [None, "", "  ", "null", "{}", '"{}"', '""', '"null"', '" "'])
def test_nothing_is_an_empty_object(text):
    assert read_object(text) == ({}, "")


def test_an_object_may_be_encoded_more_than_once():
    tree = {"stop_losses": {"primary": {"loss_pct": 50}}}
    text = json.dumps(tree)
    assert read_object(text) == (tree, "")
    assert read_object(json.dumps(text)) == (tree, "")
    assert read_object(json.dumps(json.dumps(text))) == (tree, "")
    assert read_object(json.dumps(json.dumps(json.dumps(text))))[0] == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1', "no JSON"),
        ("{'a': 1}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("1" * 5_000, "no JSON"),
        ("[1, 2]", "received a list"),
        ('"words"', "no JSON"),
        ("7", "received a number"),
        ("1.5", "received a number"),
        ("true", "received true or false"),
        (json.dumps(json.dumps(json.dumps(json.dumps({})))), "received a text"),
        ('{"a":' * 33 + "1" + "}" * 33, "nested deeper than 32"),
    ],
)
def test_what_is_no_object_is_named_and_nothing_of_it_is_used(text, problem):
    content, said = read_object(text)
    assert content == {}
    assert problem in said
    assert said.endswith("nothing of it is used")


def test_an_object_may_be_as_deep_as_a_tree_needs():
    text = '{"a":' * 30 + "[1]" + "}" * 30
    assert read_object(text)[1] == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (-2.5, 2.5),
        ("1250.50", 1250.5),
        (" ₹1,250.50 ", 1250.5),
        ("1,00,000", 100_000),
        ("-3", 3),
        (0, 0),
        (True, None),
        (None, None),
        ("50%", None),
        ("fifty", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (1e14, None),
        ([5], None),
    ],
)
def test_a_magnitude_is_a_finite_number_without_its_sign(value, expected):
    assert magnitude(value) == expected


def test_what_was_read_is_not_named_and_what_was_not_is_named_as_far_up_as_it_goes():
    branch = Branch(
        "",
        {
            "read": {"a": 5, "b": 0, "c": None, "d": "", "e": {}, "f": []},
            "half": {"a": 5, "words": "x", "deep": {"deeper": {"x": 1}}},
            "untouched": {"a": {"b": 1}},
            "number": "5",
            "odd": "five",
            "empty": {"a": {}, "b": {"c": None}},
            "off": False,
        },
    )
    assert branch.branch("read").number("a") == 5
    half = branch.branch("half")
    assert half.number("a") == 5
    assert half.text("words") == "x"
    assert half.branch("deep").branch("deeper").number("y") is None
    assert branch.branch("untouched").content == {"a": {"b": 1}}
    assert branch.number("number") == 5
    assert branch.number("odd") is None
    assert branch.unread() == ["odd", "half.words", "half.deep.deeper", "untouched"]
    half.used("words")
    assert "half.words" not in branch.unread()


def test_a_branch_that_is_none_is_empty_and_is_named():
    branch = Branch("", {"a": [1], "b": {"c": 7.5}})
    assert branch.branch("a").content == {}
    assert branch.branch("z").text("x") == ""
    assert branch.branch("b").days("c") is None
    assert branch.unread() == ["a", "b"]


@pytest.mark.parametrize(("value", "days"), [(7, 7), (7.0, 7), ("21", 21), (0, None), (2.5, None), ("soon", None)])
def test_days_are_whole(value, days):
    assert Branch("", {"dte": value}).days("dte") == days


def test_the_note_is_one_line_however_much_was_not_read():
    assert unread_note("tree", []) == ""
    assert unread_note("tree", ["a", "b.c"]) == "tree: not read: a, b.c"
    many = unread_note("tree", [f"leaf{n}" for n in range(40)])
    assert many.endswith("leaf11 and 28 more")
    assert len(unread_note("tree", ["x" * 500])) < 80


leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers()
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(st.text(max_size=200) | documents.map(json.dumps))
def test_reading_never_raises(text):
    content, problem = read_object(text)
    assert not (content and problem)
    branch = Branch("", content)
    for key in content:
        branch.branch(key)
        branch.number(key)
        branch.days(key)
        branch.text(key)
    assert len(unread_note("t", branch.unread())) < 1_000
