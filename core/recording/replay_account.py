"""The account of a replay: every order is filled at once and whole, at the executable side of the newest quote.

What it cannot show: queues, depth beyond the best price, refusals, how long an order takes. A sale gets the bid, a purchase the
ask. Where the book has no such side the engine itself waits for one, as it does live; without any book (an index, a price over
REST) the last price is what there is, and the fill says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model import commands as cmd
from core.model import events as ev
from core.model.orders import OrderReport, OrderStatus, Side, TradeReport
from core.model.position import BrokerPosition, PositionReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from core.exits.running_exit import RunningExit
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.orders import OrderIntent
    from core.model.position import HoldingKey, Position


@dataclass(frozen=True, slots=True)
class Fill:
    """One order of an exit. `units` unsigned, `price` paise, `note` what was odd about the price. `at_ns` monotonic."""

    exit_id: str
    key: InstrumentKey
    side: Side
    units: int
    price: Paise
    at_ns: int
    note: str = ""


class ReplayAccount:
    """Answers the engine's commands with events, at once. `quote_of` is the newest quote, `exit_of` whose order it is."""

    def __init__(
        self, quote_of: Callable[[InstrumentKey], Quote | None], exit_of: Callable[[str], RunningExit]
    ) -> None:
        self.fills: list[Fill] = []
        self._quote_of = quote_of
        self._exit_of = exit_of
        self._held: dict[int, dict[HoldingKey, int]] = {}
        self._trades: list[TradeReport] = []

    def hold(self, position: Position) -> None:
        """The account holds exactly these legs for the strategy from now on."""
        units: dict[HoldingKey, int] = {}
        for leg in position.legs:
            units[leg.holding] = units.get(leg.holding, 0) + leg.units
        self._held[position.strategy_id] = units

    def release(self, strategy_id: int) -> None:
        self._held.pop(strategy_id, None)

    def answers(self, commands: Sequence[cmd.Command], at_ns: int) -> Iterator[ev.Event]:
        """What the broker says to all of them; nothing to those that are not his.

        One order book tells all fills at once: with a thousand exits on one instant, a word on each order would take minutes.
        """
        reports = tuple(self._filled(each.intent, at_ns) for each in commands if isinstance(each, cmd.SubmitOrder))
        asked = {type(command) for command in commands}
        if reports or cmd.ReadOrderBook in asked:
            yield ev.OrderBookRead(reports, at_ns, at_ns)
        if cmd.ReadPositions in asked:
            yield ev.PositionsRead(self._report(at_ns), at_ns)
        if cmd.ReadTradeBook in asked:
            yield ev.TradeBookRead(tuple(self._trades), at_ns, at_ns)
        for command in commands:
            if isinstance(command, cmd.CloseRows):
                yield ev.RowsClosed(command.record.exit_id, at_ns)

    def _filled(self, intent: OrderIntent, at_ns: int) -> OrderReport:
        key = intent.holding.instrument
        price, note = _executable(self._quote_of(key), intent)
        running = self._exit_of(intent.correlation_id)
        fill = Fill(running.exit_id, key, intent.side, intent.quantity, price, at_ns, note)
        self.fills.append(fill)
        order_id = f"REPLAY-{len(self.fills)}"
        self._trades.append(TradeReport(order_id, order_id, intent.holding, intent.side, intent.quantity, price))
        held = self._held.setdefault(running.strategy_id, {})
        held[intent.holding] = held.get(intent.holding, 0) + intent.side.sign * intent.quantity
        return OrderReport(
            order_id,
            intent.correlation_id,
            intent.holding,
            intent.side,
            intent.quantity,
            intent.quantity,
            OrderStatus.TRADED,
            price,
        )

    def _report(self, at_ns: int) -> PositionReport:
        nets: dict[HoldingKey, int] = {}
        for units in self._held.values():
            for holding, net in units.items():
                nets[holding] = nets.get(holding, 0) + net
        return PositionReport(tuple(BrokerPosition(holding, net, 0, 0) for holding, net in nets.items()), at_ns, at_ns)


def _executable(quote: Quote | None, intent: OrderIntent) -> tuple[Paise, str]:
    if quote is None:
        return intent.price, "no price is known: the order's limit is taken"
    side = quote.ask if intent.side is Side.BUY else quote.bid
    if side is not None:
        return side, ""
    return quote.last, f"no {'ask' if intent.side is Side.BUY else 'bid'} in the book: the last price is taken"
