import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.subscriptions import (
    MAX_CONNECTIONS,
    MAX_INSTRUMENTS_PER_CONNECTION,
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
