"""Worst first: by urge, then near a level, then the longest due."""

import random

from core.exits.price_judgement import Watched
from core.exits.rest_queue import MANY, RestQueue, Urge
from tests.unit.exits.builders import key


def waiting(number, due_ns=0):
    return Watched(key(number), since_ns=0, looked_ns=0, due_ns=due_ns)


def test_the_order_is_that_of_a_plain_sort():
    chance = random.Random(3)
    for _ in range(200):
        queue, expected = RestQueue(), []
        near = {key(n) for n in range(1, 40) if chance.random() < 0.3}
        for number in range(1, chance.randint(2, 40)):
            watched, urge = waiting(number, chance.randint(0, 10**6)), chance.choice(list(Urge))
            queue.put(watched, urge)
            expected.append((urge, watched.key not in near, watched.due_ns, watched))
        limit = chance.randint(1, 45)
        expected.sort(key=lambda row: row[:3])
        assert queue.take(limit, near) == [row[3] for row in expected[:limit]]
        assert len(queue) == max(len(expected) - limit, 0)


def test_what_is_put_twice_stands_once_where_it_was_put_last():
    queue, watched = RestQueue(), waiting(1)
    queue.put(watched, Urge.VERIFIED)
    queue.put(watched, Urge.VERIFIED)
    queue.put(watched, Urge.STALE)
    queue.put(waiting(2), Urge.DRIVEN)
    assert len(queue) == 2
    assert queue.take(1, ()) == [watched]
    queue.drop(watched)
    assert len(queue) == 1


def test_of_very_many_those_that_became_due_first_are_taken():
    queue = RestQueue()
    all_of_them = [waiting(number, -number) for number in range(MANY + 10)]
    for watched in all_of_them:
        queue.put(watched, Urge.DRIVEN)
    assert queue.take(3, ()) == all_of_them[:3]
    assert queue.take(1, {all_of_them[77].key}) == [all_of_them[77]]
