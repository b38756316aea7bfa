"""The keeper on a manual clock with a broker that has one living token, as Dhan has."""

import asyncio
import base64
import json
import logging

import pytest

from core.brokers.http_connection import NotSentError
from core.dhan.rest_account import IssuedToken, Profile
from core.dhan.token_facts import Standing, TradingSession
from core.market_calendar import AlwaysOpen, load_calendar
from core.model.commands import Severity
from core.model.errors import BugError, RateLimitedError, RefusedError, TokenError, TransportError
from core.settings_sources import FoundTokens
from core.token_keeper import TokenKeeper
from core.trading_sessions import sessions_of
from tests.fakes.manual_clock import ManualClock

DAY = 86_400
CANARY = "canary"


def token_of(number, expires_at):
    payload = base64.urlsafe_b64encode(json.dumps({"exp": expires_at, "jti": number}).encode()).rstrip(b"=").decode()
    return f"{CANARY}.{payload}.{number}"


class FakeDhan:
    """One token works: the one granted last. Knows each code that was sent."""

    def __init__(self, clock):
        self.clock = clock
        self.alive = None
        self.number = 0
        self.can_mint = True
        self.asked = []
        self.errors = []
        self.validity_s = DAY

    @property
    def utc_s(self):
        return self.clock.utc_ns() // 1_000_000_000

    def grant(self):
        self.number += 1
        self.alive = token_of(self.number, self.utc_s + self.validity_s)
        return self.alive

    def _fail(self, what):
        self.asked.append(what)
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error

    async def profile(self, token):
        self._fail("profile")
        if token != self.alive:
            raise TokenError("Dhan answered HTTP 401: DH-906 Invalid Token", "DH-906")
        return Profile("1", self.utc_s + DAY, True, "D")

    async def renew(self, token):
        self._fail("renew")
        if token != self.alive:
            raise TokenError("Dhan answered HTTP 401: DH-906 Invalid Token", "DH-906")
        return IssuedToken("1", self.grant(), None)

    async def mint(self, step):
        assert step == self.utc_s // 30
        self._fail(("mint", step))
        return IssuedToken("1", self.grant(), None)

    def count(self, what):
        return sum(each == what or each[0] == what for each in self.asked)


class FakeSource:
    def __init__(self):
        self.found = FoundTokens((), ())

    def look(self):
        return self.found

    def put(self, *tokens, problems=()):
        self.found = FoundTokens(tokens, problems)


class Rig:
    def __init__(self, token="granted", sessions=(), can_mint=True):
        self.clock = ManualClock()
        self.dhan = FakeDhan(self.clock)
        self.dhan.can_mint = can_mint
        self.source = FakeSource()
        self.alerts = []
        self.first = self.dhan.grant() if token == "granted" else token
        self.changes = 0
        self.sessions = sessions
        self.keeper = TokenKeeper(
            self.first,
            self.dhan,
            self.clock,
            self.alerts.append,
            source=self.source,
            sessions=lambda _: self.sessions,
            sleep=self.sleep,
        )
        self.keeper.on_change.append(self.changed)

    def changed(self):
        self.changes += 1

    async def sleep(self, seconds):
        self.clock.pass_seconds(seconds)

    async def live(self, seconds):
        """What `run` does, with the waits as steps of the clock."""
        end = self.clock.monotonic + int(seconds * 1e9)
        while self.clock.monotonic < end:
            wait_s = await self.keeper.advance()
            self.clock.pass_seconds(min(wait_s, (end - self.clock.monotonic) / 1e9))

    def told(self, severity):
        return [alert.subject for alert in self.alerts if alert.severity is severity]


async def started(**options):
    rig = Rig(**options)
    await rig.keeper.ensure()
    rig.dhan.asked.clear()
    return rig


