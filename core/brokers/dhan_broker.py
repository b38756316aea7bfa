"""Dhan's REST API as a broker. Orders go over connections of their own, so that no read can delay one.

The reads use the same small client as the orders instead of a general one: one set of rules for deadlines, bounds, TLS and
redirects, and a quarter of the processor time (performance 4).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote as url_quote

from core.brokers.base import Accepted, Refused, SubmitResult, Unknown
from core.brokers.http_connection import HttpEndpoint, HttpResponse, NotSentError, OutcomeUnknownError
from core.brokers.pace import Pace
from core.brokers.warm_connections import HttpLimits, WarmConnections
from core.dhan.errors import (
    AcceptedOrder,
    RefusedOrder,
    UnknownOutcome,
    classify_order_entry,
    error_of_read,
    is_order_unknown,
)
from core.dhan.limits import RateLimit
from core.dhan.rest_messages import (
    StaticIp,
    order_body,
    parse_order,
    parse_order_book,
    parse_profile,
    parse_static_ip,
    parse_trade_book,
    positions_in_steps,
    quotes_body,
)
from core.dhan.rest_quotes import quotes_in_steps
from core.model.errors import ConfigurationError, DecodeError, TokenError
from core.model.orders import OrderIntent, OrderReport, Refusal, TradeReport
from core.model.position import BrokerPosition, PositionReport
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from core.clock import Clock
    from core.dhan.rest_account import Profile
    from core.host_names import HostNames
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.tls import TlsWatch

QUOTE_PACE: Final = RateLimit(1, 1_050 * NS_PER_MS)
"""One a second over all quote endpoints (dhan_v2_protocol 6), with room for what the network squeezes together."""
READ_PACE: Final = RateLimit(16, NS_PER_S)
"""20 a second are allowed; the rest is for the operator's own programs and for what the network squeezes together."""

_SUCCESS: Final = 200


@dataclass(frozen=True, slots=True)
class BrokerLinks:
    """How its connections are made: `tls` replaces the default context, `names` finds addresses, `trust` hears of certificates."""

    tls: ssl.SSLContext | None = None
    names: HostNames | None = None
    trust: TlsWatch | None = None


