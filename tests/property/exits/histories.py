"""Histories of a small book for Hypothesis: positions with levels, and what happens to a monitor that guards them.

Instruments 1 to 4 are options of one lot size; each is bought or sold by every position that holds it. Their prices move in steps
around the entry, so that levels are met exactly as well as missed by a step. A step is a few small numbers, which shrink well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from hypothesis import strategies as st

from tests.oracle.book import Contract, Leg, Levels, Position, Underlying
from tests.oracle.market import Shown
from tests.oracle.timeline import Doubted, FeedTold, Happening, Restarted, StoodStill, Told

LOT = 75
ENTRY = 10_000
STEP = 100
QUANTUM = LOT * STEP
"""What one lot makes in one step of the price, paise."""
TODAY = date(2026, 11, 20)
NOON_MS = int(datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()) * 1_000
INDEX = "IDX_I:13"
INDEX_AT = 2_400_000
INDEX_STEP = 5_000
"""A fifth of a per cent: a few steps within a second are too many to be believed."""
GAPS_MS = (0, 0, 0, 1, 40, 60, 99, 100, 101, 250, 500, 999, 1_000, 1_001, 3_000, 7_000, 59_500, 61_000)
BOOKS = ("tight",) * 8 + ("wide", "bid", "ask", "none", "crossed", "odd", "away", "freak", "swept")
KEYS = tuple(f"NSE_FNO:{number}" for number in range(1, 5))


class History(NamedTuple):
    positions: tuple[Position, ...]
    happenings: tuple[Happening, ...]


def _contract(number: int) -> Contract:
    right = "CE" if number % 2 else "PE"
    return Contract(KEYS[number], "NIFTY", right, 2_400_000 + 5_000 * number, date(2026, 12, 24), LOT, INDEX)


_CONTRACTS = tuple(_contract(number) for number in range(len(KEYS)))
_amounts = st.integers(1, 60).map(lambda steps: steps * QUANTUM)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


_steps_of_a_lock = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=3, unique_by=lambda step: step[0]
).map(lambda steps: _lock(sorted(steps)))


def _lock(steps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Triggers and floors that both rise."""
    found: list[tuple[int, int]] = []
    for trigger, below in steps:
        floor = max(trigger - below, -5)
        if not found or floor * QUANTUM > found[-1][1]:
            found.append((trigger * QUANTUM, floor * QUANTUM))
    return tuple(found)


_scaling = st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True).map(
    lambda steps: tuple(
        (step * QUANTUM, share)
        for step, share in zip(sorted(steps), ("CLOSE_25%", "CLOSE_50%", "CLOSE_75%"), strict=False)
    )
)
_whole = st.sampled_from(["CLOSE_POSITION", "CLOSE_POSITION", "CLOSE_50%", "ADJUST"])
_warning = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(
    lambda steps: (steps[0] * QUANTUM, sum(steps) * QUANTUM)
)


