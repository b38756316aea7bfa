"""`/control/…`: what no broker offers. Tests and the demo script the market, the account and the faults over HTTP.

Prices in rupees here, as everything on HTTP; quantities in units. No token is needed: the server is on loopback.
"""

from __future__ import annotations

import json
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiohttp import web

from core.model.errors import ConfigurationError
from core.model.money import paise_from_text
from core.model.position import Product
from core.paper.options import (
    FeedRefusal,
    KeyCasing,
    PreviousClose,
    ReplayTime,
    StopLossMarket,
    TokenDeath,
    TradeTime,
)

if TYPE_CHECKING:
    from core.paper.exchange import LocalExchange

CHOICES: dict[str, type[StrEnum]] = {
    "stop_loss_market": StopLossMarket,
    "feed_refusal": FeedRefusal,
    "order_update_casing": KeyCasing,
    "previous_close": PreviousClose,
    "ltt_encoding": TradeTime,
    "replay_time": ReplayTime,
    "token_death": TokenDeath,
}
FIXED = frozenset(
    {
        "seed",
        "date",
        "strikes_each_side",
        "extra_instruments",
        "replay",
        "instruments",
        "speed",
        "faults",
        "log",
        "log_limit",
    }
)


class Control:
    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/control/quote", self.quote)
        router.add_post("/control/release", self.release)
        router.add_post("/control/move", self.move)
        router.add_post("/control/step", self.step)
        router.add_post("/control/fault", self.fault)
        router.add_delete("/control/fault", self.clear_faults)
        router.add_post("/control/position", self.position)
        router.add_post("/control/settings", self.settings)
        router.add_post("/control/token", self.token)
        router.add_get("/control/log", self.log)
        router.add_get("/control/state", self.state)
        router.add_get("/control/statistics", self.statistics)

    async def quote(self, request: web.Request) -> web.Response:
        """{"segment", "security_id", "last", "bid", "ask", "bid_size", "ask_size"}; null or absent empties a side."""
        body = await _json(request)
        try:
            self._exchange.market.set_quote(
                str(body["segment"]),
                int(body["security_id"]),
                _paise(body.get("last")),
                _paise(body.get("bid")),
                _paise(body.get("ask")),
                bid_size=body.get("bid_size"),
                ask_size=body.get("ask_size"),
            )
        except (KeyError, ValueError, TypeError) as error:
            return _bad(f"no such quote: {error!r}")
        return _done()

    async def release(self, _request: web.Request) -> web.Response:
        """Give every scripted instrument back to the price model."""
        self._exchange.market.release()
        return _done()

    async def move(self, request: web.Request) -> web.Response:
        """{"underlying": "NIFTY", "percent" or "points" or "to", "seconds": 0}."""
        body = await _json(request)
        try:
            self._exchange.move(
                str(body["underlying"]),
                percent=body.get("percent"),
                points=body.get("points"),
                to=body.get("to"),
                seconds=float(body.get("seconds", 0)),
            )
        except (KeyError, ValueError, TypeError) as error:
            return _bad(f"no such move: {error!r}")
        return _done()

    async def step(self, request: web.Request) -> web.Response:
        """{"steps": 1}: move the model's clock by hand."""
        for _ in range(int((await _json(request)).get("steps", 1))):
            self._exchange.step()
        return _done()

    async def fault(self, request: web.Request) -> web.Response:
        """One fault, as in the faults file; the kinds are in `fault_kinds`."""
        try:
            self._exchange.add_fault(await _json(request))
        except ConfigurationError as error:
            return _bad(str(error))
        return _done()

    async def clear_faults(self, _request: web.Request) -> web.Response:
        """Take every fault back, those that last and those still to come as well."""
        self._exchange.clear_faults()
        return _done()

    async def position(self, request: web.Request) -> web.Response:
        """{"segment", "security_id", "product", "units" (signed), "price"}: holdings carried forward."""
        body = await _json(request)
        try:
            self._exchange.seed_position(
                str(body["segment"]),
                int(body["security_id"]),
                int(body["units"]),
                paise_from_text(body["price"]),
                Product(body.get("product", "MARGIN")),
            )
        except (KeyError, ValueError, TypeError) as error:
            return _bad(f"no such position: {error!r}")
        return _done()

    async def settings(self, request: web.Request) -> web.Response:
        """Change ExchangeOptions by name while running."""
        body = await _json(request)
        options = self._exchange.options
        known = {field.name for field in fields(options)} - FIXED
        if not body.keys() <= known:
            return _bad(f"unknown settings {sorted(body.keys() - known)}; known are {sorted(known)}")
        try:
            values = {name: CHOICES[name](value) if name in CHOICES else value for name, value in body.items()}
        except ValueError as error:
            return _bad(str(error))
        for name, value in values.items():
            setattr(options, name, value)
        return _done()

    async def token(self, request: web.Request) -> web.Response:
        """{"action": "renew" | "invalidate" | "expire"}; the answer carries the token that is now current."""
        tokens = self._exchange.venue.tokens
        match (await _json(request)).get("action"):
            case "renew":
                tokens.renew()
            case "expire":
                tokens.renew(validity_s=-1)
            case "invalidate":
                tokens.invalidate()
            case other:
                return _bad(f"expected renew, invalidate or expire, received {other!r}")
        return web.json_response(tokens.token_object())

    async def log(self, request: web.Request) -> web.Response:
        """All events, or those of `?event=`."""
        wanted = request.query.get("event")
        log = self._exchange.venue.log
        return web.json_response(log.of(wanted) if wanted else list(log.events))

    async def statistics(self, request: web.Request) -> web.Response:
        """Feed connections by number, counts of requests, times of quote requests (from `?since_ns=`, UTC)."""
        since_ns = request.query.get("since_ns", "0")
        if not since_ns.isdigit():
            return _bad(f"since_ns must be nanoseconds, received {since_ns!r}")
        return web.json_response(self._exchange.venue.statistics.shown(int(since_ns)))

    async def state(self, _request: web.Request) -> web.Response:
        return web.json_response(self._exchange.state())


def _paise(value: object) -> int | None:
    return None if value is None else paise_from_text(str(value))


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except json.JSONDecodeError:
        body = {}
    return body if isinstance(body, dict) else {}


def _done() -> web.Response:
    return web.json_response({"status": "success"})


def _bad(problem: str) -> web.Response:
    return web.json_response({"status": "error", "message": problem}, status=400)
