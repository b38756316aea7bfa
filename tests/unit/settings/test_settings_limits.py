"""Limits over several positions in the settings: rupees in, paise and scopes out."""

import pytest

from core.model.errors import ConfigurationError
from core.model.special_levels import Scope, ScopeLimit
from core.settings import load_settings
from core.settings_limits import MOST, scope_limits


def limits_of(**options):
    return scope_limits(load_settings({name.upper(): value for name, value in options.items()}, None))


def test_none_is_set_by_itself():
    assert limits_of() == ()
    assert limits_of(limit_portfolio_max_loss="  ", limit_underlying_max_loss="") == ()


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("kind", ["max_loss", "max_profit", "daily_loss"])
def test_each_limit_of_each_scope_has_its_option(scope, kind):
    assert limits_of(**{f"limit_{scope.value}_{kind}": "50000.25"}) == (ScopeLimit(scope, **{kind: 5_000_025}),)


def test_the_limits_of_one_scope_are_one():
    options = {"limit_account_max_loss": "1", "limit_account_max_profit": "2", "limit_account_daily_loss": "3"}
    assert limits_of(**options) == (ScopeLimit(Scope.ACCOUNT, 100, 200, 300),)


def test_underlyings_are_named_or_all_the_same():
    found = limits_of(
        limit_underlying_max_loss="nifty:50000, BANKNIFTY:30000",
        limit_underlying_daily_loss="20000",
        limit_underlying_max_profit="NIFTY:1",
    )
    assert set(found) == {
        ScopeLimit(Scope.UNDERLYING, max_loss=5_000_000, max_profit=100, name="NIFTY"),
        ScopeLimit(Scope.UNDERLYING, max_loss=3_000_000, name="BANKNIFTY"),
        ScopeLimit(Scope.UNDERLYING, daily_loss=2_000_000),
    }


@pytest.mark.parametrize("value", ["0", "-5", "0.004", "5%", "1,000", "inf", "nan", "ten", str(MOST // 100 + 1)])
def test_a_limit_that_is_no_amount_is_refused_at_the_start(value):
    with pytest.raises(ConfigurationError) as caught:
        limits_of(limit_portfolio_max_loss=value)
    assert "LIMIT_PORTFOLIO_MAX_LOSS: expected rupees above 0" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("NIFTY:0", "expected rupees above 0"),
        ("NIFTY:", "expected rupees above 0"),
        (":5", "expected NAME:RUPEES, received ':5'"),
        ("NIFTY:5,7", "expected NAME:RUPEES, received '7'"),
        ("NIFTY:5,nifty:7", "NIFTY has two amounts"),
        ("5,7", "expected rupees above 0"),
    ],
)
def test_limits_of_underlyings_that_cannot_be_read_are_refused(value, why):
    with pytest.raises(ConfigurationError) as caught:
        limits_of(limit_underlying_max_loss=value)
    assert why.lower() in str(caught.value).lower()


def test_the_largest_limit_is_taken():
    assert limits_of(limit_strategy_max_loss=str(MOST // 100)) == (ScopeLimit(Scope.STRATEGY, max_loss=MOST),)


def test_paise_are_taken_as_they_are():
    settings = load_settings({}, None).model_copy(update={"limit_portfolio_max_loss": 5})
    assert scope_limits(settings) == (ScopeLimit(Scope.PORTFOLIO, max_loss=5),)
    again = type(settings).model_validate({"limit_portfolio_max_loss": 5, "limit_underlying_max_loss": {"": 7}})
    assert scope_limits(again)[0] == ScopeLimit(Scope.UNDERLYING, max_loss=7)


def test_a_slip_in_the_name_is_found():
    with pytest.raises(ConfigurationError, match="Did you mean LIMIT_PORTFOLIO_MAX_LOSS"):
        limits_of(limit_portfolio_maxloss="5")
