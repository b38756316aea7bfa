"""Where each price rule fires: lines of the position's P&L in paise, None while the rule is not in force (exit_rules 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.partial_close import PERCENT_OF
from core.model.money import rupees_text

if TYPE_CHECKING:
    from core.exits.rules import RuleFacts
    from core.model.exit_levels import Action, ExitLevels
    from core.model.money import Paise


def no_line(_facts: RuleFacts) -> None:
    return None


def no_hard_line(_facts: RuleFacts, _multiple: float) -> None:
    return None


def no_detail(_facts: RuleFacts) -> str:
    return ""


def stop_line(facts: RuleFacts) -> Paise | None:
    stop = facts.levels.stop
    return None if stop is None else -stop.amount


def stop_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    stop = facts.levels.stop
    return None if stop is None else -round(stop.amount * multiple)


def trailing_line(facts: RuleFacts) -> Paise | None:
    """Peak − distance once armed. It only rises, because the peak does. A share of a peak of 0 would be no distance."""
    trailing, peak = facts.levels.trailing, facts.peak
    if trailing is None or peak is None or peak < trailing.arm:
        return None
    if trailing.percent_of_peak is not None and peak <= 0:
        return None
    return peak - trailing.distance_at(peak)


def trailing_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    """Peak − multiple × distance: the hard multiple is of what is given back, because the stop itself may be a profit."""
    trailing, peak = facts.levels.trailing, facts.peak
    if trailing is None or peak is None or trailing_line(facts) is None:
        return None
    return peak - round(trailing.distance_at(peak) * multiple)


def premium_line(facts: RuleFacts) -> Paise | None:
    """First stop + peak: the distance stays what it was at entry."""
    level = facts.levels.premium_trailing
    return None if level is None else max(facts.peak or 0, 0) - level.amount


def premium_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    level = facts.levels.premium_trailing
    return None if level is None else max(facts.peak or 0, 0) - round(level.amount * multiple)


def lock_line(facts: RuleFacts) -> Paise | None:
    """The highest floor of the steps whose trigger the peak has reached."""
    step = _locked(facts)
    return None if step is None else step[1]


def lock_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    """Below the floor by (multiple − 1) × the way from the trigger to the floor."""
    step = _locked(facts)
    if step is None:
        return None
    trigger, floor = step
    return floor - round((multiple - 1) * (trigger - floor))


def theta_line(facts: RuleFacts) -> Paise | None:
    """0 once the days are reached: a position that is not in profit by then is closed."""
    theta = facts.levels.theta
    return 0 if theta is not None and facts.days is not None and facts.days <= theta.days else None


def losing_time_line(facts: RuleFacts) -> Paise | None:
    """Half the stop, while fewer days than the level's are left."""
    level, stop = facts.levels.losing_time, facts.levels.stop
    if level is None or stop is None or facts.days is None or facts.days >= level.days:
        return None
    return -stop.amount // 2


def losing_time_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    line = losing_time_line(facts)
    return None if line is None else round(line * multiple)


def adjustment_line(facts: RuleFacts) -> Paise | None:
    level = facts.levels.adjustment
    return None if level is None else -level.first


def adjustment_last_line(facts: RuleFacts) -> Paise | None:
    level = facts.levels.adjustment
    return None if level is None else -level.last


def target_line(facts: RuleFacts) -> Paise | None:
    target = facts.levels.target
    return None if target is None else target.amount


def scaling_line(facts: RuleFacts) -> Paise | None:
    """The lowest level that has not fired yet."""
    return min((level.amount for level in facts.levels.scaling), default=None)


def scaling_meant(facts: RuleFacts, pnl: Paise) -> tuple[Paise, Action]:
    """Of the levels that the P&L has reached, the one that closes most; of two with one share the lower."""
    reached = [level for level in facts.levels.scaling if level.amount <= pnl]
    most = max(reached, key=lambda level: (PERCENT_OF.get(level.action, 100), -level.amount))
    return most.amount, most.action


def start_peak(levels: ExitLevels, peak: Paise | None) -> Paise | None:
    """The peak to start with, given the one remembered (paise, None: none). None is "nothing is remembered yet".

    Where a stop trails from entry the peak is at least 0, the P&L at entry. A peak that no level needs now is kept: a row that
    one read left out comes back with the next.
    """
    trailing = levels.trailing
    if levels.premium_trailing is not None or (trailing is not None and trailing.arm == 0):
        return max(peak or 0, 0)
    return peak


def next_peak(facts: RuleFacts) -> Paise | None:
    """The lowest P&L that would be a new peak some rule has to know of; None when no rule remembers peaks."""
    levels, peak = facts.levels, facts.peak
    if levels.premium_trailing is not None or (
        levels.trailing is not None and peak is not None and peak >= levels.trailing.arm
    ):
        return max(peak or 0, 0) + 1
    return min((trigger for trigger in _triggers(levels) if peak is None or trigger > peak), default=None)


def _triggers(levels: ExitLevels) -> list[Paise]:
    """P&L at which the trailing stop arms and at which floors are locked."""
    arm = () if levels.trailing is None else (levels.trailing.arm,)
    steps = () if levels.lock is None else levels.lock.steps
    return [*arm, *(step.trigger for step in steps)]


def _locked(facts: RuleFacts) -> tuple[Paise, Paise] | None:
    """(trigger, floor) of the step that counts."""
    lock, peak = facts.levels.lock, facts.peak
    if lock is None or peak is None:
        return None
    reached = [(step.floor, step.trigger) for step in lock.steps if step.trigger <= peak]
    if not reached:
        return None
    floor, trigger = max(reached)
    return trigger, floor


def trailing_detail(facts: RuleFacts) -> str:
    trailing = facts.levels.trailing
    if trailing is None or facts.peak is None:
        return ""
    return f" (peak {rupees_text(facts.peak)} − {rupees_text(trailing.distance_at(facts.peak))})"


def premium_detail(facts: RuleFacts) -> str:
    level = facts.levels.premium_trailing
    if level is None:
        return ""
    return f" (peak {rupees_text(max(facts.peak or 0, 0))} − {rupees_text(level.amount)})"


def lock_detail(facts: RuleFacts) -> str:
    step = _locked(facts)
    return "" if step is None else f" (locked since P&L reached {rupees_text(step[0])})"


def theta_detail(facts: RuleFacts) -> str:
    theta = facts.levels.theta
    if theta is None or facts.days is None:
        return ""
    return f" with {days_text(facts.days)} to expiry ≤ {theta.days}"


def losing_time_detail(facts: RuleFacts) -> str:
    level = facts.levels.losing_time
    if level is None or facts.days is None:
        return ""
    return f" (half the stop) with {days_text(facts.days)} to expiry < {level.days}"


def days_text(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"
