"""Every option with its unit, bounds and default. The environment name of an option is its field name in capitals.

The description finishes the sentence "Set X to …" of an error message.
"""

from __future__ import annotations

import base64
import itertools
import re
from datetime import time
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr

ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder of realtime_automated_monitor.py. Relative paths start here, whatever the current directory."""

_LEAST_TOTP_CHARACTERS: Final = 16
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


class MarketHours(StrEnum):
    CALENDAR = "calendar"
    ALWAYS = "always"


class MintTokens(StrEnum):
    """Which runs may make access tokens from PIN and TOTP. Every new one kills the one before, in every program."""

    LIVE = "live"
    ALWAYS = "always"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _clock(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _CLOCK.fullmatch(value.strip())
    if found is None:
        raise ValueError("expected a clock time hh:mm or hh:mm:ss")
    hour, minute, second = (int(part or 0) for part in found.groups())
    return time(hour, minute, second)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _rising(rungs: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in itertools.pairwise(rungs)):
        raise ValueError("expected each offset to be larger than the one before")
    return rungs


def _under_root(path: Path) -> Path:
    return ROOT / path.expanduser()


def _web(url: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url) is None:
        raise ValueError("expected http:// or https:// and a host")
    return url.rstrip("/")


def _safe_for_keys(url: str) -> str:
    """The project's own address. Plain http would show the key to every machine on the way: only near ones may have it."""
    url = url.removesuffix("/rest/v1")
    if "@" in urlsplit(url).netloc:
        raise ValueError("expected no user and no password in the address")
    if url.startswith("https://") or _is_near(urlsplit(url).hostname or ""):
        return url
    raise ValueError("expected https://, plain http only on this machine or a private network")


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        # A name without a dot is one of this machine or of its own network.
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))


def _socket(url: str) -> str:
    if re.fullmatch(r"wss?://[^\s/?#]+[^\s?#]*", url) is None:
        raise ValueError("expected ws:// or wss:// and a host")
    return url


def _master(place: str) -> str:
    return _web(place) if "://" in place else str(_under_root(Path(place)))


def _pin(secret: SecretStr) -> SecretStr:
    """Dhan's documents say six digits; accounts with shorter ones exist."""
    if re.fullmatch(r"[0-9]{4,8}", secret.get_secret_value()) is None:
        raise ValueError("expected only digits, four to eight of them")
    return secret


def _base32(secret: SecretStr) -> SecretStr:
    """As it is copied from a screen: in groups, in small letters, with padding. Shorter than 16 is a code, not the secret."""
    text = re.sub(r"[\s-]", "", secret.get_secret_value()).rstrip("=").upper()
    if len(text) < _LEAST_TOTP_CHARACTERS:
        raise ValueError(f"expected at least {_LEAST_TOTP_CHARACTERS} characters: the secret, not one of its codes")
    try:
        base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise ValueError("expected base32 text: letters A to Z and digits 2 to 7") from None
    return SecretStr(text)


