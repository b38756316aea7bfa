import pytest

from strategies.categories import MEMBERS, Category, category_of
from strategies.profiles import CATEGORY_PROFILES, NAMED_PROFILES, category_profile


@pytest.mark.parametrize(
    ("name", "strategy_type", "category"),
    [
        ("Bull Call Spread", "", Category.DIRECTIONAL),
        ("bear_put_spread", "", Category.DIRECTIONAL),
        ("Iron Condor", "Income", Category.NEUTRAL),
        ("LONG STRADDLE", "", Category.VOLATILITY),
        ("Cash Secured Put", "", Category.INCOME),
        ("Calendar Spread", "", Category.ADVANCED),
        ("My Own", "Volatility", Category.VOLATILITY),
        ("My Own", " income ", Category.INCOME),
        ("My Own", "Whatever", Category.NEUTRAL),
        ("", "", Category.NEUTRAL),
    ],
)
def test_the_name_decides_then_the_type_then_neutral(name, strategy_type, category):
    assert category_of(name, strategy_type) is category
    assert category_profile(name, strategy_type) is CATEGORY_PROFILES[category]


def test_every_category_has_a_profile_and_every_name_is_in_one_category():
    assert set(CATEGORY_PROFILES) == set(Category)
    names = [name for members in MEMBERS.values() for name in members]
    assert len(set(names)) == len(names) == 23
    assert all(category_of(name) is category for category, members in MEMBERS.items() for name in members)


def test_the_named_sets():
    assert set(NAMED_PROFILES) == {"aggressive_profits", "conservative_losses"}
