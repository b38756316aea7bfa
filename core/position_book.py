"""Rows and the instrument master → positions with their levels. A bad row is set aside and named; the others stay."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from core.exits.read_levels import LevelInputs, LevelSettings, read_levels
from core.model.errors import RowError
from core.model.instrument import InstrumentKey, Right, Segment
from core.model.money import paise_from_text, rupees_text
from core.model.position import Leg, Position, Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.model.exit_levels import ExitLevels
    from core.model.instrument import Instrument
    from core.model.money import Paise
    from core.model.override import Override
    from core.model.profile import Profile
    from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow, StrategyRow, TradeRow
    from core.stores.base import Snapshot

LACKING: Final = "a row of it is set aside: P&L, levels and exit are those of the other legs only"
INDEX_NAMES: Final = frozenset({"NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50", "SENSEX", "BANKEX"})
"""Underlyings that everybody spells alike. Other names differ between sources ("NIFTY 50", "M&M"), and prove nothing."""
_CONTRACT: Final = re.compile(r"(?P<name>\S+?)[- ].*[- ](?P<strike>\d+(?:\.\d+)?)[- ](?P<right>CE|PE|CALL|PUT)")
_RIGHTS: Final = {"CE": Right.CALL, "CALL": Right.CALL, "PE": Right.PUT, "PUT": Right.PUT}


@dataclass(frozen=True, slots=True)
class GuardedRow:
    """What a row was when it was last readable."""

    strategy_id: int
    strategy_name: str
    underlying: str
    leg: Leg


@dataclass(frozen=True, slots=True)
class BookedPosition:
    """`read`: what the levels were read from, and what was read, for the next book. It is no part of what the position is."""

    position: Position
    levels: ExitLevels
    read: tuple[LevelInputs, ExitLevels] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Book:
    """`set_aside`: the rows that could not be read, each named, also those that stay guarded as they were."""

    positions: tuple[BookedPosition, ...]
    set_aside: tuple[RowError, ...]


class ChosenProfiles(NamedTuple):
    """The category's defaults, the set chosen for the strategy (None: none), and what is odd about the choice ("": nothing)."""

    category: Profile
    profile: Profile | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BookRules:
    """How rows are read. `only` keeps these strategy ids, None all. Rows of another `account` are set aside.

    `profiles_of` gets strategy id, strategy name, stored type, and the set that the rows name ("" none). `overrides` are
    the operator's own levels by strategy id.
    """

    profiles_of: Callable[[int, str, str, str], ChosenProfiles]
    only: frozenset[int] | None = None
    levels: LevelSettings = field(default_factory=LevelSettings)
    overrides: Mapping[int, Override] = field(default_factory=dict)
    account: str | None = None


@dataclass(slots=True)
class _Group:
    name: str
    underlying: str
    legs: list[Leg] = field(default_factory=list)


def wanted_keys(trades: Iterable[TradeRow]) -> frozenset[InstrumentKey]:
    """Keys of the rows whose segment exists; the others are named by `build_book`."""
    return frozenset(
        InstrumentKey(Segment(row.segment), row.security_id) for row in trades if row.segment in Segment.__members__
    )


def guarded_rows(positions: Iterable[Position]) -> dict[int, GuardedRow]:
    """By row id, for the next `build_book`."""
    return {
        leg.row_id: GuardedRow(position.strategy_id, position.strategy_name, position.underlying, leg)
        for position in positions
        for leg in position.legs
    }


