"""One token at a time: renewed, minted, expired, refused."""

import base64
import json

import pytest

from tests.paper.clients import Feed


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def mint(exchange, session, pin="123456", totp="654321"):
    query = {"dhanClientId": exchange.client_id, "pin": pin, "totp": totp}
    async with session.post(f"{exchange.auth_url}/app/generateAccessToken", params=query) as answer:
        return answer.status, await answer.json(content_type=None) if answer.status == 200 else None


async def test_each_renewal_and_each_mint_kills_the_older_token(exchange, session, rest):
    for _ in range(2):
        old = dict(rest.headers)
        status, fresh = await rest.call(
            "GET", "/RenewToken", headers=rest.headers | {"dhanClientId": exchange.client_id}
        )
        assert status == 200
        rest.headers["access-token"] = fresh["accessToken"]
        assert (await rest.call("GET", "/profile", headers=old))[0] == 401
        assert (await rest.call("GET", "/RenewToken", headers=old))[0] == 401
        assert (await rest.call("GET", "/profile"))[0] == 200
    status, minted = await mint(exchange, session)
    assert status == 200
    assert (await rest.call("GET", "/profile"))[1]["errorMessage"] == "Invalid Token"
    rest.headers["access-token"] = minted["accessToken"]
    assert (await rest.call("GET", "/profile"))[0] == 200


@pytest.mark.parametrize("kind", ["token_invalidated", "token_expired"])
async def test_a_dead_token_cannot_be_renewed_but_a_new_one_can_be_minted(exchange, session, rest, kind):
    exchange.add_fault({"kind": kind})
    dead = exchange.access_token
    assert (await rest.call("GET", "/RenewToken"))[0] == 401
    assert exchange.access_token == dead
    _, minted = await mint(exchange, session)
    rest.headers["access-token"] = minted["accessToken"]
    assert (await rest.call("GET", "/profile"))[0] == 200
    await (await Feed.connect(exchange, session)).subscribe(exchange, 15, ("IDX_I", 13))


async def test_the_length_of_a_life_can_be_chosen(exchange, rest):
    exchange.options.token_validity_s = 90
    _, fresh = await rest.call("GET", "/RenewToken")
    found = claims(fresh["accessToken"])
    assert found["exp"] - found["iat"] == 90


async def test_the_minting_host_can_fail_too(exchange, session):
    exchange.add_fault({"kind": "http_5xx", "where": {"path": "/auth/app/generateAccessToken", "nth": 1}})
    before = exchange.access_token
    assert (await mint(exchange, session))[0] == 502
    assert exchange.access_token == before
    assert (await mint(exchange, session))[0] == 200
    asked = exchange.log.of("request")[0]
    assert (asked["path"], "123456" in json.dumps(exchange.log.of("request"))) == (
        "/auth/app/generateAccessToken",
        False,
    )
