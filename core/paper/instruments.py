"""The instruments the exchange lists: generated for a date, or read from the master of a recording."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.money import paise_from_text, rupees, snap_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.model.money import Paise

TUESDAY, THURSDAY = 1, 3
OPTION_TICK: Paise = 5
BAND_SHARE_OF_SPOT = 0.06
MOST_STRIKES = 249
FIRST_EXTRA_ID = 100_001
EXTRA_STRIKES = 100


@dataclass(frozen=True, slots=True)
class Underlying:
    """One index as the generator knows it. `spot` and `strike_step` in whole rupees; `first_frozen` in units.

    `exchange_token` is what the master writes as UNDERLYING_SECURITY_ID (26000 for NIFTY), not the API's id (13).
    """

    name: str
    security_id: int
    exchange: str
    exchange_token: int
    spot: int
    strike_step: int
    lot: int
    first_frozen: int
    expiry_weekday: int
    weeklies: int
    first_option_id: int
    volatility: float


UNDERLYINGS = (
    Underlying("NIFTY", 13, "NSE", 26000, 26_100, 50, 65, 1756, TUESDAY, 4, 40_001, 0.13),
    Underlying("BANKNIFTY", 25, "NSE", 26009, 58_900, 100, 30, 601, TUESDAY, 0, 50_001, 0.15),
    Underlying("FINNIFTY", 27, "NSE", 26037, 27_600, 50, 60, 1801, TUESDAY, 0, 56_001, 0.15),
    Underlying("MIDCPNIFTY", 442, "NSE", 26074, 13_900, 25, 120, 2761, TUESDAY, 0, 58_001, 0.17),
    Underlying("SENSEX", 51, "BSE", 1, 85_300, 100, 20, 1001, THURSDAY, 3, 840_001, 0.13),
)
INDIA_VIX = InstrumentKey(Segment.IDX_I, 21)
EQUITIES = (("RELIANCE", 2885, 1_540), ("TCS", 11536, 3_110), ("HDFCBANK", 1333, 1_010))


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the master: the contract, and the columns that only the file has. `open_price` in paise."""

    instrument: Instrument
    kind: str
    display: str
    underlying_id: str
    open_price: Paise


