"""The day with the storm held against the same day without, and both against the market as it truly was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from tests.campaigns.feed_day_market import Day
from tests.campaigns.feed_day_run import Ran
from tests.campaigns.feed_day_truth import REACTION_S, STEP_S, may_fire, must_fire, reach_of
from tests.replay.oracle import IST, Exit, expected_exits
from tests.replay.recorded import Plan

LATE_S: Final = 5.0
SETTLE_S: Final = 0.1
FAILED_ANSWER_S: Final = 2.5
"""What one refused quote request costs where the feed is down at the same time: 2 s ± 25 % until the next."""
EARLY_STEPS: Final = 6
WINDOWS_S: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, REACTION_S)
WARM_UP_S: Final = 60.0


@dataclass(slots=True)
class Verdict:
    """`broken`: promises that were not kept. `named`: exits by another rule or at their own time, with what justifies each.

    `late_s`: for each exit of both days, how much later its first order arrived in the storm.
    """

    broken: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    oracle_apart: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Done:
    """An exit as it happened: `at_s` from the first price of the day to the arrival of its first order."""

    rule: str
    at_s: float


def exits_of(day: Day, ran: Ran) -> dict[int, Done]:
    of_leg = {str(leg.security_id): plan.strategy_id for plan in day.plans for leg in plan.legs}
    first: dict[int, int] = {}
    for at_ns, body in ran.orders:
        first.setdefault(of_leg[str(body["securityId"])], at_ns)
    rules = {int(line["strategy_id"]): str(line["rule"]) for line in ran.exits}
    return {sid: Done(rules.get(sid, "not recorded"), (at_ns - ran.started_ns) / 1e9) for sid, at_ns in first.items()}


def expected_of(day: Day, ran: Ran) -> dict[int, Exit | None]:
    started_ms = ran.started_ns // 1_000_000
    return expected_exits(list(day.plans), day.rows(started_ms), ran.square_off, started_ms)


def judge(day: Day, clean: Ran, storm: Ran) -> Verdict:
    verdict = Verdict()
    before, after = exits_of(day, clean), exits_of(day, storm)
    expected = expected_of(day, clean)
    _hold_to_oracle(day, clean, before, expected, verdict)
    for plan in day.plans:
        one, other = before.get(plan.strategy_id), after.get(plan.strategy_id)
        if one is None and other is not None:
            _justify(day, plan, other, "no exit without the storm", verdict)
        elif one is not None and other is None:
            _missed(day, plan, one, verdict)
        elif one is not None and other is not None:
            _compare(day, plan, (clean, one), (storm, other), verdict)
    verdict.broken += [f"storm: {text}" for text in order_faults(day, storm)]
    verdict.broken += [f"clean: {text}" for text in order_faults(day, clean)]
    return verdict


def _hold_to_oracle(
    day: Day, clean: Ran, done: dict[int, Done], expected: dict[int, Exit | None], verdict: Verdict
) -> None:
    """The clean day is the measure only where it is right itself: an independent calculation has the same exits within 1 s."""
    for plan in day.plans:
        want, got = expected[plan.strategy_id], done.get(plan.strategy_id)
        at_s = None if want is None else (want.at_ms - clean.started_ns / 1e6) / 1e3
        if want is None or got is None or at_s is None:
            if want is not None or got is not None:
                verdict.oracle_apart.append(f"#{plan.strategy_id}: calculated {want}, done {got}")
        elif want.rule != got.rule or abs(got.at_s - at_s) > 1.0:
            verdict.oracle_apart.append(
                f"#{plan.strategy_id}: calculated {want.rule} at {at_s:.2f} s, done {got.rule} at {got.at_s:.2f} s"
            )


def _compare(day: Day, plan: Plan, one: tuple[Ran, Done], other: tuple[Ran, Done], verdict: Verdict) -> None:
    (clean, before), (storm, after) = one, other
    if before.rule == after.rule == "square_off":
        # By the clock: each day has its own.
        late_s = (after.at_s - _square_off_s(storm)) - (before.at_s - _square_off_s(clean))
    else:
        late_s = after.at_s - before.at_s
    verdict.late_s.append(late_s)
    failures = [at_ns / 1e9 - storm.started_ns / 1e9 for at_ns in storm.quote_failures_ns]
    refused = sum(after.at_s - late_s - LATE_S <= at_s <= after.at_s for at_s in failures)
    bound_s = LATE_S + SETTLE_S + refused * FAILED_ANSWER_S
    if late_s > LATE_S + SETTLE_S:
        text = f"#{plan.strategy_id} {plan.name}: {after.rule} {late_s:.2f} s later ({refused} quote requests refused meanwhile)"
        must = must_fire(plan, day.today, reach_of(plan, day.prices, REACTION_S))
        is_owed = must is None or after.at_s > must * STEP_S + SETTLE_S
        if not is_owed:
            text += f"; its level was only touched before, it was owed from {must * STEP_S:.1f} s on"
        (verdict.broken if late_s > bound_s and is_owed else verdict.named).append(text)
    if before.rule != after.rule:
        _justify(day, plan, after, f"{before.rule} without the storm", verdict)
    elif late_s < -SETTLE_S - STEP_S and after.rule not in {"square_off", "dte_exit"}:
        _justify(day, plan, after, f"{-late_s:.2f} s earlier than without the storm", verdict)


def _square_off_s(ran: Ran) -> float:
    day = datetime.fromtimestamp(ran.started_ns / 1e9, IST).date()
    return datetime.combine(day, ran.square_off, IST).timestamp() - ran.started_ns / 1e9


def _missed(day: Day, plan: Plan, before: Done, verdict: Verdict) -> None:
    must = must_fire(plan, day.today, reach_of(plan, day.prices, REACTION_S))
    text = f"#{plan.strategy_id} {plan.name}: {before.rule} at {before.at_s:.1f} s did not happen in the storm"
    if must is None:
        verdict.named.append(f"{text}; its level held for less than {REACTION_S} s in one go")
    else:
        verdict.broken.append(f"{text}, and was owed from {must * STEP_S:.1f} s on")


def _justify(day: Day, plan: Plan, done: Done, why: str, verdict: Verdict) -> None:
    """By the true prices of the time to react, and no more of it than is needed."""
    text = f"#{plan.strategy_id} {plan.name}: {done.rule} at {done.at_s:.1f} s, {why}"
    at = min(int(done.at_s / STEP_S), day.steps + day.tail - 1)
    for window_s in WINDOWS_S:
        may = may_fire(plan, day.today, reach_of(plan, day.prices, window_s)).get(done.rule)
        if may is not None and any(may[max(at - EARLY_STEPS, 0) : at + 1]):
            verdict.named.append(f"{text}; so said true prices of the last {window_s} s")
            return
    verdict.broken.append(f"{text}; no true prices of the last {REACTION_S} s say so")


def order_faults(day: Day, ran: Ran) -> Iterator[str]:
    """Every exit flat at the exchange, by orders that together are exactly the position; rows closed; nothing else touched."""
    done = exits_of(day, ran)
    for plan in day.plans:
        exited = plan.strategy_id in done
        for leg in plan.legs:
            name = f"#{plan.strategy_id} leg {leg.security_id}"
            filled = sum(n if side == "BUY" else -n for side, n in ran.fills.get(str(leg.security_id), ()))
            sides = {side for side, _ in ran.fills.get(str(leg.security_id), ())}
            if filled != (-leg.units if exited else 0):
                yield f"{name}: {filled} filled for a position of {leg.units}"
            if len(sides) > 1:
                yield f"{name}: bought and sold"
            net = ran.net.get(f"NSE_FNO:{leg.security_id}:{plan.product}")
            if net != (0 if exited else leg.units):
                yield f"{name}: the exchange holds {net}"
            if ran.rows[leg.row_id] != ("closed" if exited else "open"):
                yield f"{name}: its row is {ran.rows[leg.row_id]}"
        if exited and sum(int(line["strategy_id"]) == plan.strategy_id for line in ran.exits) != 1:
            yield f"#{plan.strategy_id}: not recorded exactly once"


@dataclass(frozen=True, slots=True)
class Health:
    """Figures of one run. `slope_kb_per_min` is None where the run was too short to warm up. Threes: (first second in which
    all was live, last second, most). `objects` live after a full
    collection, before the storm and at the end; `garbage` had waited for it.
    """

    rss_mb: tuple[float, float, float]
    slope_kb_per_min: float | None
    objects: tuple[int, int]
    garbage: tuple[int, int]
    tasks: tuple[int, int, int]
    descriptors: tuple[int, int, int]
    threads: tuple[int, int, int]
    stall_p99_ms: float
    stall_max_ms: float
    reconnects: int
    order_streams: int
    cpu_share: float
    last: dict[str, Any]


def health_of(ran: Ran) -> Health:
    samples = [each for each in ran.samples if each["at_ns"] > ran.started_ns]
    begun = next(each for each in samples if each["lines_live"] == each["lines_needed"] and each["priced"])
    last = samples[-2]
    stalls = sorted(us for each in samples for us in each["stalls_us"])
    warm = [each for each in samples if each["at_ns"] - ran.started_ns > WARM_UP_S * 1e9]
    slope = None
    if len(warm) > WARM_UP_S:
        slope = _slope([((each["at_ns"] - ran.started_ns) / 60e9, each["rss_kb"]) for each in warm])

    def three(name: str) -> tuple[int, int, int]:
        return begun[name], last[name], max(each[name] for each in samples)

    rss = three("rss_kb")
    wall_ns = samples[-1]["at_ns"] - samples[0]["at_ns"]
    return Health(
        rss_mb=(rss[0] / 1_024, rss[1] / 1_024, rss[2] / 1_024),
        slope_kb_per_min=slope,
        objects=(ran.censuses[0]["objects"], ran.censuses[-1]["objects"]),
        garbage=(ran.censuses[0]["collected"], ran.censuses[-1]["collected"]),
        tasks=three("tasks"),
        descriptors=three("descriptors"),
        threads=three("threads"),
        stall_p99_ms=stalls[int(len(stalls) * 0.99)] / 1e3,
        stall_max_ms=stalls[-1] / 1e3,
        reconnects=last["reconnects"],
        order_streams=last["order_streams"],
        cpu_share=(samples[-1]["cpu_ns"] - samples[0]["cpu_ns"]) / wall_ns,
        last=last,
    )


def _slope(points: list[tuple[float, float]]) -> float:
    """Least squares: y for one of x."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across if across else 0.0


def p99(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(int(Fraction(99, 100) * len(ordered)), len(ordered) - 1)]
