"""What the monitor shows of itself: facts for the table, the JSON document and the closing statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from core.exits.explain_comparisons import LegCompared
    from core.exits.payoff import Payoff
    from core.exits.position_greeks import PositionGreeks, Shock
    from core.model.commands import Alert
    from core.model.exit_levels import Action, ExitLevels, Urgency
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord, Mode


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One level in force, for `--plan`: `pnl` (paise) at which it fires now, None when no P&L makes it fire now.

    `price` in paise is given for one-leg positions only. `threshold` and `observed` count in the rule's unit
    (`exit_levels.UNITS`), None where there is no number. `now` says how far away it is or what it waits for, `state` is a
    `State` of `explain_comparisons`, `closes` what it would close, `name` names the level where its rule has several.
    """

    rule: str
    level: str
    pnl: Paise | None
    price: Paise | None
    source: str
    now: str = ""
    state: str = ""
    note: str = ""
    action: str = ""
    closes: str = ""
    name: str = ""
    threshold: int | None = None
    observed: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order that an exit would send: phase 1 buys shorts back, phase 2 sells longs. `limit` paise, None without a price.

    `quantity` and `lot` in units. `expiry` is None for what has none.
    """

    phase: int
    side: str
    quantity: int
    symbol: str
    limit: Paise | None
    lot: int = 1
    expiry: date | None = None


@dataclass(frozen=True, slots=True)
class PlannedShare:
    """What a share ("CLOSE_50%") would send now. `problem`: why it would send nothing, "" when it would."""

    action: str
    orders: tuple[PlannedOrder, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Shocks:
    """`greeks` and `grid` are None and () where they cannot be computed; `problem` says why. The grid is of the open legs."""

    greeks: PositionGreeks | None
    grid: tuple[Shock, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What `--plan` knows of a position besides its orders. `realised` is paise, of shares that are closed already.

    `underlying_price` in paise, None while not known; `underlying` says it for a reader. `told` names levels that have had their
    say: they are told, or close a share, once.
    """

    legs: tuple[LegCompared, ...]
    rules: tuple[RuleLine, ...]
    payoff: Payoff
    realised: Paise | None
    underlying_price: Paise | None
    underlying: str
    shares: tuple[PlannedShare, ...]
    shocks: Shocks
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PositionView:
    """One line of the table. `state`: guarded, exiting, halted, exited. Amounts in paise, `pnl` None while unknown.

    `plan`, `orders` and `unprotected` (why some level of it cannot fire now, "" when all can) are filled for `--plan`.
    """

    position: Position
    levels: ExitLevels | None
    state: str
    pnl: Paise | None
    pnl_percent: float | None
    action: Action
    urgency: Urgency
    reason: str
    orders: tuple[PlannedOrder, ...] = ()
    plan: Plan | None = None
    unprotected: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """`feed` is one of live, connecting, stale, off; `data_age_s` None before the first packet.

    `feed_detail` says what is not as it should be: dead connections, a block, instruments without a place. `prices` counts the
    instruments by how their price is believed (live, quiet, muted, on REST, stale). `readers` are those who read prices behind
    the exit path, each with its lag (seconds) and what was replaced by something newer before it came.
    """

    store: str
    feed: str
    order_updates: str
    subscribed: int
    cached_prices: int
    reconnects: int
    data_age_s: float | None
    feed_detail: str = ""
    prices: Mapping[str, int] = field(default_factory=dict)
    token: str = ""
    redis: str = "off"
    readers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistics:
    uptime_s: float
    positions: int
    price_updates: int
    corrupt_packets: int
    dropped_prices: int
    rest_fetches: int
    trade_updates: int
    signals: int
    exits_finished: int
    exits_unresolved: int
    alerts: int
    realised_pnl: Paise | None
    """Sum over this run's finished exits, paise; None when one of them has no known price."""


@dataclass(frozen=True, slots=True)
class MonitorView:
    mode: Mode
    utc_ns: int
    positions: tuple[PositionView, ...]
    connection: ConnectionView
    statistics: Statistics
    set_aside: tuple[str, ...]
    finished: tuple[ExitRecord, ...]
    alerts: tuple[Alert, ...]
    unwritten: tuple[str, ...] = ()
    """Positions that are closed at the broker and not yet in the rows."""
    not_read: tuple[tuple[int, str], ...] = ()
    """Rows beside the trades that cannot be read, with the strategy id: the position is shown, and guarded without them."""
    not_found: tuple[int, ...] = ()
    """Strategies that `--positions` names and that have no open position."""
