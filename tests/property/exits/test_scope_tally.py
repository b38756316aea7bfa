"""A sum kept by differences equals the sum that is added up anew, whatever comes in which order."""

from hypothesis import given
from hypothesis import strategies as st

from core.model.market import Quote, QuoteSource
from core.position_cache_manager import PositionCacheManager
from core.position_tally import Tally
from tests.unit.exits.builders import key, leg, position

ids = st.integers(1, 4)
legs_of = st.lists(
    st.builds(leg, ids, st.sampled_from([75, -75, 150]), st.sampled_from([90, 100, 100, None])), min_size=1, max_size=3
)
prices = st.integers(1, 300).map(lambda step: step * 100)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), ids, prices),
        st.tuples(st.just("saved"), ids, prices),
        st.tuples(st.just("put"), ids, legs_of),
        st.tuples(st.just("remove"), ids, st.none()),
        st.tuples(st.just("drop"), ids, st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_the_sum_equals_the_one_added_up_anew(steps):
    cache = PositionCacheManager()
    tally = Tally(cache)
    counted = {}

    def count(strategy_id, legs):
        drop(strategy_id)
        booked = cache.put(position(*legs, strategy_id=strategy_id))
        counted[strategy_id] = booked
        tally.add(booked)
        booked.on_recount = lambda before: tally.recounted(booked, before)

    def drop(strategy_id):
        booked = counted.pop(strategy_id, None)
        if booked is not None:
            booked.on_recount = None
            tally.drop(booked)

    for at, (what, number, given_) in enumerate(steps):
        if what == "put":
            count(number, given_)
        elif what == "remove":
            cache.remove(number)
            drop(number)
        elif what == "drop":
            drop(number)
        else:
            source = QuoteSource.FEED if what == "quote" else QuoteSource.CACHE
            cache.apply(Quote(key(number), given_, given_ - 5, given_ + 5, 1, 1, None, at * 3_000_000_000, source))
        # What the cache holds is what it was told while somebody held it.
        marks = {one: cache.slot_of(key(one)).mark for one in range(1, 5) if cache.slot_of(key(one)) is not None}
        slow, missing, legs = 0, 0, 0
        for booked in counted.values():
            known = [(each, marks.get(each.instrument.key.security_id)) for each in booked.position.legs]
            if any(mark is None or each.entry is None for each, mark in known):
                missing += 1
            else:
                slow += sum(each.units * (mark - each.entry) for each, mark in known)
                legs += len(known)
        assert (tally.total, tally.missing, tally.legs) == (slow, missing, legs)
        held = [each for slot in map(cache.slot_of, cache.keys()) for each, _ in slot.holders if each is tally]
        assert len(held) <= len(marks)
