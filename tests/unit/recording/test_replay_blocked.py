"""An exit that the account's net blocks has to wait: the replay goes on."""

from tests.unit.recording.scene import position, stop_at
from tests.unit.recording.test_replay_run import begun, outcome, prices

LONG, SHORT = position(7, (501, 150, 100_00)), position(8, (501, -150, 100_00))


def test_an_exit_that_another_strategys_units_block_orders_nothing_and_the_replay_ends():
    run = begun((LONG, stop_at(1_500_00)), (SHORT, stop_at(9_000_00)))
    prices(run, (501, 100_00, 1), (501, 80_00, 2), (501, 79_00, 9))
    [seen] = outcome(run).exits
    assert (seen.fills, seen.realised) == ((), None)
