"""Whole markets in virtual time, with the real parts: what is seen how soon, and that nothing is cried without need."""

from __future__ import annotations

import asyncio

import pytest

from core.exits.price_trust import TrustState
from core.model import events as ev
from core.model.commands import Severity
from core.model.errors import RateLimitedError, TokenError, TransportError
from tests.unit.exits.builders import leg, position
from tests.unit.feed.market_rig import CANARY, MarketRig, S
from tests.unit.feed.virtual_time import UTC_NS, run_virtually

BEGIN_S = UTC_NS // S
FAR = 1e9


async def wander(rig, key, mean_s):
    """An option that trades or is quoted anew now and then."""
    one, chance = rig.listed[key], rig.random
    while True:
        await asyncio.sleep(chance.expovariate(1 / mean_s))
        if one.time is None or (one.ask is not None and chance.random() < 0.5):
            one.history.append((rig.now, one.last, one.bid, one.ask, one.time))
            one.ask += 5 if one.ask - one.last < 20 else -10
            rig.send(rig.packet(key))
        else:
            rig.trade(key, max(one.last + chance.choice((-5, 5)), 50))


def quiet_market(rig):
    """Busy, slow and dead options; some that never traded, some without a book, some whose first packet never comes."""
    for number, key in enumerate(rig.keys):
        one = rig.listed[key]
        one.time = BEGIN_S - rig.random.randint(0, 7_200)
        if number % 10 == 0:
            one.time = None
        elif number % 10 == 1:
            one.bid = one.ask = None
        if number % 3:
            rig.send(rig.packet(key))
    tasks = [asyncio.create_task(rig.tick(CANARY, 0.25, FAR))]
    for number, key in enumerate(rig.keys):
        if number % 20:
            mean_s = (0.7, 3, 10, 60, 300, 1_200)[number % 6]
            tasks.append(asyncio.create_task(wander(rig, key, mean_s)))
    return tasks


async def end(rig, tasks=()):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await rig.stop()


async def live_for(minutes, *, is_open, shift_s=0):
    rig = MarketRig(200, stop=1_000_000, shift_s=shift_s)
    rig.cache_s = 1.0
    rig.is_open = is_open
    rig.start()
    tasks = quiet_market(rig)
    await asyncio.sleep(minutes * 60)
    await end(rig, tasks)
    return rig


@pytest.mark.no_cover
@pytest.mark.slow
@pytest.mark.parametrize("shift_s", [0, 19_800])
def test_f25_thirty_quiet_minutes_raise_no_doubt_no_page_and_no_alert(shift_s):
    """With either encoding of the feed's trade time, and with a REST that answers from a cache of a second."""
    rig = run_virtually(live_for(30, is_open=True, shift_s=shift_s))
    print(f"{len(rig.requests)} requests for {sum(len(keys) for _, keys in rig.requests)} prices in 30 minutes")  # noqa: T201  a figure to be reported
    assert rig.doubts == []
    assert rig.alerts == []
    assert rig.watch.trust.judge.shift_s == shift_s
    assert rig.watch.trust.counts()[TrustState.MUTED] == 0
    assert 60 < len(rig.requests) < 1_800


@pytest.mark.no_cover
@pytest.mark.slow
def test_f26_a_closed_market_is_asked_nothing_and_told_nothing():
    rig = run_virtually(live_for(30, is_open=False))
    assert (rig.requests, rig.doubts, rig.alerts, rig.resubscribed) == ([], [], [], [])


def test_f26_an_unknown_session_is_asked_but_nothing_is_doubted_or_paged():
    async def scene():
        rig = MarketRig(3)
        rig.is_open = None
        rig.is_rest_dead = True
        rig.start()
        await asyncio.sleep(60)
        await end(rig)
        return rig

    rig = run_virtually(scene())
    assert len(rig.requests) > 5
    assert (rig.doubts, rig.alerts) == ([], [])


def test_f26_at_the_opening_every_age_begins_anew():
    async def scene():
        rig = MarketRig(5)
        rig.is_open = False
        for key in rig.keys:
            rig.listed[key].time = BEGIN_S
            rig.send(rig.packet(key))
        rig.start()
        await asyncio.sleep(3_600)
        rig.is_open = True
        task = asyncio.create_task(rig.tick(CANARY, 0.25, FAR))
        await asyncio.sleep(60)
        await end(rig, [task])
        return rig

    rig = run_virtually(scene())
    assert (rig.doubts, rig.alerts) == ([], [])
    assert rig.requests