async def test_a_good_token_is_proved_at_the_start_and_then_left_alone():
    rig = Rig()
    await rig.keeper.ensure()
    assert rig.dhan.asked == ["profile"]
    await rig.live(3_600)
    assert rig.dhan.asked == ["profile"]
    assert rig.keeper.token() == rig.first
    assert rig.alerts == []
    assert rig.changes == 0


async def test_no_token_but_pin_and_totp_mints_one():
    rig = Rig(token=None)
    with pytest.raises(BugError):
        rig.keeper.token()
    assert rig.keeper.status.is_dead
    await rig.keeper.ensure()
    assert rig.keeper.token() == rig.dhan.alive
    assert rig.keeper.status.minted == 1
    (alert,) = rig.alerts
    assert ".env is dead" not in alert.text


@pytest.mark.parametrize("expires_in", [-60, 3_600])
async def test_an_expired_or_refused_token_is_minted_anew_at_the_start(expires_in):
    rig = Rig()
    dead = token_of(99, rig.dhan.utc_s + expires_in)
    rig.keeper = TokenKeeper(dead, rig.dhan, rig.clock, rig.alerts.append)
    await rig.keeper.ensure()
    assert rig.keeper.token() == rig.dhan.alive != dead
    assert "The token in .env is dead now: the next start mints another." in rig.alerts[0].text


@pytest.mark.parametrize("token", [None, "a.b.c"])
async def test_without_a_token_and_without_pin_the_start_is_refused(token):
    rig = Rig(token=token, can_mint=False)
    rig.source.put("other")
    with pytest.raises(TokenError, match="no token is configured" if token is None else "Invalid Token"):
        await rig.keeper.ensure()


async def test_a_broker_that_cannot_be_reached_ends_the_start_as_it_did():
    rig = Rig()
    rig.dhan.errors = [TransportError("expected an answer in time")]
    with pytest.raises(TransportError, match="expected an answer"):
        await rig.keeper.ensure()
    rig = Rig(token=None)
    rig.dhan.errors = [NotSentError("expected a connection to auth")]
    with pytest.raises(NotSentError, match="auth"):
        await rig.keeper.ensure()


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("Dhan answered HTTP 200:  Token can be generated once every 2 minutes."),
        RateLimitedError("Dhan answered HTTP 429: DH-904"),
    ],
)
async def test_a_restart_right_after_a_mint_waits_for_its_two_minutes(error):
    rig = Rig(token=None)
    rig.dhan.errors = [error]
    begun = rig.clock.monotonic
    await rig.keeper.ensure()
    assert 120 < (rig.clock.monotonic - begun) / 1e9 < 160
    assert rig.dhan.count("mint") == 2


async def test_wrong_pin_or_secret_is_tried_twice_with_two_codes_and_then_named():
    rig = Rig(token=None)
    rig.dhan.errors = [RefusedError("Dhan answered HTTP 400:  Invalid Pin or TOTP")] * 9
    with pytest.raises(
        TokenError, match=r"Invalid Pin or TOTP\. Check DHAN_PIN, DHAN_TOTP_SECRET and this machine's clock"
    ):
        await rig.keeper.ensure()
    assert len(set(rig.dhan.asked)) == len(rig.dhan.asked) == 2


async def test_an_old_token_is_no_news():
    rig = await started()
    rig.keeper.doubt("401", "an older one")
    await rig.live(20)
    assert rig.dhan.asked == []


async def test_a_token_that_dhan_accepts_was_refused_for_another_reason():
    rig = await started()
    for _ in range(50):
        rig.keeper.doubt("connection dropped", rig.first)
    assert rig.keeper.status.standing is Standing.DOUBTED
    await rig.live(20)
    assert rig.dhan.asked == ["profile"]
    assert rig.keeper.token() == rig.first
    assert rig.alerts == []
    assert rig.changes == 0


