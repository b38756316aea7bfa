"""`python -m core.paper`: the local exchange as a program of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from core.model.errors import ConfigurationError
from core.paper.exchange import LOOPBACK, LocalExchange
from core.paper.options import ExchangeOptions, ReplayTime

BAD_OPTIONS = 2


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser("python -m core.paper", description="A Dhan-compatible exchange on loopback.")
    found.add_argument("--host", default=LOOPBACK)
    found.add_argument("--port", type=int, default=0, help="0 takes a free port")
    found.add_argument("--replay", type=Path, metavar="PATH", help="prices from a recording (CSV, plain or gzip)")
    found.add_argument("--instruments", type=Path, metavar="FILE", help="master of the recording; default beside it")
    found.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="1 as recorded, 60 an hour in a minute, 0 as fast as the client takes it",
    )
    found.add_argument("--seed", type=int, default=1, help="seed of prices and faults")
    found.add_argument("--pace", type=float, default=1.0, help="multiplies the variance of the price model")
    found.add_argument("--strikes", type=int, default=25, metavar="N", help="strikes each side of the money")
    found.add_argument("--extra", type=int, default=0, metavar="N", help="this many more NIFTY options")
    found.add_argument(
        "--contract-every", type=int, default=2, metavar="N", help="contracts move every N steps of 0.25 s"
    )
    found.add_argument("--replay-time", type=ReplayTime, default=ReplayTime.RECORDED, choices=list(ReplayTime))
    found.add_argument("--faults", type=Path, metavar="FILE", help="JSON: which faults, how often, when")
    found.add_argument("--log", type=Path, metavar="FILE", help="write every request and event as JSON lines")
    return found


async def serve(arguments: argparse.Namespace) -> None:
    options = ExchangeOptions(
        seed=arguments.seed,
        replay=arguments.replay,
        instruments=arguments.instruments,
        speed=arguments.speed,
        pace=arguments.pace,
        strikes_each_side=arguments.strikes,
        extra_instruments=arguments.extra,
        contract_every=max(arguments.contract_every, 1),
        replay_time=arguments.replay_time,
        faults=arguments.faults,
        log=arguments.log,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    exchange = LocalExchange(options)
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    exchange.on_failure = fail
    try:
        await exchange.start(arguments.host, arguments.port)
        print(json.dumps(exchange.ready_line()), flush=True)
        await stop.wait()
    finally:
        await exchange.stop()
    if failures:
        raise failures[0]


def main() -> int:
    try:
        asyncio.run(serve(parser().parse_args()))
    except (ConfigurationError, OSError, ValueError) as error:
        print(f"core.paper: {error}", file=sys.stderr)
        return BAD_OPTIONS
    return 0


if __name__ == "__main__":
    sys.exit(main())
