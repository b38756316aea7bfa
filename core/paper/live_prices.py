"""The price model's clock: one step for all, then the instruments somebody watches are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.paper.price_model import MODEL_STEP_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.instrument import InstrumentKey
    from core.paper.market import Market
    from core.paper.price_model import PriceModel


class LivePrices:
    """Fills every book once at the start, so that REST and the first packet after a subscription have a price."""

    def __init__(self, model: PriceModel, market: Market) -> None:
        self._model = model
        self._market = market
        self._shown_at: dict[InstrumentKey, int] = {}
        self._watched: dict[InstrumentKey, None] = {}
        for listing in market.instruments:
            self._refresh(listing.instrument.key)
            book = market.book(listing.instrument.key)
            book.previous_close = listing.open_price or book.last
        market.refresh = self._refresh

    def step(self, watched: Iterable[InstrumentKey]) -> None:
        self._model.step()
        self._watched = dict.fromkeys(watched)
        for key in self._watched:
            if key not in self._market.scripted and self._model.is_due(key):
                self._shown_at[key] = self._model.step_number
                self._market.apply(self._model.data(key), every=False)

    def _refresh(self, key: InstrumentKey) -> None:
        # What somebody watches moves when the feed says so: a snapshot that knew more would look like a mute feed.
        if key in self._watched:
            return
        # Once a step: a second look must not bring back the size that our own orders have taken.
        if self._shown_at.get(key) != self._model.step_number:
            self._shown_at[key] = self._model.step_number
            self._market.set_silently(self._model.data(key))

    def move(
        self, underlying: str, percent: float | None, points: float | None, to: float | None, seconds: float
    ) -> None:
        """As LocalExchange.move."""
        spot = self._model.spot(underlying)
        if percent is not None:
            points = spot * percent / 100
        elif to is not None:
            points = to - spot
        if points is None:
            raise ValueError("expected percent, points or to")
        self._model.move(underlying, points, round(seconds / MODEL_STEP_S))
        self._shown_at.clear()