class DhanBroker:
    """`api_url` includes /v2. `token` is asked for every request: swapping what it returns is enough.

    Keeps the contract of `core.brokers.base.Broker`. The token is in no repr, message or log line.
    """

    def __init__(
        self,
        api_url: str,
        client_id: str,
        token: Callable[[], str],
        clock: Clock,
        *,
        limits: HttpLimits | None = None,
        links: BrokerLinks | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        links = links or BrokerLinks()
        names, trust = links.names, links.trust
        endpoint = HttpEndpoint.from_url(api_url, links.tls)
        self._client_id = client_id
        self._clock = clock
        headers = AuthHeaders(client_id, token)
        self._order_line = WarmConnections(endpoint, headers.block, clock, limits, names=names, trust=trust)
        self._read_line = WarmConnections(endpoint, headers.block, clock, limits, names=names, trust=trust)
        self._quote_pace = Pace(QUOTE_PACE, clock, sleep)
        self._read_pace = Pace(READ_PACE, clock, sleep)

    async def open(self) -> None:
        await self._read_line.open()
        profile = parse_profile(await self._read("/profile"))
        if profile.client_id != self._client_id:
            raise TokenError(f"expected a token of client {self._client_id}, Dhan says it is another client's")
        await self._order_line.open()

    async def close(self) -> None:
        await self._order_line.close()
        await self._read_line.close()

    def drop_idle(self) -> None:
        """Forget the kept connections: after a sleep the peer has long given them up."""
        self._order_line.drop_idle()
        self._read_line.drop_idle()

    async def submit(self, intent: OrderIntent) -> SubmitResult:
        body = order_body(intent, self._client_id)
        try:
            response = await self._order_line.request("POST", "/orders", body)
        except NotSentError as error:
            return SubmitResult(Refused(Refusal.NOT_SENT, str(error)), None)
        except OutcomeUnknownError as error:
            return SubmitResult(Unknown(str(error)), error.sent_ns)
        match classify_order_entry(response.status, response.body):
            case AcceptedOrder(order_id):
                return SubmitResult(Accepted(order_id), response.sent_ns)
            case RefusedOrder(refusal, code, reason):
                return SubmitResult(Refused(refusal, f"{code} {reason}".strip()), response.sent_ns)
            case UnknownOutcome(reason):
                return SubmitResult(Unknown(reason), response.sent_ns)

    async def cancel(self, order_id: str) -> None:
        response = await self._order_line.request("DELETE", f"/orders/{_segment(order_id)}")
        _raise_error_of(response)

    async def read_order(self, order_id: str) -> OrderReport | None:
        return await self._look_up(f"/orders/{_segment(order_id)}")

    async def find_order(self, correlation_id: str) -> OrderReport | None:
        return await self._look_up(f"/orders/external/{_segment(correlation_id)}")

    async def read_orders(self) -> tuple[OrderReport, ...]:
        return parse_order_book(await self._read("/orders"))

    async def read_trades(self) -> tuple[TradeReport, ...]:
        return parse_trade_book(await self._read("/trades"))

    async def read_positions(self) -> PositionReport:
        # Taken before the turn is waited for: never later than the broker's snapshot can be.
        requested_ns = self._clock.monotonic_ns()
        response = await self._ask("/positions")
        received_ns = self._clock.monotonic_ns()
        if response.status != _SUCCESS:
            _raise_error_of(response)
        rows: list[BrokerPosition] = []
        try:
            for step in positions_in_steps(response.body):
                rows.extend(step)
                # Ticks go first: a book of thousands of rows takes tens of milliseconds to parse.
                await asyncio.sleep(0)
        except DecodeError:
            _raise_error_of(response)
            raise
        return PositionReport(tuple(rows), requested_ns, received_ns)

    async def read_static_ip(self) -> StaticIp:
        """Whether Dhan takes orders from this machine's address. Raises like any read."""
        return parse_static_ip(await self._read("/ip/getIP"))

    async def read_quotes(self, keys: Sequence[InstrumentKey]) -> tuple[Quote, ...]:
        """One request of at most 1,000 keys. Waits for its turn: requests leave more than a second apart."""
        body = quotes_body(keys)
        await self._quote_pace.wait()
        response = await self._ask("/marketfeed/quote", body)
        received_ns = self._clock.monotonic_ns()
        if response.status != _SUCCESS:
            _raise_error_of(response)
        quotes: list[Quote] = []
        try:
            for step in quotes_in_steps(response.body, received_ns):
                quotes.extend(step)
                # Ticks go first: a thousand quotes take twenty milliseconds to parse.
                await asyncio.sleep(0)
        except DecodeError:
            _raise_error_of(response)
            raise
        return tuple(quotes)

    async def _look_up(self, path: str) -> OrderReport | None:
        response = await self._ask(path)
        if is_order_unknown(response.status, response.body):
            return None
        _raise_error_of(response)
        return parse_order(response.body)

    async def _read(self, path: str, body: bytes = b"") -> bytes:
        response = await self._ask(path, body)
        _raise_error_of(response)
        return response.body

    async def _ask(self, path: str, body: bytes = b"") -> HttpResponse:
        method = "POST" if body else "GET"
        if method == "GET":
            await self._read_pace.wait()
        try:
            return await self._read_line.request(method, path, body)
        except OutcomeUnknownError as error:
            # The usual end of a kept connection: closed by the peer while the request was on its way. Reads may repeat.
            if not error.was_dropped:
                raise
        return await self._read_line.request(method, path, body)

    async def read_profile(self) -> Profile:
        """Whose token this is, until when, and whether prices are paid for. Raises like any read; TokenError when it is dead."""
        return parse_profile(await self._read("/profile"))


class AuthHeaders:
    """The constant headers as bytes, rebuilt only when the token changes."""

    def __init__(self, client_id: str, token: Callable[[], str]) -> None:
        self._client_id = client_id
        self._token = token
        self._built_for: str | None = None
        self._block = b""

    def block(self) -> bytes:
        """Raises ConfigurationError when client id or token cannot be a header value; the text holds neither."""
        token = self._token()
        if token != self._built_for:
            for name, value in (("client id", self._client_id), ("access token", token)):
                if not value or not value.isascii() or not value.isprintable() or " " in value:
                    raise ConfigurationError(
                        f"The Dhan {name} is empty or has characters that no {name} has.", "Copy it again, whole."
                    )
            self._block = (
                "Accept: application/json\r\nContent-Type: application/json\r\n"
                f"access-token: {token}\r\nclient-id: {self._client_id}\r\n"
            ).encode("ascii")
            self._built_for = token
        return self._block


def _segment(identifier: str) -> str:
    return url_quote(identifier, safe="")


def _raise_error_of(response: HttpResponse) -> None:
    error = error_of_read(response.status, response.body)
    if error is not None:
        raise error
