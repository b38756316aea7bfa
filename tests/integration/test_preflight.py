"""The look before a session as a process of its own, against the local exchange: each fault is named with its remedy."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiohttp import web

from core.brokers.dhan_broker import DhanBroker
from core.clock import SystemClock
from core.instrument_source import InstrumentSource
from core.market_calendar import AlwaysOpen, MarketCalendar
from core.model.commands import Severity
from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource
from core.model.instrument import InstrumentKey, Segment
from core.model.position import Leg, Position, PositionReport, Product
from core.model.session_time import ist_datetime
from core.position_book import BookedPosition
from core.preflight import AccountFacts, StartFacts, alone, startup_alerts
from core.preflight_checks import Finding, Verdict
from tests.fakes.http_server import dropping, raw_server
from tests.integration.condor import CALM, environment, hold, pick_condor, set_prices, write_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.model.commands import Alert
    from core.paper.exchange import LocalExchange

ROOT: Final = Path(__file__).resolve().parents[2]
TIME_LIMIT_S: Final = 60
PASSWORD: Final = "hunter2hunter2"
SECRET_NAMES: Final = ("DHAN_ACCESS_TOKEN", "DHAN_PIN", "DHAN_TOTP_SECRET")
CHECKS: Final = [
    "settings",
    "clock",
    "kill switch",
    "token",
    "account",
    "data plan",
    "static IP",
    "calendar",
    "instrument master",
    "contracts",
    "trades",
    "stops in the bands",
    "reconcile",
    "quotes over REST",
    "levels now",
    "feed",
    "order updates",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str

    def __getitem__(self, check: str) -> tuple[str, str, str]:
        """Result, what was found, remedy."""
        [found] = [each for each in json.loads(self.out)["findings"] if each["check"] == check]
        return found["verdict"], found["found"], found["remedy"]

    @property
    def verdicts(self) -> dict[str, str]:
        return {each["check"]: each["verdict"] for each in json.loads(self.out)["findings"]}

    def is_no_go(self, check: str, *words: str) -> bool:
        verdict, found, remedy = self[check]
        assert (verdict, self.code) == ("FAIL", 4), self.out
        assert remedy
        assert all(word in f"{found} {remedy}" for word in words), f"{found} | {remedy}"
        return True

    def is_warned(self, check: str, *words: str) -> bool:
        verdict, found, remedy = self[check]
        assert (verdict, self.code) == ("warn", 0), self.out
        assert remedy
        assert all(word in f"{found} {remedy}" for word in words), f"{found} | {remedy}"
        return True


async def run(settings: dict[str, str], *options: str) -> Outcome:
    named = ("DHAN_", "SUPABASE_", "STATE_", "REDIS_", "MARKET_", "LIVE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "data_scripts/preflight.py",
        *options,
        cwd=ROOT,
        env=clean | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIME_LIMIT_S):
        out, err = await process.communicate()
    outcome = Outcome(process.returncode or 0, out.decode(), err.decode())
    said = outcome.out + outcome.err
    for name in SECRET_NAMES:
        for part in settings.get(name, "").split("."):
            assert not part or part not in said, f"{name} was printed"
    assert PASSWORD not in said
    return outcome


class Desk:
    """The exchange with the condor held at it, the rows in a file, and the settings of a monitor."""

    def __init__(self, exchange: LocalExchange, folder: Path) -> None:
        self.exchange = exchange
        self.folder = folder
        self.legs = pick_condor()
        self.settings = environment(exchange.ready_line(), folder)

    def hold(self, *, stop_rupees: int = 3_000) -> None:
        write_rows(self.folder / "trades.db", self.legs, stop_rupees=stop_rupees)
        hold(self.exchange, self.legs)
        set_prices(self.exchange, self.legs, CALM[: len(self.legs)])

    async def check(self, *options: str, **more: str) -> Outcome:
        return await run(self.settings | more, "--json", *(options or ("--live",)))


@pytest.fixture
def desk(exchange: LocalExchange, tmp_path: Path) -> Desk:
    found = Desk(exchange, tmp_path)
    found.hold()
    return found


async def test_all_good_is_a_go_and_nothing_is_written_or_ordered(desk: Desk) -> None:
    # A table that a monitor would make for itself.
    with closing(sqlite3.connect(desk.folder / "trades.db")) as connection:
        connection.execute("DROP TABLE risk_events")
        connection.commit()
    before = {path: path.read_bytes() for path in desk.folder.rglob("*")}
    outcome = await desk.check("--live")
    assert outcome.code == 0
    assert list(outcome.verdicts) == CHECKS
    assert {check for check, verdict in outcome.verdicts.items() if verdict != "pass"} == {"calendar"}
    assert "MARKET_HOURS=calendar" in outcome["calendar"][2]
    assert [line.split(maxsplit=1)[1] for line in outcome.err.splitlines()] == CHECKS, "each is named when it is done"
    assert {path: path.read_bytes() for path in desk.folder.rglob("*")} == before
    requests = [(line["method"], line["path"]) for line in desk.exchange.log.of("request")]
    assert {path for method, path in requests if method != "GET"} == {"/marketfeed/quote"}
    assert len([path for _, path in requests if path == "/marketfeed/quote"]) == 1


async def test_the_table_names_each_check_and_ends_with_the_word(desk: Desk) -> None:
    outcome = await run(desk.settings, "--live")
    assert outcome.code == 0
    assert all(check in outcome.out for check in CHECKS)
    assert outcome.out.splitlines()[-1] == "GO, with 1 to look at."
    desk.exchange.options.static_ip_matches = False
    outcome = await run(desk.settings, "--live", "--no-feed")
    assert outcome.out.splitlines()[-1].startswith("NO-GO")


@pytest.mark.parametrize("action", ["expired", "invalidated"])
async def test_a_dead_token_is_a_no_go_and_what_needs_no_token_is_still_checked(desk: Desk, action: str) -> None:
    tokens = desk.exchange.venue.tokens
    if action == "expired":
        tokens.renew(validity_s=-1)
        desk.settings["DHAN_ACCESS_TOKEN"] = tokens.current
    else:
        tokens.invalidate()
    outcome = await desk.check()
    assert outcome.is_no_go("token", "Invalid Token", "web.dhan.co")
    assert outcome["clock"][0] == "pass"
    assert outcome["contracts"][0] == outcome["stops in the bands"][0] == "pass"
    assert {outcome[check][0] for check in ("reconcile", "quotes over REST", "feed", "order updates")} == {"unknown"}
    minting = {"DHAN_PIN": "739251", "DHAN_TOTP_SECRET": "JBSWY3DPEHPK3PXPJBSWY3DP"}
    assert (await desk.check("--live", **minting)).is_no_go("token", "mints")
    assert not desk.exchange.log.of("token_asked"), "a new token would end the one that a running monitor uses"


async def test_with_pin_and_totp_alone_what_needs_a_token_is_not_known(desk: Desk) -> None:
    desk.settings |= {"DHAN_PIN": "739251", "DHAN_TOTP_SECRET": "JBSWY3DPEHPK3PXPJBSWY3DP"}
    del desk.settings["DHAN_ACCESS_TOKEN"]
    outcome = await desk.check()
    assert outcome.code == 0
    assert outcome["token"][0] == outcome["reconcile"][0] == "unknown"
    assert outcome["trades"][0] == "pass"


async def test_the_token_of_another_account_is_a_no_go(desk: Desk) -> None:
    outcome = await desk.check("--live", DHAN_CLIENT_ID="1100009999", LIVE_TRADING_ACCOUNT="1100009999")
    assert outcome.is_no_go("account", "DHAN_CLIENT_ID is 1100009999")


async def test_a_data_plan_that_is_off_is_a_no_go(desk: Desk) -> None:
    desk.exchange.options.data_plan_active = False
    outcome = await desk.check()
    assert outcome.is_no_go("data plan", "Subscribe")
    assert outcome.is_no_go("quotes over REST", "806")
    assert outcome.is_no_go("feed", "806")


async def test_an_address_that_may_not_order_is_a_no_go_for_real_orders_only(desk: Desk) -> None:
    desk.exchange.options.static_ip_matches = False
    assert (await desk.check("--live")).is_no_go("static IP", "198.51.100.7", "Register")
    assert (await desk.check("--no-feed")).is_warned("static IP", "198.51.100.7")


async def test_a_kill_switch_is_a_no_go(desk: Desk) -> None:
    desk.exchange.venue.account.kill_switch = True
    assert (await desk.check()).is_no_go("kill switch", "Traders Control")


async def test_f14_a_row_whose_contract_the_master_lacks_is_named(desk: Desk) -> None:
    stranger = type(desk.legs[0])(9, 999_999, "GONE", "CE", 1, 65, 10_00)
    write_rows(desk.folder / "trades.db", [stranger], strategy_id=77, name="Stranger")
    outcome = await desk.check()
    assert outcome.is_no_go("contracts", "row 9 of strategy 77: NSE_FNO:999999", "not guarded")
    assert outcome.is_no_go("trades", "1 open positions with 4 legs", "row 9")


async def test_a_position_that_is_not_what_the_rows_say_is_named(desk: Desk) -> None:
    leg = desk.legs[1]
    desk.exchange.seed_position("NSE_FNO", leg.security_id, 65, leg.entry)
    other = next(
        x for x in desk.exchange.venue.instruments if x.instrument.underlying == "BANKNIFTY" and x.instrument.right
    )
    desk.exchange.seed_position("NSE_FNO", other.instrument.key.security_id, 30, 100_00)
    outcome = await desk.check()
    name = f"NSE_FNO:{leg.security_id}:MARGIN"
    orphan = f"{other.instrument.key}:MARGIN: +30 in no row"
    assert outcome.is_no_go("reconcile", f"{name}: the rows say -65, the broker holds +0", orphan)
    assert (await desk.check("--no-feed")).is_warned("reconcile", name)


async def test_a_stop_beyond_the_bands_of_the_day_is_named_with_its_numbers(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    """One sold call: the band lets it rise by some 1,566 rupees at most, 65 of them lose about a hundred thousand."""
    desk = Desk(exchange, tmp_path)
    desk.legs = desk.legs[1:2]
    desk.hold(stop_rupees=150_000)
    outcome = await desk.check()
    assert outcome.is_warned(
        "stops in the bands", "Iron Condor (3359)", "150,000.00, worst in today's bands", "cannot fire"
    )


async def test_a_level_that_is_reached_already_is_named(desk: Desk) -> None:
    set_prices(desk.exchange, desk.legs, [55_00, 160_00, 30_00, 80_00])
    assert (await desk.check()).is_warned("levels now", "Iron Condor (3359) closes at once: stop loss")


@pytest.mark.parametrize(
    "url", [f"redis://:{PASSWORD}@127.0.0.1:1/0", f"redis://user:{PASSWORD}@no-such-host.invalid:6379/0"]
)
async def test_a_redis_that_is_down_only_warns(desk: Desk, url: str) -> None:
    assert (await desk.check("--live", REDIS_URL=url)).is_warned("redis", "works without")


@asynccontextmanager
async def dated(desk: Desk, ahead_s: float) -> AsyncIterator[str]:
    """The exchange behind a door that puts another date on its answers."""

    async def pass_on(request: web.Request) -> web.Response:
        names = ("access-token", "client-id", "Content-Type")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        target = f"{desk.exchange.api_url}/{request.match_info['path']}"
        async with aiohttp.ClientSession() as client:
            answer = await client.request(request.method, target, data=await request.read(), headers=headers)
            date = formatdate(SystemClock().utc_ns() / 1e9 + ahead_s, usegmt=True)
            return web.Response(status=answer.status, body=await answer.read(), headers={"Date": date})

    app = web.Application()
    app.router.add_route("*", "/v2/{path:.*}", pass_on)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    finally:
        await runner.cleanup()


async def test_p15_a_clock_that_is_off_is_named(desk: Desk) -> None:
    async with dated(desk, 12.0) as api_url:
        outcome = await desk.check("--no-feed", DHAN_API_URL=api_url)
        assert outcome.is_warned("clock", "behind Dhan", "timedatectl")
    async with dated(desk, -3_600.0) as api_url:
        outcome = await desk.check("--no-feed", DHAN_API_URL=api_url)
        assert outcome.is_no_go("clock", "s ahead of Dhan", "sessions and time exits")
    async with dated(desk, 0.0) as api_url:
        assert (await desk.check("--no-feed", DHAN_API_URL=api_url))["clock"][0] == "pass"


def table(folder: Path, *lines: str) -> str:
    path = folder / "days.csv"
    path.write_text("\n".join(("date,kind,open,close,note", *lines)) + "\n")
    return str(path)


async def test_a_closed_market_is_a_go_and_the_feed_is_left_out(desk: Desk) -> None:
    today = ist_datetime(SystemClock().utc_ns()).date()
    first, last = today - timedelta(days=30), today + timedelta(days=30)
    days = table(desk.folder, f"{first},first,,,", f"{last},last,,,", f"{today},closed,,,Holiday")
    closed = {"MARKET_HOURS": "calendar", "MARKET_CALENDAR": days}
    outcome = await desk.check("--live", **closed)
    assert outcome.code == 0
    assert outcome["calendar"][0] == "pass"
    assert "closed today" in outcome["calendar"][1]
    assert outcome["feed"][0] == "unknown"
    assert "--feed" in outcome["feed"][2]
    assert (await desk.check("--live", "--feed", **closed))["feed"][0] == "pass"


async def test_f26_a_day_that_the_calendar_does_not_know_is_a_no_go(desk: Desk) -> None:
    days = table(desk.folder, "2020-01-01,first,,,", "2020-12-31,last,,,")
    outcome = await desk.check("--live", MARKET_HOURS="calendar", MARKET_CALENDAR=days)
    assert outcome.is_no_go("calendar", "not known", "MARKET_CALENDAR")


@pytest.mark.parametrize(
    ("fault", "word"),
    [({"kind": "feed_429", "seconds": 30}, "429"), ({"kind": "feed_drop_after_101", "seconds": 30}, "dropped")],
)
async def test_a_feed_that_refuses_is_named(desk: Desk, fault: dict[str, Any], word: str) -> None:
    desk.exchange.add_fault(fault)
    assert (await desk.check()).is_no_go("feed", word)


@pytest.mark.slow
async def test_a_feed_that_is_connected_and_mute_is_named(desk: Desk) -> None:
    desk.exchange.add_fault({"kind": "feed_silence", "seconds": 60})
    desk.exchange.options.feed_first_quote = False
    assert (await desk.check()).is_no_go("feed", "no price in 5 s")


async def test_trades_and_master_that_cannot_be_read_are_named_and_the_rest_is_checked(desk: Desk) -> None:
    outcome = await desk.check("--live", TRADES_DB=str(desk.folder / "none.db"))
    assert outcome.is_no_go("trades", "does not exist")
    assert outcome["reconcile"][0] == "unknown"
    assert outcome["feed"][0] == "pass"
    outcome = await desk.check("--live", DHAN_INSTRUMENTS="http://127.0.0.1:1/x.csv")
    assert outcome.is_no_go("instrument master", "DHAN_INSTRUMENTS")
    assert outcome["token"][0] == "pass"


async def test_an_old_master_is_refused_and_the_remedy_says_how_to_go_on(desk: Desk) -> None:
    path = desk.folder / "master.csv"
    async with aiohttp.ClientSession() as client, client.get(desk.exchange.instruments_url) as answer:
        path.write_bytes(await answer.read())
    long_ago = SystemClock().utc_ns() - 40 * 86_400 * 10**9
    os.utime(path, ns=(long_ago, long_ago))
    outcome = await desk.check("--live", DHAN_INSTRUMENTS=str(path))
    assert outcome.is_no_go("instrument master", "40.0 days old", "INSTRUMENTS_MAX_AGE_DAYS")
    outcome = await desk.check("--live", DHAN_INSTRUMENTS=str(path), INSTRUMENTS_MAX_AGE_DAYS="50")
    assert outcome["instrument master"][0] == "pass"


async def test_a_dhan_that_does_not_answer_is_a_no_go_and_hides_nothing(desk: Desk) -> None:
    async with raw_server(dropping) as server:
        outcome = await desk.check("--no-feed", DHAN_API_URL=f"http://127.0.0.1:{server.port}/v2")
    assert outcome.is_no_go("token", "does not answer", "network")
    assert outcome["clock"][0] == outcome["kill switch"][0] == "unknown"
    assert outcome["trades"][0] == outcome["contracts"][0] == "pass"


@pytest.mark.parametrize("options", [["--execute"], ["--feed", "--no-feed"]])
async def test_unknown_options_are_answered_with_the_usage(desk: Desk, options: list[str]) -> None:
    outcome = await run(desk.settings, *options)
    assert outcome.code == 2
    assert "Exit code: 0 go" in outcome.err


async def test_wrong_settings_end_with_two_and_a_remedy(desk: Desk) -> None:
    outcome = await run(desk.settings | {"LIVE_TRADING_ACCOUNT": ""}, "--live")
    assert outcome.code == 2
    assert "LIVE_TRADING_ACCOUNT" in outcome.err
    outcome = await run(desk.settings | {"MARKET_CALENDAR": "nowhere.csv", "MARKET_HOURS": "calendar"})
    assert outcome.code == 2
    outcome = await run(desk.settings | {"MARK_STALE_S": "soon"})
    assert outcome.code == 2
    assert "MARK_STALE_S" in outcome.err


async def test_a_check_that_breaks_does_not_hide_the_others() -> None:
    async def breaks() -> tuple[Finding, ...]:
        raise KeyError("a secret in the text")

    async def works() -> tuple[Finding, ...]:
        return (Finding("y", Verdict.PASS, "fine"),)

    [found] = await alone("x", breaks())
    assert (found.verdict, found.found) == (Verdict.FAIL, "the check itself ended with KeyError")
    assert (await alone("y", works()))[0].found == "fine"


async def test_a_check_can_be_cancelled() -> None:
    task = asyncio.create_task(alone("x", asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Start:
    """What a starting monitor would give to `startup_alerts`."""

    def __init__(self, exchange: LocalExchange, tmp_path: Path) -> None:
        self.exchange = exchange
        self.clock = SystemClock()
        self.token: str | None = exchange.access_token
        self.market = DhanBroker(exchange.api_url, exchange.client_id, lambda: self.token or "", self.clock)
        self.source = InstrumentSource(exchange.instruments_url, tmp_path, self.clock)
        self.legs = pick_condor()
        self.calendar: Any = AlwaysOpen()

    async def alerts(self, stop: int = 300_000, *, is_live: bool = True, is_held: bool = True) -> tuple[Alert, ...]:
        keys = [InstrumentKey(Segment.NSE_FNO, leg.security_id) for leg in self.legs]
        loaded = await self.source.load(keys)
        legs = tuple(
            Leg(leg.row_id, loaded.master.instruments[key], Product.MARGIN, leg.units, leg.entry)
            for leg, key in zip(self.legs, keys, strict=True)
        )
        levels = ExitLevels(stop=AmountLevel(stop, LevelSource.LEVEL_ROW))
        booked = (BookedPosition(Position(1, "Iron Condor", "NIFTY", legs), levels),)
        if is_held:
            hold(self.exchange, self.legs)
        report: PositionReport | None = await self.market.read_positions() if self.token else None
        account = AccountFacts(self.exchange.client_id, lambda: self.token, can_mint=False, is_live=is_live)
        facts = StartFacts(
            account, self.exchange.api_url, self.market, self.calendar, self.clock, loaded, booked, report
        )
        try:
            return await startup_alerts(facts)
        finally:
            await self.market.close()


@pytest.fixture
def start(exchange: LocalExchange, tmp_path: Path) -> Start:
    return Start(exchange, tmp_path)


async def test_a_start_where_all_is_well_tells_nothing(start: Start) -> None:
    assert await start.alerts(is_live=False) == ()


def _no_plan(start: Start) -> None:
    start.exchange.options.data_plan_active = False


def _no_address(start: Start) -> None:
    start.exchange.options.static_ip_matches = False


def _kill_switch(start: Start) -> None:
    start.exchange.venue.account.kill_switch = True


def _unknown_day(start: Start) -> None:
    day = ist_datetime(start.clock.utc_ns()).date()
    start.calendar = MarketCalendar(day, day, frozenset(), {}, frozenset({day}))


@pytest.mark.parametrize(
    ("spoil", "subject", "words"),
    [
        (_no_plan, "preflight: data plan", "Subscribe"),
        (_no_address, "preflight: static IP", "Register"),
        (_kill_switch, "preflight: kill switch", "Traders Control"),
        (_unknown_day, "preflight: calendar", "core/nse_calendar.csv"),
    ],
)
async def test_what_fails_at_start_is_a_page_with_its_remedy(
    start: Start, spoil: Callable[[Start], None], subject: str, words: str
) -> None:
    spoil(start)
    pages = [alert for alert in await start.alerts() if alert.severity is Severity.PAGE]
    assert [alert.subject for alert in pages] == [subject]
    assert words in pages[0].text


async def test_positions_that_differ_and_stops_out_of_reach_are_told_at_start(start: Start) -> None:
    told = {alert.subject: alert for alert in await start.alerts(10**9, is_held=False)}
    assert told["preflight: reconcile"].severity is Severity.PAGE
    assert told["preflight: stops in the bands"].severity is Severity.WARNING
    assert "cannot fire" in told["preflight: stops in the bands"].text


async def test_a_check_that_breaks_is_told_and_ends_no_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("core.preflight_positions.reconcile", broken)
    assert any("KeyError" in alert.text for alert in await start.alerts())


async def test_a_start_without_a_token_yet_asks_nothing_that_needs_one(start: Start) -> None:
    start.token = None
    assert await start.alerts(is_live=False) == ()
    assert {line["path"] for line in start.exchange.log.of("request")} == {"/killswitch"}


async def test_a_dead_token_at_start_is_a_page_and_shows_nothing_of_it(start: Start) -> None:
    start.exchange.venue.tokens.renew(validity_s=-1)
    token, start.token = start.exchange.access_token, None
    loaded = await start.source.load([])
    account = AccountFacts(start.exchange.client_id, lambda: token, can_mint=False, is_live=True)
    market = DhanBroker(start.exchange.api_url, start.exchange.client_id, lambda: token, start.clock)
    facts = StartFacts(account, start.exchange.api_url, market, AlwaysOpen(), start.clock, loaded, (), None)
    told = await startup_alerts(facts)
    await market.close()
    pages = [alert for alert in told if alert.severity is Severity.PAGE]
    assert [alert.subject for alert in pages] == ["preflight: token"]
    assert token not in repr(told)
    assert token.split(".")[2] not in repr(told)
