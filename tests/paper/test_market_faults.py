"""A market without a side, a halted one, and quotes over REST that differ from the feed."""

import asyncio

import pytest

from core.paper.options import PreviousClose
from tests.paper.clients import Feed

CALL, PUT = 40_051, 40_052


@pytest.fixture
def options(options):
    options.previous_close = PreviousClose.NONE
    options.feed_first_quote = False
    options.rate_limits = False
    return options


@pytest.fixture
async def feed(exchange, session):
    found = await Feed.connect(exchange, session)
    await found.subscribe(exchange, 21, ("NSE_FNO", CALL), ("NSE_FNO", PUT))
    for number in (CALL, PUT):
        tick(exchange, 10_000, number)
        await found.packet()
    return found


def tick(exchange, price, number=CALL):
    exchange.market.set_quote("NSE_FNO", number, price, price - 5, price + 5)


async def quotes(rest, *numbers):
    status, answer = await rest.call("POST", "/marketfeed/quote", {"NSE_FNO": list(numbers or (CALL,))})
    assert status == 200
    return answer["data"]["NSE_FNO"]


def top(quote):
    return quote["depth"]["buy"][0]["price"], quote["depth"]["sell"][0]["price"]


@pytest.mark.parametrize(("without", "left"), [("ask", (99.95, 0)), ("bid", (0, 100.05)), ("both", (0, 0))])
async def test_f29_a_circuit_takes_a_side_from_feed_rest_and_matching(exchange, feed, rest, without, left):
    exchange.add_fault({"kind": "market_one_sided", "security_id": CALL, "seconds": 3_600, "without": without})
    bid_size, ask_size, _, _, bid, ask = (await feed.packet())["depth"][0]
    assert (round(bid, 2), round(ask, 2), bid_size > 0, ask_size > 0) == (*left, left[0] > 0, left[1] > 0)
    assert top((await quotes(rest))[str(CALL)]) == left
    order = await rest.place_settled(securityId=str(CALL), price=101.0)
    assert order["orderStatus"] == ("TRADED" if left[1] else "PENDING")
    tick(exchange, 10_000)
    assert round((await feed.packet())["depth"][0][5], 2) == left[1]
    exchange.add_fault({"kind": "market_one_sided", "security_id": CALL, "seconds": 0})
    assert [round(x, 2) for x in (await feed.packet())["depth"][0][4:]] == [99.95, 100.05]
    assert (await rest.settled(order["orderId"]))["orderStatus"] == "TRADED"


async def test_f29_a_halted_market_stands_still_and_goes_on_with_its_newest_price(exchange, feed, rest):
    exchange.add_fault({"kind": "market_halt", "seconds": 0.2})
    tick(exchange, 12_000)
    assert (await quotes(rest))[str(CALL)]["last_price"] == 100.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed.socket.receive(), 0.05)
    assert (await feed.packet())["last"] == 120.0
    assert (await quotes(rest))[str(CALL)]["last_price"] == 120.0


async def test_f30_the_book_may_move_without_a_trade(exchange, feed):
    exchange.add_fault({"kind": "market_frozen_last", "seconds": 3_600})
    tick(exchange, 12_000)
    packet = await feed.packet()
    assert (packet["last"], round(packet["depth"][0][4], 2)) == (100.0, 119.95)
    exchange.clear_faults()
    tick(exchange, 12_000)
    assert (await feed.packet())["last"] == 120.0


async def test_f32_rest_may_disagree_with_the_feed(exchange, feed, rest):
    exchange.add_fault({"kind": "rest_skew", "factor": 1.1, "seconds": 3_600, "security_id": CALL})
    found = await quotes(rest, CALL, PUT)
    assert (found[str(CALL)]["last_price"], top(found[str(CALL)])) == (110.0, (109.94, 110.06))
    assert found[str(PUT)]["last_price"] == 100.0
    tick(exchange, 10_100)
    assert (await feed.packet())["last"] == 101.0
    exchange.add_fault({"kind": "rest_skew", "seconds": 0, "security_id": CALL})
    assert (await quotes(rest))[str(CALL)]["last_price"] == 101.0


async def test_rest_may_show_an_old_snapshot(exchange, feed, rest):
    exchange.add_fault({"kind": "rest_stale", "seconds": 0.3})
    before = await quotes(rest)
    tick(exchange, 12_000)
    assert (await feed.packet())["last"] == 120.0
    assert await quotes(rest) == before
    await asyncio.sleep(0.3)
    assert (await quotes(rest))[str(CALL)]["last_price"] == 120.0


async def test_rest_may_leave_an_instrument_out(exchange, feed, rest):
    exchange.add_fault({"kind": "rest_missing", "security_id": CALL, "seconds": 3_600})
    assert set(await quotes(rest, CALL, PUT)) == {str(PUT)}
    exchange.add_fault({"kind": "rest_missing", "seconds": 3_600})
    assert await quotes(rest, CALL, PUT) == {}
    exchange.clear_faults()
    assert set(await quotes(rest, CALL, PUT)) == {str(CALL), str(PUT)}


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ({"kind": "refuse", "code": 807, "message": "Access token expired"}, 401, {"807": "Access token expired"}),
        ({"kind": "refuse", "code": 805, "status": 429, "message": "Slow down"}, 429, {"805": "Slow down"}),
    ],
)
async def test_f21_quotes_are_refused_in_the_shape_of_the_data_side(exchange, rest, fault, status, body):
    exchange.add_fault(fault | {"where": {"path": "/marketfeed", "nth": 1}})
    assert await rest.call("POST", "/marketfeed/quote", {"NSE_FNO": [CALL]}) == (
        status,
        {"data": body, "status": "failed"},
    )
    await quotes(rest)


async def test_f21_quotes_may_be_rate_limited(exchange, rest):
    exchange.add_fault({"kind": "rate_limit", "where": {"path": "/marketfeed/quote", "times": 1}})
    assert (await rest.call("POST", "/marketfeed/quote", {"NSE_FNO": [CALL]}))[0] == 429
    await quotes(rest)
