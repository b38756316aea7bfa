import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.dhan.subscriptions import (
    MAX_CONNECTIONS,
    MAX_INSTRUMENTS_PER_CONNECTION,
    ConnectionSubscriptions,
    FeedMode,
    mode_for,
    subscribe_messages,
    unsubscribe_messages,
)
from core.model.instrument import InstrumentKey, Segment

CALL = InstrumentKey(Segment.NSE_FNO, 61234)
NIFTY = InstrumentKey(Segment.IDX_I, 13)


def test_a_subscription_is_the_documented_message():
    assert subscribe_messages([CALL]) == [
        '{"RequestCode":21,"InstrumentCount":1,"InstrumentList":[{"ExchangeSegment":"NSE_FNO","SecurityId":"61234"}]}'
    ]


@pytest.mark.parametrize(
    ("mode", "subscribe", "unsubscribe"), [(FeedMode.TICKER, 15, 16), (FeedMode.QUOTE, 17, 18), (FeedMode.FULL, 21, 22)]
)
def test_each_mode_has_its_request_codes(mode, subscribe, unsubscribe):
    assert json.loads(subscribe_messages([CALL], mode)[0])["RequestCode"] == subscribe
    assert json.loads(unsubscribe_messages([CALL], mode)[0])["RequestCode"] == unsubscribe


def test_an_index_is_never_subscribed_in_full_mode():
    codes = [json.loads(message)["RequestCode"] for message in subscribe_messages([CALL, NIFTY])]
    assert codes == [21, 15]
    assert mode_for(NIFTY) is FeedMode.TICKER
    assert mode_for(NIFTY, FeedMode.QUOTE) is FeedMode.QUOTE
    assert mode_for(CALL) is FeedMode.FULL


@given(st.lists(st.integers(1, 400), max_size=350), st.sampled_from(FeedMode))
def test_every_key_is_in_exactly_one_message_of_at_most_100(ids, mode):
    keys = [InstrumentKey(Segment.IDX_I if i % 3 == 0 else Segment.NSE_FNO, i) for i in ids]
    messages = [json.loads(message) for message in subscribe_messages(keys, mode)]
    listed = [item["SecurityId"] for message in messages for item in message["InstrumentList"]]
    assert sorted(listed) == sorted(str(i) for i in set(ids))
    assert all(1 <= message["InstrumentCount"] == len(message["InstrumentList"]) <= 100 for message in messages)


def test_nothing_to_subscribe_is_no_message():
    assert subscribe_messages([]) == []


def test_the_limits_are_the_documented_ones():
    assert (MAX_INSTRUMENTS_PER_CONNECTION, MAX_CONNECTIONS) == (5000, 5)


S = 1_000_000_000


class Wire:
    """What a server makes of the messages. `ticking`: which instruments have given a price."""

    def __init__(self, **options):
        self.subscriptions = ConnectionSubscriptions(**options)
        self.held = set()
        self.most = 0
        self.sent = []
        self.ticking = set()

    def restart(self):
        self.subscriptions.restart()
        self.held.clear()

    def step(self, now=0, is_live=True):
        messages = self.subscriptions.next_messages(
            now, is_live=is_live, has_spoken=lambda key, since_ns: key.security_id in self.ticking
        )
        listed = 0
        for message in map(json.loads, messages):
            ids = [int(item["SecurityId"]) for item in message["InstrumentList"]]
            listed += len(ids)
            self.sent.append((message["RequestCode"], ids))
            if message["RequestCode"] % 2:
                self.held.update(ids)
            else:
                self.held.difference_update(ids)
            self.most = max(self.most, len(self.held))
        assert listed <= 100
        return bool(messages)

    def settle(self, now=0, is_live=True):
        self.sent.clear()
        while self.step(now, is_live):
            pass
        return self.sent


def keys(*ids):
    return [InstrumentKey(Segment.NSE_FNO, i) for i in ids]


def test_what_is_wanted_is_sent_a_hundred_at_a_time_and_only_once():
    wire = Wire()
    wire.subscriptions.add(keys(*range(1, 251)))
    assert [(code, len(ids)) for code, ids in wire.settle()] == [(21, 100), (21, 100), (21, 50)]
    assert wire.held == set(range(1, 251))
    assert wire.subscriptions.asked_count == 250
    assert wire.settle() == []


def test_room_is_made_before_it_is_taken():
    wire = Wire()
    wire.subscriptions.add(keys(*range(5_000)))
    wire.settle()
    wire.subscriptions.remove(keys(*range(300)))
    wire.subscriptions.add(keys(*range(5_000, 5_300)))
    assert [code for code, _ in wire.settle()] == [22, 22, 22, 21, 21, 21]
    assert wire.most == 5_000


def test_f05_a_new_connection_is_told_everything():
    wire = Wire()
    wire.subscriptions.add(keys(1, 2, 3))
    wire.settle()
    wire.subscriptions.remove(keys(3))
    wire.restart()
    assert wire.settle() == [(21, [1, 2])]


