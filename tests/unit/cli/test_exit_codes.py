import pytest

from core.exit_codes import code_of, only_error, sentences
from core.model.errors import (
    AlreadyRunningError,
    BugError,
    ConfigurationError,
    DecodeError,
    RateLimitedError,
    RefusedError,
    StoreError,
    TokenError,
    TransportError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("Wrong.", "Mend."), 2),
        (RefusedError("static IP differs"), 4),
        (TokenError("expired"), 4),
        (RateLimitedError("slow down"), 4),
        (StoreError("no table trades"), 4),
        (TransportError("no route"), 4),
        (DecodeError("not a master"), 4),
        (AlreadyRunningError("Another monitor runs. Stop it."), 75),
        (BugError("impossible"), 1),
        (KeyError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code_and_speaks_in_sentences(error, code):
    assert code_of(error) == code
    assert sentences(error).endswith(".")


def test_a_foreign_error_is_told_by_its_kind_only():
    assert "secret-token" not in sentences(ValueError("https://x/?token=secret-token"))


def test_an_error_out_of_a_task_group_is_found():
    inner = StoreError("no table trades")
    assert only_error(ExceptionGroup("tasks", [ExceptionGroup("inner", [inner])])) is inner


def test_among_several_errors_a_bug_is_the_one_that_counts():
    bug = TypeError("x")
    assert only_error(ExceptionGroup("tasks", [TransportError("gone"), bug])) is bug
