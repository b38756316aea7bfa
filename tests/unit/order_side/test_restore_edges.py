"""What a restart makes of the journal: numbers, ids, and what the positions of before are worth."""

from core.exits.exit_lifecycle import AttemptState
from core.model.journal_records import AttemptPrepared
from core.model.orders import OrderStatus, Refusal
from tests.unit.order_side.rig import SHORT, Rig, S, holding, leg, position
from tests.unit.order_side.test_orders_under_way import send


def test_an_order_of_the_last_run_is_proved_absent_without_any_further_word_on_its_post():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    first = send(rig)
    after = rig.reborn()
    after.open(SHORT)
    for _ in range(3):
        after.wait(3)
        after.positions({501: -75})
        after.absent(first)
    assert after.running().attempts[0].state is AttemptState.ABSENT


def test_attempts_are_counted_on_and_no_id_comes_twice():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    after = rig.reborn()
    assert first.correlation_id in after.desk.used_correlation_ids
    after.open(SHORT)
    after.wait(4)
    after.quote()
    after.positions({501: -75})
    assert [record.number for record in after.journal if isinstance(record, AttemptPrepared)] == [1, 2]


def test_ids_of_exits_that_are_over_stay_used():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    first = send(rig)
    rig.fill(first)
    rig.wait(0.1)
    rig.positions({501: 0})
    after = rig.reborn()
    assert after.desk.exits == {}
    assert first.correlation_id in after.desk.used_correlation_ids


def test_a_report_of_just_after_a_restart_may_lack_what_was_filled_just_before_it():
    """Half is filled; the report shows the position as it was before: it is no base to reckon from."""
    held = position(1, leg(11, 501, -150))
    before = Rig()
    before.begin(held, nets={501: -150})
    first = send(before)
    before.accept(first)
    before.report(first, OrderStatus.CANCELLED, 75)
    after = before.reborn()
    assert after.desk.last_ended_ns(holding()) == after.now
    after.open(held)
    for seconds, orders in ((1.1, 0), (1.9, 0), (0.1, 1)):
        after.wait(seconds)
        after.quote()
        after.positions({501: -75})
        assert len(after.submitted()) == orders
    assert after.now > before.now + 4 * S
