"""Faults inside the prices: order, repeats, odd prices, spikes and gaps. Bounds are asserted over generated traces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exits.quote_check import is_clean
from core.model.exit_levels import ExitLevels, Rule
from core.model.market import Quote, mark_of
from core.position_cache_manager import PositionCacheManager
from tests.fakes.feed_server import feed_server
from tests.fakes.waiting import eventually
from tests.faults.chain import Chain, full, running
from tests.unit.exits.builders import MS, Desk, S, amount, key, leg, position, quote, trailing

STOP = ExitLevels(stop=amount(3_000))


async def test_f06_a_dip_of_one_tick_inside_a_burst_of_thousands_fires():
    """Nothing is folded on the way to the engine: each packet of a read is judged before the next."""
    ids = range(1, 101)
    held = [(position(leg(one, 75, 100), strategy_id=one), STOP) for one in ids]
    async with feed_server() as server, running(Chain(server.url, *held)) as chain:
        await eventually(lambda: len(server.subscribed()) >= len(ids))
        await server.send(*(full(one, 100) for one in ids))
        await eventually(lambda: len(chain.taken) == len(ids))
        burst = [full(one, 100 + n % 3 * 0.05) for n in range(100) for one in ids]
        burst[4_321] = full(77, 55)
        await server.send(b"".join(burst[:400]), *burst[400:])
        await eventually(lambda: len(chain.taken) == len(ids) + len(burst))
        assert chain.rules() == {77: "stop_loss"}
        assert chain.started[0][0].signal.pnl == 75 * (5_500 - 10_000)
        assert chain.engine.cache.slot_of(key(77)).mark == 10_000 + 99 % 3 * 5, "the dip was over at once"
        assert sum(chain.engine.cache.slot_of(key(one)).updates for one in ids) == len(ids) + len(burst)


@given(st.permutations(range(12)))
def test_f08_an_older_trade_never_overwrites_a_newer_one(order):
    cache = PositionCacheManager()
    booked = cache.put(position(leg(1, 75, 100)))
    newest, late = -1, 0
    for at, second in enumerate(order):
        cache.apply(quote(1, 100 + second, exchange_time=1_000 + second, at=at * MS))
        late += second < newest
        newest = max(newest, second)
        assert booked.slots[0].mark == 100_00 + newest * 100
    assert cache.late == late


prices = st.integers(1, 4_000).map(lambda ticks: ticks * 5)
sides = st.sampled_from(["tight", "tight", "wide", "bid", "ask", "none", "crossed"])


@st.composite
def odd_quotes(draw):
    last = draw(prices)
    bid, ask = {
        "tight": (last - 5, last + 5),
        "wide": (max(last - 1_500, 5), last + 1_500),
        "bid": (last, None),
        "ask": (None, last),
        "none": (None, None),
        "crossed": (last + 5, last - 5),
    }[draw(sides)]
    return (
        draw(st.integers(1, 2)),
        last,
        bid or None,
        ask,
        draw(st.integers(1, 9)),
        draw(st.sampled_from([1, 100, 400, 1_100])),
    )


def fate(legs, levels, trace, repeats):
    """The step and rule that fires first, and what is known after each step, when every packet comes `repeats` times."""
    desk = Desk(*legs, levels=levels)
    known = []
    for step, (security_id, last, bid, ask, size, gap_ms) in enumerate(trace):
        desk.at += gap_ms * MS
        signal = desk.clock()
        for _ in range(repeats):
            one = Quote(key(security_id), last, bid, ask, size, size, 1_000, desk.at)
            if desk.booked in desk.cache.apply(one):
                signal = signal or desk.guard.on_quote(one)
        if signal is not None:
            return step, signal.rule, known
        known.append((desk.booked.pnl, desk.guard.peak, desk.booked.lower, desk.booked.upper))
    return None, None, known


@settings(max_examples=400)
@given(st.lists(odd_quotes(), max_size=25), st.integers(2, 4), st.sampled_from([75, -75]))
def test_f09_repeated_packets_change_nothing_and_fire_nothing(trace, repeats, units):
    legs = (leg(1, units, 100), leg(2, 75, 100))
    levels = ExitLevels(stop=amount(3_000), target=amount(4_000), trailing=trailing(1_000, 1_500))
    assert fate(legs, levels, trace, repeats) == fate(legs, levels, trace, 1)


def test_f09_a_repeated_jump_is_as_suspect_as_it_was():
    """75 bought at 100, a stop at 60: 59.95/60.05 does not breach at its best side, and the jump makes it suspect."""
    desk = Desk(leg(1, 75, 100), levels=STOP)
    desk.tick(1, 100)
    assert desk.tick(1, 60, after=10 * MS) is None
    for _ in range(5):
        assert desk.tick(1, 60, after=10 * MS) is None
    assert desk.tick(1, 60, after=S).rule is Rule.STOP_LOSS, "a jump that has stood for a second is none"


@pytest.mark.parametrize(("last", "is_taken"), [(0.01, False), (0.04, False), (0.05, True), (0.06, True)])
def test_f11_a_price_below_one_tick_never_counts(last, is_taken):
    cache = PositionCacheManager()
    booked = cache.put(position(leg(1, 75, 1)))
    cache.apply(quote(1, 1))
    for second in range(5):
        cache.apply(quote(1, last, book=False, at=second * S))
    assert (booked.slots[0].mark == 100) is not is_taken
    assert cache.absurd == (0 if is_taken else 5), "however long it lasts"


@given(st.integers(5, 100_000), st.sampled_from(["last", "bid", "ask"]))
def test_f11_a_price_off_the_tick_grid_is_suspect(paise, which):
    on_grid = paise - paise % 5
    there = {"last": on_grid, "bid": on_grid, "ask": on_grid, which: paise}
    made = Quote(key(1), there["last"], there["bid"], there["ask"], 75, 75, None, 0)
    assert is_clean(made, None, 0, 5) is (paise % 5 == 0)


FREAK, CALM = 80_300, 13_500
freak_books = {
    "unchanged": (CALM - 5, CALM + 5),
    "offers swept": (CALM - 5, None),
    "bids gone": (None, CALM + 5),
    "both gone": (None, None),
    "crossed": (FREAK, CALM),
}
offsets = st.lists(st.integers(0, 998), min_size=1, max_size=6, unique=True).map(sorted)


def judged(desk, until_ns):
    """The first signal of the clock at the guard's own deadlines and four times a second, up to that time."""
    while desk.at < until_ns:
        due = desk.guard.next_deadline_ns
        step = min(until_ns, desk.at + 250 * MS, until_ns if due is None or due <= desk.at else due)
        signal = desk.clock(step - desk.at)
        if signal is not None:
            return signal
    return None


