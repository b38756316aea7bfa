"""The official `dhanhq` package against the local exchange: a client neither we nor the exchange's encoder wrote.

The exchange runs in a process of its own because the SDK blocks. Redirected as in dhan_v2_protocol 9.7.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from dhanhq import DhanContext, MarketFeed, dhanhq

ROOT = Path(__file__).resolve().parents[2]
CALL = 40_051
NIFTY = 13
AWAY_FROM_THE_MARKET = 90.0


class Exchange:
    """A running `python -m core.paper` and its control door."""

    def __init__(self, ready):
        self.ready = ready
        self.origin = ready["api_url"].removesuffix("/v2")

    def control(self, path, **body):
        request = urllib.request.Request(  # noqa: S310  always http on loopback
            f"{self.origin}/control/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  always http on loopback
            return json.load(response)


@pytest.fixture(scope="module")
def exchange():
    process = subprocess.Popen(
        [sys.executable, "-m", "core.paper", "--seed", "5"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        running = Exchange(json.loads(process.stdout.readline()))
        running.control("settings", rate_limits=False, transit_s=0.0)
        yield running
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
        process.stdout.close()


@pytest.fixture
def context(exchange):
    found = DhanContext(exchange.ready["client_id"], exchange.ready["access_token"])
    found.get_dhan_http().base_url = exchange.ready["api_url"]
    yield found
    found.get_dhan_http().session.close()


@pytest.fixture
def sdk(context, exchange):
    exchange.control(
        "quote", segment="NSE_FNO", security_id=CALL, last=100.0, bid=99.95, ask=100.05, bid_size=650, ask_size=650
    )
    return dhanhq(context)


def settled(sdk, order_id):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        order = sdk.get_order_by_id(order_id)["data"]
        if order["orderStatus"] != "TRANSIT":
            return order
    raise AssertionError(f"order {order_id} is still in transit")


def place(sdk, price, tag):
    answer = sdk.place_order(str(CALL), sdk.NSE_FNO, sdk.BUY, 65, sdk.LIMIT, sdk.MARGIN, price, tag=tag, validity="DAY")
    assert answer["status"] == "success", answer
    assert answer["data"]["orderStatus"] == "TRANSIT"
    return answer["data"]["orderId"]


def test_the_sdk_places_and_reads_an_order_its_trade_and_its_position(sdk):
    order_id = place(sdk, 101.0, "sdk-fills")
    order = settled(sdk, order_id)
    assert (order["orderStatus"], order["filledQty"], order["averageTradedPrice"]) == ("TRADED", 65, 100.05)
    assert sdk.get_order_by_correlationID("sdk-fills")["data"]["orderId"] == order_id
    assert order_id in [row["orderId"] for row in sdk.get_order_list()["data"]]
    trades = [row for row in sdk.get_trade_book()["data"] if row["orderId"] == order_id]
    assert [(row["tradedQuantity"], row["tradedPrice"]) for row in trades] == [(65, 100.05)]
    held = [row for row in sdk.get_positions()["data"] if row["securityId"] == str(CALL)]
    assert [(row["positionType"], row["netQty"] % 65) for row in held] == [("LONG", 0)]


def test_the_sdk_modifies_and_cancels_a_resting_order(sdk):
    order_id = place(sdk, AWAY_FROM_THE_MARKET, "sdk-rests")
    assert settled(sdk, order_id)["orderStatus"] == "PENDING"
    answer = sdk.modify_order(order_id, sdk.LIMIT, "", 65, 91.0, 0, 0, sdk.DAY)
    assert answer["data"]["orderStatus"] == "TRANSIT"
    assert sdk.cancel_order(order_id)["data"]["orderStatus"] == "CANCELLED"
    assert settled(sdk, order_id)["orderStatus"] == "CANCELLED"


def test_the_sdk_sees_a_refusal_with_its_code(sdk):
    answer = sdk.place_order(
        str(CALL), sdk.NSE_FNO, sdk.BUY, 65, sdk.LIMIT, sdk.MARGIN, 100.0, tag="x" * 26, validity="DAY"
    )
    assert (answer["status"], answer["remarks"]["error_code"]) == ("failure", "DH-905")


def test_the_sdk_reads_quotes_and_funds(sdk):
    quotes = sdk.quote_data({"NSE_FNO": [CALL]})["data"]["data"]["NSE_FNO"]
    assert quotes[str(CALL)]["depth"]["buy"][0]["price"] == 99.95
    assert sdk.get_fund_limits()["data"]["availabelBalance"] > 0


@pytest.fixture
def feed(context, exchange, monkeypatch):
    monkeypatch.setattr(MarketFeed, "market_feed_wss", exchange.origin.replace("http", "ws"))
    wanted = [
        (MarketFeed.IDX, str(NIFTY), MarketFeed.Ticker),
        (MarketFeed.NSE_FNO, str(CALL), MarketFeed.Quote),
        (MarketFeed.NSE_FNO, str(CALL + 1), MarketFeed.Full),
    ]
    found = MarketFeed(context, wanted, "v2")
    found.run_forever()
    yield found
    found.close_connection()
    found.loop.close()


def test_the_sdk_decodes_ticker_quote_and_full_packets_to_the_values_sent(exchange, feed):
    exchange.control("quote", segment="IDX_I", security_id=NIFTY, last=26_118.35)
    exchange.control(
        "quote", segment="NSE_FNO", security_id=CALL, last=123.45, bid=123.4, ask=123.5, bid_size=1_300, ask_size=910
    )
    exchange.control(
        "quote", segment="NSE_FNO", security_id=CALL + 1, last=87.6, bid=87.55, ask=87.65, bid_size=195, ask_size=260
    )
    wanted = {("Ticker Data", "26118.35"), ("Quote Data", "123.45"), ("Full Data", "87.60")}
    seen = {}
    for _ in range(200):
        packet = feed.get_data()
        if packet and (packet["type"], packet.get("LTP")) in wanted:
            seen[packet["type"]] = packet
        if len(seen) == len(wanted):
            break
    ticker, quote, full = seen["Ticker Data"], seen["Quote Data"], seen["Full Data"]
    assert (ticker["exchange_segment"], ticker["security_id"]) == (0, NIFTY)
    assert (quote["total_buy_quantity"], quote["total_sell_quantity"]) == (1_300, 910)
    first = full["depth"][0]
    assert (first["bid_price"], first["ask_price"]) == ("87.55", "87.65")
    assert (first["bid_quantity"], first["ask_quantity"]) == (195, 260)
    # The SDK renders the packet's time as UTC, so what it shows is the Indian wall clock.
    assert ticker["LTT"] == last_trade_time(exchange).split()[1]


def last_trade_time(exchange):
    """The index's last trade as the quote API words it: DD/MM/YYYY HH:MM:SS, IST."""
    request = urllib.request.Request(  # noqa: S310  always http on loopback
        f"{exchange.ready['api_url']}/marketfeed/quote",
        json.dumps({"IDX_I": [NIFTY]}).encode(),
        {"access-token": exchange.ready["access_token"], "client-id": exchange.ready["client_id"]},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  always http on loopback
        return json.load(response)["data"]["IDX_I"][str(NIFTY)]["last_trade_time"]
