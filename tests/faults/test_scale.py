"""Many instruments through the whole monitor: who has the room, and a connection lost. The large sizes: `tests.campaigns.scale`."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.clock import SystemClock
from core.model.events import PositionOpened
from core.model.exit_levels import ExitLevels
from core.model.instrument import InstrumentKey, Segment
from core.monitor_parts import Parts, build_parts
from core.options import Options
from core.settings import load_settings
from tests.campaigns.scale import BACK_WITHIN_S, contracts, hold, measure, shown, write_positions
from tests.faults.monitor_scene import MonitorRun
from tests.integration.condor import environment, read_trades
from tests.integration.processes import ExchangeProcess, eventually, exchange_process, start_monitor
from tests.unit.exits.builders import leg, position

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.model.instrument import Instrument

NIFTY = InstrumentKey(Segment.IDX_I, 13)


def parts_of(folder: Path, **settings: str) -> Parts:
    account = {"DHAN_CLIENT_ID": "1100000001", "DHAN_ACCESS_TOKEN": "a.b.c", "MARKET_HOURS": "always"}
    places = {"STATE_DIR": str(folder), "LOG_DIR": str(folder), "TRADES_DB": str(folder / "trades.db")}
    return build_parts(
        Options(alert_only=True), load_settings({**account, **places, **settings}, None), SystemClock(), _start_nothing
    )


def _start_nothing(work: object) -> None:
    work.close()  # type: ignore[attr-defined]


def open_position(parts: Parts, strategy_id: int, *ids: int) -> None:
    """Legs on NIFTY: the index is wanted as well, because of them."""
    held = position(*(leg(one, 75, 100) for one in ids), strategy_id=strategy_id)
    legs = tuple(replace(each, instrument=replace(each.instrument, underlying_key=NIFTY)) for each in held.legs)
    event = PositionOpened(replace(held, legs=legs), ExitLevels(), parts.clock.monotonic_ns())
    parts.runner.handle(event)


async def test_where_room_ends_a_leg_goes_before_an_index(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    assert parts.feed is not None
    parts.feed._room = 1
    open_position(parts, 1, 1, 2)
    open_position(parts, 2, 3, 4)
    parts.subscribe()
    assert parts.feed.status.unplaced == 0
    assert NIFTY in parts.feed._line_of
    # Another leg comes later: the index makes room for it, and is priced over REST from then on.
    open_position(parts, 3, 5)
    parts.subscribe()
    assert {key.security_id for key in parts.feed._line_of if key.segment is not Segment.IDX_I} == {1, 2, 3, 4, 5}
    assert parts.feed._unplaced == {NIFTY: None}
    assert parts.prices.watch.trust.state_of(NIFTY) is not None


async def test_at_a_start_in_the_session_nothing_stands_before_what_is_missed(tmp_path: Path) -> None:
    """Asking for every price of a large book took half a minute in which nothing else could be asked for."""
    parts = parts_of(tmp_path)
    open_position(parts, 1, 1, 2)
    parts.subscribe()
    assert parts.fetcher._asked == {}


async def test_of_a_closed_market_the_last_prices_are_asked_for_once(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    parts.calendar = Closed()
    open_position(parts, 1, 1, 2)
    parts.subscribe()
    assert {key.security_id for key in parts.fetcher._asked} == {1, 2, 13}


class Closed:
    def session_open(self, _utc_ns: int) -> bool:
        return False

    def is_trading_day(self, _day: object) -> bool:
        return False


@pytest.mark.slow
async def test_f04_without_websocket_a_stop_among_1_200_instruments_is_seen_in_two_rounds_of_rest(
    tmp_path: Path,
) -> None:
    """Two requests bring them all, so a price is at most 2.1 s old when it is looked at, and the answer."""
    held = contracts(1_200)
    write_positions(tmp_path / "trades.db", held)
    at = 804 + 200  # strikes at the money, of the third expiry: their bands hold the prices below
    moving, strategy = held[at : at + 4], 10_000 + at // 4
    async with exchange_process("--extra", "1200", "--strikes", "5", "--contract-every", "8") as exchange:
        await hold(exchange, held)
        await set_last(exchange, moving, (100, 100, 100, 100))
        with sqlite3.connect(tmp_path / "trades.db") as rows:
            rows.execute(
                "UPDATE strategy_exit_levels SET trigger_value = 3000 WHERE strategy_id = ? AND exit_type = 'stop_loss'",
                (strategy,),
            )
        rows.close()
        run = MonitorRun(await start_monitor(environment(exchange.ready, tmp_path), "--no-websocket", "--execute"))
        try:
            await run.says("guarding 300 positions", 15)
            await asyncio.sleep(6)
            moved = time.monotonic()
            await set_last(exchange, moving, (100, 200, 100, 200))
            fired = await run.says("begins: stop loss", 8)
            assert fired - moved <= 4.0
            await eventually(lambda: open_rows(tmp_path / "trades.db") == 1_196)
            statistics = await exchange.get("statistics")
            assert statistics["requests"].get("POST /orders 200") == 4
            assert "POST /marketfeed/quote 429" not in statistics["requests"]
            assert run.count("is unprotected") + run.count("are unprotected") == 0, run.text[-2000:]
        finally:
            await run.stop()


def open_rows(database: Path) -> int:
    return sum(row["order_status"] == "open" for row in read_trades(database))


async def set_last(exchange: ExchangeProcess, legs: Sequence[Instrument], rupees: Sequence[int]) -> None:
    for each, last in zip(legs, rupees, strict=True):
        quote = {"last": last, "bid": last - 0.05, "ask": last + 0.05, "bid_size": 6_500, "ask_size": 6_500}
        await exchange.post("quote", {"segment": "NSE_FNO", "security_id": each.key.security_id, **quote})


@pytest.mark.slow
async def test_f02_1_000_instruments_on_five_connections_survive_the_loss_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await measure(tmp_path, 1_000, room=200, steady_s=2)
    with capsys.disabled():
        print(f"\n{shown(result)}")  # noqa: T201  figures of the run
    assert (result.start["lines"], result.start["unplaced"]) == (5, 1)
    for loss in result.losses:
        assert (loss["carried"], loss["others_live"]) == (200, 4)
        assert loss["believed_s"] <= BACK_WITHIN_S
    assert result.end["stale"] == []
    assert result.end["rest_gap_s"] >= 1.0
    assert "unprotected" not in str(result.end["alerts"])
