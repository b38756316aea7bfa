"""The JSON document and the plan."""

import json

from core.exit_records import line_of
from core.json_view import document
from core.monitor_view import PlannedOrder
from core.plan_view import plan
from tests.unit.dashboard.views import alert, position_view, record, view


def test_the_document_is_in_rupees_and_null_where_not_known():
    content = json.loads(document(view(positions=(position_view(), position_view(4, pnl=None))), with_plan=False))
    assert [each["pnl"] for each in content["positions"]] == [-1020.0, None]
    assert content["positions"][0]["legs"][0]["entry"] == 57.0
    assert content["statistics"]["realised_pnl"] == -12197.5
    assert content["time"].endswith("+05:30")
    assert "rules" not in content["positions"][0]


def test_the_document_with_the_plan_has_rules_and_orders():
    content = json.loads(document(view(), with_plan=True))
    [guarded] = content["positions"]
    assert guarded["rules"][0]["pnl"] == -12112.5
    assert guarded["rules"][0]["price"] == 28.5
    assert guarded["orders"] == [
        {"phase": 1, "side": "SELL", "quantity": 425, "symbol": "ASTRAL-Jul2025-1500-CE", "limit": 54.55}
    ]
    assert guarded["max_profit"] is None


def test_a_position_that_is_exiting_has_no_levels_and_still_a_plan():
    content = json.loads(document(view(positions=(position_view(levels=None, rules=(), orders=()),)), with_plan=True))
    assert content["positions"][0]["max_loss"] is None


def test_exits_in_the_document_are_the_lines_of_the_record_file():
    content = json.loads(document(view(finished=(record(),), alerts=(alert(),)), with_plan=False))
    assert content["exits"] == [json.loads(json.dumps(line_of(record())))]
    assert content["alerts"][0]["severity"] == "WARNING"


def test_the_plan_says_where_each_rule_fires_and_where_its_level_comes_from():
    text = plan(view())
    assert "| stop_loss | P&L ≤ ₹-12,112.50 | ₹-12,112.50 | ₹28.50" in text
    assert "category default" in text
    assert "unlimited or unknown" in text
    assert "Note: 50 % of max loss" in text
    assert "Note: no usable target row" in text


def test_the_plan_lists_orders_with_an_unknown_limit_as_unknown():
    order = PlannedOrder(2, "SELL", 65, "NIFTY-CE", None)
    assert "unknown" in plan(view(positions=(position_view(orders=(order,)),)))


def test_a_position_without_rules_is_called_unprotected():
    text = plan(view(positions=(position_view(rules=(), orders=(), levels=None),), set_aside=("trades row 3: x",)))
    assert "this position is not protected" in text
    assert "- trades row 3: x" in text


def test_an_empty_plan_says_so():
    assert plan(view(positions=())) == "No open position.\n"
