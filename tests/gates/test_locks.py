"""The locks agree with the requirements and with each other, and hash every package."""

import json
import re
from pathlib import Path

from tests.gates.project import read

RUNTIME = Path("requirements.txt")
RUNTIME_LOCK = Path("requirements.lock")
TEST = Path("tests/requirements.txt")
TEST_LOCK = Path("tests/requirements.lock")
NODE = Path("tests/lite/package.json")
NODE_LOCK = Path("tests/lite/package-lock.json")


def pins(path: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([\w.]+)", read(path), re.MULTILINE))


def test_every_requirement_is_pinned():
    for path in (RUNTIME, TEST):
        lines = [line for line in read(path).splitlines() if line and not line.startswith(("#", "-r "))]
        assert len(lines) == len(pins(path))


def test_the_locks_hold_the_requirements():
    assert pins(RUNTIME) <= pins(RUNTIME_LOCK)
    assert pins(TEST) | pins(RUNTIME_LOCK) <= pins(TEST_LOCK)


def test_every_locked_package_has_a_hash():
    for path in (RUNTIME_LOCK, TEST_LOCK):
        blocks = re.split(r"^(?=[\w.-]+==)", read(path), flags=re.MULTILINE)[1:]
        assert blocks
        assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_every_node_package_is_pinned_and_hashed_and_bears_no_address():
    wanted = json.loads(read(NODE))["dependencies"]
    locked = json.loads(read(NODE_LOCK))["packages"]
    assert locked.pop("")["dependencies"] == wanted
    assert wanted == {name: locked[f"node_modules/{name}"]["version"] for name in wanted}
    assert [name for name, package in locked.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []
