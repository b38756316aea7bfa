"""Are the positions what the rows say, and can their levels fire today? Pure; one function for each check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.exits.price_lines import start_peak
from core.exits.profit_and_loss import days_to_expiry
from core.exits.rules import PRICE_RULES, RuleFacts
from core.exits.time_rules import TIME_RULES
from core.model.instrument import InstrumentKey, Segment
from core.model.market import mark_of
from core.model.money import rupees_text
from core.preflight_checks import Finding, Verdict, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from core.model.errors import RowError
    from core.model.instrument import Instrument
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import HoldingKey, Position, PositionReport
    from core.model.trade_rows import TradeRow
    from core.position_book import Book, BookedPosition


@dataclass(frozen=True, slots=True)
class MasterFacts:
    """What `core.instrument_source.LoadedMaster` says of its file."""

    rows: int
    age_s: float | None
    origin: str
    problems: tuple[str, ...]


def master(facts: MasterFacts) -> Finding:
    check = "instrument master"
    age = "of unknown age" if facts.age_s is None else f"{facts.age_s / 3_600:.0f} h old"
    found = f"{facts.origin}: {facts.rows} rows, {age}"
    if not facts.problems:
        return Finding(check, Verdict.PASS, found)
    return Finding(
        check,
        Verdict.WARN,
        f"{found}; {listed(facts.problems)}",
        "Look at DHAN_INSTRUMENTS; Dhan makes a new file each morning.",
    )


def master_unusable(words: str) -> Finding:
    remedy = "Without it no position can be guarded: check DHAN_INSTRUMENTS and the network."
    return Finding("instrument master", Verdict.FAIL, words, remedy)


def missing_legs(trades: Sequence[TradeRow], instruments: Collection[InstrumentKey]) -> Finding:
    """Does the master hold the contract of every open row?"""
    check = "contracts"
    missing = [
        f"row {row.row_id} of strategy {row.strategy_id}: {row.segment}:{row.security_id}"
        for row in trades
        if row.segment not in Segment.__members__
        or InstrumentKey(Segment(row.segment), row.security_id) not in instruments
    ]
    if missing:
        remedy = (
            "These legs are not guarded. Correct exchange_segment and security_id of the rows, or fetch a new master."
        )
        return Finding(check, Verdict.FAIL, f"not in the instrument master: {listed(missing)}", remedy)
    return Finding(check, Verdict.PASS, f"the master holds the contracts of all {len(trades)} open rows")


def store_unusable(words: str) -> Finding:
    return Finding(
        "trades", Verdict.FAIL, words, "With Supabase: python data_scripts/check_supabase.py says what is missing."
    )


def rows(book: Book, harmless: Collection[int], doubts: str) -> Finding:
    """`harmless`: rows that are rightly left out. `doubts`: what the store wants looked at, "" when nothing."""
    check = "trades"
    legs = sum(len(each.position.legs) for each in book.positions)
    found = f"{len(book.positions)} open positions with {legs} legs"
    named = [_row_named(error) for error in book.set_aside]
    if named:
        is_bad = any(error.table != "trades" or error.row not in harmless for error in book.set_aside)
        # A level row that cannot be read has a default in its place; a trade row that cannot be read has no guard.
        is_unguarded = any(error.table == "trades" and error.row not in harmless for error in book.set_aside)
        verdict = Verdict.FAIL if is_unguarded else Verdict.WARN
        remedy = (
            "Correct the rows named; what is set aside is not guarded." if is_bad else "Close or remove the rows named."
        )
        return Finding(check, verdict, f"{found}; set aside: {listed(named)}", remedy)
    if doubts:
        return Finding(check, Verdict.WARN, f"{found}; {doubts}", "Check the key and the name of the table.")
    return Finding(check, Verdict.PASS, found)


def harmless_rows(
    trades: Sequence[TradeRow], instruments: Mapping[InstrumentKey, Instrument], account: str | None, today: date
) -> frozenset[int]:
    """Rows of another account, and of contracts that are over: no guard is missing there."""
    found = set()
    for row in trades:
        if account is not None and row.account_id not in {None, "", account}:
            found.add(row.row_id)
        elif row.segment in Segment.__members__:
            instrument = instruments.get(InstrumentKey(Segment(row.segment), row.security_id))
            if instrument is not None and instrument.expiry is not None and instrument.expiry < today:
                found.add(row.row_id)
    return frozenset(found)


def reconcile(positions: Sequence[Position], report: PositionReport, *, is_live: bool) -> Finding:
    """The broker's positions against the rows, per contract and product. Without orders a difference only warns."""
    check = "reconcile"
    wanted = _units_by_holding(positions)
    short: list[str] = []
    extra: list[str] = []
    for holding, units in wanted.items():
        net = report.net(holding)
        if net == units:
            continue
        text = f"{holding}: the rows say {units:+d}, the broker holds {net:+d}"
        (extra if units * net > 0 and abs(net) > abs(units) else short).append(text)
    orphans = [f"{x.holding}: {x.net:+d} in no row" for x in report.rows if x.net and x.holding not in wanted]
    if short:
        remedy = (
            "Only what the broker holds is guarded: correct quantity, side and product_type of the rows, or close them."
        )
        return Finding(check, Verdict.FAIL if is_live else Verdict.WARN, listed(short + extra + orphans), remedy)
    if extra or orphans:
        remedy = "Nothing guards what no row names: add rows for it, or mean it so."
        return Finding(check, Verdict.WARN, listed(extra + orphans), remedy)
    return Finding(check, Verdict.PASS, f"the broker holds what the rows say, in {len(wanted)} contracts")


