"""The JSON document and the plan."""

import json

import pytest

from core.exit_records import line_of
from core.exits.explain_comparisons import LegCompared
from core.exits.payoff import Payoff
from core.exits.position_greeks import Greeks, PositionGreeks, Shock
from core.json_view import document
from core.monitor_view import PlannedOrder, PlannedShare, RuleLine, Shocks
from core.plan_view import plan
from tests.unit.dashboard.views import alert, planned, position_view, record, view


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
    assert guarded["rules"] == [
        {
            "rule": "stop_loss",
            "level": "P&L ≤ ₹-12,112.50",
            "pnl": -12112.5,
            "price": 28.5,
            "source": "category default",
            "threshold": -12112.5,
            "observed": -1020.0,
            "unit": "rupees",
            "state": "nothing",
            "now": "₹11,092.50 away",
            "action": "CLOSE_IMMEDIATELY",
            "closes": "all",
            "name": None,
            "note": "50 % of max loss",
        }
    ]
    assert guarded["orders"] == [
        {
            "phase": 1,
            "side": "SELL",
            "quantity": 425,
            "symbol": "ASTRAL-Jul2025-1500-CE",
            "expiry": None,
            "limit": 54.55,
            "lots": 1,
        }
    ]
    assert (guarded["max_profit"], guarded["max_loss"]) == (None, 24225.0)


def test_the_document_with_the_plan_has_figures_and_what_is_missing_for_them():
    lost = Shocks(None, (), "no price of the underlying")
    known, unknown = (
        json.loads(document(view(positions=(position_view(plan=planned(**changed)),)), with_plan=True))["positions"][0]
        for changed in (
            {"realised": 1_000},
            {"shocks": lost, "underlying_price": None, "payoff": Payoff(None, None, "why")},
        )
    )
    assert known["payoff"] == {
        "max_profit": None, "max_loss": 24225.0, "is_profit_unlimited": True, "is_loss_unlimited": False,
        "breakevens": [1557.0], "note": None, "assumption": None,
    }  # fmt: skip
    assert known["greeks"] == {
        "delta": 212.5, "gamma": 0.123456, "theta_per_day": -456.79, "vega_per_point": 123.46, "implied_volatility": 18.5,
        "problem": None,
    }  # fmt: skip
    assert known["shocks"][0] == {"spot_percent": -1, "volatility_percent": -20, "pnl": 8.8}, "with what is realised"
    assert (known["underlying_price"], known["realised"], known["shocks_problem"]) == (1480.5, 10.0, None)
    assert known["quotes"][0]["age_ms"] == 250
    assert (unknown["shocks"], unknown["shocks_problem"]) == ([], "no price of the underlying")
    assert set(unknown["greeks"].values()) == {None, "no price of the underlying"}
    assert (unknown["underlying_price"], unknown["payoff"]["breakevens"]) == (None, None)


def test_shares_are_listed_with_their_lots_or_why_they_close_nothing():
    shares = (
        PlannedShare("CLOSE_25%", (), "too small"),
        PlannedShare("CLOSE_50%", (PlannedOrder(1, "BUY", 850, "X", None, 425),)),
    )
    shown = view(positions=(position_view(plan=planned(shares=shares)),))
    content = json.loads(document(shown, with_plan=True))["positions"][0]["shares"]
    assert content[0] == {"action": "CLOSE_25%", "problem": "too small", "orders": []}
    assert content[1]["orders"][0]["lots"] == 2
    text = plan(shown)
    assert "| CLOSE_25% |" in text
    assert "too small" in text
    assert "| CLOSE_50% | 1       | BUY     | 850     | X            |          | unknown     |" in text


def test_a_position_that_is_exiting_has_no_levels_and_still_a_plan():
    content = json.loads(document(view(positions=(position_view(levels=None, plan=None, orders=()),)), with_plan=True))
    assert content["positions"][0]["max_loss"] is None
    assert "P&L ₹-1,020.00" in plan(view(positions=(position_view(levels=None, plan=None),)))


def test_exits_in_the_document_are_the_lines_of_the_record_file():
    content = json.loads(document(view(finished=(record(),), alerts=(alert(),)), with_plan=False))
    assert content["exits"] == [json.loads(json.dumps(line_of(record())))]
    assert content["alerts"][0]["severity"] == "WARNING"


