"""What limits are compared with equals a slow sum over everything that happened; a tighter limit never fires later."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.market import Quote
from core.model.orders import OrderStatus
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from tests.unit.exits.builders import key
from tests.unit.exits.scope_rig import ENTRY, TODAY, YESTERDAY, S, held, rig_with

FAR = 10**12
"""A limit that nothing reaches."""
MANY = [ScopeLimit(scope, max_loss=FAR, daily_loss=FAR) for scope in Scope]
UNDERLYINGS = {1: "NIFTY", 2: "NIFTY", 3: "BANKNIFTY", 4: "BANKNIFTY"}

strategies = st.integers(1, 4)
instruments = st.integers(501, 504)
prices = st.integers(9_000, 11_000)
OWN = None
"""One leg on a contract that most often nobody else holds: such a position can be closed here."""
leg_of = st.tuples(instruments, st.sampled_from([75, -75, 150]))
legs_of = st.one_of(st.just(OWN), st.lists(leg_of, min_size=1, max_size=3))
ops = st.one_of(
    st.tuples(st.just("quote"), instruments, prices),
    st.tuples(st.just("quote"), instruments, prices),
    st.tuples(st.just("quote"), instruments, prices),
    st.tuples(st.just("beat"), st.none(), st.none()),
    st.tuples(st.just("put"), strategies, st.tuples(legs_of, st.sampled_from([YESTERDAY, TODAY]))),
    st.tuples(st.just("exit"), strategies, prices),
    st.tuples(st.just("exit"), strategies, prices),
    st.tuples(st.just("gone"), strategies, st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


class SlowBook:
    """Everything from the plain facts: no differences, no bands."""

    def __init__(self):
        self.open, self.marks, self.base, self.carried = {}, {}, {}, {}
        self.brought = []

    def pnl(self, strategy_id):
        marks = [self.marks.get(leg.instrument.key.security_id) for leg in self.open[strategy_id].legs]
        if None in marks:
            return None
        return sum(leg.units * (mark - ENTRY) for leg, mark in zip(self.open[strategy_id].legs, marks, strict=True))

    def forget_marks_of_nobody(self):
        held_now = {leg.instrument.key.security_id for position in self.open.values() for leg in position.legs}
        self.marks = {each: mark for each, mark in self.marks.items() if each in held_now}

    def put(self, position):
        strategy_id = position.strategy_id
        before = self.open.get(strategy_id)
        if before is not None and before.legs != position.legs:
            pnl, base = self.pnl(strategy_id), self.base.pop(strategy_id, None)
            self.carried[strategy_id] = 0 if pnl is None or base is None else pnl - base
        self.open[strategy_id] = position

    def beat(self):
        for strategy_id, position in self.open.items():
            pnl = self.pnl(strategy_id)
            if position.legs[0].opened_at == TODAY:
                self.base[strategy_id] = 0
            elif strategy_id not in self.base and pnl is not None:
                self.base[strategy_id] = pnl - self.carried.pop(strategy_id, 0)

    def over(self, strategy_id, realised):
        base = self.base.pop(strategy_id, None)
        if self.open[strategy_id].legs[0].opened_at == TODAY:
            base = 0
        self.brought.append((strategy_id, None if None in {realised, base} else realised - base))
        del self.open[strategy_id]
        self.carried.pop(strategy_id, None)

    def sums(self, belongs):
        """(P&L of what is open, P&L of the day), None where not known."""
        pnls = [self.pnl(each) for each in self.open if belongs(each)]
        changes = [change for each, change in self.brought if belongs(each)]
        for each in self.open:
            if belongs(each):
                pnl, base = self.pnl(each), self.base.get(each)
                changes.append(None if pnl is None or base is None else pnl - base)
        return (None if None in pnls else sum(pnls)), (None if None in changes else sum(changes))


def check(rig, slow):
    for seen in rig.limits.state():
        belongs = {
            Scope.STRATEGY: lambda each, name=seen.name: str(each) == name,
            Scope.UNDERLYING: lambda each, name=seen.name: UNDERLYINGS[each] == name,
        }.get(seen.scope, lambda _: True)
        assert (seen.open_pnl, seen.day_pnl) == slow.sums(belongs), (seen.scope, seen.name)


def open_all(rig, slow):
    for position in slow.open.values():
        rig.tell(ev.PositionOpened(position, ExitLevels(), rig.now, rig.remembered(position)))


def broker_holds(rig, without=None):
    nets = dict.fromkeys(range(501, 505), 0)
    for strategy_id, guard in rig.engine.guards.items():
        for leg in guard.booked.position.legs if strategy_id != without else ():
            nets[leg.instrument.key.security_id] += leg.units
    rig.positions(nets)


def close(rig, slow, strategy_id, price):
    """The operator closes a position of one leg; it is filled, and the broker shows it gone."""
    (leg,) = slow.open[strategy_id].legs
    broker_holds(rig)
    rig.take()
    rig.exit(strategy_id)
    intents = rig.submitted()
    assert intents
    for intent in intents:
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=price)
    rig.wait(0.25)
    slow.beat()
    broker_holds(rig, without=strategy_id)
    assert rig.running(strategy_id) is None
    slow.over(strategy_id, leg.units * (price - ENTRY))


def is_closable(rig, slow, strategy_id):
    """One leg, whose contract nobody else holds: what netting does to an exit is another test's matter."""
    position = slow.open.get(strategy_id)
    if position is None or len(position.legs) != 1:
        return False
    contract = position.legs[0].instrument.key.security_id
    others = [leg for each, other in slow.open.items() if each != strategy_id for leg in other.legs]
    return contract in slow.marks and all(leg.instrument.key.security_id != contract for leg in others)