_underlying = st.lists(
    st.builds(
        Underlying,
        st.integers(-8, 8).map(lambda step: INDEX_AT + step * INDEX_STEP),
        st.booleans(),
        st.sampled_from(["CLOSE_POSITION", "CLOSE_IMMEDIATELY", "CLOSE_50%", "ADJUST"]),
        st.sampled_from([None, None, 1, 5]),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda level: level.price,
).map(tuple)


@st.composite
def levels(draw: st.DrawFn) -> Levels:
    """A few rules at a time: with all of them at once the tightest would always be first."""
    asked = draw(st.sets(st.sampled_from(list(_ASKED)), min_size=1, max_size=4))
    found: dict[str, object] = {}
    for name in sorted(asked):
        found.update(draw(_ASKED[name]))
    return Levels(**found)  # type: ignore[arg-type]


_ASKED: dict[str, st.SearchStrategy[dict[str, object]]] = {
    "stop": st.fixed_dictionaries({"stop": _amounts}),
    "target": st.fixed_dictionaries({"target": _amounts, "target_action": _whole}),
    "trailing": st.fixed_dictionaries(
        {"arm": st.integers(0, 20).map(lambda step: step * QUANTUM), "distance": _amounts}
    ),
    "share of peak": st.fixed_dictionaries(
        {"arm": st.integers(0, 20).map(lambda step: step * QUANTUM), "distance_share": st.integers(1, 99)}
    ),
    "premium trailing": st.fixed_dictionaries({"premium_trailing": _amounts}),
    "lock": st.fixed_dictionaries({"lock": _steps_of_a_lock}),
    "scaling": st.fixed_dictionaries({"scaling": _scaling}),
    "theta": st.fixed_dictionaries({"theta": st.sampled_from([33, 34])}),
    "losing time": st.fixed_dictionaries({"losing_time": st.sampled_from([34, 35]), "stop": _amounts}),
    "adjustment": st.fixed_dictionaries({"adjustment": _warning}),
    "underlying": st.fixed_dictionaries({"underlying": _underlying}),
    "clock": st.one_of(
        st.fixed_dictionaries({"square_off": st.sampled_from([time(12, 0, 3), time(12, 0, 10), time(12, 1)])}),
        st.fixed_dictionaries({"dte": st.sampled_from([33, 34])}),
        st.fixed_dictionaries({"holding": st.sampled_from([2, 3])}),
    ),
}


@st.composite
def books(draw: st.DrawFn) -> tuple[Position, ...]:
    signs = draw(st.tuples(*(st.sampled_from([1, -1]) for _ in KEYS)))
    positions = []
    for number in range(draw(st.integers(1, 3))):
        held = draw(st.lists(st.integers(0, len(KEYS) - 1), min_size=1, max_size=3, unique=True))
        lots = draw(st.integers(1, 4))
        legs = tuple(
            Leg(
                10 * (number + 1) + at,
                _CONTRACTS[which],
                signs[which] * lots * draw(st.sampled_from([1, 1, 2])) * LOT,
                ENTRY,
                date(2026, 11, 18),
            )
            for at, which in enumerate(held)
        )
        positions.append(Position(number + 1, legs, draw(levels())))
    return tuple(positions)


_step = st.tuples(st.integers(0, 31), st.integers(0, 4), st.integers(-30, 30), st.integers(0, len(GAPS_MS) - 1))


@st.composite
def histories(draw: st.DrawFn) -> History:
    positions = draw(books())
    steps = draw(st.lists(_step, min_size=8, max_size=50))
    return History(positions, tuple(_played(steps)))


_ONE_SIDED = (1, 6)
"""Steps that show a book without a bid, and one without an ask."""


@st.composite
def histories_of_shares(draw: st.DrawFn) -> History:
    """A share is due while nobody is on the other side: it waits, and the position goes on beside it."""
    level = draw(st.sampled_from([-1, 0, 1]))
    share = draw(st.sampled_from(["CLOSE_25%", "CLOSE_50%", "CLOSE_75%"]))
    due = Underlying(INDEX_AT + level * INDEX_STEP, draw(st.booleans()), share)
    positions = [
        replace(each, levels=replace(each.levels, underlying=(*each.levels.underlying, due))) for each in draw(books())
    ]
    steps = [(draw(st.sampled_from(_ONE_SIDED)), which, 0, 0) for which in range(len(KEYS))]
    steps += [(what, len(KEYS), 3 * level, 3) for what in (0, 1)]
    steps += draw(st.lists(_step, min_size=8, max_size=40))
    return History(tuple(positions), tuple(_played(steps)))


def _played(steps: list[tuple[int, int, int, int]]) -> list[Happening]:
    """Begins with a tight quote of every instrument, so that the P&L is known from the start."""
    player = _Player()
    for what, which, price, gap in steps:
        player.now_ms += GAPS_MS[gap]
        player.play(what, which, price)
    return player.found


class _Player:
    """What the numbers of a step mean."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS
        self.is_live = self.is_open = True
        self.found: list[Happening] = [Told(NOON_MS)]
        self.newest: dict[str, Shown] = {}
        for key in KEYS:
            self.show(Shown(NOON_MS, key, ENTRY, ENTRY - 5, ENTRY + 5, 75, 75, NOON_MS // 1_000))
        self.show(Shown(NOON_MS, INDEX, INDEX_AT, None, None, 0, 0))

    def show(self, shown: Shown) -> None:
        self.newest[shown.key] = shown
        self.found.append(shown)

    def play(self, what: int, which: int, price: int) -> None:
        key = (*KEYS, INDEX)[which]
        before = self.newest[key]
        if what < 22:
            self.show(
                _index_quote(before, price, self.now_ms) if key == INDEX else _quote(before, what, price, self.now_ms)
            )
        elif what < 25:
            self.show(before._replace(at_ms=self.now_ms))
        elif what == 25:
            self.found.append(_late(before, price, self.now_ms))
        elif what == 26:
            self.found.append(Doubted(self.now_ms, (*KEYS, INDEX)[which:]))
        elif what == 27:
            self.is_live = not self.is_live
            self.found.append(FeedTold(self.now_ms, self.is_live))
        elif what == 28:
            self.is_open = not self.is_open
            self.found.append(Told(self.now_ms, self.is_open or (False if price % 3 else None)))
        elif what == 29:
            self.found.append(Told(self.now_ms, self.is_open))
            self.now_ms += 200 * (which * 4 + 1)
            self.found.append(StoodStill(self.now_ms, 200 * (which * 4 + 1)))
        else:
            self.found.append(Restarted(self.now_ms))


def _index_quote(before: Shown, price: int, now_ms: int) -> Shown:
    traded_s = now_ms // 1_000 if price % 2 else None
    return before._replace(at_ms=now_ms, last=INDEX_AT + price // 3 * INDEX_STEP, traded_s=traded_s)


def _quote(before: Shown, what: int, price: int, now_ms: int) -> Shown:
    kind = BOOKS[(what * 61 + price) % len(BOOKS)]
    last = ENTRY + price * STEP
    if kind in {"freak", "swept"}:
        # The book stays where it was, or is swept up to the print.
        last, ask = before.last * 6, before.ask if kind == "freak" else before.last * 6
        return before._replace(at_ms=now_ms, last=last, ask=ask, traded_s=now_ms // 1_000)
    bid, ask = {
        "tight": (last - 5, last + 5),
        "wide": (last - 1_500, last + 1_500),
        "bid": (last - 5, None),
        "ask": (None, last + 5),
        "none": (None, None),
        "crossed": (last + 5, last - 5),
        "odd": (last - 4, last + 5),
        "away": (last - 1_000, last - 500),
    }[kind]
    return Shown(now_ms, before.key, last, bid, ask, 75 * (1 + what % 2), 75, now_ms // 1_000 if what % 4 else None)


def _late(before: Shown, price: int, now_ms: int) -> Shown:
    """What the monitor must not take: an old trade, a price of nothing, one beyond all measure."""
    if price % 3 == 0:
        return before._replace(at_ms=now_ms, last=before.last + price * STEP, traded_s=now_ms // 1_000 - 20)
    if price % 3 == 1:
        return before._replace(at_ms=now_ms, last=price % 5)
    return before._replace(at_ms=now_ms, last=before.last * 150, ask=None, traded_s=now_ms // 1_000)
