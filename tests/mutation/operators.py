"""The changes that a mutation makes to one node of the syntax tree. An operator leaves its node as it was.

Strings are changed only where they decide (compared, looked up, matched). Texts for people are not: no test should pin a sentence.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple


class Change(NamedTuple):
    kind: str
    new: ast.AST | None
    """What stands there instead of the node. None: the node is taken out of its list."""
    says: str = ""
    """The change in words, where the code before and after would be too long to tell it."""


LARGE: Final = 10_000
"""From here on a number is a scale (nanoseconds, paise of a crore): one more proves nothing, twice and half do."""

_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
}
_TWINS: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
_METHOD_TWINS: Final = {
    "startswith": "endswith",
    "endswith": "startswith",
    "lower": "upper",
    "upper": "lower",
    "removeprefix": "removesuffix",
    "removesuffix": "removeprefix",
    "partition": "rpartition",
    "rpartition": "partition",
    "union": "intersection",
    "intersection": "union",
}
_DROPPED_CALLS: Final = {"abs", "round", "sorted", "reversed", "int"}
_NOT_SWAPPED: Final = {
    "min",
    "max",
    "isinstance",
    "getattr",
    "get",
    "setdefault",
    "pop",
    "field",
    "replace",
    "mark_of",
    "differs",
}
"""Calls in which the order does not matter, or in which a swap is an error in every test that gets there."""
_SAID_ALREADY: Final = ast.Compare | ast.Constant
"""Conditions that other operators turn round."""
_BREAKING: Final = ast.Raise | ast.Break | ast.Continue | ast.Delete | ast.AugAssign


def _like(node: ast.AST, **fields: object) -> ast.AST:
    """A shallow copy with some fields replaced. Children are shared: nothing may change them in place."""
    made = copy.copy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _compare(node: ast.Compare) -> Iterator[Change]:
    for place, operation in enumerate(node.ops):
        for other in _COMPARED[type(operation)]:
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield Change("comparison", _like(node, ops=ops))
    for place, operand in enumerate(node.comparators):
        if isinstance(operand, ast.Constant) and isinstance(operand.value, str):
            others = [*node.comparators]
            others[place] = _other_text(operand)
            yield Change("string that decides", _like(node, comparators=others))


def _bool_op(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield Change("and/or", _like(node, op=other))
    for place in range(len(node.values)):
        rest = [value for at, value in enumerate(node.values) if at != place]
        yield Change("dropped operand", rest[0] if len(rest) == 1 else _like(node, values=rest))


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield Change("dropped not", node.operand)
    elif isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield Change("dropped sign", node.operand)


def _is_type(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None
    if isinstance(node, ast.BinOp):
        return _is_type(node.left) and _is_type(node.right)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "x"
    return (name[:1].isupper() and not name.isupper()) or name in {
        "int",
        "str",
        "float",
        "bool",
        "bytes",
        "dict",
        "list",
    }


def _bin_op(node: ast.BinOp) -> Iterator[Change]:
    if isinstance(node.op, ast.BitOr) and _is_type(node.left) and _is_type(node.right):
        return
    yield Change("arithmetic", _like(node, op=_COMPUTED[type(node.op)]()))


def _aug_assign(node: ast.AugAssign) -> Iterator[Change]:
    yield Change("arithmetic", _like(node, op=_COMPUTED[type(node.op)]()))


def _other_text(node: ast.Constant) -> ast.Constant:
    return ast.Constant(f"{node.value}~")


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield Change("boolean", ast.Constant(not value))
    elif isinstance(value, int):
        for other in (value * 2, value // 2) if abs(value) >= LARGE else (value + 1, value - 1):
            yield Change("number", ast.Constant(other))
    elif isinstance(value, float):
        for other in (value * 2, value / 2) if value else (1.0,):
            yield Change("number", ast.Constant(other))


def _call(node: ast.Call) -> Iterator[Change]:
    function, arguments = node.func, node.args
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    if isinstance(function, ast.Name) and name in _TWINS:
        yield Change("min/max", _like(node, func=ast.Name(_TWINS[name], ast.Load())))
    if isinstance(function, ast.Attribute) and name in _METHOD_TWINS:
        yield Change("method", _like(node, func=_like(function, attr=_METHOD_TWINS[name])))
    if isinstance(function, ast.Name) and name in _DROPPED_CALLS and len(arguments) == 1:
        yield Change("dropped call", arguments[0])
    if name == "get" and len(arguments) == 2:
        yield Change("dropped default", _like(node, args=arguments[:1]))
    if name not in _NOT_SWAPPED and not any(isinstance(argument, ast.Starred) for argument in arguments):
        for place, (left, right) in enumerate(pairwise(arguments)):
            if ast.dump(left) != ast.dump(right):
                swapped = [*arguments[:place], right, left, *arguments[place + 2 :]]
                yield Change("swapped arguments", _like(node, args=swapped))


def _subscript(node: ast.Subscript) -> Iterator[Change]:
    if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        yield Change("string that decides", _like(node, slice=_other_text(node.slice)))


def _match_value(node: ast.MatchValue) -> Iterator[Change]:
    if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        yield Change("string that decides", _like(node, value=_other_text(node.value)))


def _match_or(node: ast.MatchOr) -> Iterator[Change]:
    for place in range(len(node.patterns)):
        rest = [pattern for at, pattern in enumerate(node.patterns) if at != place]
        yield Change("dropped pattern", rest[0] if len(rest) == 1 else _like(node, patterns=rest))


def _match_case(node: ast.match_case) -> Iterator[Change]:
    if node.guard is not None:
        yield Change("dropped guard", _like(node, guard=None))
        yield Change("negated condition", _like(node, guard=ast.UnaryOp(ast.Not(), node.guard)))
    yield Change("dropped case", None)


def _condition(node: ast.If | ast.While | ast.IfExp) -> Iterator[Change]:
    test = node.test
    is_not = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    if not is_not and not isinstance(test, _SAID_ALREADY):
        yield Change("negated condition", _like(node, test=ast.UnaryOp(ast.Not(), test)))


def _comprehension(node: ast.comprehension) -> Iterator[Change]:
    for place in range(len(node.ifs)):
        yield Change("dropped filter", _like(node, ifs=[test for at, test in enumerate(node.ifs) if at != place]))


def _return(node: ast.Return) -> Iterator[Change]:
    if node.value is None:
        yield Change("dropped statement", ast.Pass())
    elif not (
        isinstance(node.value, ast.Constant) and (node.value.value in {None, ""} or isinstance(node.value.value, bool))
    ):
        yield Change("return None", _like(node, value=ast.Constant(None)))


def _statement(node: ast.stmt) -> Iterator[Change]:
    """State changes are dropped. A local that is missing would only be a NameError: every test that gets there would see it."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom | ast.Await)
    targets = node.targets if isinstance(node, ast.Assign) else []
    is_state = any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    if is_call or is_state or isinstance(node, _BREAKING):
        yield Change("dropped statement", ast.Pass())


