"""The token script as a process of its own; its token is read by another implementation than the one that signed it."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.gateway.tokens import BadTokenError, claims_of
from tests.integration.test_check_supabase import check
from tests.integration.test_supabase_migrations import make_owner, migrate

if TYPE_CHECKING:
    from tests.gateway.server import SupabaseGateway

ROOT: Final = Path(__file__).resolve().parents[2]
SECRET: Final = "0123456789abcdef" * 4


async def made(secret: str, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "data_scripts/make_role_token.py",
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(secret.encode() + b"\n")
    return process.returncode or 0, out.decode().strip(), err.decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def private_key() -> tuple[ec.EllipticCurvePrivateKey, dict[str, Any]]:
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.private_numbers()
    point = numbers.public_numbers
    described = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "key-1", "use": "sig"}
    return key, described | {"d": encoded(numbers.private_value), "x": encoded(point.x), "y": encoded(point.y)}


async def test_the_server_takes_the_token_for_the_role(database: str, gateway: SupabaseGateway) -> None:
    await make_owner(database)
    await migrate(database)
    code, token, err = await made(gateway._secret, "30")
    assert (code, err) == (0, "")
    outcome = await check(gateway, key=gateway.anon_key, SUPABASE_ROLE_TOKEN=token)
    assert outcome["key"][0] == "ok"
    assert "role exit_monitor, valid for 30.0 days" in outcome["key"][1]


async def test_it_is_good_for_a_week_and_says_nothing_of_the_secret() -> None:
    code, token, err = await made(SECRET)
    claims = claims_of(SECRET, token)
    assert (code, claims["role"], claims["exp"] - claims["iat"]) == (0, "exit_monitor", 7 * 86_400)
    assert abs(claims["iat"] - time.time()) < 60
    with pytest.raises(BadTokenError):
        claims_of(SECRET[:-1] + "x", token)
    assert SECRET not in token + err


async def test_an_imported_signing_key() -> None:
    key, described = private_key()
    code, token, _ = await made(json.dumps(described), "1")
    assert code == 0
    head, claims, signature = token.split(".")
    assert json.loads(decoded(head)) == {"alg": "ES256", "kid": "key-1", "typ": "JWT"}
    assert json.loads(decoded(claims))["role"] == "exit_monitor"
    raw = decoded(signature)
    both = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public_key().verify(both, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    "secret", ["", "short", "{", '{"kty": "EC"}', json.dumps({"kty": "oct", "k": "c2VjcmV0c2VjcmV0"})]
)
async def test_what_is_no_key(secret: str) -> None:
    code, out, err = await made(secret)
    assert (code, out) == (2, "")
    assert err.startswith("expected a ")
    assert "c2VjcmV0" not in err


async def test_a_public_key_cannot_sign() -> None:
    _, described = private_key()
    del described["d"]
    code, out, err = await made(json.dumps(described))
    assert (code, out) == (2, "")
    assert described["x"] not in err


@pytest.mark.parametrize("days", ["0", "366", "-1", "soon"])
async def test_how_long(days: str) -> None:
    code, out, err = await made(SECRET, days)
    assert (code, out) == (2, "")
    assert "DAYS" in err
