"""The knobs that make the gateway misbehave. A test sets them at any moment; what is asked later reads them again.

One-time faults (cut the sockets, drop the slot, let the token expire) are methods of `SupabaseGateway`.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

_FREEZE_STEP_S: Final = 0.01


@dataclass(slots=True)
class GatewayFaults:
    """All knobs. The defaults are a healthy server that confirms quicker than the hosted one (1 to 3 s)."""

    # REST (read by rest.py)
    rest_delay_s: float = 0.0
    """Every REST answer comes this much later."""
    rest_fail: deque[tuple[int, str, str]] = field(default_factory=deque)
    """(status, body, content type), used up one per request instead of an answer."""
    drop_after_commit: int = 0
    """That many requests are carried out and committed, then the connection is cut without an answer."""
    refuse_rest: bool = False
    """Every REST connection is cut at once."""

    # The socket
    refuse_upgrade: int | None = None
    """HTTP status that every new socket gets instead of 101, for example 401, 429 or 503."""
    freeze_sockets: bool = False
    """As if the realtime server got SIGSTOP: TCP stays open, nothing is read or sent, not even pongs. Off = it goes on."""
    freeze_channels: bool = False
    """The channel layer is dead on all sockets, new ones too: no answer and no event, but the websocket answers pings."""
    silence_limit_s: float = 60.0
    """A client that sends nothing for so long is cut, as the real server does."""

    # The change subscription
    confirm_delay_s: float = 0.02
    """From the join's answer to `system ok`. Changes committed before that moment are not delivered."""
    changes_error: str | None = None
    """While set, every try to subscribe to changes ends in `system error` with this text, and is repeated."""
    changes_retry_s: float = 5.0
    """The server's own pause before it tries again. 5 to 10 s in the real one."""

    # The changes themselves
    poll_s: float = 0.1
    """Pause between two reads of the slot when nothing read was for a subscriber. After an event the next read is at once."""
    idle_poll_s: float = 0.1
    """The same while nothing is written. The real server takes 0.5 s."""
    mute_changes: bool = False
    """Changes are read and thrown away. Joins, heartbeats and `system ok` go on: the silent death."""
    skip_changes: int = 0
    """That many next changes are thrown away, as for a project over its rate limit."""
    max_record_bytes: int = 1024 * 1024
    """A change with more bytes of log is delivered with error 413 and without its large and null fields."""
    delay_events_s: float = 0.0
    """Every event is sent this much later, in order."""
    repeat_events: bool = False
    """Every event is sent twice."""
    reverse_events: bool = False
    """The events of one read of the slot are sent in reverse order."""

    async def thawed(self) -> None:
        """Wait while the sockets are frozen."""
        while self.freeze_sockets:  # noqa: ASYNC110 - the knob is a plain attribute
            await asyncio.sleep(_FREEZE_STEP_S)
