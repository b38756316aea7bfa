"""The token's day and the newcomer's start, through the program as the operator starts it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from core.clock import SystemClock
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from tests.fakes.redis_server import RedisServer, Unavailable, server_program
from tests.faults.monitor_scene import PIN, SECRET, MonitorRun, Scene, scene_with_condor
from tests.integration.condor import STOPPED
from tests.integration.processes import eventually
from tests.integration.redis_scene import redis_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WITHIN_S = 10.0
MINTING = {"DHAN_PIN": PIN, "DHAN_TOTP_SECRET": SECRET}
QUIET_REST = {"path": "/marketfeed/quote"}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_with_condor(tmp_path) as scene:
        yield scene


async def with_minting(scene: Scene) -> None:
    await scene.settings(pin=PIN, totp_secret=SECRET)


async def until_closed(scene: Scene, seconds: float = 20.0) -> None:
    await eventually(lambda: scene.open_rows() == 0, seconds)


async def accepted(scene: Scene) -> int:
    return (await scene.requests()).get("POST /orders 200", 0)


async def in_file(scene: Scene) -> dict[str, str | None]:
    path = scene.token_file(await scene.current_token())
    return {"DHAN_ACCESS_TOKEN": None, "DHAN_ACCESS_TOKEN_FILE": str(path)}


def secrets_found(scene: Scene, run: MonitorRun, *tokens: str) -> list[str]:
    """Where the PIN, the secret behind its codes, or a token or its signature can be read. PIN: beside a word, not in a number."""
    secrets = [SECRET, *tokens, *(token.rsplit(".", 1)[-1] for token in tokens)]
    texts = {"output": run.text.encode(), **{str(path): content for path, content in scene.files().items()}}
    found = [f"{place}: {secret[:6]}" for place, text in texts.items() for secret in secrets if secret.encode() in text]
    return found + [f"{place}: PIN" for place, text in texts.items() if f"pin={PIN}".encode() in text]


@pytest.mark.slow
async def test_f20_the_operators_new_token_is_taken_from_the_file_and_the_stop_is_armed_again(scene: Scene) -> None:
    run = await scene.guarding("--execute", **await in_file(scene))
    await asyncio.sleep(1)
    died = time.monotonic()
    await scene.fault("token_invalidated", sockets="reset")
    # Nothing brings a price any more: a person hears of it in six seconds.
    blind = await run.says("is unprotected", 8)
    assert blind - died <= 6.3
    await run.says("the access token is dead:", 8)
    await scene.prices(STOPPED)
    fresh = await scene.token("renew")
    replaced = time.monotonic()
    scene.token_file(fresh)
    taken = await run.says("a new access token is in place", WITHIN_S)
    fired = await run.says("begins: stop loss", WITHIN_S)
    assert max(taken, fired) - replaced <= WITHIN_S
    await until_closed(scene)
    assert await accepted(scene) == 4
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_time_exits_fire_while_the_token_is_dead_and_the_exit_goes_on_with_the_new_one(scene: Scene) -> None:
    run = await scene.guarding("--execute", **await in_file(scene))
    await asyncio.sleep(1)
    await scene.fault("token_invalidated", sockets="reset")
    await run.says("is unprotected", 8)
    scene.sql("UPDATE strategy_exit_levels SET trigger_value = 9999 WHERE exit_type = 'time_exit'")
    await run.says("begins: ", 3)
    await asyncio.sleep(1.5)
    assert await accepted(scene) == 0
    scene.token_file(await scene.token("renew"))
    await run.says("a new access token is in place", WITHIN_S)
    await until_closed(scene)
    assert await accepted(scene) == 4
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_an_exit_meets_a_dead_token_and_goes_on_with_the_minted_one(scene: Scene) -> None:
    """The sockets live on, so that only the order finds out."""
    await with_minting(scene)
    run = await scene.guarding("--execute", **MINTING)
    await asyncio.sleep(1)
    await scene.fault("token_invalidated", sockets="stay")
    began = time.monotonic()
    await scene.prices(STOPPED)
    await run.says("begins: stop loss", 2)
    await run.says("a new access token is in place", WITHIN_S)
    await until_closed(scene)
    assert time.monotonic() - began <= WITHIN_S + 3
    assert await accepted(scene) == 4
    assert len(await scene.asked()) == 1
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_a_token_that_dies_between_two_orders_of_an_exit_costs_no_order_twice(scene: Scene) -> None:
    await with_minting(scene)
    run = await scene.guarding("--execute", **MINTING)
    await asyncio.sleep(1)
    await scene.prices(STOPPED)
    await eventually(lambda: run.count("begins: stop loss") > 0, 3)
    await scene.fault("token_invalidated", sockets="stay")
    await until_closed(scene)
    assert await accepted(scene) == 4
    assert len(await scene.asked()) <= 1
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_an_order_refused_for_the_token_is_sent_again_when_dhan_accepts_the_token_after_all(
    scene: Scene,
) -> None:
    await with_minting(scene)
    run = await scene.guarding("--execute", **MINTING)
    await asyncio.sleep(1)
    where = {"path": "/orders", "method": "POST", "nth": 3}
    await scene.fault("refuse", where=where, status=401, code="DH-901", message="Invalid token")
    await scene.prices(STOPPED)
    await until_closed(scene)
    assert await accepted(scene) == 4
    assert (await scene.requests()).get("POST /orders 401") == 1
    assert await scene.asked() == []
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_with_pin_and_totp_a_new_token_is_there_in_ten_seconds_and_no_secret_anywhere(scene: Scene) -> None:
    await with_minting(scene)
    run = await scene.guarding("--execute", "--log-level", "DEBUG", **MINTING)
    first = await scene.current_token()
    await asyncio.sleep(1)
    began = time.monotonic()
    await scene.fault("token_invalidated", sockets="code_50")
    assert await run.says("a new access token is in place", WITHIN_S) - began <= WITHIN_S
    assert await scene.until_fed(WITHIN_S) - began <= WITHIN_S
    await scene.settings(pin="111111", token_death="reset")
    second = await scene.token("invalidate")
    await run.says("is unprotected", 8)
    assert await run.stop() == 0
    assert first != second
    assert len(scene.files()) >= 3
    assert secrets_found(scene, run, first, second) == []


@pytest.mark.slow
async def test_f20_a_wrong_pin_pages_and_hammers_nothing(scene: Scene) -> None:
    await scene.settings(pin="111111", totp_secret=SECRET)
    run = await scene.guarding("--execute", **MINTING)
    await asyncio.sleep(1)
    before = sum((await scene.requests()).values())
    await scene.fault("token_invalidated", sockets="reset")
    await run.says("is unprotected", 8)
    await run.says("CRITICAL core.exit_runner: the access token is dead", 13)
    assert len(await scene.asked()) == 1
    after = await scene.requests()
    # About ten seconds. Each of REST's three readers has its own pace, and none of them is faster than healthy.
    assert sum(after.values()) - before <= 30, after
    assert await run.stop() == 0


@pytest.mark.slow
async def test_f20_a_token_near_its_end_is_renewed_once_and_everything_goes_on(scene: Scene) -> None:
    await scene.settings(token_validity_s=3_000)
    old = await scene.token("renew")
    await scene.settings(token_validity_s=86_400)
    run = await scene.start("--execute", DHAN_ACCESS_TOKEN=old)
    await run.says("a new access token is in place: It was renewed", 8)
    await scene.until_fed()
    await scene.prices(STOPPED)
    await until_closed(scene)
    assert (await scene.requests()).get("GET /RenewToken 200") == 1
    assert await run.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_dead", [True, False])
async def test_f20_a_plan_never_mints_and_never_renews(scene: Scene, is_dead: bool) -> None:
    await with_minting(scene)
    await scene.settings(token_validity_s=3_000)
    token = await scene.token("renew")
    if is_dead:
        await scene.token("invalidate")
    run = await scene.start("--plan", DHAN_ACCESS_TOKEN=token, **MINTING)
    assert await run.ends() == (4 if is_dead else 0)
    assert await scene.asked() == []
    assert not any("RenewToken" in name for name in await scene.requests())


@pytest.mark.slow
async def test_f20_two_monitors_of_one_account_do_not_kill_each_others_tokens_for_ever(scene: Scene) -> None:
    await with_minting(scene)
    other = {"STATE_DIR": str(scene.folder / "state2"), "LOG_DIR": str(scene.folder / "logs2")}
    one = await scene.guarding("--execute", **MINTING)
    two = await scene.guarding("--execute", **MINTING, **other)
    await scene.fault("token_invalidated", sockets="reset")
    await asyncio.sleep(20)
    asked = await scene.asked()
    # Each kills the other's: the second mint ends the fight for two minutes, and whoever has lost calls a person.
    assert len(asked) == 2, asked
    assert one.count("CRITICAL core.exit_runner: the access token is dead") + two.count(
        "CRITICAL core.exit_runner: the access token is dead"
    )
    assert (await one.stop(), await two.stop()) == (0, 0)


@pytest.mark.slow
async def test_a_data_plan_that_is_not_active_pages_with_the_remedy(scene: Scene) -> None:
    await scene.settings(data_plan_active=False)
    run = await scene.start("--execute")
    await run.says("preflight: data plan: not active", 5)
    await run.says("Subscribe to the Data APIs", 1)
    assert await run.says("is unprotected", 8) - run.begun <= 8
    assert (await scene.requests())["POST /marketfeed/quote 401"] <= 6
    assert await run.stop() == 0


async def test_an_address_from_which_dhan_takes_no_orders_ends_a_live_start_with_4(scene: Scene) -> None:
    await scene.settings(static_ip_matches=False)
    run = await scene.start("--execute")
    assert await run.ends() == 4
    assert "Register its IP with Dhan" in run.text
    watching = await scene.start("--alert-only")
    await watching.says("preflight: static IP", 8)
    assert await watching.stop() == 0


async def test_a_wrong_token_without_pin_ends_the_start_with_4_after_one_question(scene: Scene) -> None:
    run = await scene.start("--execute", DHAN_ACCESS_TOKEN="eyJhbGciOiJIUzUxMiJ9.e30.wrong")
    assert await run.ends() == 4
    assert "Put a fresh " in run.text
    assert await scene.requests() == {"GET /profile 401": 1}


@pytest.mark.parametrize("how", ["refuses", "is silent"])
async def test_f31_a_redis_that_is_away_delays_the_start_by_less_than_a_second(scene: Scene, how: str) -> None:
    plain = await scene.guarding("--alert-only")
    without_s = await plain.says("guarding 1 positions") - plain.begun
    await plain.stop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if how == "is silent" else 9
        run = await scene.guarding("--alert-only", REDIS_URL=f"redis://127.0.0.1:{port}")
        took_s = await run.says("guarding 1 positions") - run.begun
        assert await run.stop() == 0
    assert took_s - without_s < 1.0


async def put_into_redis(url: str, scene: Scene, prices: list[int]) -> None:
    clock = SystemClock()
    async with redis_scene(url, clock) as redis:
        for leg, last in zip(scene.legs, prices, strict=True):
            key = InstrumentKey(Segment.NSE_FNO, leg.security_id)
            now = clock.monotonic_ns()
            quote = Quote(key, last, last - 5, last + 5, 6_500, 6_500, clock.utc_ns() // 10**9, now, QuoteSource.FEED)
            redis.fanout.offer(quote)
        await eventually(lambda: redis.prices.status.written >= len(prices))


@pytest.fixture
def redis_url() -> str:
    try:
        server_program()
    except Unavailable as error:
        pytest.skip(str(error))
    return ""


@pytest.mark.slow
@pytest.mark.usefixtures("redis_url")
async def test_f31_a_stop_that_only_cached_prices_breach_waits_for_a_quote_of_the_market(scene: Scene) -> None:
    with RedisServer() as server:
        await put_into_redis(server.url, scene, STOPPED)
        await scene.fault("feed_drop_in_handshake", seconds=4)
        await scene.fault("refuse", where=QUIET_REST | {"times": 4}, status=400, code="800")
        run = await scene.start("--execute", REDIS_URL=server.url)
        await run.says("guarding 1 positions", 8)
        # Shown, so that a trader sees something …
        await run.says("P&L: ₹-3,575.00", 3)
        await run.says("only a saved price", 1)
        await asyncio.sleep(2.5)
        assert run.count("begins: ") == 0
        assert await accepted(scene) == 0
        # … and the market says that all is calm: nothing fires then either.
        await scene.until_fed(15)
        await asyncio.sleep(1)
        assert run.count("begins: ") == 0
        await scene.prices(STOPPED)
        await run.says("begins: stop loss", 3)
        await until_closed(scene)
        assert await accepted(scene) == 4
        assert await run.stop() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("redis_url")
async def test_f31_once_and_plan_wait_for_the_market_and_not_for_the_cache(scene: Scene) -> None:
    with RedisServer() as server:
        await put_into_redis(server.url, scene, STOPPED)
        run = await scene.start("--once", "--json", "--execute", REDIS_URL=server.url)
        assert await run.ends() == 0
        [position] = document(run)["positions"]
        assert position["pnl"] == 0
        assert await accepted(scene) == 0
        assert run.ended_s is not None
        healthy_s = run.ended_s
        await put_into_redis(server.url, scene, STOPPED)
        await scene.fault("feed_drop_in_handshake", seconds=60)
        await scene.fault("refuse", where=QUIET_REST, status=400, code="800")
        for mode in ("--once", "--plan"):
            run = await scene.start(mode, "--json", REDIS_URL=server.url)
            assert await run.ends(15) == (3 if mode == "--once" else 0)
            assert run.ended_s is not None
            assert run.ended_s < healthy_s + WITHIN_S
        assert await accepted(scene) == 0


def document(run: MonitorRun) -> dict:
    text = run.text[run.text.index("\n{\n") :] if "\n{\n" in run.text else run.text
    found, _ = json.JSONDecoder().raw_decode(text.strip())
    return found


@pytest.mark.slow
async def test_f04_without_websocket_a_stop_is_driven_by_one_request_a_second(scene: Scene) -> None:
    run = await scene.start("--no-websocket", "--execute")
    await run.says("guarding 1 positions", 8)
    await asyncio.sleep(2)
    moved = time.monotonic()
    await scene.prices(STOPPED)
    assert await run.says("begins: stop loss", 5) - moved <= 2.5
    await until_closed(scene)
    assert await accepted(scene) == 4
    statistics = await scene.exchange.get("statistics")
    at_ns = [each["at_ns"] for each in statistics["quote_requests"]]
    assert all(later - earlier > 0.9e9 for earlier, later in pairwise(at_ns))
    assert statistics["feed"]["opened"] == 0
    assert await run.stop() == 0


WRONG_CLOCK = "import time\nreal = time.time_ns\ntime.time_ns = lambda: real() + {} * 10**9\n"


@pytest.mark.slow
@pytest.mark.parametrize("ahead_s", [40, -40, 172_800])
async def test_p15_a_wrong_clock_of_this_machine_is_paged_and_neither_mints_nor_disarms(
    scene: Scene, ahead_s: int
) -> None:
    """Two days ahead, the token in hand seems to be over: Dhan accepts it, and that is what counts."""
    await with_minting(scene)
    place = scene.folder / "clock"
    place.mkdir()
    (place / "sitecustomize.py").write_text(WRONG_CLOCK.format(ahead_s))
    run = await scene.guarding("--execute", PYTHONPATH=str(place), **MINTING)
    await run.says("CRITICAL core.exit_runner: preflight: clock: this machine is", 5)
    if ahead_s > 86_400:
        await run.says("the clock may be wrong", 8)
    await asyncio.sleep(3)
    await scene.prices(STOPPED)
    await run.says("begins: stop loss", 3)
    await until_closed(scene)
    assert await accepted(scene) == 4
    assert await scene.asked() == []
    assert await run.stop() == 0
