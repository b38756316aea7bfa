"""The rows of a generated book as the monitor reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exit_profiles import book_rules
from core.position_book import build_book
from core.settings import load_settings
from core.stores.rows import snapshot_of
from tests.replay.conversion import instrument_of

if TYPE_CHECKING:
    from datetime import date

    from core.model.exit_levels import ExitLevels
    from core.model.position import Position
    from tests.oracle.books import Book


def read_book(book: Book, today: date) -> list[tuple[Position, ExitLevels]]:
    """Every position with its levels. Raises AssertionError where a row could not be read."""
    tables = book.tables
    instruments = [instrument_of(contract) for contract in book.contracts.values()]
    found = build_book(
        snapshot_of(tables.trades, tables.strategies, tables.risks, tables.levels, tables.monitoring, tables.details),
        {instrument.key: instrument for instrument in instruments},
        book_rules(load_settings(book.settings, None)),
        today,
    )
    problems = [error for error in found.set_aside if "action" not in str(error)]
    assert not problems, problems
    return [(each.position, each.levels) for each in found.positions]
