"""A broker that does not answer is told once a while, and paged when it lasts."""

from __future__ import annotations

from core.broker_trouble import BrokerTrouble
from core.model.commands import Severity

S = 1_000_000_000


def test_failures_are_logged_at_once_and_then_every_half_minute():
    trouble = BrokerTrouble()
    logged = [n for n in range(130) if trouble.failed("ReadPositions", "no answer", n * S // 2, is_open=True)[0]]
    assert logged == [0, 60, 120]


def test_half_a_minute_without_positions_is_paged_once_and_its_end_is_told():
    trouble = BrokerTrouble()
    pages = [(n, a) for n in range(120) if (a := trouble.failed("ReadPositions", "no answer", n * S, is_open=True)[1])]
    [(at, page)] = pages
    assert (at, page.severity) == (30, Severity.PAGE)
    assert "no answer" in page.text
    back = trouble.answered("ReadPositions", 121 * S)
    assert back is not None
    assert back.severity is Severity.INFO
    assert trouble.answered("ReadPositions", 122 * S) is None


def test_each_question_has_its_own_episode_and_a_short_one_ends_in_silence():
    trouble = BrokerTrouble()
    trouble.failed("ReadPositions", "", 0, is_open=True)
    assert trouble.failed("ReadOrderBook", "", 31 * S, is_open=True) == (True, None)
    assert trouble.answered("ReadOrderBook", 32 * S) is None
    assert trouble.failed("ReadPositions", "", 33 * S, is_open=True)[1] is not None


def test_a_question_about_one_order_and_a_closed_market_are_no_page():
    trouble = BrokerTrouble()
    for at in (0, 60):
        assert trouble.failed("ResolveOrder", "", at * S, is_open=True)[1] is None
        assert trouble.failed("ReadPositions", "", at * S, is_open=False)[1] is None
    assert trouble.failed("ReadPositions", "", 61 * S, is_open=True)[1] is not None
