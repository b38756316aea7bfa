"""The worlds that a seed may pick, and how hard it is hit."""

from __future__ import annotations

from random import Random

from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.orders import Side
from core.model.position import HoldingKey, Leg, Position, Product
from tests.fakes.simulated_broker import MS, Faults, S
from tests.simulation.world import Scenario

FAULTY_S = 40


def instrument(security_id: int, *, lot: int = 75, freeze: int | None = 1_801) -> Instrument:
    key = InstrumentKey(Segment.NSE_FNO, security_id)
    return Instrument(key, f"OPT-{security_id}", "NIFTY", lot, 5, freeze, 2_400_000, None, Right.CALL)


def leg(row: int, security_id: int, units: int, *, lot: int = 75) -> Leg:
    return Leg(row, instrument(security_id, lot=lot), Product.MARGIN, units, 9_000, "2026-11-19T10:00:00")


def position(strategy_id: int, *legs: Leg) -> Position:
    return Position(strategy_id, f"S{strategy_id}", "NIFTY", legs)


def holding(security_id: int) -> HoldingKey:
    return HoldingKey(InstrumentKey(Segment.NSE_FNO, security_id), Product.MARGIN)


def condor(strategy_id: int, first_row: int, first_id: int) -> Position:
    units = (75, -75, -75, 75)
    return position(strategy_id, *(leg(first_row + i, first_id + i, u) for i, u in enumerate(units)))


def rows_net(positions: tuple[Position, ...]) -> dict[HoldingKey, int]:
    nets: dict[HoldingKey, int] = {}
    for held in positions:
        for one in held.legs:
            nets[one.holding] = nets.get(one.holding, 0) + one.units
    return nets


def faults_of(rng: Random, end: int) -> Faults:
    """Some seeds are calm in some respects, so that each fault also meets an otherwise healthy world."""

    def some(most: float) -> float:
        return rng.random() * most if rng.random() < 0.6 else 0.0

    return Faults(
        until=end,
        refused=some(0.1),
        rate_limited=some(0.15),
        not_sent=some(0.1),
        lost_before=some(0.25),
        lost_after=some(0.25),
        late=some(0.25),
        server_error=some(0.2),
        account=some(0.03),
        rejected=some(0.2),
        partial=some(0.7),
        no_fill=some(0.5),
        hangs=some(0.4),
        read_fails=some(0.3),
        positions_fail=some(0.6),
        update_lost=some(0.8),
        update_twice=some(0.4),
        crash=some(0.05),
        empty_positions=some(0.05),
    )


def single(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held = (position(1, leg(11, 501, rng.choice((-75, 75, -150)))),)
    return held, rows_net(held)


def iron_condor(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held = (condor(1, 11, 501),)
    return held, rows_net(held)


def sliced(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held = (position(1, leg(11, 501, -5_000, lot=100), leg(12, 502, 5_000, lot=100)),)
    return held, rows_net(held)


def shared(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held = (position(1, leg(11, 501, -75)), position(2, leg(21, 501, -150), leg(22, 502, 150)))
    return held, rows_net(held)


def short_at_broker(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held, nets = shared(rng)
    nets[holding(501)] = -rng.choice((75, 100, 150))
    return held, nets


def many(rng: Random) -> tuple[tuple[Position, ...], dict[HoldingKey, int]]:
    held = tuple(condor(number, 10 * number, 500 + 10 * number) for number in range(1, 7))
    return held, rows_net(held)


WORLDS = (single, iron_condor, sliced, shared, short_at_broker, many)


def scenario_of(seed: int) -> Scenario:
    rng = Random(seed * 7_919 + 1)
    held, nets = WORLDS[seed % len(WORLDS)](rng)
    exits = {one.strategy_id: rng.randrange(100, 4_000) * MS for one in held}
    by_hand = []
    if rng.random() < 0.3:
        touched = rng.choice(sorted(nets))
        side = Side.BUY if nets[touched] < 0 else Side.SELL
        by_hand.append((rng.randrange(0, 12_000) * MS, touched, side, rng.choice((25, 75, 5_000))))
    faults = faults_of(rng, 1_000 * S + FAULTY_S * S)
    return Scenario(held, nets, exits, faults, beat=rng.random() < 0.5, by_hand=tuple(by_hand))