def _table(node: ast.Dict | ast.Set | ast.List | ast.Tuple) -> Iterator[Change]:
    """Rows of a table outside of functions: one is missing, or leads where the next one leads."""
    if not isinstance(node, ast.Dict):
        for place, row in enumerate(node.elts):
            rest = [element for at, element in enumerate(node.elts) if at != place]
            yield Change("dropped row", _like(node, elts=rest), f"row {ast.unparse(row)} -> removed")
        return
    for place, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
        row = f"row {ast.unparse(key) if key else '**'}: {ast.unparse(value)}"
        keys = [key for at, key in enumerate(node.keys) if at != place]
        values = [value for at, value in enumerate(node.values) if at != place]
        yield Change("dropped row", _like(node, keys=keys, values=values), f"{row} -> removed")
        rows = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if k is not None]
        following = [v for _, v in (*rows[place + 1 :], *rows[:place])]
        other = next((v for v in following if ast.dump(v) != ast.dump(value)), None)
        if other is not None and key is not None:
            values = [*node.values[:place], other, *node.values[place + 1 :]]
            yield Change("row leads elsewhere", _like(node, values=values), f"{row} -> {ast.unparse(other)}")


_OPERATORS: Final[tuple[tuple[type | object, Callable[..., Iterator[Change]]], ...]] = (
    (ast.Compare, _compare),
    (ast.BoolOp, _bool_op),
    (ast.UnaryOp, _unary),
    (ast.BinOp, _bin_op),
    (ast.AugAssign, _aug_assign),
    (ast.Constant, _constant),
    (ast.Call, _call),
    (ast.Subscript, _subscript),
    (ast.MatchValue, _match_value),
    (ast.MatchOr, _match_or),
    (ast.match_case, _match_case),
    (ast.If | ast.While | ast.IfExp, _condition),
    (ast.comprehension, _comprehension),
    (ast.Return, _return),
    (ast.stmt, _statement),
)
_TABLES: Final = ast.Dict | ast.Set | ast.List | ast.Tuple


def changes_of(node: ast.AST, *, is_table: bool) -> Iterator[Change]:
    """Every change of this one node. `is_table`: it stands outside of functions, where displays are tables that decide."""
    for kind, operator in _OPERATORS:
        if isinstance(node, kind):  # type: ignore[arg-type]
            yield from operator(node)
    if is_table and isinstance(node, _TABLES):
        yield from _table(node)