def build_book(
    snapshot: Snapshot,
    instruments: Mapping[InstrumentKey, Instrument],
    rules: BookRules,
    today: date,
    last_good: Mapping[int, GuardedRow] = MappingProxyType({}),
    before: Mapping[int, BookedPosition] = MappingProxyType({}),
) -> Book:
    """Group the open rows into positions and read their levels. `today` is the Indian date: what expired is set aside.

    A row of `last_good` that has become unreadable stays guarded as it was: a slip of somebody's pen must not take the
    protection away. Levels whose rows are those of `before` (by strategy id) are not read again.
    """
    problems: list[RowError] = list(snapshot.problems)
    groups: dict[int, _Group] = {}
    lacking = set(snapshot.damaged)
    for row in snapshot.trades:
        if rules.only is not None and row.strategy_id not in rules.only:
            continue
        try:
            _check_account(row, rules.account)
            leg = _leg(row, instruments, today)
        except RowError as error:
            error.strategy_id = row.strategy_id
            problems.append(error)
            lacking.add(row.strategy_id)
            continue
        groups.setdefault(row.strategy_id, _Group(row.strategy_name, row.underlying)).legs.append(leg)
    lacking -= _keep_last_good(problems, last_good, groups, today)
    booked = _with_levels(snapshot, groups, rules, before)
    return Book(
        tuple(_noted(each) if each.position.strategy_id in lacking else each for each in booked), tuple(problems)
    )


def _noted(booked: BookedPosition) -> BookedPosition:
    """A position that is guarded without one of its rows says so: its P&L and its levels are those of the other legs."""
    levels = replace(booked.levels, notes=(*booked.levels.notes, LACKING))
    return replace(booked, levels=levels)


def _keep_last_good(
    problems: list[RowError], last_good: Mapping[int, GuardedRow], groups: dict[int, _Group], today: date
) -> set[int]:
    """The strategies of the rows that are kept."""
    kept = set()
    for error in problems:
        known = last_good.get(error.row) if error.table == "trades" and isinstance(error.row, int) else None
        if known is None:
            continue
        expiry = known.leg.instrument.expiry
        if expiry is None or expiry >= today:
            group = groups.setdefault(known.strategy_id, _Group(known.strategy_name, known.underlying))
            group.legs.append(known.leg)
            kept.add(known.strategy_id)
    return kept


_Row = TypeVar("_Row", "LevelRow", "PlannedLeg")


def _by_strategy(rows: Iterable[_Row]) -> dict[int, list[_Row]]:
    found: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.strategy_id].append(row)
    return found


@dataclass(slots=True)
class _Rows:
    """The rows beside the trades, by strategy id."""

    strategies: dict[int, StrategyRow]
    risks: dict[int, RiskRow]
    levels: dict[int, list[LevelRow]]
    monitoring: dict[int, MonitoringRow]
    planned: dict[int, list[PlannedLeg]]


def _with_levels(
    snapshot: Snapshot, groups: dict[int, _Group], rules: BookRules, before: Mapping[int, BookedPosition]
) -> tuple[BookedPosition, ...]:
    rows = _Rows(
        {row.strategy_id: row for row in snapshot.strategies},
        {row.strategy_id: row for row in snapshot.risks},
        _by_strategy(snapshot.levels),
        {row.strategy_id: row for row in snapshot.monitoring},
        _by_strategy(snapshot.details),
    )
    booked = []
    for strategy_id, group in groups.items():
        strategy = rows.strategies.get(strategy_id)
        name = group.name or (strategy.strategy_name if strategy else "") or f"strategy {strategy_id}"
        legs = tuple(sorted(group.legs, key=lambda leg: leg.row_id))
        position = Position(strategy_id, name, group.underlying, legs)
        inputs = _inputs(position, strategy, rows, rules)
        known = before[strategy_id].read if strategy_id in before else None
        levels = known[1] if known is not None and known[0] == inputs else read_levels(inputs)
        booked.append(BookedPosition(position, levels, (inputs, levels)))
    return tuple(booked)


