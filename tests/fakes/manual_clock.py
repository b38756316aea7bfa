"""Time that moves only when a test moves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ManualClock:
    monotonic: int = 1_000_000_000_000
    utc: int = 1_795_000_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.monotonic

    def utc_ns(self) -> int:
        return self.utc

    def pass_seconds(self, seconds: float) -> None:
        self.monotonic += int(seconds * 1e9)
        self.utc += int(seconds * 1e9)
