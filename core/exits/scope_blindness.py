"""Which sums cannot be believed now, and who is told of it: looked at in small shares, so that a large book stalls no tick."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from core.exits import scope_words as words
from core.exits.scope_belief import Hindered, hindrance_of
from core.model.commands import Alert, Severity
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.exits.scope_belief import Member
    from core.exits.scope_pool import Pool
    from core.model.commands import Command
    from core.model.special_levels import ScopeKey

TELL_AFTER_NS: Final = 5 * NS_PER_S
"""So long a sum may be unknown before a person is called: at a start every first price is on its way."""
TOLD_ONE_BY_ONE: Final = 3
_SHARE_AT_LEAST: Final = 256


def next_share(queue: dict[int, Member]) -> Sequence[Member]:
    """A share of many at each beat: all of them within four. Each comes again after all others."""
    those = tuple(islice(queue.values(), max(_SHARE_AT_LEAST, len(queue) // 4 + 1)))
    for member in those:
        del queue[member.strategy_id]
        queue[member.strategy_id] = member
    return those


class ScopeBlindness:
    """`doubtful` are positions that may not be safe to trade: each is looked at until it is."""

    def __init__(self, say: Callable[[Command], None]) -> None:
        self.doubtful: dict[int, Member] = {}
        self._say = say
        self._since_ns: dict[Pool, int] = {}
        self._told: set[Pool] = set()

    def look(self, everybody: dict[int, Member], at_ns: int, *, feed_live: bool) -> None:
        """Without a live feed prices grow old without being doubted one by one: then everybody is looked at."""
        for member in next_share(self.doubtful if feed_live else everybody):
            self.look_at(member, at_ns)

    def look_at(self, member: Member, at_ns: int) -> None:
        strategy_id = member.strategy_id
        reason = hindrance_of(member, at_ns)
        if reason is None:
            self.doubtful.pop(strategy_id, None)
        else:
            self.doubtful[strategy_id] = member
        for pool in member.pools:
            if reason is None:
                pool.unsafe.pop(strategy_id, None)
            else:
                pool.unsafe[strategy_id] = Hindered(member, reason)
            self.note(pool, at_ns)

    def note(self, pool: Pool, at_ns: int) -> None:
        """Something has changed that may make the sum known or unknown."""
        if pool.unsafe or pool.unseen:
            self._since_ns.setdefault(pool, at_ns)

    def tell(self, at_ns: int) -> None:
        """Page what has lasted; say when it is over."""
        for pool in tuple(self._since_ns):
            if not (pool.unsafe or pool.unseen):
                del self._since_ns[pool]
        due = [p for p, since in self._since_ns.items() if p not in self._told and at_ns - since >= TELL_AFTER_NS]
        self._told.update(due)
        self._say_each(Severity.PAGE, "cannot be judged", [why for pool in due if (why := self.why(pool)) is not None])
        back = [pool for pool in self._told if pool not in self._since_ns]
        self._told.difference_update(back)
        names = [words.limits_text(pool.keys) for pool in back]
        self._say_each(Severity.INFO, "can be judged again", [f"{name}: every price is believed" for name in names])

    def forget(self) -> None:
        """The session is over: prices stand still, and that is no fault."""
        self._since_ns.clear()
        self._told.clear()

    @staticmethod
    def why(pool: Pool) -> str | None:
        """Why the limits of the sum cannot be judged; None when they can."""
        hindered = next(iter(pool.unsafe.values()), None)
        unseen = next(iter(pool.unseen.values()), None)
        if hindered is not None:
            return words.blind_text(pool.keys, words.hindered_text(hindered))
        return None if unseen is None else words.blind_text(pool.keys, words.unseen_text(unseen))

    def _say_each(self, severity: Severity, what: str, texts: Sequence[str]) -> None:
        if len(texts) > TOLD_ONE_BY_ONE:
            text = f"{'; '.join(texts[:TOLD_ONE_BY_ONE])}; and {len(texts) - TOLD_ONE_BY_ONE} more"
            self._say(Alert(severity, f"{len(texts)} limits over positions {what}", text))
            return
        for text in texts:
            self._say(Alert(severity, f"limits over positions {what}", text))


def unknown_days(keys: Iterable[tuple[ScopeKey, Sequence[str]]]) -> Alert:
    """`keys`: each scope of which the day is unknown, with the names of what has ended for nobody knows how much."""
    texts = [words.unknown_text(key, names) for key, names in keys]
    more = f"; and {len(texts) - TOLD_ONE_BY_ONE} more" if len(texts) > TOLD_ONE_BY_ONE else ""
    return Alert(Severity.PAGE, "daily loss not known", "; ".join(texts[:TOLD_ONE_BY_ONE]) + more)
