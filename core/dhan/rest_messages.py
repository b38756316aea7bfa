"""Dhan's REST messages in one place: bodies out, answers in. Each part has its own module."""

from core.dhan.rest_account import IssuedToken, Profile, StaticIp, parse_profile, parse_static_ip, parse_token
from core.dhan.rest_orders import order_body, parse_order, parse_order_book, parse_trade_book
from core.dhan.rest_positions import parse_positions, positions_in_steps
from core.dhan.rest_quotes import MAX_QUOTE_INSTRUMENTS, parse_quotes, quotes_body

__all__ = [
    "MAX_QUOTE_INSTRUMENTS",
    "IssuedToken",
    "Profile",
    "StaticIp",
    "order_body",
    "parse_order",
    "parse_order_book",
    "parse_positions",
    "parse_profile",
    "parse_quotes",
    "parse_static_ip",
    "parse_token",
    "parse_trade_book",
    "positions_in_steps",
    "quotes_body",
]
