"""Where a Supabase project is and what its tables are called."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES


@dataclass(frozen=True, slots=True)
class TableNames:
    """The names in the project of the tables that others write; the last two may be absent there."""

    schema: str = "public"
    trades: str = TRADES
    strategies: str = STRATEGIES
    risks: str = RISKS
    levels: str = LEVELS
    monitoring: str = MONITORING
    details: str = DETAILS

    def of(self, table: str) -> str:
        """The project's name of a table, by its name in design/database.md (`rows.TRADES` and so on)."""
        return {
            TRADES: self.trades,
            STRATEGIES: self.strategies,
            RISKS: self.risks,
            LEVELS: self.levels,
            MONITORING: self.monitoring,
            DETAILS: self.details,
        }[table]


@dataclass(frozen=True, slots=True)
class SupabaseAccess:
    """`url` is the project's address. `key` is the API key; `role_token` a signed token of a role of less privilege, or None.

    The key opens the gateway; the token, where there is one, says as whom the database is asked.
    """

    url: str
    key: str = field(repr=False)
    role_token: str | None = field(default=None, repr=False)
    tables: TableNames = TableNames()

    @property
    def bearer(self) -> str:
        """What the database is asked as."""
        return self.role_token or self.key