def test_the_plan_says_where_each_rule_fires_and_where_its_level_comes_from():
    text = plan(view())
    assert (
        "| stop_loss | P&L ≤ ₹-12,112.50 | ₹-12,112.50 | ₹28.50     | ₹11,092.50 away | all      | category default |"
        in text
    )
    assert "bought 425 ASTRAL-Jul2025-1500-CE (expiry 2026-12-29) at ₹57.00 (NSE_FNO:78165:MARGIN)" in text
    assert "now ₹54.60 (feed, 250 ms old)" in text
    assert "Most it can make: unlimited   Most it can lose: ₹24,225.00   Breaks even at: ₹1,557.00" in text
    assert "Underlying: ASTRAL ₹1,480.50, 0.3 s old" in text
    assert "delta +212.5 units   gamma +0.123 a rupee   theta ₹-456.79 a day   vega ₹123.46 a point" in text
    assert "implied volatility 18.50 %" in text
    assert "| as now       | ₹-1.00      | ₹0.00      | ₹1.00       |" in text
    assert "Note: stop_loss: 50 % of max loss" in text
    assert "Note: no usable target row" in text


@pytest.mark.parametrize(
    ("payoff", "said"),
    [
        (Payoff(0, 100, breakevens=()), "make: ₹0.00   Most it can lose: ₹1.00   Breaks even at: no price"),
        (
            Payoff(1, None, breakevens=(1, 2), is_loss_unlimited=True),
            "lose: unlimited   Breaks even at: ₹0.01 and ₹0.02",
        ),
        (
            Payoff(None, None, "no entry"),
            "make: unknown   Most it can lose: unknown   Breaks even at: unknown   (no entry)",
        ),
        (Payoff(1, 1, "why", assumption="if so"), "(why; if so)"),
    ],
)
def test_a_payoff_is_unlimited_or_unknown_as_such(payoff, said):
    assert said in plan(view(positions=(position_view(plan=planned(payoff=payoff)),)))


def test_what_is_not_known_says_why():
    leg = planned().legs[0]
    lost = planned(
        shocks=Shocks(None, (), "no price of X"),
        legs=(LegCompared(leg.seen._replace(quote=None, mark=None), None, "no quote yet"),),
        realised=12_345,
    )
    text = plan(view(positions=(position_view(plan=lost),)))
    assert "Greeks: not known: no price of X" in text
    assert "  P&L if the market moved at this moment:\n  not known: no price of X" in text
    assert "(NSE_FNO:78165:MARGIN), no price yet" in text
    assert "₹123.45 is realised" in text
    suspect = planned(legs=(leg._replace(suspect="no bid", age_ns=61_500_000_000),))
    assert "(feed, 61.5 s old, suspect: no bid)" in plan(view(positions=(position_view(plan=suspect),)))


def test_a_share_of_what_has_no_options_has_no_volatility():
    grid = (Shock(0, -20, 1), Shock(0, 0, None), Shock(0, 20, 1))
    stock = Shocks(PositionGreeks((), None, Greeks(40.0, 0.0, 0.0, 0.0)), grid, "")
    text = plan(view(positions=(position_view(plan=planned(shocks=stock)),)))
    assert "implied volatility" not in text
    assert "| as now       | unknown    |" in text
    assert "+20 %" not in text


def test_levels_that_have_had_their_say_are_named():
    shown = view(positions=(position_view(plan=planned(told=("adjustment at ₹-100.00",))),))
    assert "Has had its say, and is not in force any more: adjustment at ₹-100.00" in plan(shown)
    assert json.loads(document(shown, with_plan=True))["positions"][0]["told"] == ["adjustment at ₹-100.00"]


def test_prices_have_a_column_only_where_there_are_any():
    spread = planned(rules=(RuleLine("stop_loss", "P&L ≤ ₹-1.00", -100, None, "profile"),))
    assert "At price" not in plan(view(positions=(position_view(plan=spread),)))


def test_the_plan_lists_orders_with_an_unknown_limit_as_unknown():
    order = PlannedOrder(2, "SELL", 65, "NIFTY-CE", None)
    assert "unknown" in plan(view(positions=(position_view(orders=(order,)),)))


def test_a_position_without_rules_is_called_unprotected():
    text = plan(
        view(positions=(position_view(plan=planned(rules=()), orders=(), levels=None),), set_aside=("trades row 3: x",))
    )
    assert "this position is not protected" in text
    assert "- trades row 3: x" in text


def test_an_empty_plan_says_so():
    assert plan(view(positions=())) == "No open position.\n"
