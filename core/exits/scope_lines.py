"""The limits of one scope, and which rule a scope's limits are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.model.exit_levels import Rule
from core.model.special_levels import LimitKind, Scope, ScopeKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.money import Paise
    from core.model.position import Position
    from core.model.special_levels import ScopeLimit

RULE_OF: Final = {
    Scope.STRATEGY: Rule.STRATEGY_LIMIT,
    Scope.UNDERLYING: Rule.UNDERLYING_LIMIT,
    Scope.ACCOUNT: Rule.ACCOUNT_LIMIT,
    Scope.PORTFOLIO: Rule.PORTFOLIO_LIMIT,
}


class Line(NamedTuple):
    """One limit of one scope. `threshold` is paise, signed: a loss limit is breached at or below it, a profit limit at or above."""

    key: ScopeKey
    kind: LimitKind
    threshold: Paise

    @property
    def is_loss(self) -> bool:
        return self.kind is not LimitKind.MAX_PROFIT

    def is_breached(self, pnl: Paise, place: Paise) -> bool:
        return pnl <= place if self.kind is not LimitKind.MAX_PROFIT else pnl >= place


def keys_of(strategy_id: int, underlying: str) -> tuple[ScopeKey, ...]:
    """Every scope that a position belongs to. `underlying` in capitals."""
    return (
        ScopeKey(Scope.STRATEGY, str(strategy_id)),
        ScopeKey(Scope.UNDERLYING, underlying),
        ScopeKey(Scope.ACCOUNT),
        ScopeKey(Scope.PORTFOLIO),
    )


def underlying_of(position: Position) -> str:
    """As scopes and settings name it."""
    return position.underlying.strip().upper()


def lines_of(limits: Iterable[ScopeLimit], key: ScopeKey) -> tuple[Line, ...]:
    """The limits in force for one scope: those of its name go before those of every scope of the kind."""
    amounts: dict[LimitKind, Paise | None] = dict.fromkeys(LimitKind)
    those = [limit for limit in limits if limit.scope is key.scope and limit.name in {"", key.name}]
    for limit in sorted(those, key=lambda each: bool(each.name)):
        asked = (limit.max_loss, limit.daily_loss, limit.max_profit)
        amounts |= {kind: amount for kind, amount in zip(LimitKind, asked, strict=True) if amount is not None}
    return tuple(
        Line(key, kind, amount if kind is LimitKind.MAX_PROFIT else -amount)
        for kind, amount in amounts.items()
        if amount is not None
    )
