# ruff: noqa: E402  imports follow the line that makes them possible
"""Go or no-go before a session: each thing that would keep the monitor from guarding or closing, with its remedy.

    python data_scripts/preflight.py [--live] [--json] [--feed | --no-feed]

Uses the settings of the monitor (.env and environment). Writes nothing and orders nothing. --live judges as for real orders
(static IP, reconcile). The feed is tried in market hours; --feed and --no-feed say otherwise: the try takes one of Dhan's
five connections for a moment. Names each check on stderr when it is done. Exit code: 0 go (perhaps with warnings), 2 settings
wrong, 4 no-go. Never prints a token, PIN or password.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Run as a file, Python looks for modules in this folder only.
    sys.path.insert(0, str(ROOT))

from tabulate import tabulate

from core import preflight_checks as checks
from core import preflight_positions as position_checks
from core.brokers.dhan_broker import DhanBroker
from core.brokers.warm_connections import HttpLimits
from core.clock import SystemClock
from core.dhan.master_sanity import NIFTY
from core.exit_codes import ExitCode
from core.exit_profiles import book_rules
from core.feed_settings import FeedAccess
from core.instrument_source import InstrumentSource
from core.market_calendar import TABLE, AlwaysOpen, load_calendar
from core.model.errors import ConfigurationError, DecodeError, StoreError, TransportError
from core.model.session_time import ist_datetime
from core.options import Options
from core.order_update_stream import OrderStreamLogin
from core.position_book import build_book, wanted_keys
from core.preflight import READ_ERRORS, AccountFacts, account_findings, alone, clock_and_kill_switch, master_finding
from core.preflight_checks import Finding, Verdict
from core.settings import ENV_FILE, MarketHours, load_settings, validate_account, validate_live
from core.trades_source import trades_source
from data_scripts.preflight_probe import silence_libraries, try_feed, try_order_updates, try_redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from core.market_calendar import SessionCalendar
    from core.model.instrument import Instrument, InstrumentKey
    from core.model.market import Quote
    from core.position_book import Book
    from core.settings import Settings
    from core.stores.base import Snapshot

FEED_WAIT_S: Final = 5.0
LOGIN_HOLD_S: Final = 1.0
_MOST_KEYS: Final = 1_000
_OPTIONS: Final = frozenset({"--live", "--json", "--feed", "--no-feed"})
_WIDTHS: Final = (None, None, 44, 44)


@dataclass(frozen=True, slots=True)
class Wish:
    """`tries_feed`: None in market hours only."""

    is_live: bool
    tries_feed: bool | None


class Preflight:
    """One run. `findings` grow in the order of the checks; what fails is a finding, not an exception."""

    def __init__(self, settings: Settings, wish: Wish) -> None:
        self.findings: list[Finding] = []
        self._settings = settings
        self._wish = wish
        self._clock = SystemClock()
        token = settings.dhan_access_token
        self._account = AccountFacts(
            settings.dhan_client_id or "",
            lambda: None if token is None else token.get_secret_value(),
            settings.dhan_pin is not None,
            wish.is_live,
        )
        limits = HttpLimits(settings.order_connect_timeout_s, settings.order_timeout_s)
        self._market = DhanBroker(
            settings.dhan_api_url, self._account.client_id, self._token, self._clock, limits=limits
        )
        self._calendar: SessionCalendar = _calendar(settings)
        self._session = checks.session_facts(self._calendar, self._clock.utc_ns())
        self._snapshot: Snapshot | None = None
        self._instruments: Mapping[InstrumentKey, Instrument] = {}
        self._book: Book | None = None
        self._doubts = ""

    async def run(self) -> None:
        self._add(checks.settings_read(is_live=self._wish.is_live))
        await self._look("clock", clock_and_kill_switch(self._settings.dhan_api_url, self._account, self._clock))
        await self._look("account", account_findings(self._market, self._account, self._session, self._clock))
        self._add(checks.calendar(self._session, is_live=self._wish.is_live))
        await self._look("trades", self._read_rows())
        await self._look("instrument master", self._read_master())
        await self._look("positions", self._judge_book())
        is_usable = self._account.token() is not None and not checks.fails(
            x for x in self.findings if x.check == "token"
        )
        if is_usable:
            await self._look("reconcile", self._reconcile())
            await self._look("quotes over REST", self._quotes())
            sockets = (alone("feed", self._feed()), alone("order updates", self._order_updates()))
            for findings in await asyncio.gather(*sockets):
                self._add(*findings)
        else:
            for check in ("reconcile", "quotes over REST", "feed", "order updates"):
                self._add(checks.not_made(check, "not tried without a token that works"))
        if self._settings.redis_url is not None or self._settings.redis_host is not None:
            await self._look("redis", self._redis())

    async def close(self) -> None:
        await self._market.close()

    def _token(self) -> str:
        return self._account.token() or ""

    def _add(self, *findings: Finding) -> None:
        self.findings += findings
        for finding in findings:
            print(f"{finding.verdict.value:<8}{finding.check}", file=sys.stderr, flush=True)

    async def _look(self, check: str, work: Awaitable[tuple[Finding, ...]]) -> None:
        self._add(*await alone(check, work))

    async def _read_rows(self) -> tuple[Finding, ...]:
        """Judged later, with the master: only what cannot be read at all is told here."""
        # As for --plan: neither a lease nor a listener.
        source = trades_source(self._settings, Options(plan=True), self._clock)
        try:
            # Opening a SQLite file makes the monitor's own tables in it, and nothing is to be written here.
            if self._settings.supabase_url is not None:
                await source.store.open()
            self._doubts = source.store.doubts()
            self._snapshot = await source.store.read_snapshot()
        except (StoreError, TransportError) as error:
            return (position_checks.store_unusable(str(error)),)
        finally:
            await source.store.close()
        return ()

    async def _read_master(self) -> tuple[Finding, ...]:
        settings = self._settings
        trades = () if self._snapshot is None else self._snapshot.trades
        source = InstrumentSource(
            settings.dhan_instruments,
            settings.state_dir,
            self._clock,
            max_age_days=settings.instruments_max_age_days,
            keeps=False,
        )
        try:
            loaded = await source.load({*wanted_keys(trades), NIFTY})
        except (ConfigurationError, DecodeError, TransportError) as error:
            return (position_checks.master_unusable(str(error)),)
        self._instruments = loaded.master.instruments
        if self._snapshot is None:
            return (master_finding(loaded),)
        return master_finding(loaded), position_checks.missing_legs(trades, self._instruments.keys())

    async def _judge_book(self) -> tuple[Finding, ...]:
        snapshot, settings = self._snapshot, self._settings
        if snapshot is None:
            return ()
        rules = book_rules(settings)
        today = ist_datetime(self._clock.utc_ns()).date()
        self._book = book = await asyncio.to_thread(build_book, snapshot, self._instruments, rules, today)
        harmless = position_checks.harmless_rows(snapshot.trades, self._instruments, settings.dhan_client_id, today)
        return position_checks.rows(book, harmless, self._doubts), position_checks.bands(book.positions)

    async def _reconcile(self) -> tuple[Finding, ...]:
        if self._book is None:
            return (checks.not_made("reconcile", "the rows cannot be read"),)
        try:
            report = await self._market.read_positions()
        except READ_ERRORS as error:
            return (checks.not_made("reconcile", str(error)),)
        positions = [each.position for each in self._book.positions]
        return (position_checks.reconcile(positions, report, is_live=self._wish.is_live),)

    async def _quotes(self) -> tuple[Finding, ...]:
        """The legs, and the index with which the monitor proves its feed."""
        booked = () if self._book is None else self._book.positions
        symbols = {leg.instrument.key: leg.instrument.symbol for each in booked for leg in each.position.legs}
        asked = list(dict.fromkeys((NIFTY, *symbols)))[:_MOST_KEYS]
        try:
            quotes: dict[InstrumentKey, Quote] = {x.key: x for x in await self._market.read_quotes(asked)}
        except READ_ERRORS as error:
            return (position_checks.quotes_refused(str(error)),)
        now = ist_datetime(self._clock.utc_ns())
        is_trading_day = self._calendar.is_trading_day(now.date())
        answered = position_checks.quotes_answered(asked, quotes.keys(), {NIFTY: "NIFTY", **symbols})
        if not booked:
            return (answered,)
        return answered, position_checks.levels_now(booked, quotes, now, is_trading_day=is_trading_day)

    async def _feed(self) -> tuple[Finding, ...]:
        wish = self._wish.tries_feed
        if wish is False or (wish is None and self._session.is_open is not True):
            return (checks.feed_left_out(is_asked_not_to=wish is False),)
        access = FeedAccess(self._settings.dhan_feed_url, self._account.client_id, self._token)
        booked = () if self._book is None else self._book.positions
        legs = [leg.instrument.key for each in booked for leg in each.position.legs]
        tried = await try_feed(access, list(dict.fromkeys((NIFTY, *legs)))[:100], FEED_WAIT_S, self._clock)
        return (checks.feed(tried, is_open=self._session.is_open, waited_s=FEED_WAIT_S),)

    async def _order_updates(self) -> tuple[Finding, ...]:
        login = OrderStreamLogin(self._settings.dhan_order_update_url, self._account.client_id, self._token)
        problem = await try_order_updates(login, LOGIN_HOLD_S)
        return (checks.order_updates(problem, is_live=self._wish.is_live),)

    async def _redis(self) -> tuple[Finding, ...]:
        return (checks.redis(await try_redis(self._settings, self._clock)),)


def _calendar(settings: Settings) -> SessionCalendar:
    if settings.market_hours is MarketHours.ALWAYS:
        return AlwaysOpen()
    return load_calendar(settings.market_calendar or TABLE)


def shown(findings: Sequence[Finding]) -> str:
    rows = [(finding.check, finding.verdict.value, finding.found, finding.remedy) for finding in findings]
    return tabulate(rows, ("Check", "Result", "Found", "Remedy"), tablefmt="simple_grid", maxcolwidths=list(_WIDTHS))


def summary(findings: Sequence[Finding]) -> str:
    if checks.fails(findings):
        return "NO-GO: mend what says FAIL, from the top, then run this again."
    unknown = sum(finding.verdict is Verdict.UNKNOWN for finding in findings)
    warned = sum(finding.verdict is Verdict.WARN for finding in findings)
    but = [f"{count} {word}" for count, word in ((warned, "to look at"), (unknown, "not known")) if count]
    return f"GO, with {' and '.join(but)}." if but else "GO."


async def findings_of(settings: Settings, wish: Wish) -> list[Finding]:
    preflight = Preflight(settings, wish)
    try:
        await preflight.run()
    finally:
        await preflight.close()
    return preflight.findings


def main(arguments: Sequence[str]) -> ExitCode:
    given = set(arguments)
    if given - _OPTIONS or {"--feed", "--no-feed"} <= given:
        print(__doc__, file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    tries_feed = True if "--feed" in given else False if "--no-feed" in given else None
    wish = Wish("--live" in given, tries_feed)
    silence_libraries()
    try:
        settings = load_settings(os.environ, ENV_FILE)
        (validate_live if wish.is_live else validate_account)(settings)
        findings = asyncio.run(findings_of(settings, wish))
    except ConfigurationError as error:
        print(error.problem, error.remedy, sep="\n", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    code = ExitCode.REFUSED if checks.fails(findings) else ExitCode.CLEAN
    if "--json" in given:
        found = [asdict(finding) for finding in findings]
        print(json.dumps({"findings": found, "exit_code": int(code)}, ensure_ascii=False, indent=2))
    else:
        print(shown(findings), summary(findings), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
