"""From how many on the longest due is no longer looked for."""

import pytest

from core.exits.price_judgement import Watched
from core.exits.rest_queue import RestQueue, Urge
from tests.unit.exits.builders import key


@pytest.mark.parametrize(("count", "first"), [(4_999, 4_998), (5_000, 4_999), (5_001, 0)])
def test_up_to_five_thousand_the_longest_due_is_taken_and_beyond_the_first_that_came(count, first):
    queue = RestQueue()
    waiting = [Watched(key(n), since_ns=0, looked_ns=0, due_ns=-n) for n in range(count)]
    for watched in waiting:
        queue.put(watched, Urge.DRIVEN)
    assert queue.take(1, ()) == [waiting[first]]
    assert len(queue) == count - 1
