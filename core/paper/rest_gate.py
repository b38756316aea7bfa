"""The door of every REST call: log, faults, token, static IP, rate limit, then the handler, then more faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp import web

from core.paper.auth import TokenState
from core.paper.event_log import shortened, without_secrets
from core.paper.fault_kinds import FaultKind
from core.paper.faults import Fault, Occasion
from core.paper.orders import BadRequestError
from core.paper.rate_limits import RateClass, RateLimits
from core.paper.sockets import reset

if TYPE_CHECKING:
    from core.paper.venue import Venue


class Surface(Enum):
    """Which of the two worlds answers: they refuse in different shapes (dhan_v2_protocol 1.5, 5.2)."""

    TRADING = auto()
    DATA = auto()
    AUTH = auto()
    """The host that mints tokens: it asks for none."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed the door. `body` is {} when there is none."""

    request: web.Request
    body: dict[str, object]

    def part(self, name: str) -> str:
        return self.request.match_info[name]


Handler: TypeAlias = Callable[[Call], web.Response]
Route: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

ERROR_TYPES: Final = {
    "DH-901": "Invalid_Authentication",
    "DH-902": "Invalid_Access",
    "DH-904": "Rate_Limit",
    "DH-905": "Input_Exception",
    "DH-906": "Order_Error",
    "DH-907": "Data_Error",
    "DH-908": "Internal_Server_Error",
    "DH-1111": "HOLDING_ERROR",
}
TOO_MANY: Final = "Too many requests on server from single user breaching rate limits. Try throttling API calls."
UPSTREAM_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"
BEFORE: Final = frozenset(
    {FaultKind.LOSE, FaultKind.LATE_ARRIVAL, FaultKind.REFUSE, FaultKind.RATE_LIMIT, FaultKind.HTTP_5XX}
)
HTTP_REFUSED: Final = 300
AFTER: Final = frozenset({FaultKind.DROP_RESPONSE, FaultKind.DELAY, FaultKind.GARBAGE})


def refusal(code: str, message: str, status: int) -> web.Response:
    """The trading side's error shape."""
    body = {"errorType": ERROR_TYPES.get(code, "Others"), "errorCode": code, "errorMessage": message}
    return web.json_response(body, status=status)


def data_refusal(code: int, message: str, status: int = 401) -> web.Response:
    """The data side's error shape."""
    return web.json_response({"data": {str(code): message}, "status": "failed"}, status=status)


def not_found(path: str, at_ms: int) -> web.Response:
    """The gateway's shape for a path it does not know."""
    return web.json_response({"timestamp": at_ms, "status": 404, "error": "Not Found", "path": path}, status=404)


