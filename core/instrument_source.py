"""Where the instrument master comes from: a URL or a path. Of a URL the last good copies are kept in STATE_DIR.

A file that is not to be believed (core/dhan/master_sanity.py) never replaces a good copy and takes no protection away: the
last good copy is used instead, and that is said aloud.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from core.dhan.instrument_master import InstrumentMaster, decode_master, parse_master
from core.dhan.master_sanity import count_rows, doubts, is_all_expired, measure
from core.model.errors import ConfigurationError, DecodeError, TransportError
from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from core.clock import Clock
    from core.model.instrument import InstrumentKey

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024 * 1024
KEPT_COPIES: Final = 3
MAX_AGE_DAYS: Final = 35
"""Older than the longest list of monthly contracts: what is held is probably not in it."""
TRY_AGAIN_NS: Final = 300 * NS_PER_S
"""After a failed download. A new trade must not wait for a server that is away when a copy is at hand."""
_SUCCESS: Final = 200
_DAY_NS: Final = 86_400 * NS_PER_S
_OVERRIDE: Final = "Fetch a fresh one, or set INSTRUMENTS_MAX_AGE_DAYS to more days to use it all the same."


@dataclass(frozen=True, slots=True)
class LoadedMaster:
    """`is_from_today`: read now from a path, or downloaded today. False: the last good copy of an earlier day.

    `rows` of the whole file. `age_s` since the file was made (its own date where the server told it), None when not known.
    `origin` names the file or says that it was downloaded; `problems`: what a person should know, () when all is well.
    """

    master: InstrumentMaster
    is_from_today: bool
    rows: int = 0
    age_s: float | None = None
    origin: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Download:
    """`made_ns`: UTC, from Last-Modified; None when the server did not say."""

    data: bytes
    made_ns: int | None


class InstrumentSource:
    """`location`: an http(s) URL or a local path, plain or gzip. Copies are kept for a URL only, unless `keeps` is False.

    `on_problem` is told each problem of a load once. `last` is what was loaded last, None before.
    """

    def __init__(
        self,
        location: str,
        state_dir: Path,
        clock: Clock,
        *,
        max_age_days: int = MAX_AGE_DAYS,
        keeps: bool = True,
    ) -> None:
        self._location = location
        self._state_dir = state_dir
        self._clock = clock
        self._max_age_days = max_age_days
        self._keeps = keeps
        self._prefix = f"instruments-{hashlib.sha256(location.encode()).hexdigest()[:8]}"
        self._judged: tuple[int, int] | None = None
        self._failed: tuple[int, TransportError | DecodeError] | None = None
        self._told: set[str] = set()
        self.on_problem: Callable[[str], None] = lambda _: None
        self.last: LoadedMaster | None = None

    async def load(self, wanted: Collection[InstrumentKey]) -> LoadedMaster:
        """The instruments of the wanted keys; keys the file does not hold are simply missing.

        Raises:
            ConfigurationError: the path cannot be read, or the file is too old.
            DecodeError: the file is no instrument master or is not to be believed, and there is no earlier copy.
            TransportError: no download and no earlier copy.
        """
        is_url = self._location.startswith(("http://", "https://"))
        loaded = await (self._from_url(wanted) if is_url else asyncio.to_thread(self._from_path, wanted))
        self.last = loaded
        for problem in loaded.problems:
            if problem not in self._told:
                self._told.add(problem)
                logger.warning("instrument master: %s", problem)
                self.on_problem(problem)
        return loaded

    def _from_path(self, wanted: Collection[InstrumentKey]) -> LoadedMaster:
        path = Path(self._location)
        try:
            about = path.stat()
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"The instrument master {self._location} cannot be read: {error.strerror}.",
                "Let DHAN_INSTRUMENTS name a CSV file (plain or gzip) or a URL.",
            ) from None
        age_ns = self._checked_age(about.st_mtime_ns, self._location)
        text = decode_master(data)
        problems: tuple[str, ...] = ()
        if self._judged != (about.st_mtime_ns, about.st_size):
            figures = measure(text, self._today())
            # Nothing else is at hand: what has expired is set aside row by row, and the rest stays guarded.
            if is_all_expired(figures):
                problems = ("every contract in the file has expired: it is an old file",)
            elif found := doubts(figures, None):
                raise DecodeError(f"instrument master {path.name}: {'; '.join(found)}")
            else:
                self._judged = (about.st_mtime_ns, about.st_size)
        return LoadedMaster(
            parse_master(text, wanted),
            is_from_today=True,
            rows=count_rows(text),
            age_s=age_ns / NS_PER_S,
            origin=path.name,
            problems=problems,
        )

    async def _from_url(self, wanted: Collection[InstrumentKey]) -> LoadedMaster:
        today = self._state_dir / f"{self._prefix}-{self._today():%Y-%m-%d}.csv"
        if today.exists():
            try:
                return await asyncio.to_thread(self._read_copy, today, wanted, None)
            except (DecodeError, OSError):
                logger.warning("the copy %s cannot be read and is downloaded again", today.name)
        if self._failed is not None and self._clock.monotonic_ns() - self._failed[0] < TRY_AGAIN_NS and self._copies():
            return await asyncio.to_thread(self._read_last_copy, wanted, self._failed[1])
        try:
            download = await self._download()
            loaded = await asyncio.to_thread(self._believed, download, wanted)
        except (TransportError, DecodeError) as error:
            self._failed = (self._clock.monotonic_ns(), error)
            return await asyncio.to_thread(self._read_last_copy, wanted, error)
        self._failed = None
        if self._keeps:
            await asyncio.to_thread(self._keep, today, download)
        return loaded

    def _believed(self, download: _Download, wanted: Collection[InstrumentKey]) -> LoadedMaster:
        """The download as a master. Raises DecodeError when it is not to be believed."""
        text = decode_master(download.data)
        found = list(doubts(measure(text, self._today()), self._rows_of_last_copy()))
        age_ns = None if download.made_ns is None else max(self._clock.utc_ns() - download.made_ns, 0)
        if age_ns is not None and age_ns > self._max_age_days * _DAY_NS:
            found.append(f"the server's file is {_days(age_ns)} old. {_OVERRIDE}")
        if found:
            raise DecodeError(f"instrument master: the download is not believed: {'; '.join(found)}")
        master = parse_master(text, wanted)
        return LoadedMaster(
            master,
            is_from_today=True,
            rows=count_rows(text),
            age_s=None if age_ns is None else age_ns / NS_PER_S,
            origin="download",
            problems=_age_problems(age_ns),
        )

    def _read_last_copy(self, wanted: Collection[InstrumentKey], cause: TransportError | DecodeError) -> LoadedMaster:
        too_old: ConfigurationError | None = None
        for copy in self._copies():
            try:
                return self._read_copy(copy, wanted, cause)
            except ConfigurationError as error:
                too_old = too_old or error
            except (DecodeError, OSError):
                continue
        raise too_old or cause

    def _read_copy(
        self, copy: Path, wanted: Collection[InstrumentKey], cause: TransportError | DecodeError | None
    ) -> LoadedMaster:
        """`cause`: why an earlier copy stands in; None for the copy of today, which was judged when it was made."""
        age_ns = self._checked_age(copy.stat().st_mtime_ns, copy.name)
        text = decode_master(copy.read_bytes())
        master = parse_master(text, wanted)
        problems = _age_problems(age_ns)
        if cause is not None:
            day = copy.stem[-10:]
            remedy = f"If the new file is right, delete {self._prefix}-*.csv in {self._state_dir}."
            hint = f" {remedy}" if isinstance(cause, DecodeError) else ""
            problems = (f"the copy of {day} is used, lots and bands may be of that day ({cause}).{hint}",)
        return LoadedMaster(master, cause is None, count_rows(text), age_ns / NS_PER_S, copy.name, problems)

    def _checked_age(self, made_ns: int, name: str) -> int:
        age_ns = max(self._clock.utc_ns() - made_ns, 0)
        if age_ns > self._max_age_days * _DAY_NS:
            raise ConfigurationError(f"The instrument master {name} is {_days(age_ns)} old.", _OVERRIDE)
        return age_ns

    def _today(self) -> date:
        return ist_datetime(self._clock.utc_ns()).date()

    def _copies(self) -> list[Path]:
        """Of this location, newest first."""
        return sorted(self._state_dir.glob(f"{self._prefix}-????-??-??.csv"), reverse=True)

    def _rows_of_last_copy(self) -> int | None:
        for copy in self._copies():
            try:
                return count_rows(decode_master(copy.read_bytes()))
            except (DecodeError, OSError):
                continue
        return None

    def _keep(self, today: Path, download: _Download) -> None:
        made_ns = self._clock.utc_ns() if download.made_ns is None else download.made_ns
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            part = today.with_suffix(".part")
            part.write_bytes(download.data)
            os.utime(part, ns=(made_ns, made_ns))
            part.replace(today)
            own = self._copies()
            others = sorted(
                set(self._state_dir.glob("instruments-*.csv")) - set(own),
                key=lambda path: path.stem[-10:],
                reverse=True,
            )
            for old in own[KEPT_COPIES:] + others[KEPT_COPIES:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the instrument master could not be kept in %s: %s", self._state_dir, error.strerror)

    async def _download(self) -> _Download:
        timeout = aiohttp.ClientTimeout(total=DOWNLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            # auto_decompress off: a .gz file is kept and recognised as it is, whatever the headers call it.
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as client,
                client.get(self._location, headers={"Accept-Encoding": "gzip"}) as response,
            ):
                if response.status != _SUCCESS:
                    raise TransportError(f"instrument master: expected HTTP 200, received {response.status}")
                data = bytearray()
                async for chunk in response.content.iter_chunked(1 << 18):
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise TransportError(f"instrument master: expected at most {MAX_BYTES} bytes, received more")
                return _Download(bytes(data), _utc_ns(response.headers.get("Last-Modified", "")))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransportError(f"instrument master: the download failed ({type(error).__name__})") from None


def _utc_ns(http_date: str) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(http_date).timestamp()) * NS_PER_S
    except (ValueError, TypeError):
        return None


def _age_problems(age_ns: int | None) -> tuple[str, ...]:
    if age_ns is None or age_ns <= _DAY_NS:
        return ()
    return (f"the file is {_days(age_ns)} old: lots, bands and contracts of today may be missing",)


def _days(age_ns: int) -> str:
    return f"{age_ns / _DAY_NS:.1f} days"