class Instruments:
    """All listings, in the order of the file."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self.by_key = {listing.instrument.key: listing for listing in listings}
        self._by_text = {(key.segment.value, str(key.security_id)): key for key in self.by_key}

    def __iter__(self) -> Iterator[Listing]:
        return iter(self.by_key.values())

    def __len__(self) -> int:
        return len(self.by_key)

    def find(self, segment: str, security_id: str) -> InstrumentKey | None:
        """The key a request means, None when it is not listed. Ids are unique only inside a segment."""
        return self._by_text.get((segment, security_id))


def expiries(today: date, weekday: int, weeklies: int) -> list[date]:
    """`weeklies` nearest weekly expiries, then the last `weekday` of this and the next months (holidays ignored)."""
    nearest = today + timedelta(days=(weekday - today.weekday()) % 7)
    found = {nearest + timedelta(weeks=n) for n in range(weeklies)}
    monthly = [month_end for n in range(3) if (month_end := _last_weekday(today, n, weekday)) >= today]
    found.update(monthly[:2] if weeklies == 0 else monthly[:1])
    return sorted(found)


def _last_weekday(today: date, months_ahead: int, weekday: int) -> date:
    month = today.month + months_ahead
    first_of_next = date(today.year + month // 12, month % 12 + 1, 1)
    last = first_of_next - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def generate(today: date, strikes_each_side: int, extra: int = 0) -> Instruments:
    """Indices, options, near-month futures and a few shares with the terms of November 2026 (dhan_v2_protocol 8.2).

    `extra` more NIFTY options have ids from 100,001 and weekly expiries after the usual ones.
    Raises ValueError when the ids of two underlyings would meet.
    """
    if strikes_each_side > MOST_STRIKES:
        raise ValueError(
            f"at most {MOST_STRIKES} strikes each side, received {strikes_each_side}; use extra instruments"
        )
    listings = [_index(u.name, u.security_id, u.spot * 100, u.exchange) for u in UNDERLYINGS]
    listings.append(_index("INDIA VIX", INDIA_VIX.security_id, 1_340, "NSE"))
    for name, security_id, price in EQUITIES:
        key = InstrumentKey(Segment.NSE_EQ, security_id)
        instrument = Instrument(key, name, name, lot=1, tick=10, lower_limit=price * 90, upper_limit=price * 110)
        listings.append(Listing(instrument, "EQUITY", name, "", price * 100))
    for underlying in UNDERLYINGS:
        listings.extend(_contracts(underlying, today, strikes_each_side))
    listings.extend(islice(_further(today), extra))
    return Instruments(listings)


def _further(today: date) -> Iterator[Listing]:
    """Endless NIFTY options: whole chains, one weekly expiry after the other."""
    nifty = UNDERLYINGS[0]
    middle = round(nifty.spot / nifty.strike_step)
    expiry = expiries(today, nifty.expiry_weekday, nifty.weeklies)[-1]
    next_id = FIRST_EXTRA_ID
    while True:
        expiry += timedelta(weeks=1)
        for strike in range(middle - EXTRA_STRIKES, middle + EXTRA_STRIKES + 1):
            for right in Right:
                key = InstrumentKey(Segment.NSE_FNO, next_id)
                next_id += 1
                yield _option(nifty, key, expiry, strike * nifty.strike_step, right)


def _index(name: str, security_id: int, spot: Paise, exchange: str) -> Listing:
    instrument = Instrument(InstrumentKey(Segment.IDX_I, security_id), name, name, lot=1, tick=OPTION_TICK)
    return Listing(instrument, "INDEX", name, exchange, spot)


def _contracts(underlying: Underlying, today: date, strikes_each_side: int) -> Iterator[Listing]:
    segment = Segment.NSE_FNO if underlying.exchange == "NSE" else Segment.BSE_FNO
    next_id = underlying.first_option_id
    middle = round(underlying.spot / underlying.strike_step)
    dates = expiries(today, underlying.expiry_weekday, underlying.weeklies)
    for expiry in dates:
        for strike in range(middle - strikes_each_side, middle + strikes_each_side + 1):
            for right in Right:
                key = InstrumentKey(segment, next_id)
                next_id += 1
                yield _option(underlying, key, expiry, strike * underlying.strike_step, right)
    expiry = dates[-1]
    key = InstrumentKey(segment, next_id)
    symbol = f"{underlying.name}-{expiry:%b%Y}-FUT"
    future = Instrument(key, symbol, underlying.name, underlying.lot, 10, underlying.first_frozen, None, expiry)
    display = f"{underlying.name} {expiry:%b} FUT".upper()
    yield Listing(future, "FUTIDX", display, str(underlying.exchange_token), underlying.spot * 100)


def _option(underlying: Underlying, key: InstrumentKey, expiry: date, strike: int, right: Right) -> Listing:
    band = int(underlying.spot * 100 * BAND_SHARE_OF_SPOT)
    intrinsic = max((underlying.spot - strike) * (1 if right is Right.CALL else -1), 0) * 100
    instrument = Instrument(
        key,
        f"{underlying.name}-{expiry:%b%Y}-{strike}-{right.value}",
        underlying.name,
        underlying.lot,
        OPTION_TICK,
        underlying.first_frozen,
        strike * 100,
        expiry,
        right,
        max(OPTION_TICK, snap_up(intrinsic - band, OPTION_TICK)),
        snap_up(intrinsic + band, OPTION_TICK),
    )
    word = "CALL" if right is Right.CALL else "PUT"
    display = f"{underlying.name} {expiry:%d %b} {strike} {word}".upper()
    return Listing(instrument, "OPTIDX", display, str(underlying.exchange_token), 0)


HEADER = (
    "EXCH_ID SEGMENT SECURITY_ID ISIN INSTRUMENT UNDERLYING_SECURITY_ID UNDERLYING_SYMBOL SYMBOL_NAME "
    "DISPLAY_NAME INSTRUMENT_TYPE SERIES LOT_SIZE SM_EXPIRY_DATE STRIKE_PRICE OPTION_TYPE TICK_SIZE "
    "EXPIRY_FLAG BRACKET_FLAG COVER_FLAG ASM_GSM_FLAG ASM_GSM_CATEGORY BUY_SELL_INDICATOR "
    "BUY_CO_MIN_MARGIN_PER BUY_CO_SL_RANGE_MAX_PERC BUY_CO_SL_RANGE_MIN_PERC BUY_BO_MIN_MARGIN_PER "
    "BUY_BO_PROFIT_RANGE_MAX_PERC BUY_BO_PROFIT_RANGE_MIN_PERC MTF_LEVERAGE SM_UPPER_LIMIT SM_LOWER_LIMIT "
    "SM_FREEZE_QTY"
)
COLUMNS = HEADER.split()
"""The detailed master's header as live on 2026-08-26 (dhan_v2_protocol 7.2)."""
SEGMENT_LETTER = {
    Segment.IDX_I: "I",
    Segment.NSE_EQ: "E",
    Segment.BSE_EQ: "E",
    Segment.NSE_FNO: "D",
    Segment.BSE_FNO: "D",
    Segment.NSE_CURRENCY: "C",
    Segment.BSE_CURRENCY: "C",
    Segment.MCX_COMM: "M",
}
INSTRUMENT_TYPE = {"OPTIDX": "OP", "OPTSTK": "OP", "FUTIDX": "FUT", "FUTSTK": "FUT", "EQUITY": "ES", "INDEX": "INDEX"}


