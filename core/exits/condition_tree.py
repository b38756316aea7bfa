"""The JSON that a strategy builder stores beside its levels: read with care, and what was not read is named.

It comes as text, sometimes encoded twice, empty, cut off, or of another shape than expected. Nothing here raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_ENCODED: Final = 3
"""How often a text may be the JSON of a text before it is given up."""
_DEPTH: Final = 32
_LARGEST: Final = 1e13
_NUMBER: Final = re.compile(r"₹?\s*([+-]?\d{1,13}(?:,\d{2,3})*(?:\.\d{1,20})?)", re.ASCII)
_NAMED: Final = 12
"""More unread leaves than these are counted, not named."""


class Branch:
    """One object of the tree, by its dotted path. It knows which of its keys were read.

    A value that is null, empty or 0 says nothing and counts as read.
    """

    def __init__(self, path: str, content: Mapping[str, object]) -> None:
        self.path = path
        self._content = content
        self._read: set[str] = set()
        self._branches: list[Branch] = []

    @property
    def content(self) -> Mapping[str, object]:
        return self._content

    def branch(self, key: str) -> Branch:
        """The object under the key; an empty one where there is none."""
        value = self._content.get(key)
        path = f"{self.path}.{key}" if self.path else key
        if not isinstance(value, Mapping):
            return Branch(path, {})
        self._read.add(key)
        found = Branch(path, value)
        self._branches.append(found)
        return found

    def text(self, key: str) -> str:
        """The text under the key, "" when there is none. It counts as read only when `used` says so."""
        value = self._content.get(key)
        return value.strip() if isinstance(value, str) else ""

    def number(self, key: str) -> float | None:
        """The magnitude under the key, also when it is written as text; None when there is none, or 0."""
        found = magnitude(self._content.get(key))
        if found is not None:
            self._read.add(key)
        return found or None

    def days(self, key: str) -> int | None:
        """A whole number of days ≥ 1."""
        found = magnitude(self._content.get(key))
        if found is None or found != int(found):
            return None
        self._read.add(key)
        return int(found) or None

    def used(self, *keys: str) -> None:
        """These keys were read, or say nothing that could be a level."""
        self._read.update(keys)

    def unread(self) -> list[str]:
        """Paths of what was not read, each as far up as nothing below it was."""
        prefix = f"{self.path}." if self.path else ""
        left = [
            prefix + str(key) for key, value in self._content.items() if key not in self._read and not _is_empty(value)
        ]
        for branch in self._branches:
            left += [branch.path] if branch.is_untouched() else branch.unread()
        return left

    def is_untouched(self) -> bool:
        return not self._read and not _is_empty(self._content)


def read_object(text: str | None) -> tuple[Mapping[str, object], str]:
    """The JSON object in the text, and what is wrong with it ("" when nothing is). Blank, null and "" are an empty object."""
    value: object = text
    try:
        for _ in range(_ENCODED):
            if not isinstance(value, str):
                break
            value = json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return {}, "no JSON; nothing of it is used"
    if value is None or value == "":
        return {}, ""
    if not isinstance(value, Mapping):
        return (
            {},
            f"expected a JSON object, received {_KINDS.get(type(value), 'something else')}; nothing of it is used",
        )
    return (value, "") if _is_shallow(value) else ({}, f"nested deeper than {_DEPTH}; nothing of it is used")


_KINDS: Final = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}


def magnitude(value: object) -> float | None:
    """The number without its sign, also of a text such as ₹1,250.50; None when it is no finite number below 10^13."""
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value.strip())
        if found is None:
            return None
        value = float(found[1].replace(",", ""))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number of JSON may be longer than any float.
    if not -_LARGEST <= value <= _LARGEST:
        return None
    return abs(float(value))


def unread_note(name: str, unread: list[str]) -> str:
    """One line for everything that was not read; "" when nothing was left."""
    if not unread:
        return ""
    shown = ", ".join(path[:60] for path in unread[:_NAMED])
    more = len(unread) - _NAMED
    return f"{name}: not read: {shown}" + (f" and {more} more" if more > 0 else "")


def _is_empty(value: object) -> bool:
    """Nothing, or nothing but nothings: {"defensive": {}, "offensive": {}}."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is False or value in (0, [])


def _is_shallow(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, Mapping | list)
            for inner in (each.values() if isinstance(each, Mapping) else each)
        ]
        if not level:
            return True
    return False
