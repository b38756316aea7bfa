"""What counts as a mutant, and that its name and its code are right."""

from pathlib import Path
from types import FunctionType

import pytest

from tests.mutation.mutants import Compiler, function_codes, mutants_of, same_names

FILE = "core/exits/toy.py"


def changes(source: str) -> set[str]:
    return {mutant.change for mutant in mutants_of(FILE, source)}


def in_function(body: str) -> set[str]:
    return changes("def f(a, b, c):\n" + "".join(f"    {line}\n" for line in body.splitlines()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a < b", {"return None", "return a <= b", "return a >= b"}),
        ("return a == b", {"return None", "return a != b"}),
        ("return a is None", {"return None", "return a is not None"}),
        ("return a in b", {"return None", "return a not in b"}),
        ("return a and b", {"return None", "return a or b", "return a", "return b"}),
        ("return not a", {"return None", "return a"}),
        ("return a - b", {"return None", "return a + b"}),
        ("return a * 2", {"return None", "return a // 2", "return a * 3", "return a * 1"}),
        ("return -a", {"return None", "return a"}),
        ("return a + 1_000_000", {"return None", "return a - 1000000", "return a + 2000000", "return a + 500000"}),
        ("return True", {"return False"}),
        ("return min(a, b)", {"return None", "return max(a, b)"}),
        ("return a.first(b, c)", {"return None", "return a.first(c, b)"}),
        ("return abs(a)", {"return None", "return a"}),
        ("return a.get(b, 0)", {"return None", "return a.get(b)", "return a.get(b, 1)", "return a.get(b, -1)"}),
        ("return a == 'FNO'", {"return None", "return a != 'FNO'", "return a == 'FNO~'"}),
        ("return a['x']", {"return None", "return a['x~']"}),
        ("return [x for x in a if x]", {"return None", "return [x for x in a]"}),
        ("return a if b else c", {"return None", "return a if not b else c"}),
        ("return None", set()),
        ("return", {"removed"}),
        ("a.done = True", {"removed", "a.done = False"}),
        ("a.count += 2", {"removed", "a.count -= 2", "a.count += 3", "a.count += 1"}),
        ("a.append(b)", {"removed"}),
        ("raise ValueError(f'{a + 1} is {b}')", {"removed"}),
        ("d = a", set()),
    ],
)
def test_a_line_is_changed_in_each_way_that_a_test_should_notice(line, expected):
    assert {change.split(" -> ")[1] for change in in_function(line)} == expected


def test_conditions_and_cases():
    assert in_function("if a:\n    pass") == {"if a: -> if not a:"}
    assert in_function("while a(b):\n    break") == {"while a(b): -> while not a(b):", "break -> removed"}
    found = in_function("match a:\n    case 'x' | 'y' if b:\n        pass\n    case _:\n        return 1")
    assert {"'x' | 'y' -> 'x'", "'x' | 'y' -> 'y'", "'x' | 'y' -> 'x~' | 'y'", "case _: -> removed"} <= found


def test_tables_constants_and_defaults_outside_of_functions():
    assert changes("LIMIT = 3") == {"LIMIT = 3 -> LIMIT = 4", "LIMIT = 3 -> LIMIT = 2"}
    assert changes("LIVE = frozenset({A.X, A.Y})") == {"row A.X -> removed", "row A.Y -> removed"}
    assert changes("NEXT = {(A.X, T.GO): A.Y, (A.Y, T.GO): A.Z}") == {
        "row (A.X, T.GO): A.Y -> removed",
        "row (A.X, T.GO): A.Y -> A.Z",
        "row (A.Y, T.GO): A.Z -> removed",
        "row (A.Y, T.GO): A.Z -> A.Y",
    }
    found = mutants_of(FILE, "class Settings:\n    pause_ms: int = 300\n\n    def f(self, is_open=False): pass\n")
    assert [(m.function, m.change, m.is_inside) for m in found] == [
        ("Settings", "pause_ms: int = 300 -> pause_ms: int = 301", False),
        ("Settings", "pause_ms: int = 300 -> pause_ms: int = 299", False),
        ("Settings.f", "self, is_open=False -> self, is_open=True", False),
    ]


@pytest.mark.parametrize(
    "source",
    [
        '"""A text of 3 words."""',
        "from a import b",
        "if TYPE_CHECKING:\n    LIMIT = 3",
        "Key: TypeAlias = int | None",
        "def f(a: Literal[1, 2]) -> Literal[3]: pass",
        "@cache(3)\ndef f(): pass",
        "def f(a):\n    match a:\n        case _ as unreachable:\n            assert_never(unreachable)",
        "__all__ = ['a', 'b']",
        "S = TypeVar('S', A, B)",
        "PAIRS = zip(LEGS, strict=True)",
    ],
)
def test_texts_types_and_the_unreachable_are_left_alone(source):
    assert changes(source) == set()


def test_a_name_outlives_edits_elsewhere_and_twins_get_numbers():
    function = "def f(a):\n    a.go(1)\n    return a.go(1)\n"
    before = mutants_of(FILE, function)
    after = mutants_of(FILE, "import x\n\n\ndef g(b):\n    return b > 2\n\n\n" + function)
    kept = {(m.key, m.source_hash) for m in after if m.function == "f"}
    assert {(m.key, m.source_hash) for m in before} == kept
    assert len({m.key for m in after}) == len(after)
    assert {"a.go(1) -> a.go(2)", "return a.go(1) -> return a.go(2)"} < {m.change for m in before}
    twins = [m.change for m in mutants_of(FILE, "def f(a):\n    a.x(1)\n    a.x(1)\n")]
    assert "a.x(1) -> a.x(2) #2" in twins


def test_another_text_of_the_function_is_another_hash():
    first, second = (mutants_of(FILE, f"def f(a):\n    return a > {n}\n")[0] for n in (1, 2))
    assert first.source_hash != second.source_hash


def test_every_mutant_of_a_real_file_compiles_to_its_own_code_and_leaves_the_tree_as_it_was():
    path = Path(__file__).parents[2] / "core" / "exits" / "order_gate.py"
    source = path.read_text()
    compiler = Compiler(path, source)
    plain = compile(source, str(path), "exec", dont_inherit=True)
    for mutant in mutants_of("core/exits/order_gate.py", source):
        code = compiler.compiled(mutant)
        assert code is not None
        assert code != plain, mutant.key
        changed = [key for key, one in function_codes(code).items() if one != function_codes(plain)[key]]
        assert [name for name, _ in changed] == ([mutant.function] if mutant.is_inside else []), mutant.key
    assert Compiler(path, source).compiled(mutants_of("f", source)[0]) == compiler.compiled(mutants_of("f", source)[0])


def test_the_swapped_code_of_a_method_with_a_closure_fits():
    source = "class A:\n    def f(self):\n        return super().__init__() or 1\n"
    space: dict = {}
    exec(source, space)  # noqa: S102  the test's own three lines
    (code,) = (
        function_codes(made)["A.f", 2]
        for m in mutants_of("f", source)
        if "or 2" in m.change and (made := Compiler(Path("f"), source).compiled(m))
    )
    function: FunctionType = space["A"].f
    assert same_names(function, code)
    function.__code__ = code
    assert space["A"]().f() == 2


def test_what_python_does_not_take_is_no_mutant():
    source = "def f(a):\n    match a:\n        case _:\n            return 1\n        \n"
    compiled = {m.change: Compiler(Path("f"), source).compiled(m) for m in mutants_of("f", source)}
    assert compiled["case _: -> removed"] is None
