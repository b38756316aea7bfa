"""What an operator types for one position, as .env.example shows it. Imports nothing of the monitor."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

CAN_BE_OFF = ("trail", "premium_trail", "lock", "target", "scale", "dte", "theta", "losing", "hold", "square_off",
              "underlying", "greeks", "adjust", "stop!")  # fmt: skip


@dataclass(frozen=True, slots=True)
class OverrideMaker:
    """`scale`: paise that amounts are sized by; `days`: to expiry; `price`: of the underlying, paise."""

    chance: random.Random
    scale: int
    days: int
    price: int

    def text(self) -> str:
        makers: dict[str, Callable[[], str]] = {
            "stop": self.stop, "target": self.target, "trail": self.trail, "premium_trail": self.premium_trail,
            "cost_at": lambda: self.rupees(self.chance.uniform(0.01, 0.1)), "lock": self.lock, "scale": self.scaling,
            "dte": lambda: str(max(self.days + self.chance.choice((-3, -1, 0)), 0)),
            "theta": lambda: str(max(self.days + self.chance.choice((-1, 0)), 0)),
            "losing": lambda: str(max(self.days + self.chance.choice((0, 1)), 1)),
            "hold": lambda: str(self.chance.randint(1, 9)),
            "underlying_below": lambda: self.underlying(-1), "underlying_above": lambda: self.underlying(1),
            "square_off": lambda: self.chance.choice(("10:05", "12:30", "13:45:30")),
        }  # fmt: skip
        words = sorted(self.chance.sample(sorted(makers), self.chance.choice((1, 1, 2, 3))))
        if {"cost_at", "lock"} <= set(words):
            words.remove("cost_at")
        parts = [f"{word}={makers[word]()}" for word in words]
        if self.chance.random() < 0.4:
            parts.append(f"none={','.join(self.off(words))}")
        return self.chance.choice(("; ", ";", " ; ")).join(parts)

    def off(self, words: list[str]) -> list[str]:
        said = {word.partition("_")[0] for word in words if word.startswith("underlying")} | set(words)
        said |= {"lock"} if "cost_at" in words else set()
        can_be = [word for word in CAN_BE_OFF if word.rstrip("!") not in said]
        return self.chance.sample(can_be, self.chance.choice((1, 1, 2)))

    def rupees(self, share: float) -> str:
        text = f"{max(self.scale * share, 100) / 100:.2f}"
        return text.removesuffix(".00")

    def percent(self, share: float) -> str:
        """In quarters, so that half a paisa is the same for everybody who rounds it."""
        return f"{max(round(400 * share), 1) / 4:g}"

    def amount(self, share: float) -> str:
        """In rupees, or of what the position can bring or has cost."""
        way = self.chance.choice(("rupees", "rupees", "%", "%premium", "x"))
        if way == "rupees":
            return self.rupees(share)
        return f"{share:.2f}x" if way == "x" else f"{self.percent(share)}{way}"

    def stop(self) -> str:
        return self.amount(self.chance.choice((0.02, 0.1, self.chance.uniform(0.03, 0.5), 40)))

    def target(self) -> str:
        return self.amount(self.chance.choice((0.02, self.chance.uniform(0.02, 0.5), 80)))

    def trail(self) -> str:
        way = self.chance.choice(("%peak", "", ""))
        distance = f"{self.chance.randint(5, 80)}%peak" if way else self.amount(self.chance.uniform(0.01, 0.1))
        arm = self.amount(self.chance.choice((self.chance.uniform(0.01, 0.1),) * 5 + (40,)))
        return distance if self.chance.random() < 0.3 else f"{distance}@{arm}"

    def premium_trail(self) -> str:
        share = self.chance.uniform(0.02, 0.4)
        return f"{self.percent(share)}%" if self.chance.random() < 0.5 else self.rupees(share)

    def lock(self) -> str:
        share = self.chance.choice((self.chance.uniform(0.01, 0.1),) * 5 + (40,))
        steps = [(share, share * self.chance.uniform(0.1, 0.8))]
        if self.chance.random() < 0.3:
            steps.append((share * 2, share))
        return ",".join(f"{self.rupees(trigger)}@{self.rupees(floor)}" for trigger, floor in steps)

    def scaling(self) -> str:
        at, parts, is_percent = self.chance.uniform(0.01, 0.1), [], self.chance.random() < 0.3
        for share in self.chance.choice(((25, 50, 75), (50, 75), (25, 50), (50,))):
            parts.append(f"{share}%:{self.percent(at)}%" if is_percent else f"{share}%:{self.rupees(at)}")
            at *= self.chance.choice((self.chance.uniform(1.2, 1.7),) * 5 + (800,))
        return ",".join(parts)

    def underlying(self, way: int) -> str:
        price = round(self.price * (1 + way * self.chance.uniform(-0.000_5, 0.004)))
        return f"{price / 100:.2f}{self.chance.choice(('', '', '/5m', '/15m'))}"