def test_what_leaves_and_returns_before_it_was_sent_costs_nothing():
    wire = Wire()
    wire.subscriptions.add(keys(1))
    wire.settle()
    wire.subscriptions.remove(keys(1))
    wire.subscriptions.add(keys(1))
    wire.subscriptions.add(keys(2))
    wire.subscriptions.remove(keys(2))
    assert wire.settle() == []


def test_f04_what_gives_no_price_is_sent_again_after_10_20_and_40_seconds():
    wire = Wire()
    wire.subscriptions.add(keys(1, 2, 3))
    wire.settle()
    wire.ticking = {2}
    found = []
    for second in range(1, 300):
        for code, ids in list(wire.settle(second * S)):
            found.append((second, code, ids))
        if second == 15:
            wire.ticking = {1, 2}
    assert found == [(10, 21, [1, 3]), (30, 21, [3]), (70, 21, [3])]
    assert wire.subscriptions.resent == 4


def test_f04_nothing_is_sent_again_on_a_connection_without_any_data_until_it_lives():
    wire = Wire()
    wire.subscriptions.add(keys(1))
    wire.settle()
    assert [wire.settle(second * S, is_live=False) for second in range(1, 30)] == [[]] * 29
    assert wire.settle(30 * S) == [(21, [1])]


def test_f04_what_is_added_to_an_old_connection_is_looked_after_as_well():
    wire = Wire()
    wire.ticking = {1}
    wire.subscriptions.add(keys(1))
    wire.settle()
    wire.subscriptions.add(keys(2))
    wire.settle(1_000 * S)
    wire.settle(1_001 * S)
    assert wire.settle(1_009 * S) == []
    assert wire.settle(1_010 * S) == [(21, [2])]


def test_what_was_removed_is_not_sent_again():
    wire = Wire()
    wire.subscriptions.add(keys(1))
    wire.settle()
    wire.subscriptions.remove(keys(1))
    assert wire.settle(S) == [(22, [1])]
    assert wire.settle(60 * S) == []


def test_f03_a_mute_instrument_is_unsubscribed_and_subscribed_at_most_a_hundred_a_second():
    wire = Wire()
    wire.subscriptions.add(keys(*range(250)))
    wire.ticking = set(range(250))
    wire.settle()
    wire.settle(S)
    wire.subscriptions.again(keys(7))
    assert wire.settle(2 * S) == [(22, [7]), (21, [7])]
    wire.subscriptions.again(keys(*range(250)))
    wire.subscriptions.again(keys(*range(250)))
    assert wire.settle(2 * S + 1) == []
    assert [[(code, len(ids)) for code, ids in wire.settle(at * S)] for at in (3, 4, 5, 6)] == [
        [(22, 100), (21, 100)],
        [(22, 100), (21, 100)],
        [(22, 50), (21, 50)],
        [],
    ]
    assert wire.held == set(range(250))


def test_only_what_was_asked_for_can_be_mute():
    wire = Wire()
    wire.subscriptions.add(keys(1, 2))
    wire.subscriptions.again(keys(1, 9))
    assert wire.settle() == [(21, [1, 2])]
    wire.subscriptions.remove(keys(2))
    wire.subscriptions.again(keys(2))
    assert wire.settle() == [(22, [2])]
    wire.subscriptions.again(keys(1))
    wire.subscriptions.remove(keys(1))
    assert wire.settle(100 * S) == [(22, [1])]


def test_a_resubscription_without_an_answer_is_sent_again():
    wire = Wire()
    wire.subscriptions.add(keys(1))
    wire.settle()
    wire.subscriptions.again(keys(1))
    wire.settle(5 * S)
    for at in (6, 10, 14):
        assert wire.settle(at * S) == []
    assert wire.settle(15 * S) == [(21, [1])]


class AnyOrderOfCalls(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.wire = Wire()
        self.wanted = set()
        self.now = 0

    some = st.lists(st.integers(1, 150), max_size=150)

    @rule(ids=some)
    def add(self, ids):
        self.wire.subscriptions.add(keys(*ids))
        self.wanted.update(ids)

    @rule(ids=some)
    def remove(self, ids):
        self.wire.subscriptions.remove(keys(*ids))
        self.wanted.difference_update(ids)

    @rule(ids=some)
    def again(self, ids):
        self.wire.subscriptions.again(keys(*ids))

    @rule()
    def reconnect(self):
        self.wire.restart()

    @rule(steps=st.integers(1, 4), gap=st.integers(0, 15 * S))
    def send_some(self, steps, gap):
        self.now += gap
        for _ in range(steps):
            self.wire.step(self.now)

    @rule(ids=some)
    def tick(self, ids):
        self.wire.ticking = set(ids)

    @rule()
    def settle(self):
        self.now += S
        self.wire.settle(self.now)
        assert self.wire.held == self.wanted
        assert self.wire.subscriptions.asked_count == len(self.wanted)

    @invariant()
    def it_believes_of_the_server_what_is_true(self):
        assert self.wire.subscriptions.asked_count == len(self.wire.held)


TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
