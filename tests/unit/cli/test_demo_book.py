"""The demo's script makes the promised exits and no others, whatever the date it is run on."""

from datetime import date, timedelta

import pytest

from core.demo import FULL_DURATION_S, SEED, ModelMarket
from core.demo_book import MOVES, make_book
from core.model.exit_levels import Rule
from core.model.market import mark_of
from core.model.money import paise_from_text
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.paper.price_model import MODEL_STEP_S

FIRST = date(2026, 11, 20)


def mark(exchange, key):
    data = exchange.venue.model.data(key)
    return mark_of(data.last, data.bids[0][0] if data.bids else None, data.asks[0][0] if data.asks else None)


def level(trade, exit_type, name):
    """A rupee level of the whole position in paise: the rows hold rupees for one lot."""
    leg = trade.legs[0]
    lots = abs(leg.units) // leg.contract.lot
    [row] = [each for each in trade.levels if (each.exit_type, each.level_name) == (exit_type, name)]
    return paise_from_text(row.value) * lots


def fired(trade, history):
    """When the promised rule fires on a history of P&L, None if never; computed without the program's rules."""
    match trade.promise:
        case Rule.STOP_LOSS:
            limit = -level(trade, "stop_loss", "primary")
            return next((n for n, pnl in enumerate(history) if pnl <= limit), None)
        case Rule.PROFIT_TARGET:
            target = level(trade, "profit_target", "primary")
            return next((n for n, pnl in enumerate(history) if pnl >= target), None)
        case Rule.TRAILING_STOP:
            arm = level(trade, "profit_target", "trailing")
            lots = trade.legs[0].units // trade.legs[0].contract.lot
            peak = None
            for n, pnl in enumerate(history):
                peak = max(peak or pnl, pnl) if peak is not None or pnl >= arm else None
                if peak is not None and pnl <= peak - trade.trailing_distance * lots:
                    return n
    return None


# Three weeks apart by an odd number of days: expiry days, month ends and week-ends are all met.
@pytest.mark.parametrize("day", [FIRST + timedelta(days=9 * n) for n in range(12)], ids=str)
async def test_the_promised_exits_happen_well_within_the_demo_on_any_date(day):
    options = ExchangeOptions(seed=SEED, date=day, model_step_s=0)
    async with LocalExchange(options) as exchange:
        trades = make_book(ModelMarket(exchange))
        histories = {trade.strategy_id: [] for trade in trades}
        moves = list(MOVES)
        for step in range(round(FULL_DURATION_S / MODEL_STEP_S)):
            while moves and moves[0].at_s <= step * MODEL_STEP_S:
                exchange.move(moves[0].underlying, points=moves[0].points, seconds=moves[0].seconds)
                moves.pop(0)
            exchange.step()
            for trade in trades:
                pnl = sum(leg.units * (mark(exchange, leg.contract.key) - leg.entry) for leg in trade.legs)
                histories[trade.strategy_id].append(pnl)
    when = {trade.strategy_id: fired(trade, histories[trade.strategy_id]) for trade in trades if trade.promise}
    assert all(step is not None and step * MODEL_STEP_S < FULL_DURATION_S - 3 for step in when.values()), when
    # Not by noise: nothing fires before its market was moved.
    assert min(when.values()) * MODEL_STEP_S > MOVES[0].at_s


async def test_the_book_holds_spreads_of_several_exchanges_and_every_expiry_is_far_enough():
    async with LocalExchange(ExchangeOptions(seed=SEED, date=FIRST, model_step_s=0)) as exchange:
        trades = make_book(ModelMarket(exchange))
    assert {leg.contract.key.segment.value for trade in trades for leg in trade.legs} == {
        "NSE_FNO",
        "BSE_FNO",
        "NSE_EQ",
    }
    assert {trade.promise for trade in trades} == {None, Rule.STOP_LOSS, Rule.PROFIT_TARGET, Rule.TRAILING_STOP}
    expiries = [leg.contract.expiry for trade in trades for leg in trade.legs if leg.contract.expiry]
    assert min(expiries) > FIRST + timedelta(days=10)
