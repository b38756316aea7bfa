"""The token dies in every way the local exchange knows, under the real feed, order updates and REST: all come back."""

import asyncio
import contextlib
import logging
import time

import pytest

from core.brokers.dhan_auth import AuthPlaces, DhanAuth, MintSecrets
from core.brokers.dhan_broker import DhanBroker
from core.brokers.http_connection import NotSentError, OutcomeUnknownError
from core.clock import SystemClock
from core.dhan.token_facts import Standing
from core.feed_line import FeedAccess, FeedSettings
from core.log_setup import FILE_NAME, set_up_logging
from core.model.commands import Severity
from core.model.errors import DecodeError, RefusedError, TokenError, TransportError
from core.model.instrument import Segment
from core.order_update_stream import OrderStreamLogin, OrderUpdateStream
from core.paper.auth import TokenState, totp_at
from core.paper.options import FeedRefusal, TokenDeath
from core.price_cache import PriceCache
from core.settings_sources import TokenSource
from core.token_keeper import TokenKeeper
from core.websocket_manager import WebSocketManager
from tests.fakes.http_server import json_response, raw_server, replying, silent
from tests.fakes.waiting import eventually

PIN = "707707"
SECRET = "PARROTPARROTPARROTPARROTPARROTPA"
WITHIN_S = 10.0


def auth_of(exchange, *, can_mint=True):
    places = AuthPlaces(exchange.api_url, exchange.auth_url)
    minting = MintSecrets(PIN, SECRET) if can_mint else None
    return DhanAuth(places, exchange.client_id, SystemClock(), minting=minting)


class Account:
    """Feed, order updates and REST of one account, joined to one keeper as the monitor joins them."""

    def __init__(self, exchange, *, can_mint=True, source=None, token=None):
        clock = SystemClock()
        self.exchange = exchange
        self.alerts = []
        self.quotes = 0
        token = token or exchange.access_token
        self.keeper = TokenKeeper(token, auth_of(exchange, can_mint=can_mint), clock, self.alerts.append, source=source)
        access = FeedAccess(exchange.feed_url, exchange.client_id, self.keeper.token, self.keeper.doubt)
        self.feed = WebSocketManager(
            access, PriceCache(), self.on_quote, lambda _: None, clock, settings=FeedSettings()
        )
        login = OrderStreamLogin(exchange.order_update_url, exchange.client_id, self.keeper.token)
        self.updates = OrderUpdateStream(
            login, lambda _: None, lambda: None, clock, on_refused=self.keeper.doubt, alert=self.alerts.append
        )
        self.broker = DhanBroker(exchange.api_url, exchange.client_id, self.keeper.token, clock)
        self.keeper.on_change += [self.feed.token_changed, self.updates.token_changed]

    def on_quote(self, _quote):
        self.quotes += 1

    async def read_positions(self):
        """Whether REST works; a refusal is told as the broker's owner tells it."""
        token = self.keeper.token()
        try:
            await self.broker.read_positions()
        except TokenError as error:
            self.keeper.doubt(str(error), token)
            return False
        return True

    async def until_all_work(self):
        """Seconds until prices flow, order updates are connected with the living token, and REST answers."""
        begun, before = time.monotonic(), self.quotes
        tokens = self.exchange.venue.tokens
        await eventually(lambda: tokens.state(self.keeper.token()) is TokenState.GOOD, WITHIN_S)
        await eventually(lambda: self.feed.is_live and self.quotes > before, WITHIN_S)
        await eventually(lambda: self.updates.status.is_connected, WITHIN_S)
        assert await self.read_positions()
        return time.monotonic() - begun

    def pages(self):
        return [alert.subject for alert in self.alerts if alert.severity is Severity.PAGE]


@contextlib.asynccontextmanager
async def running(exchange, **options):
    exchange.options.pin, exchange.options.totp_secret = PIN, SECRET
    exchange.options.rate_limits = False
    account = Account(exchange, **options)
    await account.keeper.ensure()
    account.feed.set_wanted([key for key in exchange.venue.instruments.by_key if key.segment is Segment.NSE_FNO][:20])
    works = (account.keeper.run(), account.feed.run(), account.updates.run())
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await eventually(lambda: account.feed.is_live and account.updates.status.is_connected)
        yield account
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await account.broker.close()


@pytest.mark.slow
@pytest.mark.parametrize("refusal", list(FeedRefusal))
@pytest.mark.parametrize("kind", ["token_expired", "token_invalidated"])
async def test_f20_a_token_that_dies_in_the_session_is_replaced_and_the_feed_is_back_in_ten_seconds(
    kind, refusal, exchange
):
    async with running(exchange) as account:
        exchange.options.feed_refusal = refusal
        death = TokenDeath.CODE_50 if refusal is FeedRefusal.CODE_50 else TokenDeath.RESET
        exchange.add_fault({"kind": kind, "sockets": death.value})
        assert await account.until_all_work() <= WITHIN_S
        status = account.keeper.status
        assert (status.minted, status.is_dead) == (1, False)
        assert account.pages() == []
        assert any("The token in .env is dead now" in alert.text for alert in account.alerts)


