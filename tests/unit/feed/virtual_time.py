"""An event loop whose time jumps to the next timer: half an hour of tasks in seconds, always in the same order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

BASE_NS = 1_000_000_000_000
UTC_NS = 1_795_000_000_000_000_000


class _Jumping(selectors.SelectSelector):
    """No socket ever becomes ready here: waiting is letting the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen again: every task waits"
        self.now += max(timeout, 0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class LoopClock:
    """The virtual loop's time as the house's clock. `step_ns` sets the wall clock forward or back."""

    def __init__(self) -> None:
        self.step_ns = 0

    def monotonic_ns(self) -> int:
        return BASE_NS + round(asyncio.get_running_loop().time() * 1e9)

    def utc_ns(self) -> int:
        return UTC_NS + self.monotonic_ns() - BASE_NS + self.step_ns


def run_virtually(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