class Gate:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._limits = RateLimits(asyncio.get_running_loop().time)

    def door(self, handler: Handler, surface: Surface, rate: RateClass, *, is_order: bool = False) -> Route:
        """Wrap a handler. `is_order` asks for the whitelisted IP (dhan_v2_protocol 1.7)."""

        async def route(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            body = _read_json(raw)
            occasion = self._occasion(request, body)
            shown = without_secrets(shortened(body) if body else None)
            self._venue.log.add("request", method=occasion.method, path=occasion.path, body=shown)
            fault = self._due(BEFORE, occasion)
            if fault is not None and not (fault.kind is FaultKind.HTTP_5XX and fault.after_accept):
                call = Call(request, body or {})
                refused = self._fail_before(fault, call, handler)
                self._count(occasion, body, refused.status)
                return refused
            response = self._refused(request, surface, rate, is_order=is_order)
            if response is None:
                response = self._handle(handler, request, body, surface)
            if fault is not None:
                response = _upstream_failure(fault)
            response = await self._fail_after(request, occasion, response)
            self._venue.log.add("response", method=occasion.method, path=occasion.path, status=response.status)
            self._count(occasion, body, response.status)
            return response

        return route

    def _count(self, occasion: Occasion, body: dict[str, object] | None, status: int) -> None:
        instruments = None
        if occasion.path.startswith("/marketfeed/"):
            instruments = sum(len(ids) for ids in (body or {}).values() if isinstance(ids, list))
        self._venue.statistics.answered(occasion.method, occasion.path, status, instruments)

    def _occasion(self, request: web.Request, body: dict[str, object] | None) -> Occasion:
        facts = body or {}
        return Occasion(
            request.method,
            request.path.removeprefix("/v2"),
            str(facts.get("transactionType", "")),
            str(facts.get("securityId", "")),
        )

    def _due(self, kinds: frozenset[FaultKind], occasion: Occasion) -> Fault | None:
        fault = self._venue.faults.due(kinds, occasion) if self._venue.faults.active else None
        if fault is not None:
            self._venue.log.add("fault", kind=fault.kind.value, method=occasion.method, path=occasion.path)
        return fault

    def _fail_before(self, fault: Fault, call: Call, handler: Handler) -> web.Response:
        match fault.kind:
            case FaultKind.LATE_ARRIVAL:
                asyncio.get_running_loop().call_later(fault.seconds, self._arrive_late, handler, call)
                reset(call.request.transport)
            case FaultKind.LOSE:
                reset(call.request.transport)
            case FaultKind.RATE_LIMIT:
                return refusal("DH-904", fault.message or TOO_MANY, 429)
            case FaultKind.REFUSE:
                return _refuse(fault)
            case _:
                return _upstream_failure(fault)
        return web.Response(status=500)

    def _arrive_late(self, handler: Handler, call: Call) -> None:
        self._handle(handler, call.request, call.body, Surface.TRADING)
        self._venue.log.add("arrived_late", path=call.request.path)

    def _refused(
        self, request: web.Request, surface: Surface, rate: RateClass, *, is_order: bool
    ) -> web.Response | None:
        options = self._venue.options
        refused = None
        if surface is not Surface.AUTH:
            refused = self._data_refused(request) if surface is Surface.DATA else self._token_refused(request)
        if refused is not None:
            return refused
        if is_order and not options.static_ip_matches:
            return refusal("DH-905", "Invalid IP", 400)
        if options.rate_limits and not self._limits.allows(rate):
            self._venue.log.add("rate_limited", rate=rate.value)
            return refusal("DH-904", TOO_MANY, 429)
        return None

    def _token_refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("access-token")
        if token is None:
            text = "Client ID or user generated access token is invalid or expired."
            return refusal("DH-901", text, 401)
        if self._venue.tokens.state(token) is not TokenState.GOOD:
            return refusal("DH-906", "Invalid Token", 401)
        return None

    def _data_refused(self, request: web.Request) -> web.Response | None:
        tokens = self._venue.tokens
        match tokens.state(request.headers.get("access-token")):
            case TokenState.EXPIRED:
                return data_refusal(807, "Access token expired")
            case TokenState.INVALID:
                return data_refusal(809, "Access token invalid")
            case TokenState.GOOD:
                pass
        if request.headers.get("client-id") != tokens.client_id:
            return data_refusal(810, "Client ID invalid")
        if not self._venue.options.data_plan_active:
            return data_refusal(806, "Data APIs not Subscribed")
        return None

    def _handle(
        self, handler: Handler, request: web.Request, body: dict[str, object] | None, surface: Surface
    ) -> web.Response:
        try:
            return handler(Call(request, _object(body)))
        except BadRequestError as error:
            if surface is Surface.DATA:
                return data_refusal(814, "Invalid request", 400)
            return refusal(error.code, error.message, error.status)

    async def _fail_after(self, request: web.Request, occasion: Occasion, response: web.Response) -> web.Response:
        # What was refused has not been accepted: its answer may be late, but it is not lost.
        fault = self._due(AFTER if response.status < HTTP_REFUSED else frozenset({FaultKind.DELAY}), occasion)
        if fault is None:
            return response
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
            return response
        if fault.kind is FaultKind.GARBAGE:
            return web.Response(status=200, text=UPSTREAM_HTML, content_type="text/html")
        reset(request.transport)
        return response


def _refuse(fault: Fault) -> web.Response:
    code, message = fault.code or "DH-905", fault.message or "Refused"
    if code.isdigit():
        return data_refusal(int(code), message, fault.status or 401)
    return refusal(code, message, fault.status or 400)


def _upstream_failure(fault: Fault) -> web.Response:
    return web.Response(status=fault.status or 502, text=UPSTREAM_HTML, content_type="text/html")


def _object(body: dict[str, object] | None) -> dict[str, object]:
    if body is None:
        raise BadRequestError
    return body


def _read_json(raw: bytes) -> dict[str, object] | None:
    """{} for no body, None for one that is no JSON object."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
