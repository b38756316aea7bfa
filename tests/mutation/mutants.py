"""Finds every mutant of a module, gives each a name that outlives edits elsewhere in the file, and compiles it."""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, Final

from tests.mutation.operators import Change, changes_of

SHOWN: Final = 90
"""Characters of code around a change that its name shows."""
MODULE: Final = "<module>"

_SKIPPED_FIELDS: Final = {
    "annotation",
    "returns",
    "decorator_list",
    "format_spec",
    "type_params",
    "ctx",
    "bases",
    "keys",
}
_SKIPPED_CALLS: Final = {"TypeVar", "NewType", "cast", "assert_never", "NamedTuple", "ParamSpec"}
_FUNCTION: Final = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one file. `function` is the outermost one around it, or the class, or `<module>`."""

    file: str
    function: str
    kind: str
    change: str
    lines: range
    """Of the changed code in the unchanged file. A test that runs none of them cannot tell the difference."""
    is_inside: bool
    """In the body of a function: the code of that function can be swapped in a program that runs already."""
    source_hash: str
    """Of the function, or of the whole file for what is outside of functions."""
    at: int = field(compare=False)
    """Which one it is in the order of the search: how `compiled` finds it again."""

    @property
    def key(self) -> str:
        return f"{self.file}::{self.function}::{self.change}"


@dataclass(slots=True)
class _Place:
    """A node, where it hangs, and what is around it."""

    parent: ast.AST
    field_name: str
    index: int | None
    node: ast.AST
    statement: ast.stmt | None
    around: tuple[ast.AST, ...]
    """From the statement's own expression down to the node: what the name of a change may show."""
    function: str
    owner: ast.AST | None
    """The outermost function around the node, if there is one."""


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for name, value in ast.iter_fields(node):
        if name in _SKIPPED_FIELDS and not (name == "keys" and isinstance(node, ast.Dict)):
            continue
        if isinstance(value, ast.AST):
            yield name, None, value
        elif isinstance(value, list):
            yield from ((name, place, item) for place, item in enumerate(value) if isinstance(item, ast.AST))


def _is_skipped(node: ast.AST, parent: ast.AST) -> bool:
    """No decision is in it: texts, types, what only the type checker reads, and what mypy proves never to be reached."""
    return _decides_nothing(node) or _is_part_of_a_text(node, parent)


def _decides_nothing(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _SKIPPED_CALLS
        case ast.keyword(arg="strict"):
            return True
        case ast.match_case():
            return "assert_never(" in ast.unparse(node)
        case _:
            return False


def _is_part_of_a_text(node: ast.AST, parent: ast.AST) -> bool:
    match parent:
        case ast.Raise() | ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return True
        case ast.FormattedValue():
            return isinstance(node, ast.Constant)
        case _:
            return False


def _named(node: ast.AST, function: str, owner: ast.AST | None) -> tuple[str, ast.AST | None]:
    if isinstance(node, ast.ClassDef) and owner is None:
        return (node.name if function == MODULE else f"{function}.{node.name}"), None
    if isinstance(node, _FUNCTION) and owner is None:
        return (node.name if function == MODULE else f"{function}.{node.name}"), node
    return function, owner


def _places(node: ast.AST, above: _Place | None = None) -> Iterator[_Place]:
    function = MODULE if above is None else above.function
    owner = None if above is None else above.owner
    for name, index, child in _children(node):
        if _is_skipped(child, node):
            continue
        inner_function, inner_owner = _named(child, function, owner)
        if isinstance(node, _FUNCTION) and node is owner and name != "body":
            inner_owner = None  # A default argument is worked out when the function is made.
        is_statement = isinstance(child, ast.stmt | ast.match_case)
        around = () if is_statement or above is None else (*above.around, child)
        statement = child if isinstance(child, ast.stmt) else None if above is None else above.statement
        place = _Place(node, name, index, child, statement, around, inner_function, inner_owner)
        yield place
        if not isinstance(child, ast.Raise):
            yield from _places(child, place)


def _put(place: _Place, new: ast.AST | None) -> None:
    """Hang `new` where the node was. None takes it out of its list."""
    if place.index is None:
        setattr(place.parent, place.field_name, new)
        return
    siblings = list(getattr(place.parent, place.field_name))
    siblings[place.index : place.index + 1] = [] if new is None else [new]
    setattr(place.parent, place.field_name, siblings)


def _header(node: ast.AST) -> str:
    """The code of a node; of a statement with a body only its first line."""
    text = ast.unparse(node).strip()
    return text.split("\n")[0] if isinstance(node, ast.stmt | ast.match_case) else text


def _described(place: _Place, new: ast.AST | None) -> str:
    """The change in the largest piece of the statement that is short enough to read."""
    is_plain = not hasattr(place.statement, "body") and not isinstance(place.statement, ast.Match | None)
    outer = (*((place.statement,) if is_plain and place.statement is not place.node else ()), *place.around)
    shown = [piece for piece in outer if piece is not place.node and len(_header(piece)) <= SHOWN][:1]
    if not shown:
        after = "removed" if new is None or isinstance(new, ast.Pass) else _header(new)
        return f"{_header(place.node)[:SHOWN]} -> {after[:SHOWN]}"
    before = _header(shown[0])
    old = getattr(place.parent, place.field_name)
    _put(place, new)
    after = _header(shown[0])
    setattr(place.parent, place.field_name, old)
    return f"{before} -> {after}"


def _lines(node: ast.AST) -> range:
    first = getattr(node, "lineno", None)
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, node.body[-1].end_lineno + 1)
    if first is None:
        spans = [_lines(child) for child in ast.iter_child_nodes(node)]
        spans = [span for span in spans if span]
        return range(min(s.start for s in spans), max(s.stop for s in spans)) if spans else range(0)
    if isinstance(node, ast.If | ast.While):
        return range(first, node.test.end_lineno + 1)
    return range(first, node.end_lineno + 1)


