"""Another set of levels, from a small file, in place of those in force: what would it have made?

TOML or JSON: a table `all`, and tables named by strategy id, which go before. In them any field of `ExitLevels` by its name:

    [all]
    stop = 5000                     # rupees of the whole position
    trailing = { distance = 750 }   # what is left out stays as it is in force
    dte = "off"

    [3359]
    stop = "60%"                    # a share of the amount that is in force
    square_off = "15:10"

Rupees are amounts without a sign (`"N%"`: of the one in force), days whole numbers, per cent and other numbers as the field
counts, clock times hh:mm[:ss] IST, actions by their text. `"off"` takes a level away. The fields are read off the dataclasses: a
new kind of level needs no change here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
from datetime import time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

from core.model import exit_levels, special_levels
from core.model.errors import ConfigurationError
from core.model.exit_levels import ExitLevels, LevelSource
from core.model.money import paise_from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from core.model.position import Position

ALL: Final = "all"
OFF: Final = frozenset({"off", "none"})
NOTE: Final = "other levels of a replay"
_NAMES: Final[dict[str, Any]] = {"time": time, "Paise": int} | {
    name: value for module in (exit_levels, special_levels) for name, value in vars(module).items() if name[0] != "_"
}
_FIXED: Final = frozenset({"notes"})
_GIVEN: Final = frozenset({"source", "note"})
_MAY_BE_NOTHING: Final = frozenset({"arm", "floor"})
"""Amounts that may be 0: armed from entry, a stop at cost. Every other one is a magnitude above 0."""
_INSTEAD: Final = {"distance": "percent_of_peak", "percent_of_peak": "distance"}
"""Given the one, the other that is in force does not stay."""
_SHARE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


class _WrongLevelError(ValueError):
    """What was expected and what came; the caller knows where."""


@dataclasses.dataclass(frozen=True, slots=True)
class OtherLevels:
    """`tables`: by strategy id, None for all."""

    tables: Mapping[int | None, Mapping[str, Any]]
    source: str

    @property
    def strategies(self) -> frozenset[int]:
        return frozenset(strategy_id for strategy_id in self.tables if strategy_id is not None)

    def levels_of(self, position: Position, levels: ExitLevels) -> ExitLevels:
        """Raises ConfigurationError for a value that makes no level of this position."""
        for strategy_id in (None, position.strategy_id):
            for name, value in self.tables.get(strategy_id, {}).items():
                try:
                    built = _built(_FIELDS[name], value, getattr(levels, name))
                except _WrongLevelError as error:
                    where = f"{self.source}, {ALL if strategy_id is None else strategy_id}.{name}"
                    raise ConfigurationError(
                        f"{where}: {error}.", "See the text of data_scripts/replay_session.py."
                    ) from None
                levels = dataclasses.replace(levels, **{name: built})
        return levels


def read_other_levels(path: Path) -> OtherLevels:
    """Raises ConfigurationError: the file cannot be read, or names something that is no strategy id or no level."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).", "Name a TOML or JSON file.") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}.", "Write it as TOML, or as JSON with the suffix .json.") from None
    if not isinstance(found, dict) or not found:
        raise ConfigurationError(f"{path} holds no table.", f"Write [{ALL}] or [<strategy id>], and levels below it.")
    return OtherLevels({_owner(path, name): _checked(path, name, table) for name, table in found.items()}, path.name)


def check_strategies(levels: OtherLevels, known: Collection[int]) -> None:
    """Raise ConfigurationError for strategies that are not in the book."""
    if unknown := sorted(levels.strategies - set(known)):
        listed = ", ".join(map(str, sorted(known)[:20]))
        raise ConfigurationError(
            f"{levels.source} names strategy {unknown[0]}, which is not in the book.", f"There are: {listed or 'none'}."
        )


def _owner(path: Path, name: str) -> int | None:
    if name == ALL:
        return None
    if not (name.isascii() and name.isdecimal()):
        raise ConfigurationError(f"{path.name}: {name!r} is no strategy id.", f"Write [{ALL}] or [<strategy id>].")
    return int(name)


def _checked(path: Path, owner: str, table: object) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path.name}: {owner} is no table.", f"Write [{owner}], and its levels below.")
    if unknown := sorted(table.keys() - _FIELDS.keys()):
        raise ConfigurationError(
            f"{path.name}, {owner}: there is no level {unknown[0]!r}.", f"There are {', '.join(_FIELDS)}."
        )
    return table


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """`hint` as resolved, `is_money`: its numbers are paise, and rupees in the file. `name` for messages."""

    name: str
    hint: Any
    is_money: bool


