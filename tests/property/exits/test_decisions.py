"""The guard behind the cache's band decides like the oracle's judge, which looks at everything on every tick."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource, TrailingLevel
from core.model.market import Quote, mark_of
from core.position_cache_manager import PositionCacheManager
from tests.oracle.book import Contract, Leg, Levels, Position
from tests.oracle.day import most_pressing
from tests.oracle.judge import Judge
from tests.oracle.market import Market, Shown
from tests.unit.exits.builders import EXPIRY, MS, NOON, Desk, days, key, leg, position

ROW = LevelSource.LEVEL_ROW
ENTRY = 100
near = st.integers(-60, 60).map(lambda step: ENTRY * 100 + step * 100)
gaps = st.sampled_from([0, 1, 40, 60, 99, 100, 101, 500, 999, 1000, 3000]).map(lambda ms: ms * MS)


@st.composite
def books(draw):
    """A last price with a book: mostly tight, sometimes wide, one-sided, crossed, off the grid or far from the last."""
    last = draw(near)
    kind = draw(st.sampled_from(["tight"] * 6 + ["wide", "bid", "ask", "none", "crossed", "odd", "away"]))
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
    return last, bid, ask, draw(st.integers(1, 2))


steps = st.lists(st.tuples(st.sampled_from([1, 2, 3, None]), books(), gaps), max_size=40)
legs_of = st.lists(
    st.builds(leg, st.integers(1, 3), st.sampled_from([75, -75, 150]), st.just(ENTRY)), min_size=1, max_size=3
)
some_level = st.one_of(st.none(), st.integers(1, 60).map(lambda step: step * 7_500))


@settings(max_examples=400)
@given(
    legs_of,
    steps,
    some_level,
    some_level,
    st.one_of(st.none(), st.tuples(st.integers(0, 20), st.integers(1, 20))),
    st.booleans(),
)
def test_the_guard_behind_the_band_decides_like_the_slow_judge(legs, steps, stop, target, trail, theta):
    arm, distance = (None, None) if trail is None else (trail[0] * 7_500, trail[1] * 7_500)
    levels = ExitLevels(
        stop=None if stop is None else AmountLevel(stop, ROW),
        target=None if target is None else AmountLevel(target, ROW),
        trailing=None if trail is None else TrailingLevel(arm, distance, ROW),
        theta=days(99) if theta else None,
    )
    desk = Desk(*legs, levels=levels)
    judge = Slow(legs, Levels(stop=stop, arm=arm, distance=distance, target=target, theta=99 if theta else None))
    held = {leg.instrument.key.security_id for leg in legs}
    for security_id, (last, bid, ask, size), gap in steps:
        desk.at += gap
        if security_id is None or security_id not in held:
            signal, expected = desk.clock(), judge.judge(desk.at)
        else:
            quote = Quote(key(security_id), last, bid, ask, size, size, None, desk.at)
            touched = desk.booked in desk.cache.apply(quote)
            signal, expected = desk.guard.on_quote(quote) if touched else None, judge.on_quote(quote)
        assert (signal and (signal.rule.value, signal.threshold, signal.observed)) == expected
        if desk.guard.armed:
            assert desk.guard.peak == judge.peak
        event(f"fired {expected and expected[0]}")


class Slow:
    """The oracle's judge of one position, asked at every quote and every time told. It goes on after it has fired."""

    def __init__(self, legs, levels):
        held = tuple(
            Leg(i, Contract(str(each.instrument.key), "NIFTY", "CE", 0, EXPIRY, 75), each.units, each.entry)
            for i, each in enumerate(legs)
        )
        self.market = Market(session_open=True)
        self.inner = Judge(Position(1, held, levels), self.market)
        self.inner.tell_day(NOON)

    @property
    def peak(self):
        return self.inner.peak

    def on_quote(self, quote):
        self.market.take(Shown(quote.received_ns // MS, str(quote.key), *quote[1:7]))
        self.inner.weigh()
        return self.judge(quote.received_ns, str(quote.key))

    def judge(self, at_ns, ticked=None):
        found = self.inner.by_price(at_ns // MS, ticked)
        if not found:
            return None
        signal = most_pressing(found)
        return signal.rule, signal.threshold, signal.observed


@given(legs_of, st.lists(st.tuples(st.integers(1, 3), books()), max_size=60), st.integers(-500, 500))
def test_the_running_pnl_equals_the_slow_sum(legs, quotes, realised):
    cache = PositionCacheManager()
    booked = cache.put(position(*legs), realised)
    other = cache.put(position(leg(1, -75, ENTRY), leg(2, 75, None), strategy_id=2))
    marks = {}
    for at, (security_id, (last, bid, ask, size)) in enumerate(quotes):
        cache.apply(Quote(key(security_id), last, bid, ask, size, size, None, at))
        if cache.slot_of(key(security_id)) is not None:
            marks[key(security_id)] = mark_of(last, bid, ask)
        is_known = all(leg.instrument.key in marks for leg in legs)
        slow = sum(leg.units * (marks[leg.instrument.key] - leg.entry) for leg in legs) if is_known else None
        assert booked.pnl == (None if slow is None else realised + slow)
        assert booked.missing == sum(leg.instrument.key not in marks for leg in legs)
        assert other.pnl is None


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([(1,), (2,), (1, 2), (2, 3), ()])), max_size=20))
def test_the_keys_in_use_are_those_of_the_booked_legs(moves):
    cache = PositionCacheManager()
    followed = set()
    for strategy_id, held in moves:
        if held:
            cache.put(position(*(leg(one, 75, ENTRY) for one in held), strategy_id=strategy_id))
        else:
            cache.remove(strategy_id)
        added, removed = cache.take_key_changes()
        assert not added & followed
        assert removed <= followed
        followed = (followed | added) - removed
        assert followed == set(cache.keys())
        assert followed == {leg.instrument.key for booked in cache.booked() for leg in booked.position.legs}


