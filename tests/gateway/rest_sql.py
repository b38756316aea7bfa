"""The SQL that answers a REST request. One statement each, whose JSON is rendered by PostgreSQL itself."""

# ruff: noqa: S608 - Building SQL is what this file is for: names go through ident(), values through literal() or $1.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.gateway.rest_query import Condition, Field, Group, Item, Order, Query

_SIGNS: Final[Mapping[str, str]] = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "like": "LIKE",
    "ilike": "ILIKE",
    "match": "~",
    "imatch": "~*",
    "cs": "@>",
    "cd": "<@",
    "isdistinct": "IS DISTINCT FROM",
}

_ROWS: Final = "coalesce(json_agg(_t), '[]')::text"


@dataclass(frozen=True, slots=True)
class Column:
    """`default` is SQL text, None without one."""

    name: str
    type: str
    default: str | None
    in_key: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view as PostgREST knows it."""

    schema: str
    name: str
    columns: Mapping[str, Column]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns.values() if column.in_key)

    @property
    def sql(self) -> str:
        return f"{ident(self.schema)}.{ident(self.name)}"


@dataclass(frozen=True, slots=True)
class Function:
    """`arguments` maps each input's name to its type; `required` are those without a default."""

    schema: str
    name: str
    arguments: Mapping[str, str]
    required: frozenset[str]
    returns_set: bool
    returns_rows: bool
    returns_void: bool

    @property
    def sql(self) -> str:
        return f"{ident(self.schema)}.{ident(self.name)}"


@dataclass(frozen=True, slots=True)
class Write:
    """How an insert or an update is to be done.

    `columns` of the body that are written; `returning` whether the rows are wanted back; `resolution` of a conflict;
    `missing_default` whether a column that an object lacks takes its default instead of null.
    """

    columns: tuple[str, ...]
    returning: bool
    resolution: str | None = None
    missing_default: bool = False


