"""The operator changes .env or the token file while the program runs: what a look finds, and what it never shows."""

import os

import pytest

from core.settings_sources import FoundTokens, TokenSource


def env(tmp_path, text):
    path = tmp_path / ".env"
    path.write_text(text)
    return path


def token_file(tmp_path, text="from-file", mode=0o600):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def settled(source):
    """The first looks find out which files there are."""
    found = source.look()
    while (again := source.look()) is not None:
        assert again == found
    return found


def test_the_environment_comes_before_the_file_and_both_are_found(tmp_path):
    source = TokenSource({"dhan_access_token": " one "}, env(tmp_path, "DHAN_ACCESS_TOKEN=two\nDHAN_ACESS=x\n"))
    assert settled(source) == FoundTokens(("one", "two"), ())


def test_a_changed_env_file_is_seen_once(tmp_path):
    path = env(tmp_path, "DHAN_ACCESS_TOKEN=one\n")
    source = TokenSource({}, path)
    assert settled(source).tokens == ("one",)
    path.write_text("DHAN_ACCESS_TOKEN=other\n")
    assert source.look().tokens == ("other",)
    assert source.look() is None
    path.unlink()
    assert source.look() == FoundTokens((), ())
    assert source.look() is None


@pytest.mark.parametrize("place", ["environment", "env file"])
def test_a_token_file_is_read_again_when_it_is_replaced(place, tmp_path):
    path = token_file(tmp_path)
    line = {"DHAN_ACCESS_TOKEN_FILE": str(path)}
    source = (
        TokenSource(line, None)
        if place == "environment"
        else TokenSource({}, env(tmp_path, f"DHAN_ACCESS_TOKEN_FILE={path}"))
    )
    assert settled(source).tokens == ("from-file",)
    fresh = tmp_path / "fresh"
    fresh.write_text("from-dhan")
    fresh.chmod(0o600)
    # Same size and time: only the file itself is another.
    os.utime(fresh, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    fresh.rename(path)
    assert source.look().tokens == ("from-dhan",)


def test_the_permission_rules_of_the_start_hold_and_a_repair_is_seen(tmp_path):
    path = token_file(tmp_path, "canary", 0o644)
    source = TokenSource({"DHAN_ACCESS_TOKEN_FILE": str(path)}, None)
    for found in (source.look(), source.look(), source.look()):
        assert found.tokens == ()
        assert f"chmod 600 {path}" in found.problems[0]
        assert "canary" not in repr(found)
    path.chmod(0o600)
    assert source.look().tokens == ("canary",)


def test_a_credential_of_systemd_may_have_an_access_list(tmp_path):
    path = token_file(tmp_path, mode=0o440)
    environ = {"DHAN_ACCESS_TOKEN_FILE": str(path), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert TokenSource(environ, None).look().tokens == ("from-file",)


def test_what_cannot_be_read_keeps_nothing_else_out(tmp_path):
    path = env(tmp_path, "DHAN_ACCESS_TOKEN='canary\n")
    found = TokenSource({"DHAN_ACCESS_TOKEN": "one"}, path).look()
    assert found.tokens == ("one",)
    assert f"{path} line 1" in found.problems[0]
    assert "canary" not in repr(found)


def test_a_token_with_blanks_is_no_token_and_not_shown(tmp_path):
    found = TokenSource({}, env(tmp_path, "DHAN_ACCESS_TOKEN='canary token'\n")).look()
    assert found.tokens == ()
    assert "without blanks" in found.problems[0]
    assert "canary" not in repr(found)


def test_nothing_anywhere_is_no_problem(tmp_path):
    assert TokenSource({}, None).look() == FoundTokens((), ())
    assert TokenSource({}, tmp_path / "absent").look() == FoundTokens((), ())


def test_tokens_are_kept_out_of_the_repr():
    assert "canary" not in repr(FoundTokens(("canary",), ()))
