"""Market quotes, option chain and charts over REST (dhan_v2_protocol 5.11 to 5.13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from core.model.instrument import InstrumentKey, Segment
from core.paper.orders import BadRequestError
from core.paper.rate_limits import RateClass
from core.paper.rest_gate import Call, Gate, Handler, Surface, data_refusal

if TYPE_CHECKING:
    from core.paper.market import Book, Level
    from core.paper.venue import Venue

MAX_QUOTES: Final = 1_000
IST_OFFSET: Final = timedelta(hours=5, minutes=30)
NEVER_TRADED: Final = "01/01/1980 00:00:00"


class RestData:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def add_routes(self, router: web.UrlDispatcher, gate: Gate) -> None:
        routes: tuple[tuple[str, Handler, RateClass], ...] = (
            ("/v2/marketfeed/ltp", self.last_prices, RateClass.QUOTE),
            ("/v2/marketfeed/ohlc", self.day_ranges, RateClass.QUOTE),
            ("/v2/marketfeed/quote", self.quotes, RateClass.QUOTE),
            ("/v2/optionchain", self.option_chain, RateClass.DATA),
            ("/v2/optionchain/expirylist", self.expiry_list, RateClass.DATA),
        )
        for path, handler, rate in routes:
            router.add_post(path, gate.door(handler, Surface.DATA, rate))
        for path in ("/v2/charts/historical", "/v2/charts/intraday"):
            router.add_post(path, gate.door(self.no_candles, Surface.TRADING, RateClass.DATA))

    def last_prices(self, call: Call) -> web.Response:
        return self._snapshot(call, lambda book: {"last_price": book.last / 100})

    def day_ranges(self, call: Call) -> web.Response:
        return self._snapshot(call, lambda book: {"last_price": book.last / 100, "ohlc": _ohlc(book)})

    def quotes(self, call: Call) -> web.Response:
        return self._snapshot(call, self._quote_object)

    def _snapshot(self, call: Call, view: Callable[[Book], dict[str, object]]) -> web.Response:
        """Unknown ids and unknown segments are left out, still with success."""
        wanted = {name: ids for name, ids in call.body.items() if isinstance(ids, list)}
        if sum(map(len, wanted.values())) > MAX_QUOTES:
            return data_refusal(804, "Requested number of instruments exceeds limit", 400)
        found: dict[str, dict[str, object]] = {}
        for segment, ids in wanted.items():
            if segment not in set(Segment):
                continue
            keys = [self._venue.instruments.find(segment, str(security_id)) for security_id in ids]
            books = [self._venue.quote_faults.quote(key) for key in keys if key is not None]
            found[segment] = {str(book.key.security_id): view(book) for book in books if book is not None}
        return web.json_response({"data": found, "status": "success"})

    def _quote_object(self, book: Book) -> dict[str, object]:
        contract = self._venue.instruments.by_key[book.key].instrument
        return {
            "average_price": book.average / 100,
            "buy_quantity": sum(level.size for level in book.bids),
            "depth": {"buy": _depth(book.bids), "sell": _depth(book.asks)},
            "last_price": book.last / 100,
            "last_quantity": book.last_size,
            "last_trade_time": _trade_time(book),
            "lower_circuit_limit": (contract.lower_limit or 0) / 100,
            "net_change": (book.last - book.previous_close) / 100 if book.previous_close else 0,
            "ohlc": _ohlc(book),
            "oi": book.open_interest,
            "oi_day_high": book.open_interest,
            "oi_day_low": book.previous_open_interest,
            "sell_quantity": sum(level.size for level in book.asks),
            "upper_circuit_limit": (contract.upper_limit or 0) / 100,
            "volume": book.volume,
        }

    def _underlying(self, call: Call) -> tuple[InstrumentKey, str]:
        scrip, segment = call.body.get("UnderlyingScrip"), call.body.get("UnderlyingSeg")
        key = self._venue.instruments.find(str(segment), str(scrip))
        if key is None:
            raise BadRequestError
        return key, self._venue.instruments.by_key[key].instrument.symbol

    def expiry_list(self, call: Call) -> web.Response:
        _, name = self._underlying(call)
        contracts = (listing.instrument for listing in self._venue.instruments)
        found = {c.expiry.isoformat() for c in contracts if c.underlying == name and c.right and c.expiry}
        return web.json_response({"data": sorted(found), "status": "success"})

    def option_chain(self, call: Call) -> web.Response:
        key, name = self._underlying(call)
        chain: dict[str, dict[str, object]] = {}
        for listing in self._venue.instruments:
            contract = listing.instrument
            expiry = contract.expiry.isoformat() if contract.expiry else None
            if contract.underlying != name or expiry != call.body.get("Expiry") or contract.right is None:
                continue
            strike = f"{(contract.strike or 0) / 100:.6f}"
            side = _chain_side(self._venue.market.quote(contract.key))
            chain.setdefault(strike, {})[contract.right.value.lower()] = side
        if not chain:
            return data_refusal(811, "Invalid Expiry Date", 400)
        last = self._venue.market.quote(key).last / 100
        return web.json_response({"data": {"last_price": last, "oc": chain}, "status": "success"})

    def no_candles(self, _call: Call) -> web.Response:
        """The exchange keeps no candles: the empty arrays Dhan gives for an instrument without data."""
        names = ("open", "high", "low", "close", "volume", "timestamp", "open_interest")
        return web.json_response({name: [] for name in names})


def _ohlc(book: Book) -> dict[str, float]:
    return {
        "open": book.day_open / 100,
        "close": book.previous_close / 100,
        "high": book.high / 100,
        "low": book.low / 100,
    }


def _depth(levels: list[Level]) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = [
        {"quantity": level.size, "orders": level.orders, "price": level.price / 100} for level in levels[:5]
    ]
    return shown + [{"quantity": 0, "orders": 0, "price": 0}] * (5 - len(shown))


def _trade_time(book: Book) -> str:
    if not book.traded_at_s:
        return NEVER_TRADED
    return f"{datetime.fromtimestamp(book.traded_at_s, UTC) + IST_OFFSET:%d/%m/%Y %H:%M:%S}"


def _chain_side(book: Book) -> dict[str, object]:
    """Greeks and implied volatility are 0: the monitor computes its own."""
    bid = book.bids[0] if book.bids else None
    ask = book.asks[0] if book.asks else None
    return {
        "average_price": book.average / 100,
        "greeks": {"delta": 0.0, "theta": 0.0, "gamma": 0.0, "vega": 0.0},
        "implied_volatility": 0.0,
        "last_price": book.last / 100,
        "oi": book.open_interest,
        "previous_close_price": book.previous_close / 100,
        "previous_oi": book.previous_open_interest,
        "previous_volume": 0,
        "security_id": book.key.security_id,
        "top_ask_price": ask.price / 100 if ask else 0,
        "top_ask_quantity": ask.size if ask else 0,
        "top_bid_price": bid.price / 100 if bid else 0,
        "top_bid_quantity": bid.size if bid else 0,
        "volume": book.volume,
    }
