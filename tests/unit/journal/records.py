"""Journal records for tests: any record at all, and one plausible exit."""

from dataclasses import replace
from datetime import date

from hypothesis import strategies as st

from core.model.exit_levels import Action, Rule, Urgency
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.journal_records import (
    AttemptAbsent,
    AttemptObserved,
    AttemptPrepared,
    AttemptRefused,
    DayCounted,
    ExitFinished,
    ExitHalted,
    ExitStarted,
    LimitReset,
    LimitTripped,
    RowsWritten,
)
from core.model.orders import OrderIntent, OrderStatus, Side
from core.model.position import HoldingKey, Leg, Position, Product
from core.model.signals import ExitRecord, Latency, LegExecution, Mode, Signal
from core.model.special_levels import LimitKind, Scope

KEY = InstrumentKey(Segment.NSE_FNO, 49081)
HOLDING = HoldingKey(KEY, Product.MARGIN)
INSTRUMENT = Instrument(KEY, "NIFTY-24000-CE", "NIFTY", 65, 5, 1756, 24_000_00, date(2026, 11, 24), Right.CALL)
POSITION = Position(42, "Iron Condor", "NIFTY", (Leg(7, INSTRUMENT, Product.MARGIN, -65, 120_00, "2026-11-20T09:20"),))
SIGNAL = Signal(
    42, Rule.STOP_LOSS, Action.CLOSE_IMMEDIATELY, Urgency.HIGH, -3_000_00, -3_052_50, -3_052_50, "stop", 10, 9
)
INTENT = OrderIntent("X-42-1-0-1", HOLDING, Side.BUY, 65, 163_10)

text = st.text(max_size=20)
integers = st.integers(-(2**70), 2**70)
maybe = st.none() | integers
keys = st.builds(InstrumentKey, st.sampled_from(Segment), integers)
holdings = st.builds(HoldingKey, keys, st.sampled_from(Product))
instruments = st.builds(
    Instrument,
    keys,
    text,
    text,
    integers,
    integers,
    maybe,
    maybe,
    st.none() | st.dates(),
    st.none() | st.sampled_from(Right),
)
legs = st.builds(Leg, integers, instruments, st.sampled_from(Product), integers, maybe, text)
positions = st.builds(Position, integers, text, text, st.lists(legs, max_size=4).map(tuple))
signals_ = st.builds(
    Signal,
    integers,
    st.sampled_from(Rule),
    st.sampled_from(Action),
    st.sampled_from(Urgency),
    maybe,
    maybe,
    maybe,
    text,
    integers,
    maybe,
)
milliseconds = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 1000)
latencies = st.builds(Latency, milliseconds, milliseconds, milliseconds, milliseconds)
executions = st.builds(
    LegExecution,
    integers,
    integers,
    text,
    st.sampled_from(Side),
    integers,
    integers,
    maybe,
    st.lists(text, max_size=3).map(tuple),
)
exit_records = st.builds(
    ExitRecord,
    exit_id=text,
    strategy_id=integers,
    symbol=text,
    strategy_name=text,
    action=st.sampled_from(Action),
    reason=text,
    rule=st.sampled_from(Rule),
    threshold=maybe,
    observed=maybe,
    legs=st.lists(executions, max_size=4).map(tuple),
    realised_pnl=maybe,
    latency=latencies,
    mode=st.sampled_from(Mode),
    finished_at_ns=integers,
)
intents = st.builds(OrderIntent, text, holdings, st.sampled_from(Side), integers, integers)
any_record = st.one_of(
    st.builds(ExitStarted, text, integers, signals_, positions),
    st.builds(AttemptPrepared, text, integers, integers, intents),
    st.builds(AttemptObserved, text, text, text, st.sampled_from(OrderStatus), integers, maybe, text),
    st.builds(AttemptRefused, text, text, text),
    st.builds(AttemptAbsent, text, text),
    st.builds(ExitHalted, text, text),
    st.builds(ExitFinished, text, exit_records),
    st.builds(RowsWritten, text),
    st.builds(LimitTripped, st.sampled_from(Scope), text, st.sampled_from(LimitKind), integers, integers, integers),
    st.builds(LimitReset, st.sampled_from(Scope), text, integers, integers),
    st.builds(DayCounted, text, integers, text, maybe, integers),
)


def started(exit_id="e1", generation=1, strategy_id=42):
    return ExitStarted(exit_id, generation, SIGNAL, replace(POSITION, strategy_id=strategy_id))


def prepared(number=1, exit_id="e1"):
    return AttemptPrepared(exit_id, 0, number, replace(INTENT, correlation_id=f"X-{exit_id}-{number}"))


def observed(number=1, exit_id="e1"):
    return AttemptObserved(exit_id, f"X-{exit_id}-{number}", "112", OrderStatus.TRADED, 65, 163_05)