async def mute_trials(count):
    """One moving leg of twenty, among a hundred quiet ones, goes mute at a random moment, again and again."""
    rig = MarketRig(120, stop=1_000_000)
    rig.cache_s = 0.5
    moving = rig.keys[:20]
    rig.start()
    tasks = [asyncio.create_task(rig.tick(key, 0.4, FAR)) for key in (*moving, CANARY)]
    # The others are quiet: they are to be verified all the time, so that the leg has to wait for its turn.
    tasks += [asyncio.create_task(wander(rig, key, 8)) for key in rig.keys[20:]]
    await asyncio.sleep(5)
    seen_s = []
    for _ in range(count):
        key = rig.random.choice(moving)
        await asyncio.sleep(rig.random.uniform(1, 4))
        rig.mute = {key}
        began = rig.now
        while rig.watch.trust.state_of(key) is not TrustState.MUTED:
            await asyncio.sleep(0.01)
            assert rig.now - began < 10 * S
        seen_s.append((rig.now - began) / S)
        await asyncio.sleep(1.5)
        assert rig.cache.quote(key).last == rig.listed[key].last or rig.now - rig.cache.quote(key).received_ns < 2 * S
        rig.mute = set()
        await asyncio.sleep(1)
        assert rig.watch.trust.state_of(key) is TrustState.LIVE
    await end(rig, tasks)
    return rig, seen_s


@pytest.mark.no_cover
@pytest.mark.slow
def test_f03_each_of_200_random_mutes_of_one_moving_leg_is_seen_within_5_s():
    rig, seen_s = run_virtually(mute_trials(200))
    print(f"seen after {min(seen_s):.2f} to {max(seen_s):.2f} s, {len(rig.requests)} requests")  # noqa: T201  a figure to be reported
    assert max(seen_s) <= 5
    assert rig.doubts == []
    assert rig.pages == []
    warned = [alert for alert in rig.alerts if alert.severity is Severity.WARNING]
    assert 20 <= len(warned) <= 200


def test_f03_a_muted_instrument_is_subscribed_again_driven_by_rest_and_told_once():
    async def scene():
        rig = MarketRig(2, stop=3_000)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (rig.keys[0], CANARY)]
        await asyncio.sleep(10)
        before = len(rig.resubscribed)
        rig.mute = {rig.keys[0]}
        await asyncio.sleep(6)
        tasks.pop(0).cancel()
        rig.trade(rig.keys[0], 5_000)
        crossed = rig.now
        await asyncio.sleep(25)
        await end(rig, tasks)
        return rig, rig.resubscribed[before:], crossed

    rig, resubscribed, crossed = run_virtually(scene())
    again = [at for at, keys in resubscribed if keys == (rig.keys[0],)]
    assert [(at - again[0]) / S for at in again] == pytest.approx([0, 10, 20], abs=0.5)
    ((fired, _),) = rig.fired
    assert 0 < fired - crossed < 3 * S
    assert [alert.subject for alert in rig.alerts if alert.severity is Severity.WARNING] == [
        "the feed is silent on option 1"
    ]


def test_f04_what_never_ticks_is_quoted_by_rest_and_subscribed_again_after_3_and_13_s():
    async def scene():
        rig = MarketRig(3)
        rig.mute = set(rig.keys)
        rig.start()
        began = rig.now
        await asyncio.sleep(120)
        await end(rig)
        return rig, began

    rig, began = run_virtually(scene())
    assert [(at - began) / S for at, _ in rig.resubscribed] == pytest.approx([3, 13], abs=1.1)
    assert all(len(keys) == 3 for _, keys in rig.resubscribed)
    assert rig.requests[0][0] - began < S // 2
    assert rig.cache.quote(rig.keys[0]).last == 10_000
    assert rig.alerts == []


def test_an_instrument_that_nobody_knows_is_asked_ever_more_slowly_and_starves_nobody():
    async def scene():
        rig = MarketRig(3)
        rig.mute = set(rig.keys)
        rig.listed[rig.keys[0]].is_known_to_rest = False
        rig.start()
        await asyncio.sleep(1_800)
        await end(rig)
        return rig

    rig = run_virtually(scene())
    asked = [at for at, keys in rig.requests if rig.keys[0] in keys]
    assert len(asked) < 40
    assert asked[-1] - asked[-2] >= 60 * S
    assert [alert.subject for alert in rig.alerts].count("Iron Condor (1) is unprotected") == 6
    assert len(rig.alerts) == 6


