"""Sign a token of the role exit_monitor, for SUPABASE_ROLE_TOKEN.

    .venv/bin/python data_scripts/make_role_token.py [DAYS]

DAYS: how long it is good for, 7 unless told otherwise, at most 365. Asks for the project's JWT secret, or for the private
signing key that you imported into the project (the JSON of `supabase gen signing-key`, on one line). What you type is not shown,
sent or stored. It can also be piped in. The token is the only thing on stdout.
"""

from __future__ import annotations

import getpass
import json
import sys
import time
from typing import TYPE_CHECKING, Final

import jwt

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLE: Final = "exit_monitor"
DAYS: Final = 7
_MAX_DAYS: Final = 365
_DAY_S: Final = 86_400
_MIN_SECRET: Final = 32


def role_token(secret: str, days: int, now_s: int) -> str:
    """`secret`: the JWT secret, or a private key as a JSON Web Key. Raises ValueError when it cannot be one."""
    claims = {"iss": "exit-monitor", "role": ROLE, "iat": now_s, "exp": now_s + days * _DAY_S}
    if not secret.startswith("{"):
        if len(secret) < _MIN_SECRET:
            raise ValueError(f"expected a secret of at least {_MIN_SECRET} characters")
        return jwt.encode(claims, secret, algorithm="HS256")
    try:
        described = _private(json.loads(secret))
        key = jwt.PyJWK.from_dict(described)
        return jwt.encode(claims, key.key, algorithm=key.algorithm_name, headers={"kid": described["kid"]})
    except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
        # Nothing of the error is told: it may quote the key.
        raise ValueError("expected a private signing key as JSON, with kty, alg and kid, on one line") from None


def _private(described: dict[str, str]) -> dict[str, str]:
    """Raises ValueError for a public key, which signs nothing."""
    if not {"d", "k"} & described.keys():
        raise ValueError("no private part")
    return described


def main(arguments: Sequence[str]) -> int:
    days = arguments[0] if arguments else str(DAYS)
    if len(arguments) > 1 or not days.isdecimal() or not 1 <= int(days) <= _MAX_DAYS:
        print(__doc__, file=sys.stderr)
        return 2
    asked = "JWT secret or private signing key: "
    secret = getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline()
    try:
        print(role_token(secret.strip(), int(days), int(time.time())))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
