"""Breaking a connection the hard way."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Send RST instead of a polite close: no close frame, unsent data is dropped. None is a connection already gone."""
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    abort = getattr(transport, "abort", transport.close)
    abort()
