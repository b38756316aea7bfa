"""What `--why` prints: what was compared with what, for a past exit or at any moment that was recorded.

Exits are in `exit_executions.json`; what was compared, also while nothing fired, is in the files of `decision_file`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from core.decision_file import FOLDER
from core.decision_record import Kind
from core.decision_search import Recorded, newest, records_near, time_of
from core.exit_records import FILE_NAME, read_lines
from core.model.errors import ConfigurationError
from core.model.session_time import IST
from core.why_text import exit_text, history_text, record_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAY_S: Final = 86_400
THEN_S: Final = 60
"""An exit within a minute of the time that was asked for is the one that "was then"."""
FILLED_WITHIN: Final = timedelta(minutes=10)
"""A decision is looked for so long before its exit was finished: an order book may be slow, or a person had to help."""
SHOWN_BEFORE: Final = 8
SHOWN_AFTER: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """`exit` and `record` are None when there is none to show. `apart_s`: from the time asked for to the record's, signed.

    `around` are the records before and after it, `exits` all exits of the strategy.
    """

    exit: Recorded | None
    record: Recorded | None
    apart_s: float | None
    around: Sequence[Recorded]
    exits: Sequence[Recorded]
    newest: Recorded | None


def explain(log_dir: Path, state_dir: Path, strategy_id: int, at: time | None, *, as_json: bool) -> str:
    """Without `at` (IST) the newest exit and what led to it, or the newest comparison of what never exited.

    With it the comparison nearest to it on the last day that has any, and the exit if one was then. Raises
    ConfigurationError when nothing is known of the strategy.
    """
    path, folder = log_dir / FILE_NAME, state_dir / FOLDER
    exits = _exits_of(path, strategy_id)
    last = newest(folder, strategy_id)
    if not exits and last is None:
        raise ConfigurationError(
            f"There is no exit of strategy {strategy_id} in {path}, and nothing that was compared for it in {folder}.",
            "Check the id; --plan explains positions that are open. LOG_DIR and STATE_DIR say where the records are.",
        )
    answer = _at(folder, strategy_id, at, exits, last) if at is not None else _newest(folder, strategy_id, exits, last)
    return _document(answer, strategy_id) if as_json else _text(answer, at)


def _newest(folder: Path, strategy_id: int, exits: Sequence[Recorded], last: Recorded | None) -> Answer:
    if not exits:
        return Answer(None, last, None, (), exits, last)
    return _of_exit(folder, strategy_id, exits[-1], exits, last)


def _of_exit(
    folder: Path, strategy_id: int, chosen: Recorded, exits: Sequence[Recorded], last: Recorded | None
) -> Answer:
    """The exit with the decision that began it: the last one recorded before it was finished, of its rule."""
    near = records_near(folder, strategy_id, chosen.at)
    decisions = [each for each in near if each.at <= chosen.at and _is_decision(each, chosen)]
    if not decisions or chosen.at - decisions[-1].at > FILLED_WITHIN:
        return Answer(chosen, None, None, (), exits, last)
    decision = decisions[-1]
    return Answer(chosen, decision, None, _around(near, decision), exits, last)


def _is_decision(record: Recorded, chosen: Recorded) -> bool:
    fired = record.line.get("fired")
    is_fired = record.line.get("kind") == Kind.FIRED and isinstance(fired, dict)
    return is_fired and isinstance(fired, dict) and fired.get("rule") == chosen.line.get("rule")


def _at(folder: Path, strategy_id: int, at: time, exits: Sequence[Recorded], last: Recorded | None) -> Answer:
    # Among equally near ones the newest is meant.
    nearest = min(reversed(exits), key=lambda each: _distance_s(each.at.time(), at), default=None)
    if last is None:
        return Answer(nearest, None, None, (), exits, last)
    moment = datetime.combine(last.at.date(), at, tzinfo=IST)
    near = records_near(folder, strategy_id, moment)
    record = min(near, key=lambda each: abs(each.at - moment))
    apart_s = (record.at - moment).total_seconds()
    if nearest is not None and _distance_s(nearest.at.time(), at) > THEN_S:
        nearest = None
    return Answer(nearest, record, apart_s, _around(near, record), exits, last)


def _around(near: Sequence[Recorded], record: Recorded) -> Sequence[Recorded]:
    place = near.index(record)
    return [*near[max(place - SHOWN_BEFORE, 0) : place], *near[place + 1 : place + 1 + SHOWN_AFTER]]


def _exits_of(path: Path, strategy_id: int) -> list[Recorded]:
    found = []
    for line in read_lines(path):
        written = time_of(line.get("timestamp"))
        if line.get("strategy_id") == strategy_id and written is not None:
            found.append(Recorded(written, line))
    return sorted(found, key=lambda each: each.at)


def _distance_s(one: time, other: time) -> float:
    apart = abs(_second_of_day(one) - _second_of_day(other))
    return min(apart, DAY_S - apart)


def _second_of_day(at: time) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1_000_000


def _document(answer: Answer, strategy_id: int) -> str:
    """The exit's own line, if there is one, with what was compared beside it."""
    content: dict[str, object] = {"strategy_id": strategy_id}
    if answer.exit is not None:
        content = dict(answer.exit.line)
    content |= {
        "compared": None if answer.record is None else answer.record.line,
        "compared_apart_s": answer.apart_s,
        "around": [
            {name: each.line.get(name) for name in ("time", "kind", "pnl", "outcome")} for each in answer.around
        ],
        "exits": [each.line.get("timestamp") for each in answer.exits],
        "newest": None if answer.newest is None else answer.newest.line.get("time"),
    }
    return json.dumps(content, ensure_ascii=False, indent=2, default=float)


def _text(answer: Answer, at: time | None) -> str:
    blocks = []
    if answer.exit is not None:
        blocks.append(exit_text(answer.exit.line, answer.exit.at))
    if answer.record is not None:
        blocks.append(record_text(answer.record.line, answer.record.at, _apart(answer, at)))
    if answer.around:
        shown = sorted([*answer.around, *([answer.record] if answer.record else [])], key=lambda each: each.at)
        blocks.append(history_text([(each.at, each.line, each is answer.record) for each in shown]))
    last = []
    if answer.exit is not None and answer.record is None:
        last.append(
            "  What was compared at this exit is not recorded (any more): DECISION_LOG_DAYS says for how long it is kept."
        )
    others = [f"{each.at:%Y-%m-%d %H:%M:%S}" for each in answer.exits if each is not answer.exit]
    if others:
        last.append(f"  Other exits of this strategy (choose with --at): {', '.join(others)}")
    if answer.newest is not None and (answer.record is None or answer.newest.at != answer.record.at):
        last.append(f"  Last compared at {answer.newest.at:%Y-%m-%d %H:%M:%S}: {answer.newest.line.get('outcome')}")
    return "\n\n".join(block for block in (*blocks, "\n".join(last)) if block)


def _apart(answer: Answer, at: time | None) -> str:
    if at is None or answer.apart_s is None:
        return "" if answer.exit is not None else ", the last that was recorded"
    apart = abs(answer.apart_s)
    if apart < 1:
        return ""
    return f", {_duration(apart)} {'after' if answer.apart_s > 0 else 'before'} {at:%H:%M:%S}"


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004  two minutes are still read as seconds
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004  as above
