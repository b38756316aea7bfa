"""No secrets, no package registry and no path of one machine in any file."""

import re

import pytest

from tests.gates.project import project_files, read

# A class of one letter, as in [_], keeps a pattern from matching itself.
FORBIDDEN = {
    "signed token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "chat bot token": r"\b\d{8,10}:[\w-]{35}\b",
    "cloud key": r"\bAKIA[0-9A-Z]{16}\b",
    "code host token": r"\b(?:gh[opsru]|github[_]pat)_\w{30,}",
    "service key": r"\b(?:sk|sb_secret|xox[abp])[-_][\w-]{24,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE[ ]KEY",
    "registry host": r"(?i)\b(?:pyp[i]\.(?:org|python)|pythonhoste[d]|anacond[a]\.|npmj[s]|jfro[g]|artifactor[y])",
    "registry option": r"(?<![\w-])--(?:extra-)?index[-]url|PIP_(?:EXTRA_)?INDEX[_]URL",
    "machine path": r"(?<![\w./~-])/(?:root|home|Users|work|mnt)/\w",
}


def findings(text: str) -> list[str]:
    """Return the kind and the line of each forbidden string, without the string."""
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {kind}"
        for kind, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
    ]


def test_no_file_holds_a_forbidden_string():
    found = {str(path): findings(read(path)) for path in project_files()}
    assert {path: kinds for path, kinds in found.items() if kinds} == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 20, "signed token"),
        ("123456789:" + "A" * 35, "chat bot token"),
        ("https://py" + "pi.org/simple", "registry host"),
        ("pip install --index" + "-url x", "registry option"),
        ("cd /ro" + "ot/x", "machine path"),
    ],
)
def test_a_forbidden_string_is_found(text, kind):
    assert findings("\n" + text) == [f"line 2: {kind}"]


@pytest.mark.parametrize("text", ["uv --no-emit-index-url", "https://api.example/v2/work/x", "12:30:00", "~/home/x"])
def test_a_harmless_string_passes(text):
    assert findings(text) == []
