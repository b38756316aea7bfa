"""`exit_executions.json`: one JSON object a line for each finished exit, in rupees and Indian time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Final, assert_never

from core.model.errors import TransportError
from core.model.exit_levels import UNITS, Rule, Unit
from core.model.money import Paise, rupees
from core.model.session_time import ist_datetime
from core.model.signals import ExitRecord, LegExecution
from core.model.special_levels import TEN_THOUSAND
from core.record_troubles import RecordTroubles

_log = logging.getLogger(__name__)

FILE_NAME: Final = "exit_executions.json"


def in_rupees(amount: Paise | None) -> float | None:
    """The amount as a JSON number with two decimals; a float holds every amount below ₹10^13 to the paisa."""
    return None if amount is None else float(rupees(amount))


def compared(rule: Rule, value: int | None) -> float | int | None:
    """A threshold or an observed value as a person reads it: rupees, days, or the plain number of a Greek (`UNITS`)."""
    match UNITS.get(rule, Unit.PAISE):
        case Unit.DAYS:
            return value
        case Unit.TEN_THOUSANDTHS:
            return None if value is None else value / TEN_THOUSAND
        case Unit.PAISE:
            return in_rupees(value)
        case Unit.NONE:
            return None
        case _ as unreachable:
            assert_never(unreachable)


def exit_time(record: ExitRecord) -> str:
    """When the exit was finished: ISO with the IST offset, to the millisecond."""
    return ist_datetime(record.finished_at_ns).isoformat(timespec="milliseconds")


def line_of(record: ExitRecord) -> dict[str, object]:
    """The keys of design/interfaces.md, in its order, then `exit_id`."""
    return {
        "timestamp": exit_time(record),
        "strategy_id": record.strategy_id,
        "symbol": record.symbol,
        "strategy_name": record.strategy_name,
        "action": record.action.value,
        "reason": record.reason,
        "rule": record.rule.value,
        "threshold": compared(record.rule, record.threshold),
        "observed": compared(record.rule, record.observed),
        "legs": [_leg(leg) for leg in record.legs],
        "realised_pnl": in_rupees(record.realised_pnl),
        "latency_ms": {
            "tick_to_decision": record.latency.tick_to_decision,
            "decision_to_durable": record.latency.decision_to_durable,
            "durable_to_sent": record.latency.durable_to_sent,
            "sent_to_filled": record.latency.sent_to_filled,
        },
        "mode": record.mode.value,
        "exit_id": record.exit_id,
    }


def _leg(leg: LegExecution) -> dict[str, object]:
    return {
        "security_id": leg.security_id,
        "side": leg.side.value,
        "ordered": leg.ordered,
        "filled": leg.filled,
        "average_price": in_rupees(leg.average_price),
        "order_ids": list(leg.order_ids),
    }


def read_lines(path: Path, troubles: RecordTroubles | None = None) -> list[dict[str, object]]:
    """Every whole line of the file; [] when there is none. A torn or damaged line is left out, and told to `troubles`.

    Raises OSError when the file is there and cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        parsed = _parsed(line)
        if parsed is not None:
            found.append(parsed)
        elif line.strip() and troubles is not None:
            troubles.line(path, number)
    return found


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        parsed = json.loads(line.decode("utf-8", "replace"), parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


class ExitRecords:
    """Appends durably on a thread of its own. An exit is written once, also when it is recorded again after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: set[str] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="exit-records")

    async def append(self, record: ExitRecord) -> None:
        """Return when the line is on disk. Raises TransportError when it is not; calling again is right."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, record)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    def _append(self, record: ExitRecord) -> None:
        line = json.dumps(line_of(record), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._written is None:
                troubles = RecordTroubles()
                self._written = {str(found.get("exit_id")) for found in read_lines(self._path, troubles)}
                for text in troubles.texts():
                    _log.warning("%s", text)
            if record.exit_id in self._written:
                return
            self._append_line(line.encode("utf-8", "replace"))
        except OSError as error:
            raise TransportError(f"{self._path} could not be written: {error.strerror}") from error
        self._written.add(record.exit_id)

    def _append_line(self, line: bytes) -> None:
        with self._path.open("a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    # A crash tore the last line. It stays for a person to read; ours begins on a new one.
                    line = b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