def _is_table(place: _Place) -> bool:
    """A display outside of functions whose rows decide. Pairs within a display and keys of several parts are no tables."""
    is_part = place.field_name in {"keys", "key", "slice"} or isinstance(place.parent, ast.Tuple | ast.List | ast.Set)
    return place.owner is None and not is_part and not isinstance(getattr(place.node, "ctx", None), ast.Store)


def _edits(tree: ast.Module) -> Iterator[tuple[_Place, Change]]:
    for place in _places(tree):
        for change in changes_of(place.node, is_table=_is_table(place)):
            if change.new is not None and hasattr(place.node, "lineno") and not hasattr(change.new, "lineno"):
                ast.copy_location(change.new, place.node)
            yield place, change


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of the code. Two that look alike get a number."""
    tree = ast.parse(source)
    texts = {owner: ast.get_source_segment(source, owner) for owner in ast.walk(tree) if isinstance(owner, _FUNCTION)}
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for at, (place, made) in enumerate(_edits(tree)):
        change = made.says or _described(place, made.new)
        seen[place.function, change] += 1
        count = seen[place.function, change]
        text = source if place.owner is None else texts[place.owner]
        found.append(
            Mutant(
                file=file,
                function=place.function,
                kind=made.kind,
                change=change if count == 1 else f"{change} #{count}",
                lines=_lines(place.node),
                is_inside=place.owner is not None,
                source_hash=hashlib.sha256((text or "").encode()).hexdigest()[:16],
                at=at,
            )
        )
    return found


@dataclass(slots=True)
class Compiler:
    """Compiles the mutants of one file. Keeps the tree: each change is put in, compiled and taken out again."""

    path: Path
    source: str
    _edits: list[tuple[_Place, Change]] = field(init=False)
    _tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self._tree = ast.parse(self.source)
        self._edits = list(_edits(self._tree))

    def compiled(self, mutant: Mutant) -> CodeType | None:
        """The code of the whole module with the change in it; None when Python does not take it."""
        place, change = self._edits[mutant.at]
        old = getattr(place.parent, place.field_name)
        _put(place, change.new)
        try:
            return compile(ast.fix_missing_locations(self._tree), str(self.path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
        finally:
            setattr(place.parent, place.field_name, old)


def function_codes(module: CodeType) -> dict[tuple[str, int], CodeType]:
    """The code of every function that is not inside another one, by its qualified name and first line."""
    found: dict[tuple[str, int], CodeType] = {}
    for constant in module.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if _is_class_body(constant):
            found.update(function_codes(constant))
        else:
            found[constant.co_qualname, constant.co_firstlineno] = constant
    return found


def _is_class_body(code: CodeType) -> bool:
    return "__qualname__" in code.co_names and not code.co_flags & 0x1  # A class body has no fast locals.


def same_names(old: Any, new: CodeType) -> bool:
    """The new code can replace the code of this function object: both close over the same names."""
    return bool(old.__code__.co_freevars == new.co_freevars)
