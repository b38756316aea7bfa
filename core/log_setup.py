"""The main log: rotated, redacted, and written by a thread, so that no log line ever holds up the event loop."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import queue
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from core.model.session_time import NS_PER_S, ist_datetime

FILE_NAME: Final = "realtime_automated_monitor.log"
_MAX_BYTES: Final = 20_000_000
_BACKUPS: Final = 10
_QUEUE_LINES: Final = 10_000
_STOP_S: Final = 2.0
_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4
_NOISY: Final = ("websockets", "aiohttp", "asyncio", "urllib3", "hpack", "httpcore", "httpx", "postgrest", "supabase")
# The realtime client reports every lost connection as an error, with a text of others in it; our own listener tells it once.
_SILENT: Final = ("realtime",)

_PATTERNS: Final = (
    re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"),
    re.compile(
        r"(?i)(?P<kept>(?:\b|_)(?:access[-_]?token|token|api[-_]?key|authorization|totp|pin|password|secret)\b[\"']?"
        # A word of prose is no secret: "the token: expected …". One of 20 letters, or with a digit in it, may be.
        r"\s*[=:]\s*[\"']?(?:bearer\s+)?)(?=[^\s\"'&,;})]*\d|[^\s\"'&,;})]{20})[^\s\"'&,;})]+"
    ),
    re.compile(r"(?P<kept>\b\w+://[^\s/:@]*:)[^\s/@]+(?=@)"),
)


class Redactor:
    """Replaces tokens, keys and the given secret values in a text by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(_HIDDEN, text)
        for pattern in _PATTERNS:
            text = pattern.sub(lambda found: (found.groupdict().get("kept") or "") + _HIDDEN, text)
        return text


class _Format(logging.Formatter):
    def __init__(self, redact: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._redact = redact
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        message = self._redact(_message_of(record))
        trace = self._redact("".join(traceback.format_exception(*record.exc_info))) if record.exc_info else ""
        at = ist_datetime(int(record.created * NS_PER_S)).isoformat(timespec="milliseconds")
        if self._as_json:
            fields = {"time": at, "level": record.levelname, "logger": record.name, "message": message}
            return json.dumps(fields | ({"trace": trace} if trace else {}), ensure_ascii=False)
        line = f"{at} {record.levelname:<7} {record.name}: {message}"
        return f"{line}\n{trace.rstrip()}" if trace else line


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # logging would print the arguments to the screen, unredacted.
        return f"{record.msg} (its arguments do not fit)"


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """Puts without waiting. A full queue means a blocked disk or screen: the line is dropped and counted."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(lines)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _PatientListener(logging.handlers.QueueListener):
    """Stops within seconds even when the disk or the screen does not take its lines."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None], *targets: logging.Handler) -> None:
        super().__init__(lines, *targets)
        self._lines = lines

    def stop(self) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_STOP_S)
        if self._thread is not None:
            self._thread.join(_STOP_S)
            self._thread = None


@dataclass(frozen=True, slots=True)
class LogSetup:
    """What `set_up_logging` installed. `dropped` counts the lines that a blocked disk or screen has cost."""

    _handler: _DroppingQueueHandler
    _listener: _PatientListener
    _targets: tuple[logging.Handler, ...]

    @property
    def dropped(self) -> int:
        return self._handler.dropped

    def close(self) -> None:
        """Write what is queued, and take everything out again."""
        logging.getLogger().removeHandler(self._handler)
        self._listener.stop()
        for target in self._targets:
            target.close()


def set_up_logging(
    folder: Path, level: str, *, as_json: bool = False, secrets: Iterable[str] = (), screen: TextIO | None = sys.stderr
) -> LogSetup:
    """Log to `folder` and, unless `screen` is None, to the screen. `level` is a name such as INFO. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    formatter = _Format(Redactor(secrets), as_json=as_json)
    targets: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(
            folder / FILE_NAME, maxBytes=_MAX_BYTES, backupCount=_BACKUPS, encoding="utf-8", errors="replace"
        )
    ]
    if screen is not None:
        targets.append(logging.StreamHandler(screen))
    for target in targets:
        target.setFormatter(formatter)
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_QUEUE_LINES)
    handler = _DroppingQueueHandler(lines)
    listener = _PatientListener(lines, *targets)
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(handler)
    # Their debug lines hold headers and addresses with the token in the query.
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    listener.start()
    return LogSetup(handler, listener, tuple(targets))
