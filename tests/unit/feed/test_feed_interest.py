"""Reference counts against a model that counts nothing and looks everything up."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.feed_interest import FeedInterest, InterestChange
from core.model.instrument import InstrumentKey, Segment

USERS = st.sampled_from(["position 1", "position 2", "display", "canary"])
KEYS = st.lists(st.integers(1, 8).map(lambda n: InstrumentKey(Segment.NSE_FNO, n)), max_size=6)
A, B, C = (InstrumentKey(Segment.NSE_FNO, n) for n in (1, 2, 3))


def test_an_instrument_leaves_with_its_last_user():
    interest = FeedInterest()
    interest.hold("position 1", [A, B])
    interest.hold("display", [B])
    assert interest.take_change() == InterestChange((A, B), ())
    interest.release("position 1")
    assert interest.wanted == (B,)
    assert interest.take_change() == InterestChange((), (A,))
    interest.release("display")
    interest.release("display")
    assert (interest.wanted, interest.users) == ((), ())
    assert interest.take_change() == InterestChange((), (B,))


def test_holding_replaces():
    interest = FeedInterest()
    interest.hold("display", [A, B, A])
    interest.hold("display", [B, C])
    assert interest.wanted == (B, C)
    interest.release("display")
    assert interest.wanted == ()


def test_many_calls_make_one_change_and_what_came_and_went_makes_none():
    interest = FeedInterest()
    interest.hold("position 1", [A])
    assert interest.take_change() is not None
    interest.hold("position 2", [A, B])
    interest.release("position 2")
    interest.release("position 1")
    interest.hold("display", [A])
    assert interest.take_change() is None


def test_the_order_is_that_of_the_first_users():
    interest = FeedInterest()
    interest.hold("position 1", [C, A])
    interest.hold("position 2", [B, A])
    interest.hold("position 1", [A, C])
    assert interest.wanted == (C, A, B)


class AgainstTheModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.interest = FeedInterest()
        self.model = {}
        self.taken = set()

    def needed(self):
        return {key for keys in self.model.values() for key in keys}

    @rule(user=USERS, keys=KEYS)
    def hold(self, user, keys):
        self.interest.hold(user, keys)
        self.model[user] = list(keys)

    @rule(user=USERS)
    def release(self, user):
        self.interest.release(user)
        self.model.pop(user, None)

    @rule()
    def take(self):
        change = self.interest.take_change()
        added, removed = (set(), set()) if change is None else (set(change.added), set(change.removed))
        assert added == self.needed() - self.taken
        assert removed == self.taken - self.needed()
        assert (change is None) == (self.needed() == self.taken)
        self.taken = self.needed()

    @invariant()
    def the_wanted_are_those_that_somebody_holds(self):
        assert set(self.interest.wanted) == self.needed()
        assert len(self.interest.wanted) == len(self.needed())
        assert set(self.interest.users) == {user for user, keys in self.model.items() if keys}


TestAgainstTheModel = AgainstTheModel.TestCase


@given(st.lists(st.tuples(USERS, KEYS), max_size=30))
def test_applying_the_changes_in_turn_gives_the_wanted(steps):
    interest, applied = FeedInterest(), set()
    for number, (user, keys) in enumerate(steps):
        interest.hold(user, keys)
        if number % 3 == 0 and (change := interest.take_change()) is not None:
            applied = (applied | set(change.added)) - set(change.removed)
            assert applied == set(interest.wanted)
