"""Where the instrument master comes from: a URL or a path, with the day's copy and the last good one kept in STATE_DIR."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from core.dhan.instrument_master import InstrumentMaster, decode_master, parse_master
from core.model.errors import ConfigurationError, DecodeError, TransportError
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.clock import Clock
    from core.model.instrument import InstrumentKey

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 256 * 1024 * 1024
KEPT_COPIES: Final = 3
_SUCCESS: Final = 200


@dataclass(frozen=True, slots=True)
class LoadedMaster:
    """`is_from_today`: read now from a path, or downloaded today. False: the last good copy of an earlier day."""

    master: InstrumentMaster
    is_from_today: bool


class InstrumentSource:
    """`location`: an http(s) URL or a local path, plain or gzip. Copies are kept for a URL only."""

    def __init__(self, location: str, state_dir: Path, clock: Clock) -> None:
        self._location = location
        self._state_dir = state_dir
        self._clock = clock

    async def load(self, wanted: Collection[InstrumentKey]) -> LoadedMaster:
        """The instruments of the wanted keys; keys the file does not hold are simply missing.

        Raises:
            ConfigurationError: the path cannot be read.
            DecodeError: the file is no instrument master.
            TransportError: no download and no earlier copy.
        """
        if not self._location.startswith(("http://", "https://")):
            return LoadedMaster(await asyncio.to_thread(self._read_path, wanted), is_from_today=True)
        today = self._state_dir / f"instruments-{ist_datetime(self._clock.utc_ns()):%Y-%m-%d}.csv"
        if today.exists():
            try:
                return LoadedMaster(await asyncio.to_thread(_read, today, wanted), is_from_today=True)
            except (DecodeError, OSError):
                logger.warning("the copy %s cannot be read and is downloaded again", today.name)
        try:
            data = await self._download()
            master = await asyncio.to_thread(_parse, data, wanted)
        except (TransportError, DecodeError) as error:
            return LoadedMaster(await asyncio.to_thread(self._read_last_copy, wanted, error), is_from_today=False)
        await asyncio.to_thread(self._keep, today, data)
        return LoadedMaster(master, is_from_today=True)

    def _read_path(self, wanted: Collection[InstrumentKey]) -> InstrumentMaster:
        try:
            return _read(Path(self._location), wanted)
        except OSError as error:
            raise ConfigurationError(
                f"The instrument master {self._location} cannot be read: {error.strerror}.",
                "Let DHAN_INSTRUMENTS name a CSV file (plain or gzip) or a URL.",
            ) from None

    def _read_last_copy(self, wanted: Collection[InstrumentKey], cause: Exception) -> InstrumentMaster:
        for copy in self._copies():
            try:
                master = _read(copy, wanted)
            except (DecodeError, OSError):
                continue
            logger.warning("no instrument master of today (%s): %s is used", cause, copy.name)
            return master
        raise cause

    def _copies(self) -> list[Path]:
        """Newest first."""
        return sorted(self._state_dir.glob("instruments-????-??-??.csv"), reverse=True)

    def _keep(self, today: Path, data: bytes) -> None:
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            part = today.with_suffix(".part")
            part.write_bytes(data)
            part.replace(today)
            for old in self._copies()[KEPT_COPIES:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the instrument master could not be kept in %s: %s", self._state_dir, error.strerror)

    async def _download(self) -> bytes:
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
                return bytes(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransportError(f"instrument master: the download failed ({type(error).__name__})") from None


def _read(path: Path, wanted: Collection[InstrumentKey]) -> InstrumentMaster:
    return _parse(path.read_bytes(), wanted)


def _parse(data: bytes, wanted: Collection[InstrumentKey]) -> InstrumentMaster:
    return parse_master(decode_master(data), wanted)
