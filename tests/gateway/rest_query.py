"""The query string of a REST request, read into filters, columns, order and page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.gateway.rest_errors import RestError, unparsable, unsupported

OPERATORS: Final = frozenset(
    {"eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "cs", "cd", "in", "is", "isdistinct"}
)
TRUTHS: Final = frozenset({"null", "not_null", "true", "false", "unknown"})
_LOGIC: Final = frozenset({"and", "or", "not.and", "not.or"})
_CAST: Final = re.compile(r"[A-Za-z0-9_ ]+(\[\])?")
_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,()"]*)')
_NAME: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^,.:()"\->\\]|-(?!>))+)')
_STEP: Final = re.compile(r"(->>|->)([^,.:()>-]+)")


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a place inside a JSON column: `path` is (arrow, key) pairs."""

    column: str
    path: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """How the value is called in the answer."""
        keys = [key for _, key in self.path if not key.isdigit()]
        return keys[-1] if keys else self.column


@dataclass(frozen=True, slots=True)
class Condition:
    """`values` is one text, or the list of an `in`."""

    field: Field
    operator: str
    values: tuple[str, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined by `and` or `or`."""

    joint: str
    members: tuple[Condition | Group, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One selected value; field None is every column."""

    field: Field | None
    cast: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """`direction` ASC or DESC; `nulls` FIRST or LAST, None for the database's default."""

    field: Field
    direction: str
    nulls: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """Everything a query string says. `columns` and `on_conflict` None: not given."""

    select: tuple[Item, ...] = (Item(None),)
    where: tuple[Condition | Group, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None


def parse_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Read decoded name and value pairs. Raises RestError PGRST100 (400) for what cannot be read."""
    fields: dict[str, object] = {}
    where: list[Condition | Group] = []
    for name, value in pairs:
        match name:
            case "select":
                fields["select"] = tuple(_item(part) for part in _split(value)) or (Item(None),)
            case "order":
                fields["order"] = tuple(_order(part) for part in _split(value))
            case "limit" | "offset":
                fields[name] = _count(name, value)
            case "columns" | "on_conflict":
                fields[name] = tuple(_unquoted(part) for part in _split(value))
            case _ if name in _LOGIC:
                where.append(_logic(name, value))
            case _:
                where.append(_Reader(value, "filter").condition_of(_whole_field(name)))
    return Query(where=tuple(where), **fields)  # type: ignore[arg-type]


@dataclass(slots=True)
class _Reader:
    """Reads a filter or a tree of filters from left to right."""

    text: str
    what: str
    at: int = field(default=0)

    def condition_of(self, place: Field) -> Condition:
        """A whole parameter value: `[not.]operator.value`, where the value is the rest as it stands."""
        negated = self._took("not.")
        operator = self._operator()
        if operator == "in":
            return Condition(place, operator, self._list(), negated)
        value, self.at = self.text[self.at :], len(self.text)
        return Condition(place, operator, (self._checked(operator, value),), negated)

    def group(self, joint: str, *, negated: bool) -> Group:
        """`(member,member,…)`."""
        self._expect("(")
        members = [self._member()]
        while self._took(","):
            members.append(self._member())
        self._expect(")")
        return Group(joint, tuple(members), negated)

    def end(self) -> None:
        if self.at != len(self.text):
            raise self._error()

    def _member(self) -> Condition | Group:
        start, negated = self.at, self._took("not.")
        for joint in ("and", "or"):
            if self.text.startswith(f"{joint}(", self.at):
                self.at += len(joint)
                return self.group(joint, negated=negated)
        self.at = start
        place = self._field()
        self._expect(".")
        negated = self._took("not.")
        operator = self._operator()
        if operator == "in":
            return Condition(place, operator, self._list(), negated)
        return Condition(place, operator, (self._checked(operator, self._word()),), negated)

    def _field(self) -> Field:
        found, self.at = _field_at(self.text, self.at)
        return found

    def _operator(self) -> str:
        name, dot, _ = self.text[self.at :].partition(".")
        if not dot or name not in OPERATORS:
            raise self._error()
        self.at += len(name) + 1
        return name

    def _list(self) -> tuple[str, ...]:
        self._expect("(")
        if self._took(")"):
            return ()
        words = [self._word()]
        while self._took(","):
            words.append(self._word())
        self._expect(")")
        return tuple(words)

    def _word(self) -> str:
        found = _WORD.match(self.text, self.at)
        if found is None:
            raise self._error()
        self.at = found.end()
        return _unescaped(found[1]) if found[1] is not None else found[2]

    def _checked(self, operator: str, value: str) -> str:
        if operator == "is" and value.lower() not in TRUTHS:
            raise self._error()
        return value

    def _took(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._took(text):
            raise self._error()

    def _error(self) -> RestError:
        rest = self.text[self.at : self.at + 1]
        return unparsable(self.what, self.text, f'unexpected "{rest}"' if rest else "unexpected end of input")


def _logic(name: str, value: str) -> Group:
    reader = _Reader(value, "logic tree")
    group = reader.group(name.removeprefix("not."), negated=name.startswith("not."))
    reader.end()
    return group


def _field_at(text: str, at: int) -> tuple[Field, int]:
    """The field that begins at `at`, and where it ends."""
    found = _NAME.match(text, at)
    if found is None:
        raise unparsable("field name", text, "expecting field name (* or [a..z0..9_$])")
    column = _unescaped(found[1]) if found[1] is not None else found[2]
    end, path = found.end(), []
    while step := _STEP.match(text, end):
        path.append((step[1], step[2]))
        end = step.end()
    return Field(column, tuple(path)), end


def _whole_field(text: str) -> Field:
    found, end = _field_at(text, 0)
    if text[end : end + 1] == ".":
        raise unsupported("filters on embedded resources")
    if end != len(text):
        raise unparsable("filter", text, f'unexpected "{text[end]}"')
    return found


def _item(text: str) -> Item:
    if text == "*":
        return Item(None)
    if "(" in text:
        raise unsupported("embedded resources or aggregates in select")
    alias = re.match(r'("[^"]*"|[^":]+):(?!:)', text)
    rest = text[alias.end() :] if alias else text
    place, end = _field_at(rest, 0)
    cast = rest[end + 2 :] if rest.startswith("::", end) else None
    if (cast is None and end != len(rest)) or (cast is not None and not _CAST.fullmatch(cast)):
        raise unparsable("select parameter", text, f'unexpected "{rest[end:][:1]}"')
    return Item(place, cast, _unquoted(alias[1]) if alias else None)


def _order(text: str) -> Order:
    place, end = _field_at(text, 0)
    direction, nulls = "ASC", None
    for word in filter(None, text[end:].split(".")):
        match word:
            case "asc" | "desc":
                direction = word.upper()
            case "nullsfirst" | "nullslast":
                nulls = word.removeprefix("nulls").upper()
            case _:
                raise unparsable("order", text, f'unexpected "{word}"')
    return Order(place, direction, nulls)


def _count(name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError as e:
        raise unparsable(f"{name} parameter", value, "expecting digits") from e
    if number < 0:
        details = "Limit should be greater than or equal to zero."
        raise RestError(416, "PGRST103", "Requested range not satisfiable", details=details)
    return number


def _split(text: str) -> list[str]:
    """Split at commas outside quotes and parentheses; no empty parts."""
    return [part for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|\([^)]*\)|[^,])+', text) if part]


def _unquoted(text: str) -> str:
    return _unescaped(text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
