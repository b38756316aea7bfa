"""What a trader sees of rows that cannot be read, and of ids that are not there: the real monitor on a SQLite file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from core.json_view import document
from core.model.commands import Severity
from core.model.errors import ConfigurationError
from core.monitor import run
from core.options import parse
from core.plan_view import plan
from core.view_tables import overview
from tests.integration.condor import CALM, STRATEGY_ID, hold, pick_condor, set_prices, settings_for, write_rows
from tests.integration.processes import eventually
from tests.integration.test_rows_and_monitor import running

if TYPE_CHECKING:
    from pathlib import Path

    from core.monitor_view import MonitorView
    from core.paper.exchange import LocalExchange

EXCLUDED = 77
BAD_LEVEL = (
    "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
    " VALUES (?, 'profit_target', 'primary', 'much', 'price', 'Close entire position')"
)


def write_book(exchange: LocalExchange, database: Path) -> None:
    """A condor and a call; each has a target that nobody can read."""
    legs, other = pick_condor(), pick_condor(first_row=11)
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    write_rows(database, other[:1], strategy_id=EXCLUDED, name="Long Call")
    with sqlite3.connect(database) as connection:
        connection.executemany(BAD_LEVEL, [(STRATEGY_ID,), (EXCLUDED,)])
    connection.close()


async def last_view(exchange: LocalExchange, folder: Path, *options: str) -> MonitorView:
    views: list[MonitorView] = []
    assert await run(parse(list(options)), settings_for(exchange, folder), views.append) == 0
    return views[-1]


async def test_a_level_row_that_cannot_be_read_stands_under_its_position(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    write_book(exchange, tmp_path / "trades.db")
    view = await last_view(exchange, tmp_path, "--plan", "--positions", f"{STRATEGY_ID},5")
    text = plan(view)
    [own] = [line for line in text.splitlines() if line.startswith("  NOT READ: strategy_exit_levels row")]
    assert "'much'" in own
    aside = text[text.index("SET ASIDE") :]
    assert aside.count("'much'") == 1, "of the strategy that is not looked at; it is no position of this plan"
    assert "NOT THERE: no open position of strategy 5, which --positions names." in text
    assert f"NOT READ (guarded by its other levels, see --plan)\n- #{STRATEGY_ID}: strategy_exit_levels" in overview(
        view
    )
    assert f'"strategy_id": {STRATEGY_ID},\n      "problem": "strategy_exit_levels row' in document(
        view, with_plan=True
    )


async def test_a_running_monitor_pages_bad_rows_also_of_the_strategies_that_it_leaves_out(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    write_book(exchange, tmp_path / "trades.db")
    async with running(exchange, tmp_path, "--positions", f"{STRATEGY_ID},5") as monitor:
        await eventually(lambda: STRATEGY_ID in monitor.parts.engine.guards)
        alerts = tuple(monitor.parts.runner.alerts)
        assert EXCLUDED not in monitor.parts.engine.guards
    pages = [each for each in alerts if each.subject == "row set aside"]
    assert [each.severity for each in pages] == [Severity.PAGE] * 2
    assert ["'much'" in each.text for each in pages] == [True, True]
    assert [each.severity for each in alerts if each.subject == "no open position of strategy 5"] == [Severity.WARNING]


@pytest.mark.parametrize("option", ["--plan", "--once"])
async def test_a_look_at_nothing_that_is_there_is_an_error(
    exchange: LocalExchange, tmp_path: Path, option: str
) -> None:
    write_book(exchange, tmp_path / "trades.db")
    with pytest.raises(ConfigurationError, match="there is no open position of strategy 5, 6"):
        await last_view(exchange, tmp_path, option, "--positions", "6,5")
    with sqlite3.connect(tmp_path / "trades.db") as connection:
        connection.execute("UPDATE trades SET quantity = 'many' WHERE new_id = 11")
    connection.close()
    with pytest.raises(ConfigurationError, match=f"of strategy {EXCLUDED}: trades row 11: quantity") as raised:
        await last_view(exchange, tmp_path, option, "--positions", str(EXCLUDED))
    assert raised.value.remedy == "Mend the rows named."


async def test_what_is_there_is_not_called_missing_once_it_was_closed(exchange: LocalExchange, tmp_path: Path) -> None:
    write_book(exchange, tmp_path / "trades.db")
    async with running(exchange, tmp_path, "--positions", f"{STRATEGY_ID},5") as monitor:
        await eventually(lambda: STRATEGY_ID in monitor.parts.engine.guards)
        with sqlite3.connect(tmp_path / "trades.db") as connection:
            connection.execute("UPDATE trades SET order_status = 'closed' WHERE strategy_id = ?", (STRATEGY_ID,))
        connection.close()
        await eventually(lambda: not monitor.parts.keeper.known)
        assert monitor.parts.keeper.unseen == {5}