async def test_an_unreachable_broker_proves_nothing():
    rig = await started()
    rig.keeper.doubt("401", rig.first)
    rig.dhan.errors = [TransportError("no answer"), RefusedError("429"), NotSentError("no route")]
    await rig.live(20)
    assert rig.dhan.asked == ["profile"] * 4
    assert rig.keeper.token() == rig.first
    assert rig.alerts == []


async def test_f20_a_dead_token_is_replaced_at_once_and_everybody_is_told():
    rig = await started()
    rig.dhan.alive = None
    rig.keeper.doubt("disconnect 807", rig.first)
    begun = rig.clock.monotonic
    await rig.live(3)
    assert rig.dhan.asked[0] == "profile"
    assert rig.dhan.count("mint") == 1
    assert rig.keeper.token() == rig.dhan.alive
    assert rig.changes == 1
    assert rig.clock.monotonic - begun <= 3_000_000_000
    assert rig.told(Severity.INFO) == ["a new access token is in place"]
    assert rig.told(Severity.PAGE) == []


async def test_the_dead_token_in_the_env_file_is_told_once():
    rig = await started()
    for _ in range(2):
        rig.dhan.alive = None
        rig.keeper.doubt("807", rig.keeper.token())
        await rig.live(300)
    assert rig.keeper.status.minted == 2
    assert [".env is dead" in alert.text for alert in rig.alerts] == [True, False]


async def test_the_dead_token_that_still_stands_in_the_file_is_not_tried_again():
    rig = await started()
    rig.source.put(rig.first)
    rig.dhan.alive = None
    rig.keeper.doubt("807", rig.first)
    await rig.live(60)
    rig.dhan.asked.clear()
    rig.keeper.doubt("dropped", rig.keeper.token())
    await rig.live(60)
    assert rig.dhan.asked == ["profile"]
    assert rig.told(Severity.WARNING) == []


async def test_without_pin_a_dead_token_is_paged_once_and_a_fresh_one_is_taken_up():
    rig = await started(can_mint=False)
    rig.source.put(rig.first)
    rig.dhan.alive = None
    rig.keeper.doubt("401", rig.first)
    await rig.live(120)
    (page,) = rig.alerts
    assert (page.severity, page.subject) == (Severity.PAGE, "the access token is dead")
    assert "DHAN_ACCESS_TOKEN_FILE" in page.text
    assert rig.keeper.status.is_dead
    assert rig.keeper.token() == rig.first
    rig.source.put(rig.dhan.grant())
    await rig.live(2)
    assert rig.keeper.token() == rig.dhan.alive
    assert rig.changes == 1
    assert rig.keeper.status.taken_up == 1
    assert ".env is dead" not in rig.alerts[-1].text
    # A second episode is told again.
    rig.dhan.alive = None
    rig.keeper.doubt("401", rig.keeper.token())
    await rig.live(10)
    assert len(rig.told(Severity.PAGE)) == 2


async def test_at_night_nobody_is_woken_and_an_hour_before_the_opening_somebody_is():
    rig = await started(can_mint=False)
    opening = rig.dhan.utc_s + 2 * 3_600
    rig.sessions = (TradingSession(opening, opening + 20_000),)
    rig.dhan.alive = None
    rig.keeper.doubt("401", rig.first)
    await rig.live(3_500)
    assert (rig.told(Severity.WARNING), rig.told(Severity.PAGE)) == (["the access token is dead"], [])
    await rig.live(200)
    assert rig.told(Severity.PAGE) == ["the access token is dead"]


async def test_a_dead_token_that_is_accepted_again_is_used_again():
    rig = await started(can_mint=False)
    rig.dhan.alive = None
    rig.keeper.doubt("401", rig.first)
    await rig.live(5)
    rig.dhan.alive = rig.first
    await rig.live(31)
    assert rig.keeper.status.standing is Standing.TRUSTED
    assert rig.alerts[-1].subject == "the access token works again"
    assert rig.changes == 1


