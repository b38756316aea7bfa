"""The top level holds the agreed names and no others."""

from tests.gates.project import project_files

ALLOWED = {
    ".ci",
    ".env.example",
    ".gitignore",
    "Makefile",
    "README.md",
    "core",
    "data_scripts",
    "logs",
    "pyproject.toml",
    "realtime_automated_monitor.py",
    "requirements.lock",
    "requirements.txt",
    "strategies",
    "tests",
}


def test_the_top_level_holds_the_agreed_names():
    assert {path.parts[0] for path in project_files()} == ALLOWED


def test_logs_are_not_committed():
    assert [str(path) for path in project_files() if path.parts[0] == "logs"] == ["logs/.gitkeep"]
