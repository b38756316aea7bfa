"""The engine's own book-keeping: generations, alerts, prices it does not order by, and when the loop must look again."""

from core.exits.own_signals import outside_signal
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.journal_records import ExitStarted
from core.model.market import Quote, QuoteSource
from core.model.signals import Mode
from tests.unit.order_side.rig import NOON, SHORT, Rig, S, leg, position
from tests.unit.order_side.test_orders_under_way import only, send

KEY = InstrumentKey(Segment.NSE_FNO, 501)
STOP = ExitLevels(stop=AmountLevel(100_000, LevelSource.LEVEL_ROW))
"""75 sold at ₹90: a loss of ₹1,000 is reached at ₹103.35."""


def gone(rig: Rig, seconds: int) -> None:
    for _ in range(seconds):
        rig.wait(1)
        rig.positions({501: 0})
    rig.wait(1)


def test_no_order_is_priced_by_a_price_of_another_run():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, ExitLevels(), rig.now))
    saved = Quote(KEY, 10_000, 9_995, 10_005, 75, 75, None, rig.now, QuoteSource.CACHE)
    rig.engine.cache.slot_of(KEY).show_cached(saved)
    rig.wait()
    rig.positions({501: -75})
    rig.exit()
    assert rig.take(cmd.RequestQuotes) == [cmd.RequestQuotes((KEY,))]
    rig.wait(2)
    rig.positions({501: -75})
    assert rig.submitted() == []
    rig.quote(last=11_000)
    assert send(rig).price == 11_010


def test_alerts_are_counted():
    rig = Rig()
    rig.begin(SHORT, nets={501: 75})
    assert rig.subjects() == ["OPT-501 not closable"]
    assert rig.engine.counts.alerts == 1


def test_an_engine_with_an_exit_under_way_is_not_idle():
    rig = Rig()
    assert rig.engine.is_idle
    rig.begin(SHORT, nets={501: -75})
    assert not rig.engine.is_idle
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    assert not rig.engine.is_idle, "its rows are not written yet"
    rig.tell(ev.RowsClosed(only(rig.take(cmd.CloseRows)).record.exit_id, rig.now))
    assert rig.engine.is_idle


def test_every_exit_of_a_strategy_has_a_generation_of_its_own():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: -75})
    rig.engine._fire(outside_signal(1, rig.now), SHORT, rig.now)
    rig.wait()
    rig.positions({501: -75})
    assert rig.running() is None, "it is there after all"
    rig.exit()
    assert rig.running().generation == 2


def test_a_position_that_is_gone_is_closed_outside_under_its_own_strategy():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: -75})
    gone(rig, 12)
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    started = only([record for record in rig.journal if isinstance(record, ExitStarted)])
    assert (started.signal.strategy_id, started.signal.rule) == (1, Rule.CLOSED_OUTSIDE)
    assert started.signal.decided_ns > rig.start
    assert rig.subjects() == ["S1 closed outside the monitor"]


def alerted() -> Rig:
    rig = Rig(mode=Mode.ALERT)
    rig.open(SHORT, levels=STOP)
    rig.wait()
    rig.positions({501: -75})
    rig.quote(last=10_400)
    return rig


def test_a_decision_that_is_only_told_is_named_by_its_generation_and_its_second():
    rig = alerted()
    first = only(rig.take(cmd.RecordExit)).record
    assert first.exit_id.startswith("1-1-")
    assert first.exit_id.endswith(f"-A{NOON // S}")
    rig.tell(ev.PositionGone(1, rig.now))
    rig.open(SHORT, levels=STOP)
    rig.wait(1)
    rig.quote(last=10_400)
    assert only(rig.take(cmd.RecordExit)).record.exit_id.startswith("1-2-")


def test_a_position_that_was_told_of_is_let_be_when_its_levels_are_edited():
    rig = alerted()
    rig.open(SHORT, levels=ExitLevels(stop=AmountLevel(90_000, LevelSource.LEVEL_ROW)))
    assert rig.engine.guards == {}


def test_a_stopping_engine_begins_no_exit():
    rig = Rig()
    rig.open(SHORT, levels=STOP)
    rig.wait()
    rig.positions({501: -75})
    rig.tell(ev.StopRequested(rig.now))
    rig.quote(last=10_400)
    rig.exit()
    rig.wait(1)
    assert rig.running() is None
    assert rig.journal == []


def test_the_loop_looks_again_after_every_word_on_an_order():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    first = send(rig)
    assert rig.engine.next_wake_ns is None or rig.engine.next_wake_ns > rig.now
    assert not rig.engine.has_new_deadline
    rig.accept(first)
    assert rig.engine.has_new_deadline


def test_exits_of_two_positions_that_one_quote_begins_order_together():
    other = position(2, leg(21, 501, -75))
    rig = Rig()
    rig.open(SHORT, other, levels=STOP)
    rig.wait()
    rig.positions({501: -150})
    rig.quote(last=10_400)
    assert [intent.quantity for intent in rig.submitted()] == [75, 75]