async def test_the_operators_new_token_is_taken_and_not_minted_over():
    rig = await started()
    rig.source.put(fresh := rig.dhan.grant())
    rig.keeper.doubt("401", rig.first)
    await rig.live(3)
    assert rig.keeper.token() == fresh
    assert rig.dhan.count("mint") == 0


async def test_a_later_token_in_the_file_is_taken_although_nobody_was_refused():
    rig = await started()
    rig.clock.pass_seconds(60)
    rig.source.put(fresh := rig.dhan.grant())
    await rig.live(6)
    assert rig.keeper.token() == fresh
    assert rig.told(Severity.PAGE) == []


async def test_a_bad_token_in_the_file_is_refused_once_and_displaces_nothing():
    rig = await started()
    rig.source.put(token_of(77, rig.dhan.utc_s + 2 * DAY))
    await rig.live(60)
    assert rig.keeper.token() == rig.first
    assert rig.dhan.asked == ["profile"]
    assert rig.told(Severity.WARNING) == ["the new access token is refused"]


async def test_a_new_token_is_waited_for_while_dhan_cannot_be_reached():
    rig = await started()
    rig.keeper.doubt("401", rig.first)
    rig.source.put(fresh := rig.dhan.grant())
    rig.dhan.errors = [TransportError("no answer")] * 3
    await rig.live(10)
    assert rig.keeper.token() == fresh
    assert rig.dhan.count("mint") == 0


async def test_a_fight_over_the_account_ends_with_a_page_and_five_mints_an_hour():
    rig = await started()
    for _ in range(400):
        rig.dhan.alive = None
        rig.keeper.doubt("401", rig.keeper.token())
        await rig.live(9)
    assert rig.dhan.count("mint") == 5
    assert rig.told(Severity.PAGE)[-1] == "another program mints tokens for this account"
    assert len(rig.told(Severity.PAGE)) <= 6
    await rig.live(3_600)
    assert rig.dhan.count("mint") == 6


async def test_ten_seconds_without_a_new_token_are_paged():
    rig = await started()
    await rig.live(60)
    rig.dhan.alive = None
    rig.dhan.errors = [None] + [NotSentError("expected a connection to auth")] * 3
    rig.keeper.doubt("401", rig.first)
    await rig.live(9)
    assert rig.told(Severity.PAGE) == []
    await rig.live(2)
    assert rig.told(Severity.PAGE) == ["the access token is dead"]
    await rig.live(30)
    assert rig.keeper.token() == rig.dhan.alive
    assert len(rig.keeper._requests.mints) == 1, "what was not sent is not remembered for long"


async def test_a_token_is_renewed_an_hour_before_it_dies_and_lives_on_for_days():
    rig = await started()
    await rig.live(DAY - 3_605)
    assert rig.dhan.asked == []
    await rig.live(10)
    assert rig.dhan.asked == ["renew"]
    assert rig.keeper.token() == rig.dhan.alive != rig.first
    assert "The token in .env is dead now" in rig.alerts[-1].text
    await rig.live(DAY)
    assert rig.dhan.asked == ["renew"] * 2
    assert rig.keeper.status.renewed == 2
    assert [".env is dead" in alert.text for alert in rig.alerts] == [True, False]


async def test_a_renewal_with_a_lost_answer_is_looked_into():
    """Dhan renewed, the answer was lost: the old token is dead and nobody has the new one."""
    rig = await started()
    await rig.live(DAY - 3_605)
    rig.dhan.errors = [TransportError("no answer")]
    rig.dhan.alive = None
    await rig.live(20)
    assert rig.dhan.asked[:2] == ["renew", "profile"]
    assert rig.dhan.count("mint") == 1
    assert rig.keeper.token() == rig.dhan.alive


async def test_a_refused_renewal_without_pin_warns_in_time_and_is_not_repeated():
    rig = await started(can_mint=False)
    await rig.live(DAY - 3_605)
    rig.dhan.errors = [RefusedError("DH-905: only tokens from the web site")]
    await rig.live(1_800)
    assert rig.dhan.asked == ["renew", "profile"]
    (alert,) = rig.alerts
    assert (alert.severity, alert.subject) == (Severity.WARNING, "the access token ends soon")