def _inputs(position: Position, strategy: StrategyRow | None, rows: _Rows, rules: BookRules) -> LevelInputs:
    strategy_id, risk = position.strategy_id, rows.risks.get(position.strategy_id)
    # A set chosen beside the levels is nearer to them than one chosen beside the name.
    stored = (risk.exit_profile if risk else "") or (strategy.exit_profile if strategy else "")
    kind = strategy.strategy_type if strategy else ""
    chosen = rules.profiles_of(strategy_id, position.strategy_name, kind, stored)
    return LevelInputs(
        position,
        chosen.category,
        risk,
        tuple(rows.levels.get(strategy_id, ())),
        chosen.profile,
        override=rules.overrides.get(strategy_id),
        settings=rules.levels,
        monitoring=rows.monitoring.get(strategy_id),
        planned=tuple(rows.planned.get(strategy_id, ())),
        spot=strategy.spot_price if strategy else None,
        notes=(chosen.problem,) if chosen.problem else (),
    )


def _check_account(row: TradeRow, account: str | None) -> None:
    """Another account's position is not at this broker login: it would look closed by somebody else."""
    if account is not None and row.account_id not in {None, "", account}:
        raise RowError("trades", row.row_id, f"account_id is {row.account_id}, and this monitor watches {account}")


def _leg(row: TradeRow, instruments: Mapping[InstrumentKey, Instrument], today: date) -> Leg:
    if row.segment not in Segment.__members__:
        raise RowError("trades", row.row_id, f"exchange_segment {row.segment!r} is none of Dhan's")
    key = InstrumentKey(Segment(row.segment), row.security_id)
    instrument = instruments.get(key)
    if instrument is None:
        raise RowError("trades", row.row_id, f"security_id {key} is not in today's instrument master")
    if instrument.expiry is not None and instrument.expiry < today:
        raise RowError("trades", row.row_id, f"{instrument.symbol} expired on {instrument.expiry}")
    _check_contract(row, instrument)
    units = row.quantity if row.is_buy else -row.quantity
    return Leg(row.row_id, instrument, Product(row.product), units, row.entry, row.opened_at)


def _check_contract(row: TradeRow, instrument: Instrument) -> None:
    """A row whose contract is not the one behind its security id would close the wrong thing (fault F13).

    Compared is what cannot be spelled in two ways: kind, strike, expiry, the names of the indices, and a trading symbol
    (NIFTY-Dec2026-24000-CE) where the row has one instead of the underlying.
    """
    name, strike, right = _told_by_symbol(row.underlying)
    master_name, _, _ = _told_by_symbol(instrument.symbol)
    told: tuple[tuple[str, object, object], ...] = (
        ("type", row.option_type or None, _kind_of(instrument)),
        ("symbol", right, _kind_of(instrument)),
        ("symbol", name, master_name),
        ("symbol", _index_name(row.underlying), _index_name(instrument.underlying)),
        ("strike_price", _rupees(row.strike), _rupees(instrument.strike)),
        ("symbol", _rupees(strike), _rupees(instrument.strike)),
        ("expiry_date", row.expiry, None if instrument.expiry is None else instrument.expiry.isoformat()),
    )
    for column, in_row, in_master in told:
        if in_row is not None and in_master is not None and in_row != in_master:
            raise RowError(
                "trades",
                row.row_id,
                f"{column} is {in_row}, but security_id {row.security_id} is {instrument.symbol} with {in_master}",
            )


def _kind_of(instrument: Instrument) -> str:
    if instrument.right is not None:
        return instrument.right.value
    return "EQ" if instrument.expiry is None else "FUT"


def _index_name(text: str) -> str | None:
    name = text.strip().upper()
    return name if name in INDEX_NAMES else None


def _told_by_symbol(text: str) -> tuple[str | None, Paise | None, str | None]:
    """Name, strike and right of an option's trading symbol; nothing of any other text."""
    found = _CONTRACT.fullmatch(text.strip().upper())
    if found is None:
        return None, None, None
    return found["name"], paise_from_text(found["strike"]), _RIGHTS[found["right"]].value


def _rupees(price: Paise | None) -> str | None:
    return None if price is None else rupees_text(price)
