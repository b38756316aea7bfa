"""HTTP/1.1 responses, byte by byte: pure, incremental, bounded. Anything doubtful is a DecodeError, never a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from core.model.errors import DecodeError

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_CHUNK_LINE_BYTES: Final = 256

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_DIGITS: Final = re.compile(rb"[0-9]{1,12}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_BODILESS: Final = frozenset({204, 304})
_FIRST_FINAL_STATUS: Final = 200


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """`keep_alive`: the connection may carry another request. Headers are not kept: redirects are never followed."""

    status: int
    body: bytes
    keep_alive: bool


class _Expecting(Enum):
    HEAD = auto()
    SIZED_BODY = auto()
    BODY_UNTIL_CLOSE = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class HttpResponseParser:
    """Feed bytes as they come; `feed` returns the response once it is whole.

    Interim responses (1xx) are skipped. Bytes after the response show in `has_excess`: the connection must not be used again.
    """

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._body = bytearray()
        self._expecting = _Expecting.HEAD
        self._remaining = 0
        self._trailer_bytes = 0
        self._status = 0
        self._keep_alive = True
        self.has_started = False

    @property
    def is_complete(self) -> bool:
        return self._expecting is _Expecting.NOTHING

    @property
    def has_excess(self) -> bool:
        return self._expecting is _Expecting.NOTHING and bool(self._buffer)

    def feed(self, data: bytes) -> ParsedResponse | None:
        """Take the next bytes. Raises DecodeError when they cannot be an acceptable response."""
        if data:
            self.has_started = True
            self._buffer += data
        while self._expecting is not _Expecting.NOTHING:
            if not self._step():
                return None
        return ParsedResponse(self._status, bytes(self._body), self._keep_alive and not self._buffer)

    def feed_eof(self) -> ParsedResponse | None:
        """The peer closed. Returns the response when closing is what ends it, None when nothing had come.

        Raises:
            DecodeError: the response is cut off.
        """
        if self._expecting is _Expecting.BODY_UNTIL_CLOSE:
            self._expecting = _Expecting.NOTHING
            return ParsedResponse(self._status, bytes(self._body), keep_alive=False)
        if self.has_started:
            raise DecodeError(
                f"expected the rest of an HTTP response, the peer closed while {self._expecting.name} was due"
            )
        return None

    def _step(self) -> bool:
        """Make one step. False when more bytes are needed."""
        match self._expecting:
            case _Expecting.HEAD:
                return self._read_head()
            case _Expecting.SIZED_BODY:
                return self._read_bytes(_Expecting.NOTHING)
            case _Expecting.BODY_UNTIL_CLOSE:
                self._grow_body(len(self._buffer))
                return False
            case _Expecting.CHUNK_SIZE:
                return self._read_chunk_size()
            case _Expecting.CHUNK:
                return self._read_bytes(_Expecting.CHUNK_END)
            case _Expecting.CHUNK_END:
                return self._read_chunk_end()
            case _:
                return self._read_trailer()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise DecodeError(f"expected an HTTP head of at most {MAX_HEAD_BYTES} bytes, received more")
            return False
        if end > MAX_HEAD_BYTES:
            raise DecodeError(f"expected an HTTP head of at most {MAX_HEAD_BYTES} bytes, received {end}")
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        match = _STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise DecodeError(f"expected an HTTP/1.x status line, received {lines[0][:40]!r}")
        self._status = int(match[2])
        if self._status >= _FIRST_FINAL_STATUS:
            self._begin_body(_headers(lines[1:]), minor=int(match[1]))
        elif self._status == 101:  # noqa: PLR2004  Switching Protocols: what follows is not HTTP
            raise DecodeError("expected an HTTP response, received 101 Switching Protocols")
        return True

    def _begin_body(self, headers: dict[bytes, list[bytes]], minor: int) -> None:
        connection = b",".join(headers.get(b"connection", [])).lower()
        tokens = {token.strip() for token in connection.split(b",")}
        self._keep_alive = b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
        lengths = {value.strip() for line in headers.get(b"content-length", []) for value in line.split(b",")}
        coding = b",".join(headers.get(b"transfer-encoding", [])).strip().lower()
        if coding and (coding != b"chunked" or lengths):
            raise DecodeError("expected a chunked body or a Content-Length, received both or another Transfer-Encoding")
        if self._status in _BODILESS:
            self._expecting = _Expecting.NOTHING
        elif coding:
            self._expecting = _Expecting.CHUNK_SIZE
        elif lengths:
            self._expect(_one_length(lengths), _Expecting.SIZED_BODY)
        else:
            self._keep_alive = False
            self._expecting = _Expecting.BODY_UNTIL_CLOSE

    def _expect(self, size: int, part: _Expecting) -> None:
        if len(self._body) + size > self._max_body_bytes:
            raise DecodeError(f"expected an HTTP body of at most {self._max_body_bytes} bytes, announced were more")
        self._remaining = size
        self._expecting = part

    def _read_bytes(self, then: _Expecting) -> bool:
        taken = min(self._remaining, len(self._buffer))
        self._remaining -= taken
        self._grow_body(taken)
        if self._remaining:
            return False
        self._expecting = then
        return True

    def _grow_body(self, size: int) -> None:
        if len(self._body) + size > self._max_body_bytes:
            raise DecodeError(f"expected an HTTP body of at most {self._max_body_bytes} bytes, received more")
        self._body += self._buffer[:size]
        del self._buffer[:size]

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end > MAX_CHUNK_LINE_BYTES or (end < 0 and len(self._buffer) > MAX_CHUNK_LINE_BYTES + 1):
            raise DecodeError(f"expected a chunk line of at most {MAX_CHUNK_LINE_BYTES} bytes, received more")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_chunk_size(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise DecodeError(f"expected a chunk size in hexadecimal, received {line[:20]!r}")
        size = int(match[1], 16)
        if size:
            self._expect(size, _Expecting.CHUNK)
        else:
            self._expecting = _Expecting.TRAILER
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < len(b"\r\n"):
            return False
        if self._buffer[:2] != b"\r\n":
            raise DecodeError("expected a line end after a chunk, received other bytes")
        del self._buffer[:2]
        self._expecting = _Expecting.CHUNK_SIZE
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_HEAD_BYTES:
            raise DecodeError(f"expected HTTP trailers of at most {MAX_HEAD_BYTES} bytes, received more")
        if not line:
            self._expecting = _Expecting.NOTHING
        return True


def _headers(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        # A name with a blank, or a folded line, is how two parsers come to read one response differently.
        if not colon or not name or name != name.strip() or b" " in name:
            raise DecodeError("expected a header 'name: value', received a line without one")
        headers.setdefault(name.lower(), []).append(value.strip())
    return headers


def _one_length(lengths: set[bytes]) -> int:
    value = lengths.pop()
    if lengths or _DIGITS.fullmatch(value) is None:
        raise DecodeError("expected one Content-Length in digits, received several or other text")
    return int(value)