@pytest.mark.parametrize("noticed_s", [0.0, 2.5])
def test_feed_and_rest_dead_is_paged_within_6_s_of_the_last_price(noticed_s):
    async def scene():
        rig = MarketRig(2)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(20)
        rig.down = rig.is_rest_dead = True
        last = max(rig.cache.quote(key).received_ns for key in rig.keys)
        await asyncio.sleep(noticed_s)
        rig.line(is_live=False)
        paged = None
        while paged is None:
            await asyncio.sleep(0.01)
            if rig.pages:
                paged = rig.now
        await asyncio.sleep(400)
        pages = list(rig.pages)
        rig.down = rig.is_rest_dead = False
        rig.line(is_live=True)
        await asyncio.sleep(10)
        held = [rig.engine.guards[n].safe_to_trade(rig.now).is_safe for n in (1, 2)]
        await end(rig, tasks)
        return (paged - last) / S, pages, held

    after_s, pages, held = run_virtually(scene())
    print(f"paged {after_s:.2f} s after the last price")  # noqa: T201  a figure to be reported
    assert 5 < after_s <= 6
    assert [page.subject for page in pages] == ["Iron Condor (1) is unprotected", "Iron Condor (2) is unprotected"] * 2
    assert held == [True, True]


@pytest.mark.parametrize("seed", range(5))
def test_a_stop_crossed_while_the_feed_is_down_fires_from_rest_within_5_s(seed):
    async def scene():
        rig = MarketRig(30, seed=seed)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, 20)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(20 + rig.random.random())
        rig.down = True
        lost = rig.now
        crossed = {}
        for key in rig.keys:
            asyncio.get_running_loop().call_later(rig.random.uniform(0, 10), lambda key=key: cross(rig, key, crossed))
        await asyncio.sleep(2.5)
        rig.line(is_live=False)
        await asyncio.sleep(15)
        await end(rig, tasks)
        return rig, lost, crossed

    def cross(rig, key, crossed):
        crossed[key.security_id] = rig.now
        rig.trade(key, 5_000)

    rig, _, crossed = run_virtually(scene())
    late_s = [(at - crossed[int(subject.split("(")[1].rstrip(")"))]) / S for at, subject in rig.fired]
    assert len(late_s) == 30
    assert max(late_s) <= 5


def test_without_a_websocket_rest_alone_keeps_the_marks_usable():
    async def scene():
        rig = MarketRig(1_500, with_feed=False)
        rig.start()
        await asyncio.sleep(30)
        await end(rig)
        return rig

    rig = run_virtually(scene())
    assert rig.doubts == []
    assert rig.alerts == []
    assert rig.resubscribed == []
    gaps = [later[0] - earlier[0] for earlier, later in zip(rig.requests, rig.requests[1:], strict=False)]
    assert min(gaps) >= 1.05 * S
    assert 20 <= len(rig.requests) <= 29


def test_polling_stops_when_the_feed_returns_and_a_flapping_line_raises_no_alarm():
    async def scene():
        rig = MarketRig(20)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.5, FAR)) for key in (*rig.keys[:15], CANARY)]
        for key in rig.keys[15:]:
            rig.listed[key].time = BEGIN_S - 500
            rig.send(rig.packet(key))
        await asyncio.sleep(40)
        for _ in range(50):
            rig.line(is_live=False)
            await asyncio.sleep(rig.random.uniform(0.05, 1.5))
            rig.line(is_live=True)
            await asyncio.sleep(rig.random.uniform(0.05, 1.5))
        await asyncio.sleep(60)
        before = len(rig.requests)
        await asyncio.sleep(60)
        asked = {key for _, keys in rig.requests[before:] for key in keys}
        await end(rig, tasks)
        return rig, asked

    rig, asked = run_virtually(scene())
    assert asked <= set(rig.keys[15:])
    assert (rig.doubts, rig.alerts) == ([], [])


