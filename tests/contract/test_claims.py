"""Twenty stores want to close one row: one does, nineteen are told that they did not."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from core.stores.base import RowOutcome
from tests.contract.builders import exit_of, leg, trade

STORES = 20


@pytest.mark.slow
async def test_of_twenty_stores_one_closes_the_row(world, capsys):
    rounds = world.features.racing_rounds
    await world.insert("trades", *(trade(world.key(100 + n), world.key(1)) for n in range(rounds)))
    won = []
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.store(is_quiet=True)) for _ in range(STORES)]
        begun = time.monotonic()
        for number in range(rounds):
            row_id = world.key(100 + number)
            outcomes = await asyncio.gather(
                *(
                    store.close_rows(
                        exit_of(world.key(1), leg(row_id, order_ids=(f"O{claimer}",)), exit_id=f"{claimer}")
                    )
                    for claimer, store in enumerate(stores)
                )
            )
            assert Counter(outcome[row_id] for outcome in outcomes) == {RowOutcome.CLOSED: 1, RowOutcome.OTHERS: 19}
            won.append(next(n for n, outcome in enumerate(outcomes) if outcome[row_id] is RowOutcome.CLOSED))
        taken = time.monotonic() - begun
    # The row bears the order of the store that was told that it won.
    for number, winner in enumerate(won):
        assert (await world.row("trades", "new_id", world.key(100 + number)))["exit_order_id"] == f"O{winner}"
    with capsys.disabled():
        text = f"{rounds} rounds of {STORES} stores in {taken:.1f} s, {len(set(won))} different winners"
        sys.stdout.write(f"\n[{type(world).__name__}] {text}\n")


async def test_twenty_stores_of_one_exit_agree_that_it_is_theirs(world):
    """The answer to a close may be lost, and a second monitor may carry the same exit on."""
    await world.insert("trades", trade(world.key(11), world.key(1)))
    record = exit_of(world.key(1), leg(world.key(11)))
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.store(is_quiet=True)) for _ in range(STORES)]
        outcomes = await asyncio.gather(*(store.close_rows(record) for store in stores))
    assert Counter(outcome[world.key(11)] for outcome in outcomes) == {RowOutcome.CLOSED: 1, RowOutcome.OURS: 19}


async def test_twenty_stores_write_one_risk_event(world):
    record = exit_of(world.key(1), leg(world.key(11)), exit_id=f"x{world.base}")
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(world.store(is_quiet=True)) for _ in range(STORES)]
        await asyncio.gather(*(store.record_risk_event(record) for store in stores))
    assert await world.count("risk_events", "execution_id", record.exit_id) == 1
