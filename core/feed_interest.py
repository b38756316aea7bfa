"""Who needs the price of what: an instrument is wanted as long as one user holds it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.instrument import InstrumentKey


@dataclass(frozen=True, slots=True)
class InterestChange:
    """What is different since the change was last taken. Never empty."""

    added: tuple[InstrumentKey, ...]
    removed: tuple[InstrumentKey, ...]


class FeedInterest:
    """Users are named by what they are: "position 42", "display".

    Any number of `hold` and `release` make one change: what comes and goes in between is never told.
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[InstrumentKey, None]] = {}
        self._users: dict[InstrumentKey, int] = {}
        self._added: dict[InstrumentKey, None] = {}
        self._removed: dict[InstrumentKey, None] = {}

    def hold(self, user: str, keys: Iterable[InstrumentKey]) -> None:
        """`user` wants exactly these from now on; none of them is the same as `release`."""
        before = self._held.get(user, {})
        after = dict.fromkeys(keys)
        for key in after:
            if key not in before:
                self._join(key)
        for key in before:
            if key not in after:
                self._leave(key)
        if after:
            self._held[user] = after
        else:
            self._held.pop(user, None)

    def release(self, user: str) -> None:
        """`user` needs nothing any more. One who never held anything is fine."""
        self.hold(user, ())

    @property
    def users(self) -> tuple[str, ...]:
        return tuple(self._held)

    @property
    def wanted(self) -> tuple[InstrumentKey, ...]:
        """Each instrument once, in the order in which their first users came. Where room ends, the first ones have it."""
        return tuple(self._users)

    def take_change(self) -> InterestChange | None:
        """What changed since the last call; None when `wanted` holds the same instruments as then."""
        if not self._added and not self._removed:
            return None
        change = InterestChange(tuple(self._added), tuple(self._removed))
        self._added, self._removed = {}, {}
        return change

    def _join(self, key: InstrumentKey) -> None:
        count = self._users.get(key, 0)
        self._users[key] = count + 1
        if count:
            return
        if key in self._removed:
            del self._removed[key]
        else:
            self._added[key] = None

    def _leave(self, key: InstrumentKey) -> None:
        count = self._users[key]
        if count > 1:
            self._users[key] = count - 1
            return
        del self._users[key]
        if key in self._added:
            del self._added[key]
        else:
            self._removed[key] = None