def test_a_feed_that_is_forty_seconds_late_is_told_muted_and_driven_by_rest():
    async def scene():
        rig = MarketRig(3, stop=3_000)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(30)
        rig.delay_s = 40.0
        began = rig.now
        rig.down = True
        await asyncio.sleep(2)
        rig.down = False
        # What was sent 40 s ago goes on arriving.
        await asyncio.sleep(40)
        while not all(rig.watch.trust.state_of(key) is TrustState.MUTED for key in rig.keys):
            await asyncio.sleep(0.05)
            assert rig.now - began < 60 * S
        await asyncio.sleep(5)
        shown = [(rig.cache.quote(key), rig.listed[key].time) for key in rig.keys]
        rig.delay_s = 0.0
        await asyncio.sleep(20)
        states = {rig.watch.trust.state_of(key) for key in rig.keys}
        await end(rig, tasks)
        return rig, shown, states

    rig, shown, states = run_virtually(scene())
    assert rig.cache.counts.held_back > 0
    assert all(time - quote.exchange_time <= 2 for quote, time in shown), "REST's price stands against the late packets"
    assert states == {TrustState.LIVE}
    assert any(alert.subject.endswith("s behind the market") for alert in rig.alerts)
    assert rig.pages == []


def test_f32_a_rest_price_against_a_live_two_sided_feed_is_not_taken_and_paged_once():
    async def scene():
        rig = MarketRig(1, stop=1_000_000)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(5)
        right = rig.rest_quote
        rig.rest_quote = lambda key, seen_ns: right(key, seen_ns)._replace(last=20_000, bid=19_995, ask=20_005)
        for _ in range(5):
            rig.fetcher.ask(rig.keys)
            await asyncio.sleep(3)
        last = rig.cache.quote(rig.keys[0]).last
        await end(rig, tasks)
        return rig, last

    rig, last = run_virtually(scene())
    (page,) = rig.pages
    assert page.subject == "feed and REST disagree on option 1"
    assert "₹200.00" in page.text
    assert last < 12_000
    assert rig.watch.trust.disputes == 1


@pytest.mark.parametrize("error", [TransportError("x"), TokenError("x"), RateLimitedError("x", "DH-904")])
def test_f21_rest_that_fails_for_ten_minutes_is_asked_on_and_on(error):
    async def scene():
        rig = MarketRig(2, with_feed=False)

        async def fail(keys):
            rig.requests.append((rig.now, tuple(keys)))
            raise error

        rig.fetcher._read_quotes = fail
        rig.start()
        await asyncio.sleep(600)
        del rig.requests[:-3]
        rig.fetcher._read_quotes = rig.read_quotes
        await asyncio.sleep(15)
        await end(rig)
        return rig

    rig = run_virtually(scene())
    assert rig.cache.quote(rig.keys[0]) is not None
    assert rig.requests[1][0] - rig.requests[0][0] <= 12.5 * S
    assert rig.engine.guards[1].safe_to_trade(rig.cache.quote(rig.keys[0]).received_ns).is_safe


def test_a_position_that_is_edited_while_its_price_is_doubted_is_told_the_doubt_again():
    async def scene():
        rig = MarketRig(1)
        rig.start()
        task = asyncio.create_task(rig.tick(rig.keys[0], 0.3, 10))
        await asyncio.sleep(10)
        rig.is_rest_dead = True
        rig.line(is_live=False)
        # Another connection lives: the guard itself has no reason to doubt.
        rig.say(rig.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=rig.now)))
        await asyncio.sleep(8)
        first = rig.engine.guards[1]
        assert first.stale_keys(rig.now)
        rig.engine.handle(ev.PositionOpened(position(leg(1, 75, 90), strategy_id=1), rig.levels, rig.now))
        await asyncio.sleep(1.5)
        second = rig.engine.guards[1]
        found = second is not first and second.stale_keys(rig.now)
        await end(rig, [task])
        return found

    assert run_virtually(scene()) == (MarketRig(1).keys[0],)


def test_many_muted_at_once_are_one_alert():
    async def scene():
        rig = MarketRig(40, stop=1_000_000)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(10)
        rig.mute = set(rig.keys)
        await asyncio.sleep(8)
        rig.mute = set()
        await asyncio.sleep(15)
        await end(rig, tasks)
        return rig

    rig = run_virtually(scene())
    told = [(alert.severity, alert.subject) for alert in rig.alerts]
    assert told[-1][0] is Severity.INFO
    assert sum(severity is Severity.WARNING for severity, _ in told) <= 3
    assert rig.pages == []


def test_f24_a_clock_that_is_set_is_no_late_feed():
    async def scene():
        rig = MarketRig(1)
        rig.start()
        tasks = [asyncio.create_task(rig.tick(key, 0.3, FAR)) for key in (*rig.keys, CANARY)]
        await asyncio.sleep(30)
        for one in rig.listed.values():
            one.time = None
        rig.watch._clock.step_ns = 3_600 * S
        await asyncio.sleep(30)
        await end(rig, tasks)
        return rig

    assert run_virtually(scene()).alerts == []
