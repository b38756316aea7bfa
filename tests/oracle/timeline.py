"""What happens to a monitor, in order, apart from quotes. Times are milliseconds of UTC. Imports nothing of the monitor."""

from __future__ import annotations

from typing import NamedTuple

from tests.oracle.market import Shown


class Told(NamedTuple):
    """The clock is told, with the calendar's word on the session: True, False, or None when it does not know."""

    at_ms: int
    session_open: bool | None = True


class Doubted(NamedTuple):
    """Nothing shows any more that the prices of these instruments are true."""

    at_ms: int
    keys: tuple[str, ...]


class FeedTold(NamedTuple):
    """Some price connection delivers data, or none does; the clock is told with it."""

    at_ms: int
    is_live: bool


class Restarted(NamedTuple):
    """The program died and is back at once: quotes are forgotten, what was written down is not."""

    at_ms: int


class StoodStill(NamedTuple):
    """The program stood still for `lasted_ms` until now, and is told the time first.

    After more than a second what is read may have waited: it is held for suspect, two seconds from now.
    """

    at_ms: int
    lasted_ms: int


Happening = Shown | Told | Doubted | FeedTold | Restarted | StoodStill


class Decision(NamedTuple):
    """A rule fired. `closes` is False for what is only told. `pnl`: of the position when it was decided, paise."""

    strategy_id: int
    at_ms: int
    rule: str
    action: str
    threshold: int | None
    observed: int | None
    pnl: int | None
    closes: bool
