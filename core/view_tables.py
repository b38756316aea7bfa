"""A view of the monitor as the trader reads it: tables of plain text. What is not known is written "unknown", never 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from core.model.commands import Severity
from core.model.exit_levels import Urgency
from core.model.money import rupees_text
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.money import Paise
    from core.model.signals import ExitRecord, Latency
    from core.monitor_view import ConnectionView, MonitorView, PositionView, Statistics

UNKNOWN: Final = "unknown"
POSITION_HEADERS: Final = ("Strategy", "Symbol", "P&L", "Action", "Urgency", "Reason")
EXIT_HEADERS: Final = ("Time", "Strategy", "Symbol", "Realised P&L", "Reason", "Tick to order sent")
SHOWN_ALERTS: Final = 5
SHOWN_PAGES: Final = 4
_PRESSING: Final = {urgency: place for place, urgency in enumerate(Urgency)}


def money_text(amount: Paise | None) -> str:
    return UNKNOWN if amount is None else rupees_text(amount)


def pnl_text(pnl: Paise | None, percent: float | None) -> str:
    """`₹-1,020.00 (-4.21%)`; the percentage is left out where there is no premium to measure it by."""
    if pnl is None or percent is None:
        return money_text(pnl)
    return f"{rupees_text(pnl)} ({percent:.2f}%)"


def most_pressing_first(positions: Sequence[PositionView]) -> list[PositionView]:
    return sorted(positions, key=lambda view: (_PRESSING[view.urgency], view.position.strategy_id))


def position_row(view: PositionView) -> tuple[str, ...]:
    position = view.position
    state = "" if view.state == "guarded" else f"[{view.state}] "
    return (
        f"{position.strategy_name or 'Strategy'} #{position.strategy_id}",
        position.underlying,
        pnl_text(view.pnl, view.pnl_percent),
        view.action.value,
        view.urgency.value,
        f"{state}{view.reason}",
    )


def exit_row(record: ExitRecord) -> tuple[str, ...]:
    sent = tick_to_sent_ms(record.latency)
    return (
        f"{ist_datetime(record.finished_at_ns):%H:%M:%S}",
        f"{record.strategy_name or 'Strategy'} #{record.strategy_id}",
        record.symbol,
        money_text(record.realised_pnl),
        record.reason,
        "" if sent is None else f"{sent:.1f} ms",
    )


def tick_to_sent_ms(latency: Latency) -> float | None:
    """From the receipt of the tick to the bytes of the first order; None where a step did not happen."""
    if latency.tick_to_decision is None or latency.decision_to_durable is None or latency.durable_to_sent is None:
        return None
    return latency.tick_to_decision + latency.decision_to_durable + latency.durable_to_sent


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, headers=headers, tablefmt="outline", disable_numparse=True)


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def headline(view: MonitorView) -> str:
    """Mode, time and the sum of the open positions' P&L; what is unknown is counted, not taken as 0."""
    still_open = [each for each in view.positions if each.state != "exited"]
    known = [each.pnl for each in still_open if each.pnl is not None]
    unknown = len(still_open) - len(known)
    total = rupees_text(sum(known)) if known or not unknown else UNKNOWN
    more = f" (and {unknown} unknown)" if unknown and known else ""
    open_positions = f"{len(still_open)} open" if still_open else "none open"
    now = f"{ist_datetime(view.utc_ns):%Y-%m-%d %H:%M:%S} IST"
    return f"{view.mode.value}   {now}   positions: {open_positions}   P&L: {total}{more}"


def positions_block(view: MonitorView, limit: int | None = None) -> str:
    shown = most_pressing_first(view.positions)
    hidden = 0 if limit is None else max(len(shown) - limit, 0)
    text = "POSITION DETAILS\n" + table(POSITION_HEADERS, [position_row(each) for each in shown[: len(shown) - hidden]])
    return f"{text}\n… and {hidden} less pressing positions" if hidden else text


def connection_line(connection: ConnectionView) -> str:
    age = UNKNOWN if connection.data_age_s is None else f"{connection.data_age_s:.1f} s"
    detail = f" ({connection.feed_detail})" if connection.feed_detail else ""
    prices = ", ".join(f"{count} {state}" for state, count in connection.prices.items())
    more = "".join(f"   {name}: {text}" for name, text in (("Prices", prices), ("Token", connection.token)) if text) + (
        "" if connection.redis == "off" else f"   Redis: {connection.redis}"
    )
    return (
        f"Feed: {connection.feed}{detail}   Data age: {age}   Order updates: {connection.order_updates}   "
        f"Trades: {connection.store}   Cached prices: {connection.cached_prices}   "
        f"Subscribed instruments: {connection.subscribed}   Reconnects: {connection.reconnects}{more}"
    )


