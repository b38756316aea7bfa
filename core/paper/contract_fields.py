"""Contract columns that orders, trades and positions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.instrument import Right

if TYPE_CHECKING:
    from core.model.instrument import Instrument

OPTION_WORD: Final = {Right.CALL: "CALL", Right.PUT: "PUT", None: "NA"}


def contract_fields(contract: Instrument) -> dict[str, object]:
    """Expiry, right and strike with Dhan's sentinels for what has none (dhan_v2_protocol 5.7)."""
    return {
        "drvExpiryDate": contract.expiry.isoformat() if contract.expiry else "0001-01-01",
        "drvOptionType": OPTION_WORD[contract.right],
        "drvStrikePrice": contract.strike / 100 if contract.strike is not None else 0.0,
    }
