"""Recorded answers of Dhan's REST API. Skipped where the recordings, which are not part of the project, are absent."""

import json
from pathlib import Path

import pytest

from core.dhan.errors import AcceptedOrder, RefusedOrder, UnknownOutcome, classify_order_entry, error_of_read
from core.dhan.rest_messages import (
    parse_order,
    parse_order_book,
    parse_positions,
    parse_profile,
    parse_quotes,
    parse_trade_book,
)
from core.model.errors import RateLimitedError, RefusedError, TokenError, TransportError
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderReport, OrderStatus, Refusal, Side
from core.model.position import HoldingKey, Product

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "dhan_rest" / "recorded_rest_pairs.json"

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason=f"RECORDED REST PAIRS ARE ABSENT: {RECORDINGS.name}")


def recorded():
    return json.loads(RECORDINGS.read_text(encoding="utf-8")) if RECORDINGS.exists() else []


def body_of(pair):
    raw = pair["raw_body"]
    return raw.encode() if raw is not None else json.dumps(pair["body"]).encode()


def answer(cassette, number=0):
    (pair,) = (pair for pair in recorded() if (pair["cassette"], pair["n"]) == (cassette, number))
    return pair["status"], body_of(pair)


@pytest.mark.parametrize(
    ("cassette", "number", "kind", "code"),
    [
        ("base_api/charts_historical.yml", 1, TokenError, "DH-906"),
        ("client/error_dh_901.yml", 0, TokenError, "DH-901"),
        ("client/error_dh_904.yml", 0, RateLimitedError, "DH-904"),
        ("client/error_dh_905.yml", 0, RefusedError, "DH-905"),
        ("client/error_400.yml", 0, RefusedError, "404"),
        ("client/error_806.yml", 0, RefusedError, "806"),
        ("models/orders/update.yml", 1, RefusedError, "DH-906"),
        ("base_model/integration_test.yml", 0, RefusedError, "RS-9005"),
    ],
)
def test_a_recorded_error_is_classified(cassette, number, kind, code):
    error = error_of_read(*answer(cassette, number))
    assert type(error) is kind
    assert error.code == code


def test_a_recorded_server_fault_may_be_repeated():
    assert type(error_of_read(*answer("base_model/error_handling.yml"))) is TransportError


def test_every_recorded_success_is_no_error():
    for pair in recorded():
        if pair["status"] < 300 and pair["cassette"] != "client/error_806.yml":
            assert error_of_read(pair["status"], body_of(pair)) is None, pair["cassette"]


def test_every_recorded_failure_is_an_error():
    failures = [pair for pair in recorded() if pair["status"] >= 300]
    assert len(failures) > 8
    for pair in failures:
        assert error_of_read(pair["status"], body_of(pair)) is not None, pair["cassette"]


def test_recorded_answers_to_an_order():
    assert classify_order_entry(*answer("models/orders/create.yml")) == AcceptedOrder("752502167405")
    assert classify_order_entry(*answer("client/post_request.yml")) == AcceptedOrder("112111182198")
    refused = classify_order_entry(*answer("client/error_invalid_payload.yml"))
    assert isinstance(refused, RefusedOrder)
    assert refused.refusal is Refusal.VALIDATION


def test_no_recorded_answer_to_another_question_is_an_acceptance():
    others = [pair for pair in recorded() if "/orders" not in pair["uri"] and "/trades" not in pair["uri"]]
    assert others
    for pair in others:
        assert isinstance(classify_order_entry(pair["status"], body_of(pair)), RefusedOrder | UnknownOutcome)


def test_a_recorded_order_by_id_is_an_array_of_one():
    report = OrderReport(
        "952502167319",
        "",
        HoldingKey(InstrumentKey(Segment.BSE_EQ, 539310), Product.CNC),
        Side.BUY,
        20,
        0,
        OrderStatus.PENDING,
        None,
    )
    assert parse_order(answer("models/orders/order.yml")[1]) == report
    assert parse_order_book(answer("models/orders/all.yml")[1]) == (report,)
    cancelled = parse_order(answer("models/orders/update.yml")[1])
    assert cancelled is not None
    assert cancelled.status is OrderStatus.CANCELLED
    assert parse_order(answer("client/invalid_json_response.yml")[1]) is None


def test_recorded_trades_are_read():
    (trade, *_) = parse_trade_book(answer("models/trade_today.yml")[1])
    assert (trade.order_id, trade.trade_id) == ("312507074433", "200764585")
    assert trade.quantity > 0
    assert trade.price > 0
    for trade in parse_trade_book(answer("models/trade.yml")[1]):
        assert trade.holding.instrument.security_id > 0


def test_the_recorded_empty_positions_are_no_rows():
    assert parse_positions(answer("resources/positions.yml")[1]) == ()


def test_recorded_quotes_without_a_price_are_left_out():
    read = 0
    for pair in recorded():
        if "/marketfeed/" in pair["uri"] and pair["status"] == 200 and pair["cassette"] != "client/error_806.yml":
            assert parse_quotes(body_of(pair), 1) == (), pair["cassette"]
            read += 1
    assert read > 8


def test_recorded_profiles_are_read():
    assert parse_profile(answer("models/profile.yml")[1]).data_plan_active is True
    sandbox = parse_profile(answer("DhanHQ_sandbox_connectivity/successfully_retrieves_the_user_profile.yml")[1])
    assert sandbox.data_plan_active is False
    assert sandbox.token_valid_until == 1_775_454_600  # 06/04/2026 11:20 in India
