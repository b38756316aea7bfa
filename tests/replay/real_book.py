"""The rows of a generated book as the monitor reads them."""

from __future__ import annotations

from datetime import date, time
from typing import TYPE_CHECKING

from core.exits.level_sources import LevelSettings
from core.model.position import Product
from core.position_book import BookRules, ChosenProfiles, build_book
from core.stores.rows import snapshot_of
from strategies.profiles import category_profile
from tests.replay.conversion import instrument_of

if TYPE_CHECKING:
    from core.model.exit_levels import ExitLevels
    from core.model.position import Position
    from tests.oracle.books import Book


def read_book(book: Book, square_off: time, today: date) -> list[tuple[Position, ExitLevels]]:
    """Every position with its levels. Raises AssertionError where a row could not be read."""
    tables = book.tables
    instruments = [instrument_of(contract) for contract in book.contracts.values()]
    found = build_book(
        snapshot_of(tables.trades, tables.strategies, tables.risks, tables.levels),
        {instrument.key: instrument for instrument in instruments},
        BookRules(
            lambda _id, name, kind, _set: ChosenProfiles(category_profile(name, kind)),
            levels=LevelSettings(square_off={Product.INTRADAY: square_off}),
        ),
        today,
    )
    problems = [error for error in found.set_aside if "action" not in str(error)]
    assert not problems, problems
    return [(each.position, each.levels) for each in found.positions]
