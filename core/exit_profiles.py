"""Which defaults hold for a strategy: its category's, with the operator's numbers, and the set he chose for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from typing import TYPE_CHECKING

from core.exits.desk_settings import DeskSettings
from core.exits.guard_settings import GuardSettings
from core.exits.order_plan import LadderSettings
from core.model.errors import ConfigurationError
from core.model.position import Product
from core.settings_fields import MarketHours
from strategies.profiles import NAMED_PROFILES, category_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.profile import Profile
    from core.settings import Settings


def profiles_by(settings: Settings) -> Callable[[int, str, str], tuple[Profile, Profile | None]]:
    """(strategy id, name, stored type) → (category defaults, chosen set or None).

    Raises:
        ConfigurationError: a setting names a set that does not exist.
    """
    chosen = dict(settings.exit_profiles)
    for name in {settings.default_profile, *chosen.values()} - {None}:
        if name not in NAMED_PROFILES:
            raise ConfigurationError(
                f"There is no exit profile {name!r}.", f"Use one of {', '.join(sorted(NAMED_PROFILES))}."
            )

    def profiles_of(strategy_id: int, strategy_name: str, strategy_type: str) -> tuple[Profile, Profile | None]:
        profile = category_profile(strategy_name, strategy_type)
        numbers = settings.category_defaults(profile.name)
        category = replace(
            profile,
            target_percent=numbers.target_percent,
            stop_percent=numbers.stop_percent,
            dte_days=numbers.dte_days,
        )
        name = chosen.get(strategy_id, settings.default_profile)
        return category, None if name is None else NAMED_PROFILES[name]

    return profiles_of


def square_off_times(settings: Settings) -> dict[Product, time]:
    at = settings.square_off_intraday
    return {} if at is None else {Product.INTRADAY: at}


def guard_settings(settings: Settings) -> GuardSettings:
    return GuardSettings(
        mark_stale_s=settings.mark_stale_s,
        quiet_verify_s=settings.quiet_verify_s,
        stop_confirm_max_ms=settings.stop_confirm_max_ms,
        hard_stop_multiple=settings.hard_stop_multiple,
        leg_settle_ms=settings.leg_settle_ms,
    )


def desk_settings(settings: Settings) -> DeskSettings:
    return DeskSettings(
        ladder=LadderSettings(settings.ladder_rungs_bps, settings.ladder_ioc_rounds),
        orders_per_second=settings.orders_per_second,
        attempts_per_leg_per_minute=settings.attempts_per_leg_per_minute,
        attempts_per_leg_per_day=settings.attempts_per_leg_per_day,
        round_interval_ms=settings.rung_interval_ms,
        working_max_ms=settings.working_max_ms,
        position_max_age_ms=settings.position_max_age_ms,
        absence_quarantine_s=settings.absence_quarantine_s,
        watch_interval_s=settings.position_watch_s,
        intraday_last_send=_intraday_last_send(settings),
    )


def _intraday_last_send(settings: Settings) -> time:
    """A market that is always open has no square-off of the broker's, unless the operator names a time."""
    has_square_off = settings.market_hours is MarketHours.CALENDAR or "intraday_last_send" in settings.model_fields_set
    return settings.intraday_last_send if has_square_off else time.max
