"""Every change of a row is noticed, and several are noticed together."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections import defaultdict

import pytest

from tests.contract.builders import exit_of, leg, level, risk, strategy, trade
from tests.contract.reader import WITHIN_S, reading

CHANGES = {
    "a new trade": (
        lambda world: world.insert("trades", trade(world.key(12), world.key(1))),
        lambda world, found: world.key(12) in {row.row_id for row in found.trades},
    ),
    "a price": (
        lambda world: world.update("trades", "new_id", world.key(11), price="121.55"),
        lambda world, found: [row.entry for row in found.trades] == [121_55],
    ),
    "a close": (
        lambda world: world.update("trades", "new_id", world.key(11), order_status="closed"),
        lambda world, found: found.trades == () and found.levels == (),
    ),
    "a removed trade": (
        lambda world: world.delete("trades", "new_id", world.key(11)),
        lambda world, found: found.trades == (),
    ),
    "a level": (
        lambda world: world.update("strategy_exit_levels", "id", world.key(21), trigger_value="4000.5"),
        lambda world, found: [row.value for row in found.levels] == [4_000_50],
    ),
    "a new level": (
        lambda world: world.insert("strategy_exit_levels", level(world.key(22), world.key(1), trigger_value="1")),
        lambda world, found: sorted(row.value for row in found.levels) == [1_00, 3_000_00],
    ),
    "a removed level": (
        lambda world: world.delete("strategy_exit_levels", "id", world.key(21)),
        lambda world, found: found.levels == (),
    ),
    "a risk": (
        lambda world: world.update("strategy_risk_management", "strategy_id", world.key(1), trailing_stop="650"),
        lambda world, found: [row.trailing_distance for row in found.risks] == [650_00],
    ),
    "a strategy": (
        lambda world: world.update("strategies", "id", world.key(1), strategy_type="Volatility"),
        lambda world, found: [row.strategy_type for row in found.strategies] == ["Volatility"],
    ),
}


@pytest.fixture
async def _rows(world):
    one = world.key(1)
    await world.insert("strategies", strategy(one))
    await world.insert("strategy_risk_management", risk(one))
    await world.insert("strategy_exit_levels", level(world.key(21), one))
    # A second strategy keeps a table from ever being empty, which a store need not believe.
    await world.insert("strategies", strategy(world.key(2)))
    await world.insert("strategy_exit_levels", level(world.key(29), world.key(2)))
    await world.insert("trades", trade(world.key(11), one), trade(world.key(19), world.key(2), order_status="closed"))


@pytest.fixture(scope="module")
def taken_ms(pytestconfig):
    """World → how long each change took to be noticed; printed in the end."""
    taken = defaultdict(list)
    yield taken
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for world, figures in taken.items():
            text = (
                f"{len(figures)} changes noticed: median {statistics.median(figures):.0f} ms, max {max(figures):.0f} ms"
            )
            sys.stdout.write(f"\n[{world}] {text}")


@pytest.mark.usefixtures("_rows")
@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_noticed(world, name, taken_ms):
    change, is_seen = CHANGES[name]
    async with world.store() as store, reading(world, store) as reader:
        await world.until_live(store)
        assert not is_seen(world, reader.snapshot)
        await change(world)
        taken_s = await reader.until(lambda found: is_seen(world, found))
    taken_ms[type(world).__name__].append(taken_s * 1e3)


@pytest.mark.usefixtures("_rows")
async def test_changes_wake_a_reader_that_waits(world):
    async with world.store() as store:
        await world.until_live(store)
        changes = store.changes()
        woken = asyncio.create_task(anext(changes))
        await asyncio.sleep(0)
        await world.update("trades", "new_id", world.key(11), price="121.55")
        await asyncio.wait_for(woken, WITHIN_S)


@pytest.mark.usefixtures("_rows")
async def test_changes_while_the_reader_is_busy_are_few_items(world):
    async with world.store() as store:
        await world.until_live(store)
        for paise in range(60):
            await world.update("trades", "new_id", world.key(11), price=f"121.{paise:02}")
        changes = store.changes()
        items = 0
        while [row.entry for row in world.ours(await store.read_snapshot()).trades] != [121_59]:
            await asyncio.wait_for(anext(changes), WITHIN_S)
            items += 1
        assert items < 30


@pytest.mark.usefixtures("_rows")
async def test_a_trade_is_never_seen_without_the_levels_that_were_written_before_it(world):
    """As the strategy builder writes: first the strategy, then its levels, then the trade."""
    async with world.store() as store, reading(world, store) as reader:
        await world.until_live(store)
        bare = []

        def has_levels(found):
            guarded = {row.strategy_id for row in found.levels} & {row.strategy_id for row in found.strategies}
            bare.extend(row.row_id for row in found.trades if row.strategy_id not in guarded)
            return len(found.trades) == 11

        watching = asyncio.create_task(reader.until(has_levels))
        for number in range(100, 110):
            await world.insert("strategies", strategy(world.key(number)))
            await world.insert("strategy_exit_levels", level(world.key(number), world.key(number)))
            await world.insert("trades", trade(world.key(number), world.key(number)))
        await watching
    assert bare == []


@pytest.mark.usefixtures("_rows")
async def test_two_stores_see_each_others_closes(world):
    await world.insert("trades", trade(world.key(12), world.key(1)), trade(world.key(13), world.key(2)))
    async with (
        world.store() as first,
        world.store() as second,
        reading(world, first) as one,
        reading(world, second) as two,
    ):
        await world.until_live(first)
        await world.until_live(second)
        await first.close_rows(exit_of(world.key(1), leg(world.key(11)), exit_id="exit-1"))
        await second.close_rows(exit_of(world.key(1), leg(world.key(12)), exit_id="exit-2"))
        for reader in (one, two):
            await reader.until(lambda found: {row.row_id for row in found.trades} == {world.key(13)})
