"""Whom a failed read is told: the log at once, a person when it lasts."""

import pytest

from core.model.commands import Severity
from core.model.errors import ConfigurationError, DecodeError, StoreError, TransportError
from core.read_trouble import LASTS_NS, ReadTrouble

AWAY = TransportError("no answer")


def test_a_blink_is_a_warning_and_a_line_when_it_is_over():
    trouble = ReadTrouble()
    alert = trouble.failed(AWAY, 5)
    assert (alert.severity, alert.subject) == (Severity.WARNING, "trades not readable")
    assert "no answer" in alert.text
    assert trouble.failed(AWAY, 5 + LASTS_NS - 1) is None
    assert trouble.succeeded("", 5 + LASTS_NS).severity is Severity.INFO
    assert trouble.succeeded("", 6 + LASTS_NS) is None


def test_what_lasts_is_paged_once():
    trouble = ReadTrouble()
    trouble.failed(AWAY, 0)
    assert trouble.failed(AWAY, LASTS_NS).severity is Severity.PAGE
    assert trouble.failed(AWAY, 2 * LASTS_NS) is None


def test_each_trouble_is_counted_from_its_own_beginning():
    trouble = ReadTrouble()
    trouble.failed(AWAY, 0)
    trouble.succeeded("", 1)
    assert trouble.failed(AWAY, LASTS_NS).severity is Severity.WARNING


@pytest.mark.parametrize("error", [StoreError("denied"), DecodeError("html"), ConfigurationError("gone", "mend it")])
def test_what_waiting_does_not_mend_is_paged_at_once(error):
    assert ReadTrouble().failed(error, 0).severity is Severity.PAGE


def test_a_warning_becomes_a_page_when_the_reason_turns_grave():
    trouble = ReadTrouble()
    trouble.failed(AWAY, 0)
    assert trouble.failed(StoreError("denied"), 1).severity is Severity.PAGE


def test_rows_of_an_earlier_time_are_a_page_once_and_over_when_the_rows_are_of_now():
    trouble = ReadTrouble()
    alert = trouble.succeeded("rows as read at 09:14", 0)
    assert (alert.severity, alert.subject) == (Severity.PAGE, "trades of an earlier time")
    assert "09:14" in alert.text
    assert trouble.succeeded("rows as read at 09:14", 1) is None
    assert trouble.succeeded("", 2).subject == "trades readable again"
