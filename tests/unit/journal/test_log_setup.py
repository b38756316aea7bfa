"""The log never blocks the caller, never shows a secret, and is one JSON object a line when asked."""

import io
import json
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_setup import _QUEUE_LINES, FILE_NAME, Redactor, _Format, set_up_logging

CANARY = "canary-4711"
JWT = "eyJ" + "0eXAiOiJKV1Qi." + "eyJ" + "pc3MiOiJkaGFu.c2ln-_"


@pytest.fixture
def quiet_root():
    root = logging.getLogger()
    before = root.level
    yield root
    root.setLevel(before)


def logged(folder, write, **options):
    setup = set_up_logging(folder, "DEBUG", screen=None, **options)
    try:
        write(logging.getLogger("core.test"))
    finally:
        setup.close()
    return (folder / FILE_NAME).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        f"token={CANARY}",
        f"wss://api-feed.dhan.co?version=2&token={CANARY}&clientId=1",
        f"access-token: {CANARY}",
        f"{{'access-token': '{CANARY}', 'x': 1}}",
        f'{{"accessToken":"{CANARY}"}}',
        f"DHAN_ACCESS_TOKEN={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"apikey={CANARY}",
        f"pin={CANARY}&totp={CANARY}",
        f"redis://user:{CANARY}@host:6379/0",
        f"password = {CANARY}",
        f"header {JWT} end".replace("c2ln", CANARY),
    ],
)
def test_secrets_are_hidden_by_their_shape(text):
    assert CANARY not in Redactor([])(text)


@pytest.mark.parametrize("text", ["mapping=5", "NIFTY 24000 CE pinned", "pnl=-3052.50 quantity=65", "eyJust text"])
def test_ordinary_text_is_left_alone(text):
    assert Redactor([])(text) == text


@given(st.text(min_size=4, max_size=20), st.text(max_size=10), st.text(max_size=10))
def test_known_secrets_are_hidden_wherever_they_stand(secret, before, after):
    assert secret not in Redactor([secret])(f"{before}{secret}{after}") or secret in "***"


def test_an_address_keeps_everything_but_the_token():
    address = Redactor([])(f"wss://h?version=2&token={CANARY}&clientId=1")
    assert address == "wss://h?version=2&token=***&clientId=1"


def test_messages_arguments_and_tracebacks_are_redacted(tmp_path, quiet_root):
    def write(log):
        log.info("headers %s", {"access-token": CANARY})
        log.warning("value %s", "known-secret")
        try:
            int(f"token={CANARY} known-secret")
        except ValueError:
            log.exception("failed")

    text = logged(tmp_path, write, secrets=["known-secret"])
    assert "failed" in text
    assert "Traceback" in text
    assert [word for word in (CANARY, "known-secret") if word in text] == []


def test_json_lines_are_objects_with_indian_time(tmp_path, quiet_root):
    lines = logged(tmp_path, lambda log: log.error("two\nlines ₹"), as_json=True).splitlines()
    (fields,) = map(json.loads, lines)
    assert (fields["level"], fields["logger"], fields["message"]) == ("ERROR", "core.test", "two\nlines ₹")
    assert fields["time"].endswith("+05:30")


def test_arguments_that_do_not_fit_are_not_printed():
    record = logging.LogRecord("core.test", logging.INFO, __file__, 1, "%d apples", (CANARY,), None)
    text = _Format(Redactor([]), as_json=False).format(record)
    assert text.endswith("core.test: %d apples (its arguments do not fit)")


def test_noisy_libraries_are_silenced(tmp_path, quiet_root):
    text = logged(tmp_path, lambda _: logging.getLogger("websockets.client").debug("> GET /?token=x"))
    assert text == ""


def test_a_blocked_screen_costs_lines_not_time(tmp_path, quiet_root):
    gate = threading.Event()

    class Blocked(io.StringIO):
        def write(self, text):
            gate.wait(10)
            return len(text)

    setup = set_up_logging(tmp_path, "INFO", screen=Blocked())
    try:
        for number in range(_QUEUE_LINES + 500):
            logging.getLogger("core.test").info("line %d", number)
        assert setup.dropped >= 400
    finally:
        gate.set()
        setup.close()
