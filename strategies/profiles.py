"""The default exit levels of each category, and the named sets that an operator can choose per strategy.

A set of your own is one more `Profile` in NAMED_PROFILES; `core/model/profile.py` says what it can hold, own rules included.
It is chosen by EXIT_PROFILE_<strategy id>, by a column exit_profile of the strategy's rows, or by DEFAULT_PROFILE for all.
Rows come before a set, level by level: it says only what they leave open.
"""

from __future__ import annotations

from typing import Final

from core.model.profile import Base, Profile
from strategies.categories import Category, category_of

CATEGORY_PROFILES: Final = {
    Category.DIRECTIONAL: Profile("directional", target_percent=50, stop_percent=50, dte_days=7),
    Category.NEUTRAL: Profile("neutral", target_percent=25, stop_percent=50, dte_days=21),
    Category.ADVANCED: Profile("advanced", target_percent=25, stop_percent=50, dte_days=21),
    Category.VOLATILITY: Profile(
        "volatility",
        target_percent=75,
        target_base=Base.PREMIUM,
        stop_percent=50,
        stop_base=Base.PREMIUM,
        dte_days=10,
    ),
    Category.INCOME: Profile(
        "income",
        target_percent=50,
        target_base=Base.CREDIT,
        stop_percent=200,
        stop_base=Base.CREDIT,
        dte_days=21,
    ),
}

NAMED_PROFILES: Final = {
    profile.name: profile
    for profile in (
        # Armed halfway to the target: at the target itself the position is closed and nothing is left to trail.
        Profile(
            "aggressive_profits",
            target_percent=30,
            trailing_arm_percent=15,
            trailing_distance_percent=10,
            dte_days=10,
        ),
        Profile("conservative_losses", stop_percent=30, dte_days=14, is_scaling=True),
    )
}


def category_profile(strategy_name: str, strategy_type: str = "") -> Profile:
    """The defaults for a strategy by its name, else its stored type, else neutral."""
    return CATEGORY_PROFILES[category_of(strategy_name, strategy_type)]
