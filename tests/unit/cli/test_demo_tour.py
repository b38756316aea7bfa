"""The check at the demo's end must see every way in which the program and the exchange could disagree."""

import contextlib
import json
import sqlite3
from dataclasses import replace

import pytest

from core.demo_book import DemoLeg, DemoTrade, write_rows
from core.demo_tour import BookedOrder, Evidence, agreement, disagreements, missed_promises, tour
from core.exit_records import FILE_NAME, line_of
from core.model.exit_levels import Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import Side
from core.model.position import Product
from core.model.signals import LegExecution, Mode
from core.stores.schema import create_tables
from tests.unit.dashboard.views import CALL, record

PUT = replace(CALL, key=InstrumentKey(Segment.NSE_FNO, 78170), symbol="ASTRAL-PUT")
SPREAD = DemoTrade(
    3359,
    "Bull Call Spread",
    "Directional",
    "ASTRAL",
    (DemoLeg(CALL, 425, 5_700, Product.MARGIN), DemoLeg(PUT, -425, 2_000, Product.MARGIN)),
    promise=Rule.STOP_LOSS,
)
STILL_OPEN = DemoTrade(7, "Long Call", "Directional", "ASTRAL", (DemoLeg(PUT, 850, 100, Product.MARGIN),))


@pytest.fixture
def evidence(tmp_path):
    trades_db, records = tmp_path / "trades.db", tmp_path / FILE_NAME
    bought = LegExecution(2, 78170, "ASTRAL-PUT", Side.BUY, 425, 425, 1_500, ("11",))
    sold = LegExecution(1, 78165, CALL.symbol, Side.SELL, 425, 425, 2_830, ("12", "13"))
    closed = record(legs=(sold, bought))
    create_tables(trades_db)
    write_rows(trades_db, [SPREAD], "2026-11-20T10:00:00")
    with contextlib.closing(sqlite3.connect(trades_db)) as connection, connection:
        connection.execute("UPDATE trades SET order_status = 'closed', exit_price = 28.3 WHERE security_id = 78165")
        connection.execute("UPDATE trades SET order_status = 'closed', exit_price = 15 WHERE security_id = 78170")
    records.write_text(json.dumps(line_of(closed)) + "\n", encoding="utf-8")
    orders = (
        BookedOrder("11", 78170, Side.BUY, 425, 425 * 1_500, 100, 200),
        BookedOrder("12", 78165, Side.SELL, 0, 0, 300, None),
        BookedOrder("13", 78165, Side.SELL, 425, 425 * 2_830, 400, 500),
    )
    return Evidence(
        mode=Mode.LIVE,
        trades=(SPREAD,),
        exits=(closed,),
        orders={order.order_id: order for order in orders},
        net={78165: 0, 78170: 0},
        trades_db=trades_db,
        records=records,
    )


def changed_order(evidence, order_id, **changed):
    return replace(evidence, orders=evidence.orders | {order_id: replace(evidence.orders[order_id], **changed)})


def test_an_exit_that_everybody_agrees_on_has_no_disagreement(evidence):
    assert disagreements(evidence) == []
    assert missed_promises(evidence) == []
    assert "its 3 orders are exactly ours" in agreement(evidence)
    assert "shorts were bought back before longs" in agreement(evidence)


def test_the_tour_tells_of_the_exit_in_the_order_of_its_orders(evidence):
    text = tour(evidence)
    assert text.index("BUY 425 ASTRAL-PUT at ₹15.00 (order 11)") < text.index("SELL 425")
    assert "stop loss: P&L" in text
    assert "tick to first order on the wire 2.5 ms" in text


def test_an_order_of_no_exit_is_seen(evidence):
    fourth = BookedOrder("14", 78165, Side.SELL, 0, 0, 1, None)
    [found] = disagreements(replace(evidence, orders=evidence.orders | {"14": fourth}))
    assert "order 14 of the exchange belongs to no exit" in found


def test_an_invented_order_id_is_seen(evidence):
    orders = {key: order for key, order in evidence.orders.items() if key != "12"}
    assert any("does not know every order" in each for each in disagreements(replace(evidence, orders=orders)))


def test_another_filled_quantity_is_seen(evidence):
    found = disagreements(changed_order(evidence, "13", filled=424))
    assert any("425 recorded as filled, 424 filled at the exchange" in each for each in found)


def test_another_fill_price_is_seen(evidence):
    assert any("average" in each for each in disagreements(changed_order(evidence, "13", value=425 * 2_835)))


def test_a_long_sold_before_the_short_is_bought_back_is_seen(evidence):
    found = disagreements(changed_order(evidence, "12", accepted_ns=150))
    assert found == ["#3359: a long was sold before the shorts were bought back"]


def test_a_position_that_is_not_flat_is_seen(evidence):
    found = disagreements(replace(evidence, net={78165: 0, 78170: -425}))
    assert any("the exchange holds -425 units, expected 0" in each for each in found)


def test_a_touched_position_that_was_not_exited_is_seen(evidence):
    found = disagreements(replace(evidence, trades=(SPREAD, STILL_OPEN)))
    assert any("expected 850" in each for each in found)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE trades SET order_status = 'open' WHERE security_id = 78170", "is open, expected closed"),
        ("UPDATE trades SET exit_price = 15.05 WHERE security_id = 78170", "has exit price 15.05"),
        ("UPDATE trades SET exit_price = NULL WHERE security_id = 78170", "has exit price None"),
        ("UPDATE trades SET order_status = 'closed' WHERE security_id = 99999999", "is closed, expected open"),
    ],
)
def test_a_row_that_differs_is_seen(evidence, statement, expected):
    with contextlib.closing(sqlite3.connect(evidence.trades_db)) as connection, connection:
        connection.execute(statement)
    assert any(expected in each for each in disagreements(evidence))


def test_a_missing_record_is_seen(evidence):
    evidence.records.write_text("", encoding="utf-8")
    assert disagreements(evidence) == [f"{FILE_NAME} holds 0 exits, 1 were finished"]


def test_an_order_in_simulation_is_seen(evidence):
    assert disagreements(replace(evidence, mode=Mode.SIMULATION)) == [
        "3 orders reached the exchange in SIMULATION mode"
    ]
    assert disagreements(replace(evidence, mode=Mode.ALERT, orders={})) == []
    assert "no order reached it in ALERT mode" in agreement(replace(evidence, mode=Mode.ALERT, orders={}))


def test_a_promise_that_another_rule_kept_is_not_kept(evidence):
    wrong = replace(evidence.exits[0], rule=Rule.PROFIT_TARGET)
    assert missed_promises(replace(evidence, exits=(wrong,))) == [
        "#3359 Bull Call Spread did not exit by its stop_loss"
    ]