def statistics_rows(statistics: Statistics) -> tuple[tuple[str, str], ...]:
    seconds = int(statistics.uptime_s)
    return (
        ("Running for", f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"),
        ("Open positions", str(statistics.positions)),
        ("Price updates", f"{statistics.price_updates:,}"),
        ("Prices dropped as absurd", str(statistics.dropped_prices)),
        ("Corrupt packets skipped", str(statistics.corrupt_packets)),
        ("REST price requests", str(statistics.rest_fetches)),
        ("Changes of trades noticed", str(statistics.trade_updates)),
        ("Exit signals", str(statistics.signals)),
        ("Exits finished", str(statistics.exits_finished)),
        ("Exits unresolved", str(statistics.exits_unresolved)),
        ("Alerts", str(statistics.alerts)),
        ("Realised P&L of this run", money_text(statistics.realised_pnl)),
    )


def statistics_line(statistics: Statistics) -> str:
    return (
        f"Price updates: {statistics.price_updates:,}   Signals: {statistics.signals}   "
        f"Exits: {statistics.exits_finished} finished, {statistics.exits_unresolved} unresolved   "
        f"Alerts: {statistics.alerts}   Realised P&L: {money_text(statistics.realised_pnl)}"
    )


def bad_rows_blocks(view: MonitorView) -> list[str]:
    """What of the rows, and of the ids that were asked for, is not as it should be."""
    blocks = []
    if view.not_found:
        blocks.append(not_found_line(view))
    if view.not_read:
        lines = "\n".join(f"- #{strategy_id}: {problem}" for strategy_id, problem in view.not_read)
        blocks.append(f"NOT READ (guarded by its other levels, see --plan)\n{lines}")
    if view.set_aside:
        blocks.append(set_aside_block(view))
    return blocks


def not_found_line(view: MonitorView) -> str:
    return f"NOT THERE: no open position of strategy {', '.join(map(str, view.not_found))}, which --positions names."


def set_aside_block(view: MonitorView) -> str:
    return "SET ASIDE (not protected until mended)\n" + "\n".join(f"- {problem}" for problem in view.set_aside)


def exits_block(view: MonitorView) -> str:
    return "EXITS SO FAR\n" + table(EXIT_HEADERS, [exit_row(record) for record in view.finished])


def alerts_block(view: MonitorView) -> str:
    # Pages first: a run of warnings must not push them off the screen.
    pages = [alert for alert in view.alerts if alert.severity is Severity.PAGE][-SHOWN_PAGES:]
    others = [alert for alert in view.alerts if alert.severity is not Severity.PAGE]
    newest = [*pages, *others[-(SHOWN_ALERTS - len(pages)) :]]
    return "ALERTS\n" + "\n".join(f"- {alert.severity.value} {alert.subject}: {alert.text}" for alert in newest)


def overview(view: MonitorView, limit: int | None = None) -> str:
    """The whole view as text: headline, positions, connection, statistics, and what else there is to say."""
    blocks = [
        headline(view),
        positions_block(view, limit),
        "CONNECTION STATUS\n" + connection_line(view.connection),
        "STATISTICS\n" + statistics_line(view.statistics),
    ]
    if view.finished:
        blocks.append(exits_block(view))
    blocks += bad_rows_blocks(view)
    if view.alerts:
        blocks.append(alerts_block(view))
    return "\n\n".join(blocks) + "\n"


def closing_statistics(view: MonitorView) -> str:
    """What a run ends with."""
    blocks = ["CLOSING STATISTICS\n" + table(("", ""), statistics_rows(view.statistics))]
    if view.finished:
        blocks.append(exits_block(view))
    blocks += bad_rows_blocks(view)
    unresolved = [each for each in view.positions if each.state in {"exiting", "halted"}]
    if unresolved:
        names = ", ".join(f"#{each.position.strategy_id} ({each.state})" for each in unresolved)
        blocks.append(f"NOT FINISHED: {names}. The next start goes on with them; look at the broker's order book.")
    if view.unwritten:
        names = ", ".join(view.unwritten)
        blocks.append(
            f"NOT WRITTEN: the rows of {names}. Closed at the broker; the next start from this STATE_DIR writes them."
        )
    return "\n\n".join(blocks) + "\n"
