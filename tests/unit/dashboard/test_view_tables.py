from core.model.exit_levels import Urgency
from core.model.signals import Latency
from core.view_tables import closing_statistics, exit_row, headline, overview, pnl_text, position_row
from tests.unit.dashboard.views import alert, position_view, record, statistics, view


def test_profit_and_loss_reads_as_in_the_mission():
    assert pnl_text(-102_000, -4.2105) == "₹-1,020.00 (-4.21%)"


def test_an_unknown_profit_and_loss_is_unknown_and_never_zero():
    row = position_row(position_view(pnl=None, pnl_percent=None))
    assert row[2] == "unknown"
    assert "₹0.00" not in overview(view(positions=(position_view(pnl=None, pnl_percent=None),)))


def test_without_a_premium_there_is_no_percentage():
    assert pnl_text(5_000, None) == "₹50.00"


def test_a_position_is_one_row_of_the_table():
    assert position_row(position_view()) == (
        "Long Call #3359",
        "ASTRAL",
        "₹-1,020.00 (-4.21%)",
        "MONITOR",
        "NORMAL",
        "No exit conditions triggered",
    )


def test_a_position_that_is_not_just_guarded_says_so():
    assert position_row(position_view(state="halted", reason="budget used up"))[5] == "[halted] budget used up"


def test_the_headline_sums_open_positions_and_counts_unknown_ones():
    positions = (
        position_view(1, pnl=10_000),
        position_view(2, pnl=-2_500),
        position_view(3, pnl=None),
        position_view(4, pnl=99_900, state="exited"),
    )
    text = headline(view(positions=positions))
    assert "3 open" in text
    assert "P&L: ₹75.00 (and 1 unknown)" in text


def test_the_headline_of_unknown_positions_only_says_unknown():
    assert "P&L: unknown" in headline(view(positions=(position_view(pnl=None),)))


def test_the_headline_without_positions_is_zero():
    assert "none open   P&L: ₹0.00" in headline(view(positions=()))


def test_the_most_pressing_positions_stay_when_the_table_is_cut():
    positions = (position_view(1), position_view(2, urgency=Urgency.HIGH), position_view(3, urgency=Urgency.MEDIUM))
    text = overview(view(positions=positions), limit=2)
    assert text.index("#2") < text.index("#3")
    assert "#1" not in text
    assert "… and 1 less pressing positions" in text


def test_the_overview_tells_of_exits_bad_rows_and_alerts():
    text = overview(view(finished=(record(),), set_aside=("trades row 14: no such id",), alerts=(alert(),)))
    assert "EXITS SO FAR" in text
    assert "- trades row 14: no such id" in text
    assert "WARNING token: token dies soon" in text


def test_an_exit_shows_how_long_the_order_took():
    assert exit_row(record())[5] == "2.5 ms"
    assert exit_row(record(latency=Latency(None, 1.0, 1.0, 1.0)))[5] == ""


def test_data_age_before_the_first_packet_is_unknown():
    connection = view().connection
    unknown = type(connection)("connected", "connecting", "off", 0, 0, 0, None)
    assert "Data age: unknown" in overview(view(connection=unknown))


def test_closing_statistics_name_what_is_not_finished():
    text = closing_statistics(view(positions=(position_view(7, state="halted"), position_view(8, state="guarded"))))
    assert "1:02:05" in text
    assert "NOT FINISHED: #7 (halted)" in text
    assert "#8" not in text


def test_closing_statistics_name_what_is_not_in_the_rows_yet():
    text = closing_statistics(view(unwritten=("Iron Condor #31", "Long Call #32")))
    assert "NOT WRITTEN: the rows of Iron Condor #31, Long Call #32." in text
    assert "NOT WRITTEN" not in closing_statistics(view())


def test_closing_statistics_do_not_invent_a_sum():
    assert "Realised P&L of this run  | unknown" in closing_statistics(view(statistics=statistics(realised_pnl=None)))
