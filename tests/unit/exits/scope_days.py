"""Positions under a limit of daily loss: what their day is made of, for the tests."""

from datetime import date

from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import DayCounted
from core.model.orders import OrderStatus
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from tests.unit.exits.scope_rig import TODAY, held

LIMIT = 1_000
DAILY, LOSS = LimitKind.DAILY_LOSS, LimitKind.MAX_LOSS
DAILY_LIMIT = ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT)
OLD, OTHER = held(1, (501, 1)), held(2, (502, 1))
NEW = held(3, (503, 1), opened=TODAY)
NOV_20 = date(2026, 11, 20)


def day_pnl(rig):
    return rig.state(DAILY).day_pnl


def counted(rig):
    return [(each.exit_id, each.strategy_id, each.change) for each in rig.journal if isinstance(each, DayCounted)]


def put_at(rig, position, last):
    """Open it with its first mark somewhere else than at the entry."""
    rig.tell(ev.PositionOpened(position, ExitLevels(), rig.now, rig.remembered(position)))
    for leg in position.legs:
        rig.tick(leg.instrument.key.security_id, last)
    rig.beat(2)


def exit_at(rig, strategy_id, last, fill=None):
    """The operator closes it, and every leg is filled at the last price unless told; the broker shows it flat."""
    position = rig.engine.guards[strategy_id].booked.position
    for leg in position.legs:
        rig.tick(leg.instrument.key.security_id, last)
    rig.positions(nets(rig))
    rig.take()
    rig.exit(strategy_id)
    for intent in rig.submitted():
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=last if fill is None else fill)
    rig.wait(0.1)
    rig.positions(nets(rig))
    rig.beat(2)


def closed_outside(rig, strategy_id=1):
    """The broker shows the position held, and then flat for longer than an error of his would last."""
    rig.positions(nets(rig))
    flat = nets(rig) | dict.fromkeys([500 + strategy_id], 0)
    while rig.running(strategy_id) is None:
        rig.positions(flat)
        rig.beat(4)


def closed_outside_at_no_price(rig):
    """Strategy 1, and the trade book knows nothing of it."""
    closed_outside(rig)
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    rig.positions({501: 0, 502: 1})
    rig.beat()
    assert rig.running(1) is None


def nets(rig):
    found = dict.fromkeys((501, 502, 503), 0)
    for guard in rig.engine.guards.values():
        for leg in guard.booked.position.legs:
            found[leg.instrument.key.security_id] += leg.units
    return found
