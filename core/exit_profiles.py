"""What of the settings reaches the levels: category defaults with the operator's numbers, the chosen set, his overrides."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from typing import TYPE_CHECKING

from core.exits.desk_settings import DeskSettings
from core.exits.guard_settings import GuardSettings
from core.exits.order_plan import LadderSettings
from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings
from core.market_calendar import CLOSE, SHARES_CLOSE
from core.model.errors import ConfigurationError
from core.model.position import Product
from core.position_book import BookRules, ChosenProfiles
from core.settings_fields import MarketHours
from strategies.own_rules import OWN_RULES
from strategies.profiles import CATEGORY_PROFILES, NAMED_PROFILES, category_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.model.profile import Profile
    from core.settings import Settings


def profiles_by(settings: Settings) -> Callable[[int, str, str, str], ChosenProfiles]:
    """(strategy id, name, stored type, set named in the rows) → the category's defaults and the chosen set.

    EXIT_PROFILE_<id> comes before the rows, the rows before DEFAULT_PROFILE. A name in the rows that does not exist is
    named, and the category holds.

    Raises:
        ConfigurationError: a setting names a set that does not exist, or a set an own rule that does not.
    """
    chosen = dict(settings.exit_profiles)
    asked = {"DEFAULT_PROFILE": settings.default_profile} | {
        f"EXIT_PROFILE_{key}": name for key, name in chosen.items()
    }
    for variable, name in asked.items():
        if name is not None and name not in NAMED_PROFILES:
            raise ConfigurationError(
                f"{variable}: there is no exit profile {name!r}.", f"Use one of {_names(NAMED_PROFILES)}."
            )
    _check_own_rules()

    categories = {profile.name: _with_numbers(profile, settings) for profile in CATEGORY_PROFILES.values()}

    def profiles_of(strategy_id: int, strategy_name: str, strategy_type: str, stored: str) -> ChosenProfiles:
        category = categories[category_profile(strategy_name, strategy_type).name]
        name = chosen.get(strategy_id) or stored.lower() or settings.default_profile
        if name is None:
            return ChosenProfiles(category)
        if name not in NAMED_PROFILES:
            expected = f"expected one of {_names(NAMED_PROFILES)}"
            return ChosenProfiles(category, None, f"exit_profile {name[:40]!r} in the rows is not known: {expected}")
        return ChosenProfiles(category, NAMED_PROFILES[name])

    return profiles_of


def _with_numbers(profile: Profile, settings: Settings) -> Profile:
    numbers = settings.category_defaults(profile.name)
    return replace(
        profile,
        target_percent=numbers.target_percent,
        stop_percent=numbers.stop_percent,
        dte_days=numbers.dte_days,
    )


def _check_own_rules() -> None:
    for name, profile in NAMED_PROFILES.items():
        for rule in profile.own_rules:
            if rule not in OWN_RULES:
                raise ConfigurationError(
                    f"Exit profile {name} names an own rule {rule!r}, which strategies/own_rules.py does not have.",
                    f"Add it to OWN_RULES there, or use one of {_names(OWN_RULES) or 'none'}.",
                )


def _names(named: Iterable[str]) -> str:
    return ", ".join(sorted(named))


def book_rules(settings: Settings, only: frozenset[int] | None = None) -> BookRules:
    """How the rows are read by these settings. Raises ConfigurationError as `profiles_by`."""
    return BookRules(
        profiles_by(settings),
        only,
        LevelSettings(
            square_off=square_off_times(settings),
            trailing_percent=settings.exit_trailing_distance_percent,
            adjust_first=settings.exit_adjust_first_percent or None,
            adjust_last=settings.exit_adjust_last_percent,
            holding_days=settings.exit_longest_holding_days,
            technical=settings.technical_levels,
        ),
        {strategy_id: parse_override(text) for strategy_id, text in settings.exit_overrides.items()},
        settings.dhan_client_id,
    )


def square_off_times(settings: Settings) -> dict[Product, time]:
    """By product. Raises ConfigurationError for a time at which no order would leave any more."""
    times = {
        Product.INTRADAY: settings.square_off_intraday,
        Product.MARGIN: settings.square_off_margin,
        Product.CNC: settings.square_off_cnc,
        Product.MTF: settings.square_off_mtf,
    }
    found = {product: at for product, at in times.items() if at is not None}
    for product, at in found.items():
        last, why = _last_order(product, settings)
        if at >= last:
            raise ConfigurationError(
                f"SQUARE_OFF_{product.value} is {at:%H:%M:%S}, expected a time before {last:%H:%M:%S}: {why}.",
                "Set an earlier time, or leave it out.",
            )
    return found


def _last_order(product: Product, settings: Settings) -> tuple[time, str]:
    """From when on no order leaves for a product on a day of the usual hours, and why."""
    if product is Product.INTRADAY and (last := _intraday_last_send(settings)) < CLOSE:
        return last, "from then on no order of ours leaves for it (INTRADAY_LAST_SEND)"
    if settings.market_hours is MarketHours.ALWAYS:
        return time.max, "the day is over"
    if product is Product.CNC or product is Product.MTF:
        return SHARES_CLOSE, "from then on shares may be in their closing auction, and no order leaves for them"
    return CLOSE, "the session is over then"


def guard_settings(settings: Settings) -> GuardSettings:
    return GuardSettings(
        mark_stale_s=settings.mark_stale_s,
        quiet_verify_s=settings.quiet_verify_s,
        stop_confirm_max_ms=settings.stop_confirm_max_ms,
        hard_stop_multiple=settings.hard_stop_multiple,
        leg_settle_ms=settings.leg_settle_ms,
        underlying_still_s=settings.underlying_still_s,
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
