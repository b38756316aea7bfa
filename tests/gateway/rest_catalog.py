"""Which tables and functions a schema has. Asked for each request: there is no cache that a test could find stale."""

from __future__ import annotations

import asyncpg

from tests.gateway.rest_errors import RestError
from tests.gateway.rest_sql import Column, Function, Table

_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, coalesce(a.attnum = ANY (i.indkey), false) AS in_key,
    CASE
        WHEN a.attidentity <> '' THEN
            format('nextval(%L)', pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname))
        ELSE pg_get_expr(d.adbin, d.adrelid)
    END AS default
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY a.attnum
"""

# A function with one OUT or TABLE column returns no composite type; its rows are objects all the same.
_FUNCTIONS = """
SELECT p.proretset AS returns_set, p.pronargdefaults AS defaults, t.typname = 'void' AS returns_void,
    (t.typtype = 'c' OR coalesce(p.proargmodes::text[] && '{o,b,t}', false)) AS returns_rows,
    ARRAY(SELECT format_type(u.type, NULL) FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
        WITH ORDINALITY AS u (type, at) ORDER BY u.at) AS types,
    coalesce(p.proargnames, '{}') AS names, p.proargmodes::text[] AS modes
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_type t ON t.oid = p.prorettype
WHERE n.nspname = $1 AND p.proname = $2 AND p.prokind = 'f'
"""


async def find_table(connection: asyncpg.Connection, schema: str, name: str) -> Table:
    """Raises RestError PGRST205 (404) when there is none."""
    rows = await connection.fetch(_COLUMNS, schema, name)
    if not rows:
        message = f"Could not find the table '{schema}.{name}' in the schema cache"
        raise RestError(404, "PGRST205", message)
    return Table(schema, name, {row["name"]: Column(**row) for row in rows})


async def find_functions(connection: asyncpg.Connection, schema: str, name: str) -> list[Function]:
    """Every function of that name."""
    return [_function(schema, name, row) for row in await connection.fetch(_FUNCTIONS, schema, name)]


def choose(candidates: list[Function], schema: str, name: str, given: frozenset[str]) -> Function:
    """The one candidate that takes the arguments `given`. Raises RestError PGRST202 (404) or PGRST203 (300)."""
    fitting = [f for f in candidates if given <= f.arguments.keys() and f.required <= given]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(
            f"{schema}.{name}({', '.join(f'{a} => {t}' for a, t in f.arguments.items())})" for f in fitting
        )
        message = f"Could not choose the best candidate function between: {shown}"
        hint = (
            "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
        )
        raise RestError(300, "PGRST203", message, hint=hint)
    names = ", ".join(sorted(given))
    shown = f"({names})" if given else " without parameters"
    searched = f" with parameter{'s' if len(given) > 1 else ''} {names}" if given else " without parameters"
    details = (
        f"Searched for the function {schema}.{name}{searched} or with a single unnamed json/jsonb parameter, "
        "but no matches were found in the schema cache."
    )
    raise RestError(
        404, "PGRST202", f"Could not find the function {schema}.{name}{shown} in the schema cache", details=details
    )


def _function(schema: str, name: str, row: asyncpg.Record) -> Function:
    modes = row["modes"] or ["i"] * len(row["types"])
    inputs = [
        (argument, kind)
        for argument, kind, mode in zip(row["names"], row["types"], modes, strict=False)
        if mode in {"i", "b", "v"}
    ]
    required = inputs[: len(inputs) - row["defaults"]]
    return Function(
        schema,
        name,
        arguments=dict(inputs),
        required=frozenset(argument for argument, _ in required),
        returns_set=row["returns_set"],
        returns_rows=row["returns_rows"],
        returns_void=row["returns_void"],
    )
