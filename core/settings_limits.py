"""The options of limits over several positions, in rupees, and the limits they ask for."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, Field

from core.model.money import paise_from_text
from core.model.special_levels import Scope, ScopeLimit

MOST: Final = 1_000_000_000_000
"""Paise: a thousand crore. More is a slip of the hand."""


def _limit(value: object) -> object:
    return _paise(value) if isinstance(value, str) else value


def _by_underlying(value: object) -> object:
    """`50000`, for each underlying, or `NIFTY:50000,BANKNIFTY:30000`: by name in capitals, "" for each."""
    if not isinstance(value, str):
        return value
    if ":" not in value:
        return {"": _paise(value)}
    limits: dict[str, int] = {}
    for part in value.split(","):
        name, colon, amount = part.partition(":")
        name = name.strip().upper()
        if not colon or not name:
            raise ValueError(f"expected NAME:RUPEES, received {part.strip()!r}")
        if name in limits:
            raise ValueError(f"{name} has two amounts")
        limits[name] = _paise(amount)
    return limits


def _paise(text: str) -> int:
    try:
        amount = paise_from_text(text)
    except ValueError:
        amount = 0
    if not 0 < amount <= MOST:
        raise ValueError("expected rupees above 0, in digits without separators")
    return amount


Limit = Annotated[int | None, BeforeValidator(_limit)]
LimitByName = Annotated[dict[str, int], BeforeValidator(_by_underlying)]

_LIMIT: Final = "rupees above 0 without separators, or leave it out"
_BY_NAME: Final = "rupees above 0 for each underlying, or NIFTY:50000,BANKNIFTY:30000, or leave it out"


class LimitOptions(BaseModel):
    """Fields are paise. None and {} are "no such limit"; of underlyings by name in capitals, "" for each."""

    limit_strategy_max_loss: Limit = Field(None, description=_LIMIT)
    limit_strategy_max_profit: Limit = Field(None, description=_LIMIT)
    limit_strategy_daily_loss: Limit = Field(None, description=_LIMIT)
    limit_underlying_max_loss: LimitByName = Field(default_factory=dict, description=_BY_NAME)
    limit_underlying_max_profit: LimitByName = Field(default_factory=dict, description=_BY_NAME)
    limit_underlying_daily_loss: LimitByName = Field(default_factory=dict, description=_BY_NAME)
    limit_account_max_loss: Limit = Field(None, description=_LIMIT)
    limit_account_max_profit: Limit = Field(None, description=_LIMIT)
    limit_account_daily_loss: Limit = Field(None, description=_LIMIT)
    limit_portfolio_max_loss: Limit = Field(None, description=_LIMIT)
    limit_portfolio_max_profit: Limit = Field(None, description=_LIMIT)
    limit_portfolio_daily_loss: Limit = Field(None, description=_LIMIT)


def scope_limits(options: LimitOptions) -> tuple[ScopeLimit, ...]:
    """The limits that are asked for; () when none is."""
    loss, profit = options.limit_underlying_max_loss, options.limit_underlying_max_profit
    daily = options.limit_underlying_daily_loss
    names = dict.fromkeys((*loss, *profit, *daily))
    limits = (
        ScopeLimit(
            Scope.STRATEGY,
            options.limit_strategy_max_loss,
            options.limit_strategy_max_profit,
            options.limit_strategy_daily_loss,
        ),
        *(ScopeLimit(Scope.UNDERLYING, loss.get(name), profit.get(name), daily.get(name), name) for name in names),
        ScopeLimit(
            Scope.ACCOUNT,
            options.limit_account_max_loss,
            options.limit_account_max_profit,
            options.limit_account_daily_loss,
        ),
        ScopeLimit(
            Scope.PORTFOLIO,
            options.limit_portfolio_max_loss,
            options.limit_portfolio_max_profit,
            options.limit_portfolio_daily_loss,
        ),
    )
    return tuple(limit for limit in limits if limit != ScopeLimit(limit.scope, name=limit.name))
