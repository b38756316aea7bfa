"""The local exchange as one object: `async with LocalExchange(options) as exchange: exchange.api_url …`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiohttp import web

from core.model.instrument import InstrumentKey, Segment
from core.model.position import Product
from core.paper import instruments as listed
from core.paper.composition import compose
from core.paper.control import Control
from core.paper.fault_kinds import FaultKind
from core.paper.fault_schedule import FaultSchedule
from core.paper.faults import Occasion, read_fault
from core.paper.feed import FeedServer
from core.paper.live_prices import LivePrices
from core.paper.options import ExchangeOptions
from core.paper.order_updates import OrderUpdates
from core.paper.rest_account import RestAccount
from core.paper.rest_data import RestData
from core.paper.rest_gate import Gate, not_found
from core.paper.rest_orders import RestOrders
from core.paper.rest_portfolio import RestPortfolio
from core.paper.wall_clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from aiohttp.typedefs import Handler

    from core.paper.orders import PaperOrder

LOOPBACK = "127.0.0.1"


class LocalExchange:
    """Usable after `start`. Everything runs on the event loop that started it; nothing here is thread-safe."""

    def __init__(self, options: ExchangeOptions | None = None, clock: WallClock | None = None) -> None:
        self.options = options or ExchangeOptions()
        self._clock = clock or WallClock()
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._origin = ""
        self._live: LivePrices | None = None
        self.on_failure: Callable[[BaseException], None] = lambda _error: None
        """Told when prices stop for good: a recording with a bad row."""

    async def start(self, host: str = LOOPBACK, port: int = 0) -> None:
        """Open the port. Raises ConfigurationError for a bad faults or instruments file, OSError for a taken port."""
        self.venue = compose(self.options, self._clock)
        self.market = self.venue.market
        self.log = self.venue.log
        self._live = LivePrices(self.venue.model, self.market) if self.venue.model else None
        self.feed = FeedServer(self.venue)
        self.order_updates = OrderUpdates(self.venue)
        self._faults = FaultSchedule(self.venue, self.feed, self.order_updates, self._begin)
        self.venue.matching.on_change = self.order_updates.publish
        self.venue.matching.rejection_fault = self._injected_rejection
        # A handler of a mute client would otherwise be waited for at the end.
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self._origin = f"{host}:{self._runner.addresses[0][1]}"
        _ = self._begin(self._run_replay() if self.venue.replay else self._run_model(), "prices")
        for fault in self.venue.faults.scheduled():
            self._faults.schedule(fault)

    async def stop(self) -> None:
        """Close every connection and the port. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        if self._runner is not None:
            await self.feed.stop()
            await self.order_updates.stop()
            await self._runner.cleanup()
            self._runner = None
            self.venue.log.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def api_url(self) -> str:
        return f"http://{self._origin}/v2"

    @property
    def feed_url(self) -> str:
        return f"ws://{self._origin}/feed"

    @property
    def order_update_url(self) -> str:
        return f"ws://{self._origin}/order-update"

    @property
    def auth_url(self) -> str:
        return f"http://{self._origin}/auth"

    @property
    def control_url(self) -> str:
        return f"http://{self._origin}/control"

    @property
    def instruments_url(self) -> str:
        return f"http://{self._origin}/instruments.csv"

    @property
    def client_id(self) -> str:
        return self.venue.tokens.client_id

    @property
    def access_token(self) -> str:
        return self.venue.tokens.current

    def ready_line(self) -> dict[str, str]:
        """What a client needs to connect; it holds the access token."""
        return {
            "api_url": self.api_url,
            "feed_url": self.feed_url,
            "order_update_url": self.order_update_url,
            "auth_url": self.auth_url,
            "instruments": self.instruments_url,
            "client_id": self.client_id,
            "access_token": self.access_token,
        }

    def step(self) -> None:
        """Move the price model by one step and send what is due. Does nothing while a recording is replayed."""
        if self._live is not None:
            self._live.step([*self.feed.watched, *self.venue.matching.working_keys()])

    def move(
        self,
        underlying: str,
        *,
        percent: float | None = None,
        points: float | None = None,
        to: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Force an underlying by percent, by points or to a level (rupees), spread over `seconds` of model time.

        Raises:
            KeyError: unknown underlying. ValueError: nothing to do, or a recording is being replayed.
        """
        if self._live is None:
            raise ValueError("a recording is being replayed, its prices cannot be moved")
        self._live.move(underlying, percent, points, to, seconds)

    def seed_position(
        self, segment: str, security_id: int, units: int, price: int, product: Product = Product.MARGIN
    ) -> None:
        """Add a holding carried forward: `units` signed, `price` in paise. Raises KeyError when it is not listed."""
        key = InstrumentKey(Segment(segment), security_id)
        if key not in self.venue.instruments.by_key:
            raise KeyError(str(key))
        self.venue.account.position(key, product).carry(units, price)
        self.venue.log.add("position_seeded", key=str(key), units=units)

    def add_fault(self, raw: dict[str, object]) -> None:
        """Put a fault in force. One that needs no occasion happens now, or after its `after_s`.

        Raises ConfigurationError.
        """
        self._faults.add(read_fault(raw))

    def clear_faults(self) -> None:
        """Take back every fault: those that wait for an occasion, those that last, those still to come."""
        self._faults.clear()

    def state(self) -> dict[str, object]:
        account, replay = self.venue.account, self.venue.replay
        return {
            "feed_connections": self.feed.connection_count,
            "subscribed": [str(key) for key in self.feed.watched],
            "orders": [{"order_id": o.order_id, "status": o.status.value} for o in account.orders.values()],
            "net": {str(holding): held.net for holding, held in account.positions.items()},
            "model_step": self.venue.model.step_number if self.venue.model else None,
            "replay_rows": replay.position if replay else None,
            "replay_finished": replay.finished.is_set() if replay else None,
        }

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._gateway])
        router, gate = application.router, Gate(self.venue)
        RestOrders(self.venue).add_routes(router, gate)
        RestPortfolio(self.venue).add_routes(router, gate)
        RestData(self.venue).add_routes(router, gate)
        RestAccount(self.venue).add_routes(router, gate)
        Control(self).add_routes(router)
        for path in ("/", "/feed"):
            router.add_get(path, self.feed.serve)
        router.add_get("/order-update", self.order_updates.serve)
        router.add_get("/instruments.csv", self._master)
        router.add_get("/v2/instrument/{segment}", self._master)
        return application

    @web.middleware
    async def _gateway(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            return not_found(request.path, self._clock.utc_ns() // 1_000_000)

    async def _master(self, request: web.Request) -> web.Response:
        segment = request.match_info.get("segment")
        chosen = self.venue.instruments
        if segment is not None:
            chosen = listed.Instruments(x for x in chosen if x.instrument.key.segment.value == segment)
        return web.Response(body=listed.master_csv(chosen), content_type="text/csv")

    def _begin(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log.add("task_failed", task=task.get_name(), error=str(error))
            self.on_failure(error)

    async def _run_model(self) -> None:
        while True:
            await asyncio.sleep(self.options.model_step_s or 0.25)
            if self.options.model_step_s:
                self.step()

    async def _run_replay(self) -> None:
        await self.feed.wait_for_subscribers(self.options.replay_quiet_s)
        if self.venue.replay is not None:
            self.venue.log.add("replay_started")
            await self.venue.replay.run(self.feed.wait_until_taken)
            self.venue.log.add("replay_finished", rows=self.venue.replay.position)

    def _injected_rejection(self, order: PaperOrder) -> str | None:
        occasion = Occasion("POST", "/orders", order.side.value, str(order.key.security_id))
        fault = self.venue.faults.due(frozenset({FaultKind.REJECT}), occasion)
        if fault is None:
            return None
        return fault.message or f"RMS:{order.order_id}:Rejected by an injected fault"