def _header_safe(secret: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", secret.get_secret_value()) is None:
        raise ValueError("expected printable ASCII without blanks")
    return secret


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(gt=0, le=86_400_000)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Percent = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=0, le=3_650)]
ClockTime = Annotated[time, BeforeValidator(_clock)]
Rungs = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=10_000)], ...],
    BeforeValidator(_split),
    AfterValidator(_rising),
    Field(min_length=1, max_length=20),
]
LocalPath = Annotated[Path, AfterValidator(_under_root)]
WebUrl = Annotated[str, AfterValidator(_web)]
SocketUrl = Annotated[str, AfterValidator(_socket)]
Secret = Annotated[SecretStr, AfterValidator(_header_safe)]
PinSecret = Annotated[SecretStr, AfterValidator(_pin)]
TotpSecret = Annotated[SecretStr, AfterValidator(_base32)]
AccountId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Profile = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
SqlName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class PlaceOptions(BaseModel):
    """Accounts, addresses, files."""

    dhan_client_id: AccountId | None = Field(None, description="your Dhan client id")
    dhan_access_token: Secret | None = Field(None, description="the access token from Dhan's web site")
    dhan_pin: PinSecret | None = Field(None, description="the digits of your Dhan PIN")
    dhan_totp_secret: TotpSecret | None = Field(
        None, description="the secret (base32) that Dhan showed when TOTP was set up"
    )
    dhan_mint_tokens: Annotated[MintTokens, BeforeValidator(_lower)] = Field(
        MintTokens.LIVE, description="live (only --execute makes tokens) or always"
    )
    dhan_api_url: WebUrl = Field("https://api.dhan.co/v2", description="the REST address, with /v2")
    dhan_feed_url: SocketUrl = Field("wss://api-feed.dhan.co", description="the market feed's ws:// address")
    dhan_order_update_url: SocketUrl = Field("wss://api-order-update.dhan.co", description="the ws:// address")
    dhan_auth_url: WebUrl = Field("https://auth.dhan.co", description="the host of /app/generateAccessToken")
    dhan_instruments: Annotated[str, AfterValidator(_master)] = Field(
        "https://images.dhan.co/api-data/api-scrip-master-detailed.csv", description="a URL or a path of the CSV file"
    )
    instruments_max_age_days: Annotated[int, Field(ge=1, le=3_650)] = Field(
        35, description="the days after which a kept instrument master is too old to start with, 1 to 3650"
    )
    live_trading_account: AccountId | None = Field(None, description="the same text as DHAN_CLIENT_ID")
    supabase_url: Annotated[WebUrl, AfterValidator(_safe_for_keys)] | None = Field(
        None, description="the project's https:// address"
    )
    supabase_key: Secret | None = Field(None, description="the project's service role, secret, anon or publishable key")
    supabase_role_token: Secret | None = Field(None, description="a signed token of the role exit_monitor")
    supabase_schema: SqlName = Field("public", description="the schema that holds the trade tables")
    supabase_trades_table: SqlName = Field("trades", description="a table name")
    supabase_strategies_table: SqlName = Field("strategies", description="a table name")
    supabase_risks_table: SqlName = Field("strategy_risk_management", description="a table name")
    supabase_levels_table: SqlName = Field("strategy_exit_levels", description="a table name")
    supabase_monitoring_table: SqlName = Field("strategy_monitoring", description="a table name")
    supabase_details_table: SqlName = Field("strategy_details", description="a table name")
    supabase_timeout_s: Annotated[float, Field(ge=1, le=30, allow_inf_nan=False)] = Field(
        5.0, description="seconds for one request, 1 to 30"
    )
    supabase_reread_s: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = Field(
        30.0, description="seconds between full re-reads while changes arrive, 1 to 300"
    )
    supabase_poll_s: Annotated[float, Field(ge=0.5, le=60, allow_inf_nan=False)] = Field(
        3.0, description="seconds between full re-reads while changes may go unseen, 0.5 to 60"
    )
    supabase_canary_s: Annotated[float, Field(ge=0.5, le=60, allow_inf_nan=False)] = Field(
        1.5, description="seconds between two beats of the canary, 0.5 to 60"
    )
    trades_db: LocalPath = Field(ROOT / "logs" / "trades.db", description="the path of the SQLite file with the trades")
    redis_url: Secret | None = Field(None, description="redis://host:port/number")
    redis_host: str | None = Field(None, pattern=r"^\S+$", description="a host name")
    redis_port: Annotated[int, Field(ge=1, le=65_535)] = Field(6379, description="a port number")
    redis_warm_s: Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)] = Field(
        15.0, description="seconds up to which a price kept in Redis may be shown after a start, 0 to 300"
    )
    state_dir: LocalPath = Field(ROOT / "logs", description="a folder on a local disk that only this monitor uses")
    log_dir: LocalPath = Field(ROOT / "logs", description="a folder")
    record_dir: LocalPath | None = Field(None, description="a folder for recordings of the feed, or leave it out")
    market_hours: Annotated[MarketHours, BeforeValidator(_lower)] = Field(
        MarketHours.CALENDAR, description="calendar or always"
    )
    market_calendar: LocalPath | None = Field(None, description="a CSV file laid out as core/nse_calendar.csv")
    decision_log_days: Annotated[int, Field(ge=0, le=365)] = Field(
        5, description="days for which comparisons are kept for --why, 0 to 365; 0 records none"
    )
    decision_sample_s: Annotated[float, Field(ge=1, le=3_600, allow_inf_nan=False)] = Field(
        5.0, description="seconds between two recorded comparisons of a calm position, 1 to 3600"
    )
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        LogLevel.INFO, description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(LogFormat.TEXT, description="text or json")


class OrderOptions(BaseModel):
    """The order desk: pace, price ladder, time-outs, budgets."""

    absence_quarantine_s: Annotated[float, Field(ge=5, le=600, allow_inf_nan=False)] = Field(
        8.0, description="seconds, at least 5, before an order that cannot be found counts as absent"
    )
    orders_per_second: Annotated[int, Field(ge=1, le=10)] = Field(8, description="orders a second, 1 to 10")
    position_max_age_ms: Milliseconds = Field(500, description="milliseconds since the broker's positions were read")
    ladder_rungs_bps: Rungs = Field(
        (0, 50, 150, 400, 1_000), description="rising offsets in basis points beyond the best opposite price"
    )
    ladder_ioc_rounds: Count = Field(6, description="rounds of IOC orders before one DAY order")
    rung_interval_ms: Milliseconds = Field(300, description="milliseconds between two rounds of the ladder")
    attempts_per_leg_per_minute: Count = Field(12, description="orders for one leg in a minute")
    attempts_per_leg_per_day: Count = Field(60, description="orders for one leg in a day")
    working_max_ms: Milliseconds = Field(2_000, description="milliseconds an order may work before it is cancelled")
    order_connect_timeout_s: Seconds = Field(1.0, description="seconds to connect to the broker")
    order_timeout_s: Seconds = Field(2.5, description="seconds for a whole order request")
    intraday_last_send: ClockTime = Field(time(15, 18), description="a clock time hh:mm[:ss] (IST)")
