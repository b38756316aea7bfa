"""The side of the account: its token, its REST broker, and the names of Dhan's hosts. Nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.brokers.dhan_auth import AuthPlaces, DhanAuth, MintSecrets
from core.brokers.dhan_broker import BrokerLinks, DhanBroker
from core.brokers.warm_connections import HttpLimits
from core.host_names import HostNames
from core.settings_fields import MintTokens
from core.tls import TlsWatch
from core.token_keeper import TokenKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.dhan.token_facts import TradingSession
    from core.model.commands import Alert
    from core.options import Options
    from core.settings import Settings
    from core.settings_sources import TokenSource


@dataclass(frozen=True, slots=True)
class AccountParts:
    """`names` is shared by everything that connects to Dhan."""

    token: TokenKeeper
    market: DhanBroker
    names: HostNames


def may_mint(options: Options, settings: Settings) -> bool:
    """Whether this run may make tokens: a new one kills the one that a live monitor elsewhere may be using this minute."""
    return not options.plan and (options.execute or settings.dhan_mint_tokens is MintTokens.ALWAYS)


def build_account_parts(
    options: Options,
    settings: Settings,
    clock: Clock,
    say: Callable[[Alert], None],
    sessions: Callable[[int], tuple[TradingSession, ...]],
    source: TokenSource | None,
) -> AccountParts:
    """`source`: where a fresh token may turn up while the program runs; None where nothing may be read besides the settings."""
    names = HostNames(clock)
    auth = _auth(settings, clock, names, may_mint=may_mint(options, settings))
    configured = None if settings.dhan_access_token is None else settings.dhan_access_token.get_secret_value()
    token = TokenKeeper(configured, auth, clock, say, source=source, sessions=sessions)
    market = DhanBroker(
        settings.dhan_api_url,
        settings.dhan_client_id or "",
        token.token,
        clock,
        limits=HttpLimits(settings.order_connect_timeout_s, settings.order_timeout_s),
        links=BrokerLinks(names=names, trust=TlsWatch("Dhan's API", say)),
    )
    return AccountParts(token, market, names)


def _auth(settings: Settings, clock: Clock, names: HostNames, *, may_mint: bool) -> DhanAuth:
    pin, secret = settings.dhan_pin, settings.dhan_totp_secret
    minting = None
    if may_mint and pin is not None and secret is not None:
        minting = MintSecrets(pin.get_secret_value(), secret.get_secret_value())
    places = AuthPlaces(settings.dhan_api_url, settings.dhan_auth_url)
    return DhanAuth(places, settings.dhan_client_id or "", clock, minting=minting, names=names)