def ident(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted text of unknown type: the column it is compared with decides what it means."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def read(table: Table, query: Query, limit: int | None, *, counted: bool) -> str:
    """`total` (null unless counted), `page` and `body`."""
    source = table.sql
    where = _where(query, source)
    total = f"(SELECT count(*) FROM {source}{where})" if counted else "NULL::bigint"
    rows = f"SELECT {_select(query, source)} FROM {source}{where}{_order(query, source)}{_page(query, limit)}"
    return f"WITH pgrst_source AS ({rows}) {_answer(_ROWS, total)}"


def insert(table: Table, query: Query, write: Write) -> str:
    """$1: a JSON array of objects, or not used when no column is written. Of the `page` rows, `made` are new."""
    names = [ident(name) for name in write.columns]
    if names:
        types = ", ".join(f"{ident(name)} {table.columns[name].type}" for name in write.columns)
        payload = _with_defaults(table, write) if write.missing_default else "$1::json"
        values = f"SELECT {', '.join(names)} FROM json_to_recordset({payload}) AS _({types})"
        text = f"INSERT INTO {table.sql} ({', '.join(names)}) {values}{_on_conflict(table, query, write)}"
    else:
        text = f"INSERT INTO {table.sql} DEFAULT VALUES"
    # xmax is 0 in a row that was made here, and not in one that was there before.
    made = f"({table.sql}.xmax = 0)" if write.resolution == "merge-duplicates" else "true"
    rows = f"{text} RETURNING {made} AS _made, {_returned(table, query, wanted=write.returning)}"
    shown = ", ".join(_names(table, query)) if write.returning else "1 AS one"
    answer = f"SELECT (SELECT count(*) FROM pgrst_source WHERE _made) AS made, count(*) AS page, {_ROWS} AS body"
    return f"WITH pgrst_source AS ({rows}) {answer} FROM (SELECT {shown} FROM pgrst_source) _t"


def update(table: Table, query: Query, write: Write) -> str:
    """$1: a JSON array; its first object has the new values."""
    types = ", ".join(f"{ident(name)} {table.columns[name].type}" for name in write.columns)
    changes = ", ".join(f"{ident(name)} = _new.{ident(name)}" for name in write.columns)
    source = f"(SELECT * FROM json_to_recordset($1::json) AS _({types}) LIMIT 1) _new"
    returned = _returned(table, query, wanted=write.returning)
    rows = f"UPDATE {table.sql} SET {changes} FROM {source}{_where(query, table.sql)} RETURNING {returned}"
    return f"WITH pgrst_source AS ({rows}) {_answer(_ROWS, 'NULL::bigint')}"


def delete(table: Table, query: Query, *, returning: bool) -> str:
    """Delete the rows that the filters find."""
    rows = f"DELETE FROM {table.sql}{_where(query, table.sql)} RETURNING {_returned(table, query, wanted=returning)}"
    return f"WITH pgrst_source AS ({rows}) {_answer(_ROWS, 'NULL::bigint')}"


def call(function: Function, given: Sequence[str], query: Query, limit: int | None, *, counted: bool) -> str:
    """$1: a JSON object with the arguments `given`, or not used without any."""
    passed = ", ".join(f"{ident(name)} => _args.{ident(name)}" for name in given)
    types = ", ".join(f"{ident(name)} {function.arguments[name]}" for name in given)
    arguments = f"(SELECT * FROM json_to_record($1::json) AS _({types})) _args, " if given else ""
    if not function.returns_rows:
        body = "coalesce(json_agg(_t.pgrst_scalar), '[]')::text"
        if not function.returns_set:
            body = "coalesce((json_agg(_t.pgrst_scalar) -> 0)::text, 'null')"
        rows = f"SELECT _call.* FROM {arguments}LATERAL (SELECT {function.sql}({passed}) AS pgrst_scalar) _call"
        return f"WITH pgrst_source AS ({rows}) {_answer(body, 'NULL::bigint')}"
    body = _ROWS if function.returns_set else "coalesce((json_agg(_t) -> 0)::text, 'null')"
    found = f"FROM {arguments}LATERAL {function.sql}({passed}) _call{_where(query, '_call')}"
    # The whole answer is counted in the same call: a second one would run the function twice.
    total = "(SELECT count(*) FROM pgrst_all)" if counted else "NULL::bigint"
    page = f"SELECT {_select(query, '_call')} FROM pgrst_all _call{_order(query, '_call')}{_page(query, limit)}"
    return f"WITH pgrst_all AS (SELECT _call.* {found}), pgrst_source AS ({page}) {_answer(body, total)}"


def _answer(body: str, total: str) -> str:
    return f"SELECT {total} AS total, count(*) AS page, {body} AS body FROM (SELECT * FROM pgrst_source) _t"


def _select(query: Query, source: str) -> str:
    return ", ".join(_selected(item, source) for item in query.select)


def _selected(item: Item, source: str) -> str:
    if item.field is None:
        return f"{source}.*"
    value = _place(item.field, source)
    if item.cast is not None:
        value = f"CAST({value} AS {item.cast})"
    return f"{value} AS {ident(item.alias or item.field.name)}"


def _returned(table: Table, query: Query, *, wanted: bool) -> str:
    # Only what is wanted: PostgreSQL asks for the right to read a returned column.
    return _select(query, table.sql) if wanted else "1 AS one"


def _names(table: Table, query: Query) -> list[str]:
    names: list[str] = []
    for item in query.select:
        names.extend(table.columns if item.field is None else (item.alias or item.field.name,))
    return [ident(name) for name in names]


def _where(query: Query, source: str) -> str:
    if not query.where:
        return ""
    return " WHERE " + " AND ".join(_term(term, source) for term in query.where)


def _term(term: Condition | Group, source: str) -> str:
    if isinstance(term, Group):
        inner = f" {term.joint.upper()} ".join(_term(member, source) for member in term.members)
        text = f"({inner})"
    else:
        text = _condition(term, source)
    return f"NOT {text}" if term.negated else text


def _condition(term: Condition, source: str) -> str:
    place = _place(term.field, source)
    match term.operator:
        case "in":
            quoted = ",".join('"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in term.values)
            return f"{place} = ANY ({literal('{' + quoted + '}')})"
        case "is":
            word = term.values[0].lower()
            return f"{place} IS {'NOT NULL' if word == 'not_null' else word.upper()}"
        case "like" | "ilike":
            return f"{place} {_SIGNS[term.operator]} {literal(term.values[0].replace('*', '%'))}"
        case operator:
            return f"{place} {_SIGNS[operator]} {literal(term.values[0])}"


def _place(place: Field, source: str) -> str:
    column = f"{source}.{ident(place.column)}"
    if not place.path:
        return column
    steps = "".join(f"{arrow}{key if key.isdigit() else literal(key)}" for arrow, key in place.path)
    return f"(to_jsonb({column}){steps})"


def _order(query: Query, source: str) -> str:
    return " ORDER BY " + ", ".join(_ordered(term, source) for term in query.order) if query.order else ""


def _ordered(term: Order, source: str) -> str:
    nulls = f" NULLS {term.nulls}" if term.nulls else ""
    return f"{_place(term.field, source)} {term.direction}{nulls}"


def _page(query: Query, limit: int | None) -> str:
    return ("" if limit is None else f" LIMIT {limit}") + (f" OFFSET {query.offset}" if query.offset else "")


def _on_conflict(table: Table, query: Query, write: Write) -> str:
    target = query.on_conflict or table.key
    if write.resolution is None or not target:
        return ""
    clause = f" ON CONFLICT ({', '.join(ident(name) for name in target)})"
    if write.resolution == "ignore-duplicates":
        return f"{clause} DO NOTHING"
    changes = ", ".join(f"{ident(name)} = EXCLUDED.{ident(name)}" for name in write.columns)
    return f"{clause} DO UPDATE SET {changes}"


def _with_defaults(table: Table, write: Write) -> str:
    pairs = ", ".join(
        f"{literal(name)}, {table.columns[name].default}" for name in write.columns if table.columns[name].default
    )
    merged = f"jsonb_build_object({pairs}) || _one"
    return f"(SELECT jsonb_agg({merged}) FROM jsonb_array_elements($1::jsonb) _one)::json"
