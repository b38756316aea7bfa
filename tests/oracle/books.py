"""Seeded books of positions over a recorded day, as rows of the tables. Imports nothing of the monitor.

The same seed gives the same book. Contracts are quoted with two sides in the first minutes. No contract is bought by one strategy
and sold by another: such exits stand in each other's way by design.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from tests.oracle.beside_maker import BesideMaker
from tests.oracle.book import Contract, Leg
from tests.oracle.limits import Limit
from tests.oracle.market import TICK, Shown, has_book, mark_of
from tests.oracle.recorded import Recording
from tests.oracle.row_maker import GREEKS, KINDS, OF_ONE_PRICE, RowMaker
from tests.oracle.rows import Tables, paise
from tests.oracle.shapes import CALENDARS, SINGLES, SPREADS, Shape

MOVED_BY = timedelta(days=28)
"""What expires on the recorded day is listed so much later: on its last day everything is closed at once, by DTE."""
SQUARE_OFF = "14:30"
OTHER_LOT = 10
"""Units by which the lots of the last expiry are smaller, in every second book: exchanges change them with a new series."""
PAIRS = ("Long Strangle", "Short Strangle", "Pair")


@dataclass(slots=True)
class Book:
    """`contracts` by key, as listed for this book."""

    seed: int
    recording: Recording
    contracts: dict[str, Contract]
    tables: Tables = field(default_factory=Tables)
    signs: dict[str, int] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    settings: dict[str, str] = field(default_factory=lambda: {"SQUARE_OFF_INTRADAY": SQUARE_OFF})

    @property
    def has_greeks(self) -> bool:
        tables = self.tables
        is_limited = any(row["iv_upper_limit"] or row["iv_lower_limit"] for row in tables.monitoring)
        return is_limited or any(row["exit_type"] == "greek_trigger" for row in tables.levels)

    @property
    def held(self) -> set[str]:
        return {f"{row['exchange_segment']}:{row['security_id']}" for row in self.tables.trades}


@dataclass(frozen=True, slots=True)
class Market:
    """What the generator knows of the day: each key's first quote with a book, and the prices of the indices."""

    recording: Recording
    contracts: Mapping[str, Contract]
    first: Mapping[str, Shown]
    indices: Mapping[str, Sequence[int]]


def know_market(recording: Recording, contracts: Mapping[str, Contract], quotes: Sequence[Shown]) -> Market:
    first: dict[str, Shown] = {}
    indices: dict[str, list[int]] = {}
    for shown in quotes:
        if shown.key in contracts:
            if has_book(shown):
                first.setdefault(shown.key, shown)
        else:
            indices.setdefault(shown.key, []).append(shown.last)
    return Market(recording, contracts, first, indices)


def make_book(
    market: Market,
    seed: int,
    positions: int,
    *,
    shapes: Sequence[Shape] = SINGLES * 2 + SPREADS + CALENDARS,
    is_plain: bool = False,
) -> Book:
    """`is_plain`: trades and levels alone. The other tables and the settings are drawn apart, so that these are the same."""
    chance = random.Random(f"{market.recording.stem} {seed}")
    day = market.recording.day
    has_greeks = seed % 4 == 1
    is_moved = chance.random() < 0.9
    contracts = {
        key: replace(each, expiry=_moved(each.expiry, day)) if is_moved else each
        for key, each in market.contracts.items()
        if key in market.first
    }
    if not is_plain and seed % 2:
        contracts = dict(_with_other_lots(contracts))
    book = Book(seed, market.recording, contracts)
    maker = RowMaker(chance, day, market.indices, book.tables)
    held: dict[int, tuple[Leg, ...]] = {}
    number = 0
    while number < positions:
        shape = chance.choice(shapes)
        legs = _legs(chance, market, book, shape, number)
        if legs is None:
            continue
        number += 1
        for leg in legs:
            book.signs[leg.key] = 1 if leg.units > 0 else -1
        held[seed * 100 + number] = legs
        maker.add(seed * 100 + number, shape.name, legs, KINDS + GREEKS if has_greeks else KINDS)
    book.limits = tuple(_limits(chance, book))
    if not is_plain:
        _put_beside(market, book, held, has_greeks=has_greeks)
        _add_odd_ones(market, book, maker, held)
    return book


def _with_other_lots(contracts: Mapping[str, Contract]) -> Iterator[tuple[str, Contract]]:
    last = max(each.expiry for each in contracts.values() if each.expiry is not None)
    for key, each in contracts.items():
        yield key, replace(each, lot=each.lot - OTHER_LOT) if each.expiry == last else each


