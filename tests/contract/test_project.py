"""The real project, where there is one. Where there is none, this test says so for the whole suite."""

from __future__ import annotations

from tests.contract.builders import trade


async def test_the_real_project_can_be_reached(project_world):
    await project_world.insert("trades", trade(project_world.key(11), project_world.key(1)))
    async with project_world.store(is_quiet=True) as store:
        found = project_world.ours(await store.read_snapshot())
    assert [row.row_id for row in found.trades] == [project_world.key(11)]
