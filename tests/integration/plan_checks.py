"""How a printed line is held against an engine: one tick before it, and at it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from core.model.exit_levels import ExitLevels
from core.model.memory import PositionMemory
from core.model.position import Position
from tests.integration.plan_rig import Market, only, paise, pnl_of

FIELDS = {
    "stop_loss": ("stop",),
    "trailing_stop": ("trailing",),
    "premium_trailing": ("premium_trailing",),
    "lock_profit": ("lock",),
    "theta_exit": ("theta",),
    "losing_time_stop": ("losing_time", "stop"),
    "adjustment": ("adjustment",),
    "profit_target": ("target", "target_action"),
    "scaling_target": ("scaling",),
}
"""What of the levels a rule on the position's P&L needs, so that nothing else fires on the way to it."""
UPWARDS = {"profit_target", "scaling_target"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A position with its levels, what is remembered of it, and the marks (paise) at which it stands, off all its lines."""

    position: Position
    levels: ExitLevels
    peak: int | None = None
    start: tuple[int, ...] | None = None

    def market(self, levels=None, **changed):
        facts = {"memory": PositionMemory(peak=self.peak), "start": self.start} | changed
        return Market(self.position, self.levels if levels is None else levels, **facts)

    @property
    def marks(self):
        return self.start or tuple(each.entry for each in self.position.legs)


def fires(market, line):
    """Whether what the engine acted on first is the rule of the line, with the printed threshold."""
    (signal, *_) = market.fired or (None,)
    return signal is not None and (signal.rule.value, signal.threshold) == (line["rule"], threshold_of(line))


def threshold_of(line):
    if line["unit"] == "rupees":
        return paise(line["threshold"])
    return round(line["threshold"] * 10_000) if line["unit"] == "number" else line["threshold"]


def marks_around(case, line):
    """Of the first leg: the last mark at which the printed P&L is not reached, and the first one at which it is."""
    held, marks = case.position.legs[0], case.marks
    wanted, is_up = paise(line["pnl"]), line["rule"] in UPWARDS or line["name"] == "max_profit"
    tick = held.instrument.tick
    step = tick if is_up is (held.units > 0) else -tick
    here = marks[0]

    def reached(mark):
        pnl = pnl_of(case.position, (mark, *marks[1:]))
        return pnl >= wanted if is_up else pnl <= wanted

    assert not reached(here), f"{line} is breached where the position stands"
    away = abs(wanted - pnl_of(case.position, marks)) // (tick * abs(held.units))
    here += step * max(away - 1, 0)
    while not reached(here + step):
        here += step
    return here, here + step


def check_pnl_line(case, line):
    """A line of the position's P&L, with the other rules taken away: one tick before it, and at it."""
    before, at = marks_around(case, line)
    if len(case.position.legs) == 1:
        assert paise(line["price"]) == at, "the printed price is the first one that fires"
    levels = only(case.levels, *FIELDS[line["rule"]])
    market = case.market(levels)
    (alone,) = [each for each in market.plan()["rules"] if each["level"] == line["level"]]
    assert alone["pnl"] == line["pnl"]
    market.move(0, before)
    assert not any((x.rule.value, x.threshold) == (line["rule"], threshold_of(line)) for x in market.fired)
    if line["rule"] not in {"scaling_target", "losing_time_stop"}:
        assert market.fired == [], "a tick before it nothing fires"
    market = case.market(levels)
    market.move(0, at)
    assert fires(market, line), f"{line} did not fire at {at}: {market.fired}"


def check_days(case, line):
    levels = only(case.levels, "dte")
    expiry = case.position.earliest_expiry
    if expiry is None:
        assert line["now"].startswith("no leg expires")
        return
    assert case.market(levels, day=expiry - timedelta(days=line["threshold"] + 1)).fired == []
    assert fires(case.market(levels, day=expiry - timedelta(days=line["threshold"])), line)