@settings(max_examples=200)
@given(st.lists(ops, min_size=10, max_size=40))
def test_the_sums_equal_those_of_a_slow_book(steps):
    rig, slow = rig_with(*MANY), SlowBook()
    rows = 100
    rig.beat()
    for number in (1, 3):
        slow.put(held(number, (500 + number, 75), on=UNDERLYINGS[number]))
    open_all(rig, slow)
    for what, number, given_ in steps:
        if what == "quote":
            rig.tick(number, given_)
            if any(leg.instrument.key.security_id == number for each in slow.open.values() for leg in each.legs):
                slow.marks[number] = given_
        elif what == "put":
            rows += 1
            legs, opened = given_
            legs = [(500 + number, 75)] if legs is OWN else legs
            position = held(number, *legs, opened=opened, on=UNDERLYINGS[number], row=rows * 10)
            slow.put(position)
            rig.tell(ev.PositionOpened(position, ExitLevels(), rig.now, rig.remembered(position)))
            slow.forget_marks_of_nobody()
        elif what == "gone" and number in slow.open:
            slow.over(number, None)
            rig.tell(ev.PositionGone(number, rig.now))
            slow.forget_marks_of_nobody()
        elif what == "exit" and is_closable(rig, slow, number):
            event("an exit")
            close(rig, slow, number, given_)
            slow.forget_marks_of_nobody()
        elif what == "restart":
            event("a restart")
            rig = rig.reborn()
            slow.marks.clear()
            slow.carried.clear()
            # So long a broker's report may lack what was filled just before.
            rig.beat(14)
            open_all(rig, slow)
        rig.wait(0.25)
        slow.beat()
        check(rig, slow)


books = st.tuples(st.integers(-40, 40), st.sampled_from(["tight"] * 5 + ["wide", "none", "crossed"]))
histories = st.lists(
    st.tuples(st.sampled_from([501, 502, 503]), books, st.sampled_from([60, 100, 250])),
    min_size=5,
    max_size=30,
)


def first_to_fire(history, kind, amount, scope=Scope.PORTFOLIO):
    """The step at which the limit first fires, by the index of the quote; None when it does not."""
    rig = rig_with(ScopeLimit(scope, **{kind.value: amount}))
    rig.put(held(1, (501, 1), (502, -1)), held(2, (503, 2)))
    for index, (security_id, (step, book), gap_ms) in enumerate(history):
        last = ENTRY + 25 * step
        bid, ask = {
            "tight": (last - 1, last + 1),
            "wide": (last - 1_500, last + 1_500),
            "none": (None, None),
            "crossed": (last + 1, last - 1),
        }[book]
        rig.now += gap_ms * S // 1_000
        rig.tell(ev.QuoteArrived(Quote(key(security_id), last, bid, ask, 1, 1, None, rig.now)))
        rig.wait(0)
        if rig.fired():
            return index
    return None


@settings(max_examples=60)
@given(histories, st.sampled_from(LimitKind), st.integers(1, 30), st.integers(1, 30))
def test_a_tighter_limit_never_fires_later(history, kind, one, other):
    tight, loose = sorted((one * 50, other * 50))
    first, second = first_to_fire(history, kind, tight), first_to_fire(history, kind, loose)
    event(f"{kind.value}: {first is not None}, {second is not None}")
    assert second is None or (first is not None and first <= second)