def _fields_of(kind: type[Any], left_out: Collection[str]) -> dict[str, _Field]:
    hints = get_type_hints(kind, localns=_NAMES)
    return {
        field.name: _Field(field.name, hints[field.name], "Paise" in str(field.type))
        for field in dataclasses.fields(kind)
        if field.name not in left_out
    }


_FIELDS: Final = _fields_of(ExitLevels, _FIXED)


def _built(field: _Field, value: Any, before: Any) -> Any:
    """The value of one field. `before` is what is in force there, if anything."""
    hint = field.hint
    if get_origin(hint) in {Union, types.UnionType}:
        options = [option for option in get_args(hint) if option is not types.NoneType]
        if len(options) < len(get_args(hint)) and _is_off(value):
            return None
        return _one_of([dataclasses.replace(field, hint=option) for option in options], value, before)
    if get_origin(hint) is tuple:
        if _is_off(value):
            return ()
        items = value if isinstance(value, list) else [value]
        item = dataclasses.replace(field, hint=get_args(hint)[0])
        return tuple(_built(item, each, None) for each in items)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _level(hint, value, before)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value)
    return _plain(field, value, before)


def _is_off(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str) and value.strip().lower() in OFF)


def _one_of(options: list[_Field], value: Any, before: Any) -> Any:
    problems = []
    for option in options:
        try:
            return _built(option, value, before if isinstance(before, _class_of(option.hint)) else None)
        except _WrongLevelError as error:
            problems.append(str(error))
    raise _WrongLevelError("; or ".join(problems))


def _class_of(hint: Any) -> type[Any]:
    return hint if isinstance(hint, type) else object


def _level(kind: type[Any], value: Any, before: Any) -> Any:
    """A level of that kind. A bare value is for a kind with one number; what a table leaves out stays as in force."""
    fields = _fields_of(kind, _GIVEN)
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name in fields and field.default is field.default_factory is dataclasses.MISSING
    ]
    if not isinstance(value, dict):
        if len(required) != 1:
            raise _WrongLevelError(f"expected a table with {', '.join(fields)}, received {value!r}")
        value = {required[0]: value}
    if unknown := sorted(value.keys() - fields.keys()):
        raise _WrongLevelError(f"{unknown[0]!r} is none of {', '.join(fields)}")
    given = {name: _built(fields[name], part, getattr(before, name, None)) for name, part in value.items()}
    replaced = {_INSTEAD.get(name) for name in given} - set(required)
    kept = (
        {name: getattr(before, name) for name in fields.keys() - given.keys() - replaced} if before is not None else {}
    )
    if missing := [name for name in required if name not in given and name not in kept]:
        raise _WrongLevelError(f"{missing[0]} is missing, and no level is in force to take it from")
    known = {field.name for field in dataclasses.fields(kind)}
    marked = {"source": LevelSource.OPERATOR, "note": NOTE}
    return kind(**kept, **given, **{name: mark for name, mark in marked.items() if name in known})


def _member(kind: type[Enum], value: Any) -> Enum:
    for member in kind:
        if isinstance(value, str) and value in {member.value, member.name}:
            return member
    raise _WrongLevelError(f"expected one of {', '.join(str(member.value) for member in kind)}, received {value!r}")


def _plain(field: _Field, value: Any, before: Any) -> Any:
    read = _READERS.get(field.hint)
    if field.is_money and field.hint is int:
        amount = _money(value, before)
        if amount < 0 or (amount == 0 and field.name not in _MAY_BE_NOTHING):
            raise _WrongLevelError(f"{field.name}: expected an amount above 0, received {value!r}")
        return amount
    if read is None:
        raise _WrongLevelError(f"{field.name} cannot be set here")
    return read(value)


def _money(value: Any, before: Any) -> int:
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if share is not None:
        if not isinstance(before, int):
            raise _WrongLevelError(f"{value!r} is a share of the level in force, and there is none")
        return round(Decimal(share[1]) * before / 100)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _WrongLevelError(f"expected an amount in rupees, received {value!r}")
    try:
        return paise_from_text(value)
    except ValueError as error:
        raise _WrongLevelError(str(error)) from None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _WrongLevelError(f"expected a whole number, received {value!r}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _WrongLevelError(f"expected a number, received {value!r}")
    return float(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongLevelError(f"expected true or false, received {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongLevelError(f"expected a text, received {value!r}")
    return value


def _clock(value: Any) -> time:
    try:
        return value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError):
        raise _WrongLevelError(f"expected a clock time hh:mm[:ss], received {value!r}") from None


_READERS: Final[dict[Any, Callable[[Any], Any]]] = {
    int: _whole,
    float: _number,
    bool: _switch,
    str: _text,
    time: _clock,
}