def _add_odd_ones(market: Market, book: Book, maker: RowMaker, held: Mapping[int, tuple[Leg, ...]]) -> None:
    """Levels a little beyond what the legs can bring, and legs of two underlyings, where the day has two."""
    chance = random.Random(f"{market.recording.stem} {book.seed} odd")
    for strategy_id in held:
        if chance.random() < 0.25:
            maker.go_beyond(strategy_id)
    number = len(held) + 1
    legs = _pair(chance, market, book, number)
    if legs:
        kinds = [kind for kind in KINDS if kind not in OF_ONE_PRICE]
        maker.add(book.seed * 100 + number, chance.choice(PAIRS), legs, kinds)


def _pair(chance: random.Random, market: Market, book: Book, number: int) -> tuple[Leg, ...]:
    """Two options of two underlyings, bought or sold."""
    found: dict[str, Leg] = {}
    for contract in chance.sample(sorted(book.contracts.values(), key=lambda each: each.key), len(book.contracts)):
        if contract.underlying not in found:
            sign = book.signs.setdefault(contract.key, chance.choice((1, -1)))
            row_id, entry = book.seed * 1_000 + 10 * number + len(found), _entry(chance, market.first[contract.key])
            found[contract.underlying] = Leg(row_id, contract, sign * contract.lot, entry, market.recording.day)
    return tuple(found.values()) if len(found) > 1 else ()


def _put_beside(market: Market, book: Book, held: Mapping[int, tuple[Leg, ...]], *, has_greeks: bool) -> None:
    chance = random.Random(f"{market.recording.stem} {book.seed} beside")
    prices = {key: indices[0] for key, indices in market.indices.items()}
    maker = BesideMaker(chance, market.recording.day, prices, book.tables, book.settings)
    maker.set_for_all()
    for strategy_id, legs in held.items():
        maker.add(strategy_id, legs, has_greeks=has_greeks)


def _limits(chance: random.Random, book: Book) -> Iterator[Limit]:
    """Of every second book. Sized by what all positions cost or brought."""
    premium = sum(int(str(row["quantity"])) * paise(row["price"]) for row in book.tables.trades)
    for scope in chance.sample(("strategy", "underlying", "account", "portfolio"), chance.choice((0, 0, 1, 1, 2))):
        share = {"strategy": 0.05, "underlying": 0.1}.get(scope, 0.2)
        kinds = chance.sample(("max_loss", "daily_loss", "max_profit"), chance.choice((1, 1, 2)))
        yield Limit(scope, **{kind: round(premium * share * chance.uniform(0.02, 0.4)) for kind in kinds})


def _moved(expiry: date | None, day: date) -> date | None:
    return day + MOVED_BY if expiry == day else expiry


def _legs(chance: random.Random, market: Market, book: Book, shape: Shape, number: int) -> tuple[Leg, ...] | None:
    """None where the shape finds no contracts, or needs one on the other side than somebody holds it."""
    underlying = chance.choice(sorted({each.underlying for each in book.contracts.values()}))
    mine = [each for each in book.contracts.values() if each.underlying == underlying]
    expiries = sorted({each.expiry for each in mine if each.expiry is not None})
    if len(expiries) < shape.expiries:
        return None
    dates = sorted(chance.sample(expiries, shape.expiries))
    strikes = sorted({each.strike for each in mine if each.expiry == dates[0]})
    if len(strikes) < shape.strikes:
        return None
    places = sorted(chance.sample(range(len(strikes)), shape.strikes))
    if places[-1] - places[0] > 4 * shape.strikes:
        return None
    lots = chance.choice((1, 1, 2, 3, 4))
    by_terms = {(each.right, each.strike, each.expiry): each for each in mine}
    legs = []
    for at, part in enumerate(shape.parts):
        contract = by_terms.get((part.right, strikes[places[part.strike]], dates[part.expiry]))
        if contract is None or book.signs.get(contract.key, part.lots) * part.lots < 0:
            return None
        units = part.lots * lots * contract.lot
        opened = market.recording.day - timedelta(days=chance.randint(0, 5))
        entry = _entry(chance, market.first[contract.key])
        legs.append(Leg(book.seed * 1_000 + 10 * number + at, contract, units, entry, opened))
    return tuple(legs)


def _entry(chance: random.Random, shown: Shown) -> int:
    price = mark_of(shown) * chance.uniform(0.97, 1.03)
    return max(round(price / TICK) * TICK, TICK)
