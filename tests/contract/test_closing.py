"""Closing the rows of an exit: what is written, what is left, and what the store says of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.model.exit_levels import Action
from core.stores.base import RowOutcome
from tests.contract.builders import FINISHED, exit_of, leg, trade


async def closed_columns(world, row_id):
    row = await world.row("trades", "new_id", row_id)
    price = row["exit_price"]
    return (
        row["order_status"],
        row["exit_order_id"],
        None if price is None else Decimal(str(price)),
        row["exit_time"],
        row["exit_reason"],
    )


async def test_every_leg_is_closed_with_its_fill(world):
    one, (first, second, other) = world.key(1), (world.key(11), world.key(12), world.key(13))
    await world.insert("trades", trade(first, one), trade(second, one), trade(other, one))
    async with world.store() as store:
        outcome = await store.close_rows(exit_of(one, leg(first), leg(second, price=None, order_ids=())))
        assert outcome == {first: RowOutcome.CLOSED, second: RowOutcome.CLOSED}
        assert [row.row_id for row in world.ours(await store.read_snapshot()).trades] == [other]
    assert await closed_columns(world, first) == ("closed", "112,113", Decimal("163.05"), FINISHED, "stop hit")
    # A price that is not known stays null, and so does the id of an order that was never sent.
    assert await closed_columns(world, second) == ("closed", None, None, FINISHED, "stop hit")
    assert await closed_columns(world, other) == ("open", None, None, None, None)


async def test_all_other_columns_stay(world):
    await world.insert("trades", trade(world.key(11), world.key(1), account_id="A-7"))
    before = await world.row("trades", "new_id", world.key(11))
    async with world.store() as store:
        await store.close_rows(exit_of(world.key(1), leg(world.key(11))))
    after = await world.row("trades", "new_id", world.key(11))
    assert {name for name in before if before[name] != after[name]} == {
        "order_status", "exit_order_id", "exit_price", "exit_time", "exit_reason",
    }  # fmt: skip


@pytest.mark.parametrize("paise", [5, 120_05, 999_999_99])
async def test_a_fill_price_is_written_exactly(world, paise):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as store:
        await store.close_rows(exit_of(world.key(1), leg(world.key(11), price=paise)))
    assert (await closed_columns(world, world.key(11)))[2] == Decimal(paise) / 100


@pytest.mark.parametrize(
    "reason",
    ["P&L ₹-3,052.50 ≤ ₹-3,000.00 🛑", """it's "over", (really) \\ done""", "a\nb", "x" * 20_000, "ऊपर"],
    ids=["signs", "quotes", "lines", "long", "script"],
)
async def test_any_reason_is_written_as_it_is_and_known_again(world, reason):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    record = exit_of(world.key(1), leg(world.key(11)), reason=reason)
    async with world.store() as store:
        assert await store.close_rows(record) == {world.key(11): RowOutcome.CLOSED}
        assert await store.close_rows(record) == {world.key(11): RowOutcome.OURS}
    assert (await closed_columns(world, world.key(11)))[4] == reason


@pytest.mark.parametrize("order_ids", [("112", "113"), ("112",), ()], ids=["two orders", "one order", "no order"])
async def test_closing_twice_is_ours_and_changes_nothing(world, order_ids):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as first, world.store() as second:
        await first.close_rows(exit_of(world.key(1), leg(world.key(11), order_ids=order_ids)))
        before = await closed_columns(world, world.key(11))
        # A store that was started anew knows no more than the row.
        for store in (first, second):
            again = exit_of(world.key(1), leg(world.key(11), price=1, order_ids=order_ids))
            assert await store.close_rows(again) == {world.key(11): RowOutcome.OURS}
    assert await closed_columns(world, world.key(11)) == before


@pytest.mark.parametrize(
    "columns",
    [
        {"order_status": "closed", "exit_reason": "by hand"},
        {"order_status": "closed", "exit_reason": "stop hit", "exit_order_id": "999"},
        {"order_status": "closed"},
        {"order_status": "cancelled"},
    ],
    ids=["by hand", "another order", "bare", "cancelled"],
)
async def test_what_others_closed_is_left_as_it_is(world, columns):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as store:
        await world.update("trades", "new_id", world.key(11), **columns)
        before = await world.row("trades", "new_id", world.key(11))
        outcome = await store.close_rows(exit_of(world.key(1), leg(world.key(11))))
    assert outcome == {world.key(11): RowOutcome.OTHERS}
    assert await world.row("trades", "new_id", world.key(11)) == before


async def test_each_row_has_its_own_outcome(world):
    one, keys = world.key(1), [world.key(number) for number in (11, 12, 13, 14)]
    await world.insert("trades", *(trade(key, one) for key in keys[:3]), trade(world.key(99), one))
    async with world.store() as store:
        await store.close_rows(exit_of(one, leg(keys[1])))
        await world.update("trades", "new_id", keys[2], order_status="closed", exit_reason="by hand")
        outcome = await store.close_rows(exit_of(one, *map(leg, keys)))
    assert outcome == dict(
        zip(keys, (RowOutcome.CLOSED, RowOutcome.OURS, RowOutcome.OTHERS, RowOutcome.GONE), strict=True)
    )
    assert (await closed_columns(world, keys[2]))[4] == "by hand"


async def test_a_row_that_was_removed_is_gone(world):
    await world.insert("trades", trade(world.key(11), world.key(1)), trade(world.key(12), world.key(2)))
    async with world.store() as store:
        await store.read_snapshot()
        await world.delete("trades", "new_id", world.key(11))
        outcome = await store.close_rows(exit_of(world.key(1), leg(world.key(11))))
    assert outcome == {world.key(11): RowOutcome.GONE}


async def test_a_full_exit_closes_its_row_although_less_was_filled_than_the_row_says(world):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as store:
        outcome = await store.close_rows(exit_of(world.key(1), leg(world.key(11), filled=64)))
    assert outcome == {world.key(11): RowOutcome.CLOSED}


@pytest.mark.parametrize("action", [Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75])
async def test_a_partial_exit_changes_nothing(world, action):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    before = await world.row("trades", "new_id", world.key(11))
    async with world.store() as store:
        assert await store.close_rows(exit_of(world.key(1), leg(world.key(11)), action=action)) == {}
        assert len(world.ours(await store.read_snapshot()).trades) == 1
    assert await world.row("trades", "new_id", world.key(11)) == before


async def test_an_exit_without_legs_changes_nothing(world):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as store:
        assert await store.close_rows(exit_of(world.key(1))) == {}
    assert (await closed_columns(world, world.key(11)))[0] == "open"


async def test_a_risk_event_is_written_once(world):
    record = exit_of(world.key(1), leg(world.key(11)), leg(world.key(12), order_ids=("114",)), exit_id=f"x{world.base}")
    async with world.store() as first, world.store() as second:
        for store in (first, first, second):
            await store.record_risk_event(record)
        await second.record_risk_event(exit_of(world.key(1), exit_id=f"y{world.base}"))
    assert await world.count("risk_events", "strategy_id", world.key(1)) == 2
    row = await world.row("risk_events", "execution_id", record.exit_id)
    assert (row["strategy_id"], row["event_type"], row["action_taken"], row["exit_order_ids"], row["notes"]) == (
        world.key(1), "stop_loss", "CLOSE_POSITION", "112,113,114", "stop hit",
    )  # fmt: skip
    assert (Decimal(str(row["threshold_value"])), Decimal(str(row["current_value"]))) == (-3000, Decimal("-3052.5"))
