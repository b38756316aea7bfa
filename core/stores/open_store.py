"""From the settings to the way into a Supabase project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.errors import BugError
from core.stores.supabase_access import SupabaseAccess, TableNames

if TYPE_CHECKING:
    from core.settings import Settings


def supabase_access(settings: Settings) -> SupabaseAccess:
    """The project that the settings name. Only where SUPABASE_URL is set."""
    url, key, token = settings.supabase_url, settings.supabase_key, settings.supabase_role_token
    if url is None or key is None:
        raise BugError("expected settings with SUPABASE_URL and SUPABASE_KEY")
    tables = TableNames(
        schema=settings.supabase_schema,
        trades=settings.supabase_trades_table,
        strategies=settings.supabase_strategies_table,
        risks=settings.supabase_risks_table,
        levels=settings.supabase_levels_table,
        monitoring=settings.supabase_monitoring_table,
        details=settings.supabase_details_table,
    )
    return SupabaseAccess(url, key.get_secret_value(), None if token is None else token.get_secret_value(), tables)