def worst_pnl(position: Position) -> Paise | None:
    """The P&L with every contract at the limit of its day band that hurts; None when a limit or an entry is not known.

    Nothing beyond it can be traded today, so it is a bound; the legs need not be able to get there together.
    """
    total = 0
    units_of: dict[InstrumentKey, int] = {}
    instruments: dict[InstrumentKey, Instrument] = {}
    for leg in position.legs:
        if leg.entry is None:
            return None
        total -= leg.units * leg.entry
        units_of[leg.instrument.key] = units_of.get(leg.instrument.key, 0) + leg.units
        instruments[leg.instrument.key] = leg.instrument
    for key, units in units_of.items():
        limit = instruments[key].lower_limit if units > 0 else instruments[key].upper_limit
        if units and limit is None:
            return None
        total += units * (limit or 0)
    return total


def bands(booked: Sequence[BookedPosition]) -> Finding:
    """Can every stop be reached inside the day's price bands (of the evening before)?"""
    check = "stops in the bands"
    beyond, unknown, without = [], [], []
    for each in booked:
        stop, worst, name = each.levels.stop, worst_pnl(each.position), named(each.position)
        if stop is None:
            without.append(f"{name} has no stop")
        elif worst is None:
            unknown.append(name)
        elif worst > -stop.amount:
            beyond.append(f"{name}: stop {rupees_text(-stop.amount)}, worst in today's bands {rupees_text(worst)}")
    if beyond or without:
        remedy = (
            "Such a stop cannot fire by price today: set it nearer, or rely on the target and the time exits knowingly."
        )
        return Finding(check, Verdict.WARN, listed(beyond + without), remedy)
    if unknown:
        remedy = "The detailed master has the bands; an entry price that is missing comes when the row is patched."
        return Finding(check, Verdict.UNKNOWN, f"no band or no entry price for {listed(unknown)}", remedy)
    return Finding(check, Verdict.PASS, f"all {len(booked)} can be reached")


def levels_now(
    booked: Sequence[BookedPosition],
    quotes: Mapping[InstrumentKey, Quote],
    now: datetime,
    *,
    is_trading_day: bool | None,
) -> Finding:
    """Which levels are reached already, so that the monitor would close at once when the market is open. `now` is Indian."""
    check = "levels now"
    breached: list[str] = []
    unknown: list[str] = []
    for each in booked:
        pnl = _pnl(each.position, quotes)
        facts = RuleFacts(
            each.levels,
            start_peak(each.levels, None),
            days_to_expiry(each.position, now.date()),
            now.time(),
            is_trading_day,
        )
        verdicts = [verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None]
        if pnl is None:
            unknown.append(named(each.position))
        else:
            for rule in PRICE_RULES:
                line = rule.line(facts)
                if line is not None and rule.is_breached(pnl, line):
                    verdicts.append(rule.verdict(facts, pnl, line))
        breached.extend(f"{named(each.position)} closes at once: {verdict.reason}" for verdict in verdicts)
    if breached:
        return Finding(check, Verdict.WARN, listed(breached), "Change the level if that is not what you want.")
    if unknown:
        return Finding(
            check, Verdict.UNKNOWN, f"no P&L yet for {listed(unknown)}", "A price or an entry price is missing."
        )
    return Finding(check, Verdict.PASS, f"none of {len(booked)} positions is at a level")


def quotes_answered(
    asked: Sequence[InstrumentKey], answered: Collection[InstrumentKey], symbols: Mapping[InstrumentKey, str]
) -> Finding:
    check = "quotes over REST"
    unpriced = [f"{symbols.get(key, '')} ({key})".strip() for key in asked if key not in answered]
    if not unpriced:
        return Finding(check, Verdict.PASS, f"a price for all {len(asked)} instruments in one request")
    remedy = "A contract that nobody trades has none. If there are many: is the data plan active, are the ids right?"
    return Finding(check, Verdict.WARN, f"no price for {listed(unpriced)}", remedy)


def quotes_refused(words: str) -> Finding:
    remedy = "The fallback for a broken feed would have no prices: see token and data plan."
    return Finding("quotes over REST", Verdict.FAIL, words, remedy)


def named(position: Position) -> str:
    return f"{position.strategy_name} ({position.strategy_id})"


def _row_named(error: RowError) -> str:
    return f"{error.table} row {error.row}: {error.problem}"


def _units_by_holding(positions: Sequence[Position]) -> dict[HoldingKey, int]:
    units: dict[HoldingKey, int] = {}
    for position in positions:
        for leg in position.legs:
            units[leg.holding] = units.get(leg.holding, 0) + leg.units
    return units


def _pnl(position: Position, quotes: Mapping[InstrumentKey, Quote]) -> Paise | None:
    total = 0
    for leg in position.legs:
        quote = quotes.get(leg.instrument.key)
        if quote is None or leg.entry is None:
            return None
        total += leg.units * (mark_of(quote.last, quote.bid, quote.ask) - leg.entry)
    return total
