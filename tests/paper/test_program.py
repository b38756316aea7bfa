"""`python -m core.paper` as an operator sees it, and the control door."""

import asyncio
import base64
import json
import signal
import sys
from pathlib import Path

import pytest

from core.paper.auth import totp_at
from tests.paper.clients import Feed

ROOT = Path(__file__).resolve().parents[2]
CALL = "40051"
READY_NAMES = {"api_url", "feed_url", "order_update_url", "auth_url", "instruments", "client_id", "access_token"}


async def run(*arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "core.paper",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_one_line_serves_and_ends_cleanly_on_a_signal(session, tmp_path, number):
    process = await run("--seed", "9", "--log", str(tmp_path / "exchange.log"))
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert ready.keys() == READY_NAMES
        claims = ready["access_token"].split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        assert (decoded["iss"], decoded["dhanClientId"]) == ("dhan", ready["client_id"])
        async with session.get(ready["instruments"]) as response:
            assert (await response.text()).startswith("EXCH_ID,SEGMENT,SECURITY_ID")
        async with session.get(f"{ready['api_url']}/profile", headers={"access-token": ready["access_token"]}) as found:
            assert found.status == 200
        query = {"token": ready["access_token"], "clientId": ready["client_id"], "version": "2", "authType": "2"}
        feed = Feed(await session.ws_connect(ready["feed_url"], params=query))
        await feed.send(15, ("IDX_I", 13))
        assert (await feed.packet_of(2))["id"] == 13
        process.send_signal(number)
        output, errors = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, output, errors) == (0, b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = (tmp_path / "exchange.log").read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert {"request", "response", "feed_connected", "feed_request"} <= set(events)
    assert ready["access_token"] not in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--faults", "absent.json"), "faults"), (("--replay", "nse_x_absent.csv.gz"), "instruments")],
)
async def test_bad_files_end_with_code_2_and_say_why(arguments, word):
    process = await run(*arguments)
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output) == (2, b"")
    assert word in errors.decode()


async def control(exchange, session, method, path, **body):
    async with session.request(method, f"{exchange.control_url}/{path}", json=body) as response:
        return response.status, await response.json()


async def test_the_control_door_scripts_market_account_faults_and_settings(exchange, session, rest):
    quote = {"segment": "NSE_FNO", "security_id": int(CALL), "last": 100.0, "bid": 99.95, "ask": 100.05}
    assert (await control(exchange, session, "POST", "quote", **quote))[0] == 200
    position = {"segment": "NSE_FNO", "security_id": int(CALL), "units": -65, "price": 120.0}
    assert (await control(exchange, session, "POST", "position", **position))[0] == 200
    assert (await control(exchange, session, "POST", "fault", kind="reject", where={"nth": 1}))[0] == 200
    assert (await rest.place_settled(securityId=CALL, price=101.0))["orderStatus"] == "REJECTED"
    assert (await rest.place_settled(securityId=CALL, price=101.0))["orderStatus"] == "TRADED"
    _, state = await control(exchange, session, "GET", "state")
    assert state["net"] == {f"NSE_FNO:{CALL}:MARGIN": 0}
    _, log = await control(exchange, session, "GET", "log?event=order_accepted")
    assert len(log) == 2
    assert (await control(exchange, session, "POST", "settings", cancel_status=200, order_update_casing="both"))[
        0
    ] == 200
    assert exchange.options.cancel_status == 200
    assert (await control(exchange, session, "DELETE", "fault"))[0] == 200
    _, token = await control(exchange, session, "POST", "token", action="renew")
    assert token["accessToken"] == exchange.access_token


async def test_a_move_over_http_moves_the_index(exchange, session):
    before = exchange.venue.model.spot("NIFTY")
    assert (await control(exchange, session, "POST", "move", underlying="NIFTY", percent=-1.5))[0] == 200
    assert exchange.venue.model.spot("NIFTY") == pytest.approx(before * 0.985)
    await control(exchange, session, "POST", "move", underlying="NIFTY", to=26_000.0)
    assert exchange.venue.model.spot("NIFTY") == pytest.approx(26_000.0)
    assert (await control(exchange, session, "POST", "step", steps=3))[0] == 200
    assert exchange.venue.model.step_number == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("quote", {"segment": "NSE_FNO", "security_id": 1, "last": 1.0}),
        ("quote", {}),
        ("move", {"underlying": "NOBODY", "percent": 1}),
        ("move", {"underlying": "NIFTY"}),
        ("fault", {"kind": "earthquake"}),
        ("position", {"segment": "NSE_FNO", "security_id": 1, "units": 1, "price": 1}),
        ("settings", {"seed": 3}),
        ("settings", {"feed_refusal": "politely"}),
        ("token", {"action": "steal"}),
    ],
)
async def test_the_control_door_names_what_it_cannot_do(exchange, session, path, body):
    status, answer = await control(exchange, session, "POST", path, **body)
    assert (status, answer["status"]) == (400, "error")


async def test_a_released_instrument_follows_the_model_again(exchange, session):
    exchange.market.set_quote("NSE_FNO", int(CALL), 10_000, 9_995, 10_005)
    key = exchange.venue.instruments.find("NSE_FNO", CALL)
    assert exchange.market.quote(key).last == 10_000
    await control(exchange, session, "POST", "release")
    exchange.step()
    assert exchange.market.quote(key).last == exchange.venue.model.data(key).last


def test_totp_matches_the_vectors_of_rfc_6238():
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert [totp_at(secret, t) for t in (59, 1_111_111_109, 1_234_567_890)] == ["287082", "081804", "005924"]
