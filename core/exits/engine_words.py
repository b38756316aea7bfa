"""What the engine says of its signals: alerts for decisions that close nothing, and the prices behind a P&L."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.exits.exit_finish import alert_record
from core.exits.order_plan import exit_id_of
from core.exits.partial_close import PERCENT_OF
from core.exits.rules import PRICE_RULES
from core.model.commands import Alert, Command, RecordExit, Severity
from core.model.money import rupees_text
from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Leg, Position
    from core.model.signals import Signal
    from core.position_cache_manager import BookedPosition


@dataclass(slots=True)
class EngineCounts:
    signals: int = 0
    exits_finished: int = 0
    alerts: int = 0


_BY_PRICE: Final = frozenset(rule.rule for rule in PRICE_RULES)
_OLD_TRADE_S: Final = 60


def nothing_closed(signal: Signal, position: Position) -> Alert:
    """For a level that closes nothing, or a share of what cannot be split."""
    name, asked = f"{position.strategy_name} ({position.strategy_id})", signal.action.value
    subject, why = f"{name}: {asked}", f"{asked} is all that is asked for"
    if signal.action in PERCENT_OF:
        subject, why = f"{name} is too small to split", f"{asked} of it is no whole number of lots"
    return Alert(Severity.WARNING, subject, f"{signal.reason}; {why}: nothing is closed at this level")


def would_exit(signal: Signal, position: Position, generation: int, utc_ns: int) -> Iterator[Command]:
    """What alert mode says instead of an exit."""
    name = f"{position.strategy_name} ({position.strategy_id})"
    yield Alert(Severity.PAGE, f"would exit {name}", signal.reason)
    exit_id = f"{exit_id_of(position, generation)}-A{utc_ns // NS_PER_S}"
    yield RecordExit(alert_record(exit_id, signal, position, utc_ns))


def with_prices(signal: Signal, booked: BookedPosition, utc_ns: int) -> Signal:
    """The signal of a price rule, its reason naming each leg that does not count at a trade of the last minute (F30)."""
    if signal.rule not in _BY_PRICE:
        return signal
    used = [
        text
        for leg, slot in zip(booked.position.legs, booked.slots, strict=True)
        if slot.quote is not None
        and slot.mark is not None
        and (text := _price_used(leg, slot.quote, slot.mark, utc_ns))
    ]
    return replace(signal, reason="; ".join((signal.reason, *used)))


def _price_used(leg: Leg, quote: Quote, mark: Paise, utc_ns: int) -> str:
    traded = quote.exchange_time
    is_old = traded is not None and utc_ns // NS_PER_S - traded > _OLD_TRADE_S
    if mark == quote.last and not is_old:
        return ""
    when = "" if traded is None else f" at {ist_datetime(traded * NS_PER_S):%d %b %H:%M:%S} IST"
    if mark == quote.last:
        return f"{leg.instrument.symbol} counts at its last trade, {rupees_text(mark)}{when}"
    side = "bid" if mark == quote.bid else "ask"
    last = f"last traded {rupees_text(quote.last)}{when}"
    return f"{leg.instrument.symbol} counts at the {side}, {rupees_text(mark)} ({last})"