@given(steps, st.integers(0, 20), st.integers(1, 20))
def test_peak_and_trailing_stop_only_rise(steps, arm, distance):
    desk = Desk(leg(1, 75, ENTRY), levels=ExitLevels(trailing=TrailingLevel(arm * 7_500, distance * 7_500, ROW)))
    peaks = []
    for _, (last, bid, ask, size), gap in steps:
        desk.at += gap
        quote = Quote(key(1), last, bid, ask, size, size, None, desk.at)
        if desk.booked in desk.cache.apply(quote):
            desk.guard.on_quote(quote)
        if desk.guard.armed:
            peaks.append(desk.guard.peak)
            assert desk.booked.lower == desk.guard.peak - distance * 7_500
        else:
            assert not peaks
    assert peaks == sorted(peaks)


def first_exit(legs, levels, steps):
    """The index of the first step at which anything fires, and its rule; None when nothing does."""
    desk = Desk(*legs, levels=levels)
    for index, (security_id, (last, bid, ask, size), gap) in enumerate(steps):
        desk.at += gap
        if security_id is None:
            signal = desk.clock()
        else:
            quote = Quote(key(security_id), last, bid, ask, size, size, None, desk.at)
            signal = desk.guard.on_quote(quote) if desk.booked in desk.cache.apply(quote) else None
        if signal is not None:
            return index
    return None


clean_steps = st.lists(
    st.tuples(st.just(1), near.map(lambda last: (last, last - 5, last + 5, 1)), st.just(2_000 * MS)),
    max_size=40,
)


@given(clean_steps, st.integers(1, 60), st.integers(1, 60))
def test_a_tighter_stop_never_fires_later(steps, one, other):
    tight, wide = sorted((one * 7_500, other * 7_500))
    legs = (leg(1, 75, ENTRY),)
    early, late = (first_exit(legs, ExitLevels(stop=AmountLevel(at, ROW)), steps) for at in (tight, wide))
    assert late is None or (early is not None and early <= late)


@given(clean_steps, st.integers(1, 60), st.integers(1, 60))
def test_a_nearer_target_never_fires_later(steps, one, other):
    near_by, far = sorted((one * 7_500, other * 7_500))
    legs = (leg(1, 75, ENTRY),)
    early, late = (first_exit(legs, ExitLevels(target=AmountLevel(at, ROW)), steps) for at in (near_by, far))
    assert late is None or (early is not None and early <= late)


@given(clean_steps, st.integers(0, 30), st.integers(1, 60), st.integers(1, 60))
def test_a_shorter_trailing_distance_never_fires_later(steps, arm, one, other):
    short, long = sorted((one * 7_500, other * 7_500))
    legs = (leg(1, 75, ENTRY),)
    early, late = (
        first_exit(legs, ExitLevels(trailing=TrailingLevel(arm * 7_500, distance, ROW)), steps)
        for distance in (short, long)
    )
    assert late is None or (early is not None and early <= late)
