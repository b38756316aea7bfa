"""The options of exits: when a quote is believed, what the operator sets for all positions or for one, the category defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from core.exits.level_sources import Technical
from core.exits.override_text import parse_override
from core.settings_fields import ClockTime, Days, Milliseconds, Percent, Profile, Seconds


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _readable(text: str) -> str:
    parse_override(text)
    return text


OverrideText = Annotated[str, AfterValidator(_readable)]
"""As it was typed; it is known to be readable."""
Share = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]


class ExitOptions(BaseModel):
    """When a quote is believed, when an exit fires, and the defaults where the database has no level."""

    mark_stale_s: Seconds = Field(5.0, description="seconds without data after which a price counts as stale")
    quiet_verify_s: Seconds = Field(30.0, description="seconds after which a quiet price is verified over REST")
    stop_confirm_max_ms: Milliseconds = Field(1_000, description="milliseconds a suspect breach may wait")
    hard_stop_multiple: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = Field(
        1.5, description="a multiple of the stop, at least 1"
    )
    leg_settle_ms: Milliseconds = Field(100, description="milliseconds for the legs of a spread to settle")
    underlying_still_s: Seconds = Field(
        120.0, description="seconds after which an underlying that stands still while its options move counts as frozen"
    )
    square_off_intraday: ClockTime | None = Field(None, description="a clock time hh:mm[:ss] (IST), or leave it out")
    square_off_margin: ClockTime | None = Field(None, description="a clock time hh:mm[:ss] (IST), or leave it out")
    square_off_cnc: ClockTime | None = Field(None, description="a clock time hh:mm[:ss] (IST), or leave it out")
    square_off_mtf: ClockTime | None = Field(None, description="a clock time hh:mm[:ss] (IST), or leave it out")
    default_profile: Profile | None = Field(None, description="the name of a profile in strategies/")
    exit_profiles: dict[int, Profile] = Field(default_factory=dict, description="the name of a profile in strategies/")
    exit_overrides: dict[int, OverrideText] = Field(
        default_factory=dict, description="levels such as stop=5000; target=30%; dte=2 (.env.example has them all)"
    )
    exit_longest_holding_days: Annotated[int, Field(ge=1, le=3_650)] | None = Field(
        None, description="days, 1 to 3650, or leave it out"
    )
    exit_adjust_first_percent: Share = Field(25.0, description="percent of the net premium; 0 is no warning")
    exit_adjust_last_percent: Share = Field(50.0, description="percent of the net premium, more than the first")
    technical_levels: Annotated[Technical, BeforeValidator(_lower)] = Field(
        Technical.ALERT, description="alert, close or off"
    )

    exit_directional_target_percent: Percent = Field(50.0, description="percent of the maximum profit")
    exit_directional_stop_percent: Percent = Field(50.0, description="percent of the maximum loss")
    exit_directional_dte_days: Days = Field(7, description="days to expiry")
    exit_neutral_target_percent: Percent = Field(25.0, description="percent of the maximum profit")
    exit_neutral_stop_percent: Percent = Field(50.0, description="percent of the maximum loss")
    exit_neutral_dte_days: Days = Field(21, description="days to expiry")
    exit_advanced_target_percent: Percent = Field(25.0, description="percent of the maximum profit")
    exit_advanced_stop_percent: Percent = Field(50.0, description="percent of the maximum loss")
    exit_advanced_dte_days: Days = Field(21, description="days to expiry")
    exit_volatility_target_percent: Percent = Field(75.0, description="percent of the maximum profit")
    exit_volatility_stop_percent: Percent = Field(50.0, description="percent of the premium")
    exit_volatility_dte_days: Days = Field(10, description="days to expiry")
    exit_income_target_percent: Percent = Field(50.0, description="percent of the credit")
    exit_income_stop_percent: Percent = Field(200.0, description="percent of the credit")
    exit_income_dte_days: Days = Field(21, description="days to expiry")
    exit_trailing_distance_percent: Percent = Field(10.0, description="percent of the maximum profit")

    position_watch_s: Seconds = Field(5.0, description="seconds between reads of the broker's positions")
    store_poll_ms: Annotated[int, Field(ge=5, le=1_000)] = Field(50, description="milliseconds, 5 to 1000")
