"""`--demo`: the local exchange, a small book and a scripted market around the real monitor, over real sockets.

Nothing of the environment or `.env` is read: a demo never reaches a real broker. Everything it writes is in one
temporary folder, whose path it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.clock import SystemClock
from core.demo_book import MOVES, make_book, write_rows
from core.demo_tour import BookedOrder, Evidence, agreement, disagreements, missed_promises, tour
from core.exit_codes import ExitCode
from core.exit_records import FILE_NAME
from core.model.session_time import ist_datetime
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.settings import load_settings
from core.stores.schema import create_tables
from core.watch import Seen, watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from core.demo_book import DemoTrade
    from core.model.instrument import Instrument, InstrumentKey, Right
    from core.model.money import Paise
    from core.options import Options
    from core.settings import Settings

SEED: Final = 7
FULL_DURATION_S: Final = 45.0
"""From this length on, every scripted exit has the time to happen."""
SUBSCRIBED_WITHIN_S: Final = 5.0


class ModelMarket:
    """What `make_book` asks, answered by the price model of an exchange that has not sent a price yet."""

    def __init__(self, exchange: LocalExchange) -> None:
        model = exchange.venue.model
        if model is None:
            raise ValueError("expected an exchange with a price model, received one that replays a recording")
        self._model = model
        self._contracts = exchange.venue.instruments.by_key

    def strike_near(self, underlying: str, points: float) -> Paise:
        wanted = (self._model.spot(underlying) + points) * 100
        return min(
            (each.strike for each in self._options(underlying) if each.strike is not None),
            key=lambda strike: abs(strike - wanted),
        )

    def option(self, underlying: str, strike: Paise, right: Right) -> Instrument:
        of_strike = [each for each in self._options(underlying) if (each.strike, each.right) == (strike, right)]
        return max(of_strike, key=lambda each: each.expiry.toordinal() if each.expiry is not None else 0)

    def listed(self, key: InstrumentKey) -> Instrument:
        return self._contracts[key].instrument

    def worth(self, contract: Instrument, points: float) -> Paise:
        self._model.move(contract.underlying, points, 0)
        price = round(self._model.theoretical(contract) * 100)
        self._model.move(contract.underlying, -points, 0)
        return price

    def _options(self, underlying: str) -> list[Instrument]:
        listed = (listing.instrument for listing in self._contracts.values())
        return [each for each in listed if each.underlying == underlying and each.right is not None]


async def run_demo(options: Options, stream: TextIO) -> int:
    """Run the monitor against a local exchange of its own and print what was seen.

    Returns the monitor's exit code; 1 when a long enough `--execute` run did not keep what the demo promises.
    """
    # The folder stays: who has watched a demo wants to look into its journal, records and log.
    folder = Path(tempfile.mkdtemp(prefix="exit-monitor-demo-"))
    talk = sys.stderr if options.prints_once else stream
    async with LocalExchange(ExchangeOptions(seed=SEED)) as exchange:
        trades = make_book(ModelMarket(exchange))
        settings = _settings(exchange, folder, options)
        _fill_book(exchange, settings, trades)
        _say(talk, _greeting(exchange, options, trades))
        _say(talk, f"Everything it writes: {folder}\n")
        script = asyncio.create_task(_play(exchange, talk, options), name="demo script")
        seen = Seen()
        try:
            code = await watch(options, settings, stream, seen)
        finally:
            script.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await script
        if options.plan:
            return code
        evidence = _evidence(exchange, settings, options, trades, seen)
    return _close(talk, evidence, options, seen, folder, code)


def _settings(exchange: LocalExchange, folder: Path, options: Options) -> Settings:
    values = {
        "DHAN_CLIENT_ID": exchange.client_id,
        "DHAN_ACCESS_TOKEN": exchange.access_token,
        "DHAN_API_URL": exchange.api_url,
        "DHAN_FEED_URL": exchange.feed_url,
        "DHAN_ORDER_UPDATE_URL": exchange.order_update_url,
        "DHAN_AUTH_URL": exchange.auth_url,
        "DHAN_INSTRUMENTS": exchange.instruments_url,
        "TRADES_DB": str(folder / "trades.db"),
        "STATE_DIR": str(folder),
        "LOG_DIR": str(folder),
        "MARKET_HOURS": "always",
    }
    if options.execute:
        values["LIVE_TRADING_ACCOUNT"] = exchange.client_id
    return load_settings(values, None)


def _fill_book(exchange: LocalExchange, settings: Settings, trades: Sequence[DemoTrade]) -> None:
    opened_at = _now_ist().strftime("%Y-%m-%dT%H:%M:%S")
    create_tables(settings.trades_db)
    write_rows(settings.trades_db, trades, opened_at)
    for trade in trades:
        for leg in trade.legs:
            key = leg.contract.key
            exchange.seed_position(key.segment.value, key.security_id, leg.units, leg.entry, leg.product)


async def _play(exchange: LocalExchange, talk: TextIO, options: Options) -> None:
    """Move the market as `MOVES` says, from the first subscription on."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SUBSCRIBED_WITHIN_S):
            await exchange.feed.first_subscription.wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for move in MOVES:
        await asyncio.sleep(began + move.at_s - loop.time())
        exchange.move(move.underlying, points=move.points, seconds=move.seconds)
        if not talk.isatty() and not options.prints_once:
            _say(talk, f">> {move.story}\n")


