"""What `--why` prints: what was compared with what, for a past exit or at any moment that was recorded.

Exits are in `exit_executions.json`; what was compared, also while nothing fired, is in the files of `decision_file`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from core.decision_file import FOLDER
from core.decision_record import Kind
from core.decision_search import DecisionSearch, Recorded, time_of
from core.exit_records import FILE_NAME, read_lines
from core.model.errors import ConfigurationError
from core.model.session_time import IST
from core.record_troubles import RecordTroubles
from core.why_text import exit_text, history_text, record_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THEN: Final = timedelta(minutes=1)
"""An exit within a minute of the time that was asked for is the one that "was then"."""
FILLED_WITHIN: Final = timedelta(minutes=10)
"""A decision is looked for so long before its exit was finished: an order book may be slow, or a person had to help."""
SHOWN_BEFORE: Final = 8
SHOWN_AFTER: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """`exit` and `record` are None when there is none to show. `asked`: the moment asked for (IST), None when none was.

    `day_text` says which day was taken where none was given. `around` are the records before and after the one shown,
    `exits` all exits of the strategy.
    """

    exit: Recorded | None
    record: Recorded | None
    around: Sequence[Recorded]
    exits: Sequence[Recorded]
    newest: Recorded | None
    asked: datetime | None = None
    day_text: str = ""

    @property
    def apart_s(self) -> float | None:
        """From the moment asked for to the record's, signed."""
        if self.record is None or self.asked is None:
            return None
        return (self.record.at - self.asked).total_seconds()


class _Known(NamedTuple):
    """What is on disk of one strategy. `last`: the newest comparison."""

    search: DecisionSearch
    exits: Sequence[Recorded]
    last: Recorded | None


def explain(log_dir: Path, state_dir: Path, strategy_id: int, at: datetime | time | None, *, as_json: bool) -> str:
    """Without `at` (IST) the newest exit and what led to it, or the newest comparison of what never exited.

    With a moment the comparison of its day that is nearest to it, and the exit if one was then. A clock time means the
    newest day that has records at or before it. Raises ConfigurationError when nothing is known of the strategy, or of it
    on the day that was asked for.
    """
    path, folder, troubles = log_dir / FILE_NAME, state_dir / FOLDER, RecordTroubles()
    search = DecisionSearch(folder, strategy_id, troubles)
    known = _Known(search, _exits_of(path, strategy_id, troubles), search.newest())
    if not known.exits and known.last is None:
        raise _nothing_known(
            f"There is no exit of strategy {strategy_id} in {path}, and nothing that was compared for it in {folder}.",
            "Check the id; --plan explains positions that are open. LOG_DIR and STATE_DIR say where the records are.",
            troubles,
        )
    if at is None:
        answer = _newest(known)
    else:
        moment, day_text = _moment(known, at)
        answer = replace(_at(known, strategy_id, moment, troubles), asked=moment, day_text=day_text)
    return _document(answer, strategy_id, troubles) if as_json else _text(answer, troubles)


def _nothing_known(problem: str, remedy: str, troubles: RecordTroubles) -> ConfigurationError:
    """Records that cannot be read may be the very ones: the id is then not what to look at first."""
    if not troubles.texts():
        return ConfigurationError(problem, remedy)
    unread = "; ".join(troubles.texts())
    return ConfigurationError(f"{problem} Not all records could be read: {unread}.", f"Mend that first. {remedy}")


def _newest(known: _Known) -> Answer:
    if not known.exits:
        return Answer(None, known.last, (), known.exits, known.last)
    chosen = known.exits[-1]
    near = known.search.near(chosen.at)
    # The decision that began it: the last one recorded before it was finished, of its rule.
    decisions = [each for each in near if each.at <= chosen.at and _is_decision(each, chosen)]
    if not decisions or chosen.at - decisions[-1].at > FILLED_WITHIN:
        return Answer(chosen, None, (), known.exits, known.last)
    decision = decisions[-1]
    return Answer(chosen, decision, _around(near, decision), known.exits, known.last)


def _moment(known: _Known, at: datetime | time) -> tuple[datetime, str]:
    """The moment that is meant (IST), and in words which day was taken when none was given."""
    if isinstance(at, datetime):
        return at, ""
    days = [each.at.date() for each in known.exits if each.at.time() <= at]
    compared = known.search.newest_day_at(at)
    day = max([*days, *([] if compared is None else [compared])], default=None)
    if day is not None:
        text = f"No day was given: {day} is the newest with records at or before {at:%H:%M:%S}."
    else:
        newest = [each.at.date() for each in (*known.exits[-1:], known.last) if each is not None]
        day = max(newest)
        text = f"No day was given, and none has records at or before {at:%H:%M:%S}: {day} is the newest."
    return datetime.combine(day, at, tzinfo=IST), text


