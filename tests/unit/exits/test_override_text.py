"""What an operator may type for one position, and what is said when it cannot be meant."""

import re
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.override_text import parse_override
from core.model.exit_levels import Action
from core.model.override import AskedTrail, AskedUnderlying, Kind, Override
from core.model.profile import Asked, Base

POSITION, PREMIUM, CREDIT = Base.POSITION, Base.PREMIUM, Base.CREDIT


def rupees(amount):
    return Asked(amount * 100, POSITION)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Override()),
        (" ; ", Override()),
        ("stop=5000", Override(stop=rupees(5000))),
        ("STOP = 5000.50 ;", Override(stop=rupees(5000.5))),
        ("stop=40%; target=30%premium", Override(stop=Asked(40), target=Asked(30, PREMIUM))),
        ("stop=2x", Override(stop=Asked(200, CREDIT))),
        ("dte=0; theta=3; losing=5; hold=45", Override(dte=0, theta=3, losing=5, hold=45)),
        ("trail=1500@4000", Override(trail=AskedTrail(rupees(1500), None, rupees(4000)))),
        ("trail=1500", Override(trail=AskedTrail(rupees(1500)))),
        ("trail=10%@0", Override(trail=AskedTrail(Asked(10), None, Asked(0, POSITION)))),
        ("trail=20%peak@30%", Override(trail=AskedTrail(None, 20, Asked(30)))),
        ("premium_trail=20%", Override(premium_trail=Asked(20, PREMIUM))),
        ("premium_trail=1500", Override(premium_trail=rupees(1500))),
        ("cost_at=2000", Override(locks=((rupees(2000), Asked(0, POSITION)),))),
        ("cost_at=10%", Override(locks=((Asked(10), Asked(0)),))),
        ("lock=3000@1500", Override(locks=((rupees(3000), rupees(1500)),))),
        ("lock=1500@3000", Override(locks=((rupees(3000), rupees(1500)),))),
        ("lock=3000@0, 6000@4000", Override(locks=((rupees(3000), rupees(0)), (rupees(6000), rupees(4000))))),
        (
            "scale=25%:1000, 50%:2000,75%:3000",
            Override(
                scale=(
                    (Action.CLOSE_25, rupees(1000)),
                    (Action.CLOSE_50, rupees(2000)),
                    (Action.CLOSE_75, rupees(3000)),
                )
            ),
        ),
        ("scale=25%:30%,75%:1000", Override(scale=((Action.CLOSE_25, Asked(30)), (Action.CLOSE_75, rupees(1000))))),
        (
            "underlying_below=24000; underlying_above=25000.05/15m",
            Override(underlying=(AskedUnderlying(24_000_00, False), AskedUnderlying(25_000_05, True, 15))),
        ),
        ("square_off=15:10", Override(square_off=time(15, 10))),
        ("square_off=09:20:30", Override(square_off=time(9, 20, 30))),
        ("none=target, dte", Override(off=frozenset({Kind.TARGET, Kind.DTE}))),
        ("none=stop!", Override(off=frozenset({Kind.STOP}))),
        ("none=own_rules,greeks,adjust", Override(off=frozenset({Kind.OWN_RULES, Kind.GREEKS, Kind.ADJUST}))),
    ],
)
def test_parts(text, expected):
    assert parse_override(text) == expected


def test_all_at_once():
    found = parse_override(
        "stop=5000; target=30%; dte=2; trail=1500@4000; premium_trail=20%; cost_at=2000; lock=3000@1500; "
        "scale=25%:1000,50%:2000; hold=45; losing=5; underlying_below=24000; underlying_above=25000/15m; square_off=15:10; "
        "theta=3; none=greeks"
    )
    assert found.locks == ((rupees(2000), Asked(0, POSITION)), (rupees(3000), rupees(1500)))
    assert (found.hold, found.off) == (45, {Kind.GREEKS})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stop", r"'stop': expected one of stop, target, trail.*, then = and a value"),
        ("stopp=5", r"'stopp=5': expected one of stop"),
        ("stop=", r"'stop=': expected rupees \(5000\), per cent \(30%\)"),
        ("stop=-5", "received '-5'"),
        ("stop=0", "expected an amount above 0"),
        ("stop=5%%", "received '5%%'"),
        ("stop=5,000", "without separators; received '5,000'"),
        ("stop=1e3", "received '1e3'"),
        ("stop=٥", "expected rupees"),
        ("dte=2.5", r"expected whole days, 0 to 3650; received '2.5'"),
        ("dte=3651", "expected whole days"),
        ("hold=0", "expected whole days, 1 to 3650"),
        ("losing=0", "expected whole days, 1 to 3650"),
        ("trail=0@100", "expected an amount above 0"),
        ("trail=0%peak@100", "expected a share of the peak above 0"),
        ("trail=100%peak@100", "expected rupees"),
        ("trail=100@", "expected rupees"),
        ("premium_trail=2x", "expected rupees or per cent of the net premium"),
        ("lock=3000", "expected <profit>@<floor>, received '3000'"),
        ("lock=3000@3000", "a smaller floor in the same unit"),
        ("lock=3000@10%", "a smaller floor in the same unit"),
        ("lock=3000@1500,6000@1500", "expected the floor to rise"),
        ("lock=3000@1500,3000@2000", "expected the floor to rise"),
        ("cost_at=2000; lock=1000@500", "expected the floor to rise"),
        ("cost_at=0", "expected an amount above 0"),
        ("scale=30%:1000", "expected 25%, 50% or 75%, then : and a profit; received '30%:1000'"),
        ("scale=25%", "then : and a profit"),
        ("scale=50%:1000,25%:2000", "expected shares and profits that rise"),
        ("scale=25%:2000,50%:1000", "expected shares and profits that rise"),
        ("scale=25%:1000,25%:2000", "expected shares and profits that rise"),
        ("underlying_below=0", "expected the underlying's price"),
        ("underlying_below=24000/15", "expected the underlying's price"),
        ("underlying_above=24000/0m", "expected a candle of 1 to 375 minutes, received 0"),
        ("underlying_above=24000/376m", "expected a candle of 1 to 375 minutes"),
        ("square_off=25:00", r"expected a clock time hh:mm or hh:mm:ss \(IST\)"),
        ("none=", "received ''"),
        ("none=everything", "expected some of trail, .*; received 'everything'"),
        ("none=stop", "without a stop nothing limits the loss: write stop! where that is meant"),
        ("target=5; none=target", "target is set and switched off by none="),
        ("lock=5@1; none=lock", "lock is set and switched off"),
        ("stop=5; STOP=6", "stop is said twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, words):
    with pytest.raises(ValueError, match=words):
        parse_override(text)


SAYS = re.compile("expected|twice|switched off|write stop!")


@given(st.text(alphabet="stopargelnockh=;:@%xm,.0123456789 !_/", max_size=60))
def test_any_text_is_read_or_refused_with_words(text):
    try:
        parse_override(text)
    except ValueError as error:
        said = str(error)
    else:
        said = "expected"
    assert SAYS.search(said)
