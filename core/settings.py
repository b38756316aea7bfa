"""Every option of the program, read once, validated once, frozen. Secrets are hidden in every repr and dump."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.model.errors import ConfigurationError
from core.settings_exits import ExitOptions
from core.settings_fields import ROOT, LogFormat, LogLevel, MarketHours, OrderOptions, PlaceOptions
from core.settings_limits import LimitOptions
from core.settings_sources import gather

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "ENV_FILE",
    "ROOT",
    "CategoryDefaults",
    "LogFormat",
    "LogLevel",
    "MarketHours",
    "Settings",
    "load_settings",
    "validate_account",
    "validate_live",
]

ENV_FILE: Final = ROOT / ".env"
_OF_ONE_STRATEGY: Final = {"exit_profiles": "EXIT_PROFILE_", "exit_overrides": "EXIT_OVERRIDE_"}
"""Options with one variable for each strategy id."""


@dataclass(frozen=True, slots=True)
class CategoryDefaults:
    """The operator's numbers for one category. What each percent is of, the category's profile in strategies/ says."""

    target_percent: float
    stop_percent: float
    dte_days: int


class Settings(PlaceOptions, ExitOptions, LimitOptions, OrderOptions, BaseSettings):
    """All options. Build it with `load_settings`; change one with `model_copy(update=…)`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the base class fixes the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gathered: the process environment is an argument there, not a hidden input."""
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.dhan_pin is not None and self.dhan_totp_secret is None:
            raise ValueError("DHAN_PIN is set and DHAN_TOTP_SECRET is not")
        if self.dhan_totp_secret is not None and self.dhan_pin is None:
            raise ValueError("DHAN_TOTP_SECRET is set and DHAN_PIN is not")
        if self.supabase_url is not None and self.supabase_key is None:
            raise ValueError("SUPABASE_URL is set and SUPABASE_KEY is not")
        if self.supabase_key is not None and self.supabase_url is None:
            raise ValueError("SUPABASE_KEY is set and SUPABASE_URL is not")
        if self.supabase_role_token is not None and self.supabase_url is None:
            raise ValueError("SUPABASE_ROLE_TOKEN is set and SUPABASE_URL is not")
        if self.redis_url is not None and self.redis_host is not None:
            raise ValueError("REDIS_URL and REDIS_HOST are both set")
        if self.order_connect_timeout_s > self.order_timeout_s:
            raise ValueError("ORDER_CONNECT_TIMEOUT_S is longer than ORDER_TIMEOUT_S")
        if 0 < self.exit_adjust_last_percent <= self.exit_adjust_first_percent:
            raise ValueError("EXIT_ADJUST_LAST_PERCENT is not more than EXIT_ADJUST_FIRST_PERCENT")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no log may show."""
        hidden = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in hidden if isinstance(value, SecretStr))

    def category_defaults(self, category: str) -> CategoryDefaults:
        """The numbers of a category by its name in strategies/: directional, neutral, advanced, volatility or income."""
        return CategoryDefaults(
            target_percent=getattr(self, f"exit_{category}_target_percent"),
            stop_percent=getattr(self, f"exit_{category}_stop_percent"),
            dte_days=getattr(self, f"exit_{category}_dte_days"),
        )


def load_settings(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    """Environment, then `env_file` (may be absent), then defaults.

    Raises ConfigurationError: what is wrong and how to mend it, naming the variable and never a secret.
    """
    names = [name.upper() for name in Settings.model_fields]
    values: Any = gather(environ, env_file, names)
    try:
        return Settings(**values)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=True)
        problem, remedy = _explained(first, values)
        more = f" ({len(others)} more after this one.)" if others else ""
    raise ConfigurationError(problem, remedy + more)


def validate_account(settings: Settings) -> None:
    """Raise ConfigurationError unless there is an account to watch: client id, and a token or what mints one."""
    if settings.dhan_client_id is None:
        raise ConfigurationError(
            "DHAN_CLIENT_ID is not set.", "Put your Dhan client id into .env or the environment, or try --demo."
        )
    # PIN and TOTP secret are set together or not at all.
    if settings.dhan_access_token is None and settings.dhan_pin is None:
        raise ConfigurationError(
            "DHAN_ACCESS_TOKEN is not set, and neither are DHAN_PIN and DHAN_TOTP_SECRET, which could mint one.",
            "Put the token into .env, or name a file with DHAN_ACCESS_TOKEN_FILE, or set PIN and TOTP secret.",
        )


def validate_live(settings: Settings) -> None:
    """Raise ConfigurationError unless real orders were asked for twice: the account typed out must be the client id."""
    validate_account(settings)
    if settings.live_trading_account is None:
        raise ConfigurationError(
            "--execute sends real orders and LIVE_TRADING_ACCOUNT is not set.",
            "Set LIVE_TRADING_ACCOUNT to the value of DHAN_CLIENT_ID to allow it, or leave out --execute.",
        )
    if settings.live_trading_account != settings.dhan_client_id:
        raise ConfigurationError(
            f"LIVE_TRADING_ACCOUNT is {settings.live_trading_account} and DHAN_CLIENT_ID is {settings.dhan_client_id}.",
            "Make them the same account, or leave out --execute.",
        )


def _without_login(text: str) -> str:
    """Addresses are pasted with a user and a password in them."""
    return re.sub(r"(://)[^/?#\s]*@", r"\1***@", text)


def _explained(error: ErrorDetails, values: Mapping[str, object]) -> tuple[str, str]:
    problem = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"{problem}.", "Change one of the two; .env.example describes both."
    field = str(error["loc"][0])
    about = Settings.model_fields.get(field)
    meaning = "a valid value" if about is None else about.description
    of_one = _OF_ONE_STRATEGY.get(field)
    variable = field.upper() if of_one is None else f"{of_one}{error['loc'][1]}"
    given = values.get(field) if of_one is None else error["input"]
    is_secret = about is not None and "Secret" in str(about.annotation)
    received = "" if is_secret else f" (it is {_without_login(str(given))[:60]!r})"
    return f"{variable}: {problem[:1].lower()}{problem[1:]}{received}.", f"Set {variable} to {meaning}."