def master_csv(instruments: Instruments) -> bytes:
    """The detailed scrip master. Each row ends with a trailing comma, as Dhan's does."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*_master_row(listing), ""] for listing in instruments)
    return buffer.getvalue().encode()


def exchange_of(listing: Listing) -> str:
    segment = listing.instrument.key.segment
    if segment is Segment.IDX_I:
        return "BSE" if listing.instrument.symbol == "SENSEX" else "NSE"
    return segment.value.partition("_")[0]


def _master_row(listing: Listing) -> list[str]:
    contract = listing.instrument
    values = {
        "EXCH_ID": exchange_of(listing),
        "SEGMENT": SEGMENT_LETTER[contract.key.segment],
        "SECURITY_ID": str(contract.key.security_id),
        "INSTRUMENT": listing.kind,
        "UNDERLYING_SECURITY_ID": listing.underlying_id if contract.expiry else "",
        "UNDERLYING_SYMBOL": contract.underlying,
        "SYMBOL_NAME": contract.symbol,
        "DISPLAY_NAME": listing.display,
        "INSTRUMENT_TYPE": INSTRUMENT_TYPE.get(listing.kind, listing.kind),
        "LOT_SIZE": f"{contract.lot}.0",
        "SM_EXPIRY_DATE": contract.expiry.isoformat() if contract.expiry else "",
        "STRIKE_PRICE": f"{rupees(contract.strike)}000" if contract.strike is not None else "-0.01000",
        "OPTION_TYPE": contract.right.value if contract.right else "XX",
        "TICK_SIZE": f"{contract.tick}.0000",
        "EXPIRY_FLAG": "W" if contract.right else "M" if contract.expiry else "NA",
        "SM_UPPER_LIMIT": f"{rupees(contract.upper_limit)}00" if contract.upper_limit is not None else "",
        "SM_LOWER_LIMIT": f"{rupees(contract.lower_limit)}00" if contract.lower_limit is not None else "",
        "SM_FREEZE_QTY": str(contract.freeze_quantity or 0),
    }
    return [values.get(column, "NA") for column in COLUMNS]


def load(path: Path) -> Instruments:
    """Read a master in the detailed format, plain or gzip, by header name. Columns a recording lacks stay unknown."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return Instruments([_read_row(row) for row in csv.DictReader(file)])


def _read_row(row: dict[str, str]) -> Listing:
    letter, exchange = row["SEGMENT"], row["EXCH_ID"]
    segment = next(
        segment
        for segment, sign in SEGMENT_LETTER.items()
        if sign == letter and (segment is Segment.IDX_I or segment.value.startswith(exchange))
    )
    right = row["OPTION_TYPE"]
    strike = row["STRIKE_PRICE"]
    freeze = int(float(row.get("SM_FREEZE_QTY") or 0))
    instrument = Instrument(
        InstrumentKey(segment, int(row["SECURITY_ID"])),
        row["SYMBOL_NAME"],
        row["UNDERLYING_SYMBOL"],
        int(float(row["LOT_SIZE"])),
        int(Decimal(row["TICK_SIZE"])),
        freeze if freeze > 0 else None,
        paise_from_text(strike) if strike and Decimal(strike) > 0 else None,
        date.fromisoformat(row["SM_EXPIRY_DATE"][:10]) if row["SM_EXPIRY_DATE"] else None,
        Right(right) if right in set(Right) else None,
        _limit(row.get("SM_LOWER_LIMIT")),
        _limit(row.get("SM_UPPER_LIMIT")),
    )
    return Listing(instrument, row["INSTRUMENT"], row["DISPLAY_NAME"], row["UNDERLYING_SECURITY_ID"], 0)


def _limit(text: str | None) -> Paise | None:
    return paise_from_text(text) if text and Decimal(text) > 0 else None
