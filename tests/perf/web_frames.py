"""As much of RFC 6455 as a bench server needs: the handshake, unmasked frames out, small masked frames in."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

TEXT: Final = 0x81
BINARY: Final = 0x82
PING: Final = 0x89
PONG: Final = 0x8A
CLOSE: Final = 0x88
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade_answer(head: bytes) -> bytes:
    """The 101 for a request head."""
    key = next(
        line.split(b":", 1)[1].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )  # fmt: skip
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324  the handshake asks for SHA-1
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return bytes((first, 126)) + size.to_bytes(2, "big") + payload


def take_frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """(first byte, unmasked payload) of every whole frame at the start of the buffer, which keeps the rest."""
    found = []
    while len(buffer) >= 2:
        size, at = buffer[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(buffer[2:4], "big"), 4
        end = at + 4 + size
        if len(buffer) < end:
            break
        mask, payload = buffer[at : at + 4], buffer[at + 4 : end]
        found.append((buffer[0], bytes(byte ^ mask[place & 3] for place, byte in enumerate(payload))))
        del buffer[:end]
    return found