def _evidence(
    exchange: LocalExchange, settings: Settings, options: Options, trades: Sequence[DemoTrade], seen: Seen
) -> Evidence:
    account, log = exchange.venue.account, exchange.venue.log
    accepted = {str(event["order_id"]): _at_ns(event) for event in log.of("order_accepted")}
    filled = {str(event["order_id"]): _at_ns(event) for event in log.of("fill")}
    orders = {
        order.order_id: BookedOrder(
            order.order_id,
            order.key.security_id,
            order.side,
            order.filled,
            order.value,
            accepted.get(order.order_id),
            filled.get(order.order_id),
        )
        for order in account.orders.values()
    }
    return Evidence(
        mode=options.mode,
        trades=[each for each in trades if options.positions is None or each.strategy_id in options.positions],
        exits=() if seen.last is None else seen.last.finished,
        orders=orders,
        net={holding.instrument.security_id: position.net for holding, position in account.positions.items()},
        trades_db=settings.trades_db,
        records=settings.log_dir / FILE_NAME,
    )


def _at_ns(event: dict[str, object]) -> int | None:
    at_ns = event["at_ns"]
    return at_ns if isinstance(at_ns, int) else None


def _close(talk: TextIO, evidence: Evidence, options: Options, seen: Seen, folder: Path, code: int) -> int:
    """Print the tour and the check; the exit code."""
    uptime_s = 0.0 if seen.last is None else seen.last.statistics.uptime_s
    promises_hold = options.execute and options.use_websocket and not options.once and uptime_s >= FULL_DURATION_S
    problems = disagreements(evidence)
    missed = missed_promises(evidence) if promises_hold else []
    _say(talk, tour(evidence))
    _say(talk, "\n".join(f"NOT AS IT SHOULD BE: {each}." for each in problems) or agreement(evidence))
    _say(talk, "\n".join(f"NOT AS ANNOUNCED: {each}." for each in missed))
    exits = [record.strategy_id for record in evidence.exits]
    why = (
        f"\nAsk for a decision again: LOG_DIR={folder} STATE_DIR={folder} {sys.executable} {sys.argv[0]} --why {exits[0]}"
        if exits
        else ""
    )
    _say(talk, f"Journal, records, trades and log of this demo: {folder}{why}")
    if code == ExitCode.CLEAN and promises_hold and (problems or missed):
        return ExitCode.BUG
    return code


def _greeting(exchange: LocalExchange, options: Options, trades: Sequence[DemoTrade]) -> str:
    legs = sum(len(trade.legs) for trade in trades)
    does = {
        "LIVE": "exits are real orders to the local exchange",
        "SIMULATION": "exits are filled on paper; add --execute to see orders",
        "ALERT": "exits are only reported",
    }[options.mode.value]
    lines = [
        f"DEMO on a local exchange ({exchange.api_url}), no account needed; {does}.",
        f"{len(trades)} positions with {legs} legs, and one bad row that must be set aside. What will happen:",
        *(f"  after {move.at_s:g} s: {move.story}" for move in MOVES),
    ]
    return "\n".join(lines) + "\n"


def _say(talk: TextIO, text: str) -> None:
    if text:
        with contextlib.suppress(BrokenPipeError):
            talk.write(f"{text}\n")
            talk.flush()


def _now_ist() -> datetime:
    return ist_datetime(SystemClock().utc_ns())