async def test_f20_open_sockets_live_on_and_rest_is_refused_first(exchange):
    async with running(exchange) as account:
        exchange.add_fault({"kind": "token_invalidated", "sockets": "stay"})
        assert not await account.read_positions()
        assert await account.until_all_work() <= WITHIN_S
        assert account.keeper.status.minted == 1


async def test_f20_the_order_update_stream_alone_notices(exchange):
    async with running(exchange) as account:
        exchange.add_fault({"kind": "token_invalidated", "sockets": "stay"})
        exchange.add_fault({"kind": "order_updates_reset"})
        assert await account.until_all_work() <= WITHIN_S


@pytest.mark.slow
async def test_f20_without_pin_a_person_is_paged_and_his_new_token_is_taken_from_the_file(exchange, tmp_path):
    path = tmp_path / "token"
    path.write_text(exchange.access_token)
    path.chmod(0o600)
    source = TokenSource({"DHAN_ACCESS_TOKEN_FILE": str(path)}, None)
    async with running(exchange, can_mint=False, source=source) as account:
        # He makes a new token on the web site: the old one is dead from then on.
        fresh = exchange.venue.tokens.renew()
        exchange.add_fault({"kind": "feed_disconnect", "code": 809})
        await eventually(lambda: account.pages() == ["the access token is dead"], WITHIN_S)
        assert account.keeper.status.is_dead
        path.write_text(f"{fresh}\n")
        assert await account.until_all_work() <= WITHIN_S
        assert account.keeper.status.taken_up == 1


@pytest.mark.parametrize("code", [807, 808, 809, 810])
async def test_f19_a_refusal_of_a_token_that_dhan_accepts_mints_nothing(code, exchange):
    async with running(exchange) as account:
        asked = exchange.log.of("token_asked")
        exchange.add_fault({"kind": "feed_disconnect", "code": code})
        await eventually(lambda: not account.feed.is_live)
        await eventually(lambda: account.feed.is_live, WITHIN_S)
        await eventually(lambda: account.keeper.status.standing is Standing.TRUSTED)
        assert exchange.log.of("token_asked") == asked
        assert account.keeper.status.minted == 0
        assert account.pages() == []


@pytest.mark.slow
async def test_f19_while_the_feed_refuses_nothing_is_hammered(exchange):
    async with running(exchange) as account:
        exchange.add_fault({"kind": "feed_refuse", "code": 809, "seconds": 3})
        exchange.add_fault({"kind": "feed_reset"})
        before = len(exchange.log.of("request"))
        await asyncio.sleep(3)
        assert len(exchange.log.of("request")) - before <= 8
        assert account.keeper.status.minted == 0
        await eventually(lambda: account.feed.is_live)


async def test_a_renewed_token_is_used_by_everyone_and_the_old_one_is_dead(exchange):
    exchange.options.token_validity_s = 3_000
    old = exchange.venue.tokens.renew()
    exchange.options.token_validity_s = 86_400
    async with running(exchange) as account:
        await eventually(lambda: account.keeper.status.renewed == 1)
        assert account.keeper.token() == exchange.access_token != old
        assert await account.read_positions()
        with pytest.raises(TokenError):
            await auth_of(exchange).profile(old)
        exchange.add_fault({"kind": "feed_reset"})
        assert await account.until_all_work() <= WITHIN_S
        assert account.keeper.status.minted == 0


async def test_a_start_with_a_dead_token_mints_one_and_without_pin_is_refused(exchange):
    exchange.options.pin, exchange.options.totp_secret = PIN, SECRET
    dead, _ = exchange.access_token, exchange.venue.tokens.renew()
    keeper = TokenKeeper(dead, auth_of(exchange, can_mint=False), SystemClock(), lambda _: None)
    with pytest.raises(TokenError, match="Invalid Token"):
        await keeper.ensure()
    keeper = TokenKeeper(dead, auth_of(exchange), SystemClock(), lambda _: None)
    await keeper.ensure()
    assert keeper.token() == exchange.access_token
    assert keeper.status.expires_at == exchange.venue.tokens.expiry_s()


async def test_the_token_of_another_client_is_no_token_of_ours(exchange):
    auth = DhanAuth(AuthPlaces(exchange.api_url, exchange.auth_url), "1100000042", SystemClock())
    with pytest.raises(TokenError, match="another client's"):
        await auth.profile(exchange.access_token)