def _at(known: _Known, strategy_id: int, moment: datetime, troubles: RecordTroubles) -> Answer:
    near = known.search.near(moment)
    record = min(near, key=lambda each: abs(each.at - moment), default=None)
    # Among equally near ones the newest is meant.
    chosen = min(reversed(known.exits), key=lambda each: abs(each.at - moment), default=None)
    is_of_day = chosen is not None and chosen.at.date() == moment.date()
    if chosen is not None and abs(chosen.at - moment) > THEN and (record is not None or not is_of_day):
        chosen = None
    if chosen is None and record is None:
        days = sorted({*known.search.days(), *(each.at.date() for each in known.exits)})
        raise _nothing_known(
            f"Nothing is recorded of strategy {strategy_id} on {moment:%Y-%m-%d}.",
            f"Days with records: {', '.join(map(str, days))}.",
            troubles,
        )
    return Answer(chosen, record, () if record is None else _around(near, record), known.exits, known.last)


def _is_decision(record: Recorded, chosen: Recorded) -> bool:
    fired = record.line.get("fired")
    is_fired = record.line.get("kind") == Kind.FIRED and isinstance(fired, dict)
    return is_fired and isinstance(fired, dict) and fired.get("rule") == chosen.line.get("rule")


def _around(near: Sequence[Recorded], record: Recorded) -> Sequence[Recorded]:
    place = near.index(record)
    return [*near[max(place - SHOWN_BEFORE, 0) : place], *near[place + 1 : place + 1 + SHOWN_AFTER]]


def _exits_of(path: Path, strategy_id: int, troubles: RecordTroubles) -> list[Recorded]:
    try:
        lines = read_lines(path, troubles)
    except OSError as error:
        troubles.unreadable(path, error)
        return []
    of_strategy = [line for line in lines if line.get("strategy_id") == strategy_id]
    found = [Recorded(at, line) for line in of_strategy if (at := time_of(line.get("timestamp"))) is not None]
    return sorted(found, key=lambda each: each.at)


def _document(answer: Answer, strategy_id: int, troubles: RecordTroubles) -> str:
    """The exit's own line, if there is one, with what was compared beside it."""
    content: dict[str, object] = {"strategy_id": strategy_id}
    if answer.exit is not None:
        content = dict(answer.exit.line)
    content |= {
        "asked": None if answer.asked is None else answer.asked.isoformat(),
        "compared": None if answer.record is None else answer.record.line,
        "compared_apart_s": answer.apart_s,
        "around": [
            {name: each.line.get(name) for name in ("time", "kind", "pnl", "outcome")} for each in answer.around
        ],
        "exits": [each.line.get("timestamp") for each in answer.exits],
        "newest": None if answer.newest is None else answer.newest.line.get("time"),
        "problems": list(troubles.texts()),
    }
    return json.dumps(content, ensure_ascii=False, indent=2, default=float)


def _text(answer: Answer, troubles: RecordTroubles) -> str:
    blocks = [answer.day_text]
    if answer.exit is not None:
        blocks.append(exit_text(answer.exit.line, answer.exit.at))
    if answer.record is not None:
        blocks.append(record_text(answer.record.line, answer.record.at, _apart(answer)))
    if answer.around:
        shown = sorted([*answer.around, *([answer.record] if answer.record else [])], key=lambda each: each.at)
        blocks.append(history_text([(each.at, each.line, each is answer.record) for each in shown]))
    return "\n\n".join(block for block in (*blocks, "\n".join(_last_lines(answer, troubles))) if block)


def _last_lines(answer: Answer, troubles: RecordTroubles) -> list[str]:
    last = []
    if answer.exit is not None and answer.record is None:
        last.append(
            "  What was compared at this exit is not recorded (any more): DECISION_LOG_DAYS says for how long it is kept."
        )
    others = [f"{each.at:%Y-%m-%d %H:%M:%S}" for each in answer.exits if each is not answer.exit]
    if others:
        last.append(f"  Other exits of this strategy (choose with --at and the time in quotes): {', '.join(others)}")
    if answer.newest is not None and (answer.record is None or answer.newest.at != answer.record.at):
        last.append(f"  Last compared at {answer.newest.at:%Y-%m-%d %H:%M:%S}: {answer.newest.line.get('outcome')}")
    return [*last, *(f"  NOT ALL READ: {text}" for text in troubles.texts())]


def _apart(answer: Answer) -> str:
    if answer.asked is None or answer.apart_s is None:
        return "" if answer.exit is not None else ", the last that was recorded"
    apart = abs(answer.apart_s)
    if apart < 1:
        return ""
    return f", {_duration(apart)} {'after' if answer.apart_s > 0 else 'before'} {answer.asked:%H:%M:%S}"


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004  two minutes are still read as seconds
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004  as above
