"""What an operator and the optional tables say of some positions of a book. Imports nothing of the monitor.

Overrides, named sets, support and resistance, limits of the volatility, planned legs: each of about every fifth position.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from tests.oracle.book import Leg
from tests.oracle.override_maker import OverrideMaker
from tests.oracle.pricing import value_of
from tests.oracle.row_maker import days_left_of, scale_of
from tests.oracle.rows import Tables

NAMES = ("aggressive_profits", "conservative_losses")


@dataclass(frozen=True, slots=True)
class BesideMaker:
    """`prices`: of each index, paise, as the day began."""

    chance: random.Random
    day: date
    prices: Mapping[str, int]
    tables: Tables
    settings: dict[str, str]

    def set_for_all(self) -> None:
        if self.chance.random() < 0.15:
            self.settings["DEFAULT_PROFILE"] = self.chance.choice(NAMES)
        if self.chance.random() < 0.5:
            self.settings["TECHNICAL_LEVELS"] = self.chance.choice(("alert", "close", "close", "off"))

    def add(self, strategy_id: int, legs: tuple[Leg, ...], *, has_greeks: bool) -> None:
        price = self.prices[legs[0].contract.index]
        makers: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.2, lambda: self.override(strategy_id, legs, price)),
            (0.2, lambda: self.named(strategy_id)),
            (0.2, lambda: self.levels_of_the_chart(strategy_id, price)),
            (0.3 if has_greeks else 0, lambda: self.limits_of_volatility(strategy_id)),
            (0.5 if has_greeks else 0, lambda: self.plan(strategy_id, legs, price)),
        )
        for share, make in makers:
            if self.chance.random() < share:
                make()

    def override(self, strategy_id: int, legs: tuple[Leg, ...], price: int) -> None:
        maker = OverrideMaker(self.chance, scale_of(legs), days_left_of(legs, self.day), price)
        self.settings[f"EXIT_OVERRIDE_{strategy_id}"] = maker.text()

    def named(self, strategy_id: int) -> None:
        """Named where it counts most, and perhaps otherwise where it counts less."""
        name, other = self.chance.sample(NAMES, 2)
        places: list[Callable[[str], None]] = [
            lambda name: self.settings.update({f"EXIT_PROFILE_{strategy_id}": name}),
            lambda name: self._row(self.tables.risks, strategy_id).update(exit_profile=name.title()),
            lambda name: self._strategy(strategy_id).update(exit_profile=name),
        ]
        first = self.chance.randrange(len(places))
        places[first](name)
        if first + 1 < len(places) and self.chance.random() < 0.5:
            places[-1](self.chance.choice((other, "of_nobody")))

    def levels_of_the_chart(self, strategy_id: int, price: int) -> None:
        support, resistance = (round(price * (1 + way * self.chance.uniform(-0.001, 0.003))) for way in (-1, 1))
        row = self._monitoring(strategy_id)
        row["support_level"] = self.chance.choice((self._text(support),) * 4 + (0, None, "75.00"))
        row["resistance_level"] = self.chance.choice((self._text(resistance),) * 4 + (0, None, "12.5"))
        if self.chance.random() < 0.5:
            spot = round(price * self.chance.uniform(0.998, 1.002))
            self._strategy(strategy_id)["spot_price"] = self._text(spot)

    def limits_of_volatility(self, strategy_id: int) -> None:
        row = self._monitoring(strategy_id)
        row["iv_upper_limit"] = self.chance.choice((12, 14, "16.00", 20, 0.15, None))
        row["iv_lower_limit"] = self.chance.choice((8, "10.00", 12, 0.11, None))

    def plan(self, strategy_id: int, legs: tuple[Leg, ...], price: int) -> None:
        """Sometimes without a leg, without vegas, or with volatilities as fractions."""
        iv, fault = self.chance.uniform(0.08, 0.2), self.chance.choice(("", "", "", "leg", "vega", "gamma"))
        is_fraction, is_dated = self.chance.random() < 0.3, len({leg.contract.expiry for leg in legs}) > 1
        for leg in legs[1:] if fault == "leg" else legs:
            contract, own = leg.contract, iv * self.chance.uniform(0.9, 1.1)
            years = max(days_left_of((leg,), self.day), 1) / 365
            value = value_of(contract.right, price, contract.strike, years, own)
            is_dated = is_dated or self.chance.random() < 0.8
            self.tables.details.append(
                {
                    "strategy_id": strategy_id,
                    "setup_type": "BUY" if leg.units > 0 else "SELL",
                    "option_type": contract.right,
                    "strike_price": self._text(contract.strike),
                    "expiry_date": contract.expiry.isoformat() if contract.expiry and is_dated else None,
                    "gamma": None if fault == "gamma" else f"{value.gamma * self.chance.uniform(0.5, 1.2):.6f}",
                    "vega": None if fault == "vega" else f"{value.vega / 100:.4f}",
                    "implied_volatility": round(own if is_fraction else 100 * own, 4),
                }
            )

    # Rows

    def _monitoring(self, strategy_id: int) -> dict[str, object]:
        row = self._row(self.tables.monitoring, strategy_id)
        for column in ("support_level", "resistance_level", "iv_upper_limit", "iv_lower_limit"):
            row.setdefault(column, None)
        return row

    def _strategy(self, strategy_id: int) -> dict[str, object]:
        return self._row(self.tables.strategies, strategy_id, "id")

    def _row(self, rows: list[dict[str, object]], strategy_id: int, key: str = "strategy_id") -> dict[str, object]:
        found = next((row for row in rows if row[key] == strategy_id), None)
        if found is None:
            rows.append(found := {key: strategy_id})
        return found

    def _text(self, paise: int) -> object:
        rupees = Decimal(paise) / 100
        return str(rupees) if self.chance.random() < 0.5 else float(rupees)