def at_rest(units, stop_rupees):
    """One leg at ₹135 for a while, with the stop so many rupees of P&L away, a target and a trailing stop beside it."""
    levels = ExitLevels(stop=amount(stop_rupees), target=amount(20_000), trailing=trailing(500, stop_rupees))
    desk = Desk(leg(1, units, 135), levels=levels)
    desk.tick(1, 135)
    desk.at += 3 * S
    return desk


def freak_trace(desk, books, times, back_ms, kinds):
    """One print at ₹803 (one trade, one second), shown by some packets while the book moves, then ₹135 again."""
    began = desk.at
    for size, (ms, kind) in enumerate(zip(times, books, strict=False), start=1):
        signal = judged(desk, began + ms * MS)
        if signal is not None:
            return signal
        bid, ask = kinds[kind]
        one = Quote(key(1), FREAK, bid, ask, size, size, 5_000, desk.at)
        if desk.booked in desk.cache.apply(one) and (signal := desk.guard.on_quote(one)) is not None:
            return signal
    signal = judged(desk, began + back_ms * MS)
    if signal is not None:
        return signal
    calm = Quote(key(1), CALM, CALM - 5, CALM + 5, 75, 75, 5_001, desk.at)
    if desk.booked in desk.cache.apply(calm):
        signal = desk.guard.on_quote(calm)
    return signal or judged(desk, desk.at + 3 * S)


@settings(max_examples=400)
@given(
    st.sampled_from([75, -75]),
    st.integers(100, 45_000),
    st.lists(st.sampled_from(sorted(freak_books)), min_size=6, max_size=6),
    offsets,
)
def test_f12_a_freak_print_of_less_than_a_second_exits_nothing(units, stop, books, times):
    assert freak_trace(at_rest(units, stop), books, times, times[-1] + 1, freak_books) is None


def test_f12_a_freak_print_in_a_book_refilled_far_away_exits_nothing():
    """Offers swept, and the first new ones stand at ₹900: two sides, one of them where it was before."""
    refilled = {"far": (CALM - 5, 90_000), "near": (CALM - 5, CALM + 3_000)}
    assert freak_trace(at_rest(-75, 3_000), ["far", "far", "near"], [0, 300, 600], 900, refilled) is None


gap_books = st.sampled_from(["tight", "wide", "bid only", "ask only", "none", "crossed"])


@settings(max_examples=400)
@given(
    st.sampled_from([75, -75]),
    st.integers(50, 900).map(lambda ticks: ticks * 5),
    st.lists(st.tuples(gap_books, st.integers(0, 3_000), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_f12_a_true_gap_exits_within_a_second(units, beyond, trace):
    """From the first packet on the mark is beyond the stop and stays there, whatever the book looks like."""
    sign = -1 if units > 0 else 1
    stop = 3_000
    line = CALM + sign * stop * 100 // 75
    desk = at_rest(units, stop)
    began, signal = desk.at, None
    for size, (kind, gap_ms, more) in enumerate(trace, start=1):
        signal = judged(desk, desk.at + (gap_ms * MS if size > 1 else 0))
        if signal is not None:
            break
        last = max(line + sign * (beyond + 5 * more), 5)
        bid, ask = {
            "tight": (last - 5 or None, last + 5),
            "wide": (max(last - 3_000, 5), last + 3_000),
            "bid only": (last, None),
            "ask only": (None, last),
            "none": (None, None),
            "crossed": (last + 5, last - 5),
        }[kind]
        one = Quote(key(1), last, bid, ask, size, size, 5_000, desk.at)
        if desk.booked in desk.cache.apply(one) and (signal := desk.guard.on_quote(one)) is not None:
            break
    signal = signal or judged(desk, began + 5 * S)
    assert signal is not None
    assert signal.rule is Rule.STOP_LOSS
    assert signal.decided_ns - began <= S


@given(prices, prices, prices)
def test_f30_an_old_trade_counts_only_inside_the_book(last, one_side, other_side):
    """A last price that is hours old, and a book around something else: the P&L is that of the nearer side."""
    bid, ask = sorted((one_side, other_side))
    cache = PositionCacheManager()
    booked = cache.put(position(leg(1, -75, 100)))
    cache.apply(Quote(key(1), last, bid, ask, 75, 75, 1_000, 0))
    expected = sorted((bid, last, ask))[1]
    assert booked.pnl == -75 * (expected - 10_000)
    assert mark_of(last, bid, ask) == expected
