"""Journal records ⇄ JSON text. The shape is read off the types of core.model, so a new field needs no change here.

Dataclasses become objects, named tuples and tuples arrays, enums their value, dates and times ISO text. Only the outermost
record carries a tag, its class name: everything inside has one type by its annotation. A field that is absent in old text
gets its default; a field or a tag this build does not know is an error, because dropping a fact could repeat an order.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Callable
from datetime import date, time
from enum import Enum
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from core.model import (
    exit_levels,
    instrument,
    journal_records,
    market,
    memory,
    money,
    orders,
    position,
    signals,
    special_levels,
)
from core.model.errors import BugError, DecodeError
from core.model.journal_records import JournalRecord
from core.model.memory import PositionMemory

_T = TypeVar("_T")
_TAG: Final = "@"  # No field can have this name.
_NAMES: dict[str, Any] = {"date": date, "time": time}
for _module in (
    money,
    instrument,
    market,
    orders,
    position,
    exit_levels,
    special_levels,
    signals,
    journal_records,
    memory,
):
    _NAMES |= {name: value for name, value in vars(_module).items() if not name.startswith("_")}

KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in get_args(JournalRecord)}


@dataclasses.dataclass(frozen=True, slots=True)
class _Codec:
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_CODECS: Final[dict[Any, _Codec]] = {}


def encode(record: JournalRecord) -> str:
    """One line of ASCII JSON. Raises BugError for a value that its field's type does not allow."""
    fields = _codec(type(record)).encode(record)
    return json.dumps({_TAG: type(record).__name__, **fields}, separators=(",", ":"), allow_nan=False)


def decode(text: str) -> JournalRecord:
    """The record that `encode` wrote. Raises DecodeError for anything else, never another exception."""
    try:
        fields = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"expected a journal record in JSON, received {len(text)} characters: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get(_TAG), str):
        raise DecodeError(f"expected a journal record with its kind, received {type(fields).__name__}")
    kind = KINDS.get(fields.pop(_TAG))
    if kind is None:
        raise DecodeError("the journal record is of a kind that this build does not know")
    record: JournalRecord = _codec(kind).decode(fields)
    return record


def to_fields(fact: Any) -> dict[str, Any]:
    """The fields of any dataclass of facts, ready for JSON, for whoever keeps facts elsewhere. Raises BugError like `encode`."""
    fields: dict[str, Any] = _codec(type(fact)).encode(fact)
    return fields


def from_fields(kind: type[_T], fields: Any) -> _T:
    """The fact that `to_fields` took apart. Raises DecodeError for anything else."""
    fact: _T = _codec(kind).decode(fields)
    return fact


def encode_memory(memory: PositionMemory) -> str:
    return json.dumps(_codec(PositionMemory).encode(memory), separators=(",", ":"), allow_nan=False)


def decode_memory(text: str) -> PositionMemory:
    """What `encode_memory` wrote. Raises DecodeError for anything else."""
    try:
        fields = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"expected a position's memory in JSON, received {len(text)} characters: {error}") from None
    memory: PositionMemory = _codec(PositionMemory).decode(fields)
    return memory


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _codec(hint: Any) -> _Codec:
    if hint not in _CODECS:
        _CODECS[hint] = _built_codec(hint)
    return _CODECS[hint]


def _built_codec(hint: Any) -> _Codec:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_codec(hint)
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return _named_tuple_codec(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_codec(hint)
    if get_origin(hint) in {Union, types.UnionType}:
        return _optional_codec(hint)
    if get_origin(hint) is tuple:
        return _tuple_codec(hint)
    if hint in {date, time}:
        return _iso_codec(hint)
    if hint in {int, float, str, bool}:
        return _plain_codec(hint)
    raise BugError(f"the journal has no form for a field of type {hint}")


def _dataclass_codec(kind: type[Any]) -> _Codec:
    hints = get_type_hints(kind, localns=_NAMES)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    codecs = {field.name: _codec(hints[field.name]) for field in fields}
    required = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}

    def encode_fields(value: Any) -> dict[str, Any]:
        if type(value) is not kind:
            raise BugError(f"expected {kind.__name__} in the journal, received {type(value).__name__}")
        return {name: codec.encode(getattr(value, name)) for name, codec in codecs.items()}

    def decode_fields(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(f"expected the fields of {kind.__name__}, received {type(value).__name__}")
        if wrong := (value.keys() - codecs.keys()) | (required - value.keys()):
            raise DecodeError(f"{kind.__name__} has unknown or missing fields: {', '.join(sorted(wrong))}")
        return _built(kind, **{name: codecs[name].decode(part) for name, part in value.items()})

    return _Codec(encode_fields, decode_fields)


def _named_tuple_codec(kind: type[Any]) -> _Codec:
    hints = get_type_hints(kind, localns=_NAMES)
    codecs = [_codec(hints[name]) for name in hints]

    def encode_parts(value: Any) -> list[Any]:
        return [codec.encode(part) for codec, part in zip(codecs, value, strict=True)]

    def decode_parts(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(codecs):
            raise DecodeError(f"expected the {len(codecs)} parts of {kind.__name__}")
        return _built(kind, *(codec.decode(part) for codec, part in zip(codecs, value, strict=True)))

    return _Codec(encode_parts, decode_parts)


def _built(kind: type[Any], /, *parts: Any, **fields: Any) -> Any:
    try:
        return kind(*parts, **fields)
    except ValueError as error:
        raise DecodeError(f"{kind.__name__}: {error}") from None


def _enum_codec(kind: type[Enum]) -> _Codec:
    def decode_member(value: Any) -> Enum:
        if not isinstance(value, str | int):
            raise DecodeError(f"expected a member of {kind.__name__}, received {type(value).__name__}")
        try:
            return kind(value)
        except ValueError:
            raise DecodeError(f"expected a member of {kind.__name__}, received {value!r}") from None

    return _Codec(lambda member: kind(member).value, decode_member)


def _optional_codec(hint: Any) -> _Codec:
    inner = [part for part in get_args(hint) if part is not types.NoneType]
    if len(inner) != 1 or len(get_args(hint)) != len(inner) + 1:
        raise BugError(f"the journal has no form for the union {hint}")
    codec = _codec(inner[0])
    return _Codec(
        lambda value: None if value is None else codec.encode(value),
        lambda value: None if value is None else codec.decode(value),
    )


def _tuple_codec(hint: Any) -> _Codec:
    item, *rest = get_args(hint)
    if rest != [Ellipsis]:
        raise BugError(f"the journal has no form for {hint}")
    codec = _codec(item)

    def decode_items(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise DecodeError(f"expected an array, received {type(value).__name__}")
        return tuple(codec.decode(part) for part in value)

    return _Codec(lambda value: [codec.encode(part) for part in value], decode_items)


def _iso_codec(kind: Any) -> _Codec:
    def decode_iso(value: Any) -> Any:
        try:
            return kind.fromisoformat(value)
        except (TypeError, ValueError):
            raise DecodeError(f"expected an ISO {kind.__name__}, received {value!r}") from None

    return _Codec(lambda value: value.isoformat(), decode_iso)


def _plain_codec(kind: type[Any]) -> _Codec:
    # bool is an int to isinstance, and an int is a good float: exact types decide.
    allowed = {float: (float, int)}.get(kind, (kind,))

    def check(value: Any, error: type[Exception]) -> Any:
        if type(value) not in allowed or (kind is float and not math.isfinite(value)):
            raise error(f"expected {kind.__name__} in the journal, received {type(value).__name__}")
        return value

    return _Codec(lambda value: check(value, BugError), lambda value: check(value, DecodeError))