async def test_wrong_pin_and_code_are_refused_by_name(exchange):
    exchange.options.pin, exchange.options.totp_secret = "111111", SECRET
    step = SystemClock().utc_ns() // 1_000_000_000 // 30
    with pytest.raises(RefusedError, match="Invalid Pin or TOTP"):
        await auth_of(exchange).mint(step)
    exchange.options.pin = PIN
    with pytest.raises(RefusedError, match="Invalid Pin or TOTP"):
        await auth_of(exchange).mint(step - 10)
    assert (await auth_of(exchange).mint(step)).access_token == exchange.access_token


def auth_at(port, minting=True):
    places = AuthPlaces(f"http://127.0.0.1:{port}/v2", f"http://127.0.0.1:{port}")
    return DhanAuth(places, "1100000042", SystemClock(), minting=MintSecrets(PIN, SECRET) if minting else None)


async def test_what_goes_over_the_wire():
    answer = json_response('{"dhanClientId":"1100000042","accessToken":"new","expiryTime":"2026-11-21T08:45:12"}')
    async with raw_server(replying(answer)) as server:
        auth = auth_at(server.port)
        assert (await auth.renew("old")).access_token == "new"
        assert (await auth.mint(1)).access_token == "new"
        renewal, mint = server.requests
        assert (renewal.method, renewal.path) == ("GET", "/v2/RenewToken")
        assert (renewal.headers["access-token"], renewal.headers["dhanClientId"]) == ("old", "1100000042")
        # The code by another implementation: the local exchange's own.
        expected = f"/app/generateAccessToken?dhanClientId=1100000042&pin={PIN}&totp={totp_at(SECRET, 30)}"
        assert (mint.method, mint.path, mint.body) == ("POST", expected, b"")
        assert "access-token" not in mint.headers


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_response('{"status":"error","message":"Token can be generated once every 2 minutes."}'), RefusedError),
        (json_response("{}", "502 Bad Gateway"), TransportError),
        (json_response("<html>"), TransportError),
        (json_response('{"dhanClientId":"1100000042"}'), DecodeError),
        (json_response(f'{{"status":"error","message":"pin {PIN} is wrong"}}'), RefusedError),
        (json_response(f'{{"errorCode":"DH-904","errorMessage":"{PIN}"}}', "429 Too Many"), RefusedError),
        (json_response(f'{{"errorCode":"DH-901","errorMessage":"{PIN}"}}', "401 No"), TokenError),
        (json_response(f'{{"errorCode":"800","errorMessage":"{PIN}"}}', "500 Error"), TransportError),
        (f"{PIN} {PIN}\r\n\r\n".encode(), OutcomeUnknownError),
    ],
)
async def test_answers_that_give_no_token_are_errors_without_secrets(answer, error):
    async with raw_server(replying(answer)) as server:
        with pytest.raises(error) as caught:
            await auth_at(server.port).mint(1)
    assert PIN not in str(caught.value)
    assert PIN not in repr(caught.value)


async def test_a_host_that_is_away_is_told_from_one_that_does_not_answer():
    async with raw_server(silent) as server:
        port = server.port
        with pytest.raises(OutcomeUnknownError):
            await auth_at(port).profile("token")
    with pytest.raises(NotSentError):
        await auth_at(port).mint(1)


@pytest.mark.slow
async def test_no_secret_reaches_any_text(exchange, tmp_path, caplog):
    setup = set_up_logging(tmp_path, "DEBUG", screen=None)
    ours = []
    handler = logging.Handler()
    handler.emit = lambda record: ours.append(f"{record.getMessage()} {record.exc_info}")
    for name in ("core", "data_scripts"):
        logging.getLogger(name).addHandler(handler)
    try:
        async with running(exchange) as account:
            first = exchange.access_token
            exchange.add_fault({"kind": "token_invalidated", "sockets": "code_50"})
            await account.until_all_work()
            second = exchange.access_token
            exchange.options.pin = "111111"
            exchange.add_fault({"kind": "token_invalidated", "sockets": "reset"})
            assert not await account.read_positions()
            await eventually(lambda: account.keeper.status.is_dead, WITHIN_S)
            shown = [repr(account.keeper), repr(account.keeper.status), repr(account.keeper._facts())]
            shown += [repr(account.keeper._requests._auth), repr(MintSecrets(PIN, SECRET)), repr(account.alerts)]
    finally:
        for name in ("core", "data_scripts"):
            logging.getLogger(name).removeHandler(handler)
        setup.close()
    texts = [*shown, *ours, (tmp_path / FILE_NAME).read_text()]
    assert any("the access token is dead" in text for text in ours)
    for secret in (PIN, SECRET, first, second, first.split(".")[2], second.split(".")[2]):
        assert [text for text in texts if secret in text] == []