async def test_a_renewal_that_gives_no_more_time_is_not_hammered():
    rig = await started()
    rig.dhan.validity_s = 600
    await rig.live(DAY - 600)
    assert rig.dhan.count("renew") < 12


async def test_a_token_that_dies_in_the_session_is_told_at_the_start():
    rig = Rig(can_mint=False)
    now = rig.dhan.utc_s
    rig.sessions = (TradingSession(now - 60, now + 2 * DAY),)
    await rig.keeper.ensure()
    assert rig.told(Severity.WARNING) == ["the access token dies during the session"]
    rig = Rig()
    rig.sessions = (TradingSession(now - 60, now + 2 * DAY),)
    await rig.keeper.ensure()
    assert rig.alerts == []


async def test_a_token_older_than_this_clock_thinks_is_used_as_long_as_dhan_takes_it():
    rig = await started()
    rig.dhan.errors = [None]
    expired = token_of(5, rig.dhan.utc_s - 60)
    rig.dhan.alive = expired
    rig.keeper = TokenKeeper(expired, rig.dhan, rig.clock, rig.alerts.append)
    await rig.keeper.ensure()
    assert rig.keeper.token() == expired
    assert rig.told(Severity.WARNING) == ["the clock may be wrong"]
    assert rig.keeper.status.expires_at == rig.dhan.utc_s + DAY


async def test_the_source_s_problems_are_logged_at_the_second_look_and_once(caplog):
    rig = await started()
    rig.source.put(problems=("it is readable by others",))
    with caplog.at_level(logging.WARNING):
        await rig.live(6)
        assert "readable" not in caplog.text
        await rig.live(60)
    assert caplog.text.count("readable") == 1
    rig.source.put()
    await rig.live(10)
    rig.source.put(problems=("it is readable by others",))
    with caplog.at_level(logging.WARNING):
        await rig.live(20)
    assert caplog.text.count("readable") == 2


async def test_doubts_wake_the_running_task():
    rig = Rig()
    await rig.keeper.ensure()
    task = asyncio.create_task(rig.keeper.run())
    await asyncio.sleep(0.05)
    rig.dhan.alive = None
    rig.keeper.doubt("807", rig.first)
    async with asyncio.timeout(1):
        while rig.keeper.token() == rig.first:
            rig.clock.pass_seconds(2)
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_secret_in_any_text(caplog):
    caplog.set_level(logging.DEBUG)
    rig = await started()
    rig.source.put(token_of(77, rig.dhan.utc_s + 2 * DAY), problems=("p", "p"))
    await rig.live(20)
    rig.dhan.alive = None
    rig.keeper.doubt("401", rig.first)
    await rig.live(10)
    rig.dhan.alive = None
    rig.dhan.errors = [None] + [RefusedError("Invalid Pin")] * 9
    rig.keeper.doubt("401", rig.keeper.token())
    await rig.live(400)
    texts = [repr(rig.keeper), repr(rig.keeper.status), caplog.text, repr(rig.alerts), repr(rig.keeper._facts())]
    assert rig.told(Severity.PAGE)
    assert [text for text in texts if CANARY in text] == []


def test_sessions_come_from_the_calendar():
    sessions = sessions_of(load_calendar())
    friday = 1_795_146_300  # 20 Nov 2026, 09:15 IST
    ahead = sessions(friday + 3_600)
    assert ahead[0] == TradingSession(friday, friday + 23_100)
    assert ahead[1].start > friday + 2 * DAY
    assert sessions(friday + 23_100)[0] == ahead[1]
    assert sessions(friday + 300 * DAY) == ()
    assert sessions_of(AlwaysOpen())(friday) == ()
