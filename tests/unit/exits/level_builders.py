"""Rows, positions and what is read of them, for the tests of reading levels. Rupees where a name does not say paise."""

import json

from core.exits.action_text import parse_action
from core.exits.read_levels import LevelInputs, read_levels
from core.model.trade_rows import LevelRow, RiskRow
from strategies.profiles import category_profile
from tests.unit.exits.builders import call, position, put

NEUTRAL = category_profile("Iron Condor")
DIRECTIONAL = category_profile("Bull Call Spread")


def spread(lots=1):
    """Bull call spread: max profit ₹525, max loss ₹225, debit ₹225 a lot."""
    return position(call(1, 75 * lots, 100, 5), call(2, -75 * lots, 110, 2))


def long_call():
    """Premium ₹7,500, unlimited profit."""
    return position(call(1, 75, 100, 100))


def short_call():
    """Credit ₹750, unlimited loss."""
    return position(call(1, -75, 100, 10))


def condor(lots=1):
    """Credit ₹4,500 a lot: max profit ₹4,500, max loss ₹3,000."""
    units = 75 * lots
    return position(
        call(1, -units, 24_200, 60), call(2, units, 24_300, 30), put(3, -units, 23_800, 60), put(4, units, 23_700, 30)
    )


def row(exit_type, value, trigger_type="price", *, level_name="primary", level_id=1, action=""):
    """`value` in rupees for prices, as the store would deliver it: paise."""
    stored = None if value is None else value * 100 if trigger_type == "price" else value
    return LevelRow(level_id, 1, exit_type, level_name, stored, trigger_type, parse_action(action), action)


def risk(**columns):
    """JSON columns may be given as objects."""
    return RiskRow(1, **{name: json.dumps(x) if isinstance(x, dict | list) else x for name, x in columns.items()})


def read(of=None, *rows, category=DIRECTIONAL, **inputs):
    return read_levels(LevelInputs(of or spread(), category, rows=rows, **inputs))


def shown(level):
    """Rupees and source."""
    return None if level is None else (level.amount / 100, level.source)


def names(notes, text):
    """Whether some note holds the text."""
    return any(text in note for note in notes)
