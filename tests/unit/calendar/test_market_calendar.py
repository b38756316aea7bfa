"""The calendar answers True, False, or None where nobody has confirmed the answer."""

import csv
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.market_calendar import TABLE, AlwaysOpen, load_calendar
from core.model.errors import ConfigurationError
from core.model.instrument import Segment
from core.model.session_time import IST

CALENDAR = load_calendar()
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "calendar" / "nse_fo_calendar_2024_2026.csv"
ALL_DAYS = [CALENDAR.first + timedelta(days=n) for n in range((CALENDAR.last - CALENDAR.first).days + 1)]


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp() * 1_000_000_000)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20T09:14:59.999", False),
        ("2026-11-20T09:15:00", True),
        ("2026-11-20T15:39:59.999", True),
        ("2026-11-20T15:40:00", False),
        ("2026-08-03T15:35:00", True),
        ("2026-07-31T15:29:59", True),
        ("2026-07-31T15:30:00", False),
        ("2026-11-21T10:00:00", False),
        ("2026-11-24T10:00:00", False),
        ("2026-02-01T10:00:00", True),
        ("2025-02-01T15:29:59", True),
        ("2025-10-21T13:44:59", False),
        ("2025-10-21T13:45:00", True),
        ("2025-10-21T10:00:00", False),
        ("2024-11-01T18:30:00", True),
        ("2024-03-02T09:59:59", True),
        ("2024-03-02T10:30:00", False),
        ("2024-03-02T11:30:00", True),
        ("2026-11-08T18:30:00", None),
        ("2026-11-08T03:00:00", None),
        ("2024-05-18T09:30:00", None),
        ("2027-01-01T10:00:00", None),
        ("2027-01-02T10:00:00", None),
        ("2023-12-29T10:00:00", None),
    ],
)
def test_the_derivatives_session(moment, expected):
    assert CALENDAR.session_open(at(moment)) is expected
    assert CALENDAR.session_open(at(moment), Segment.BSE_FNO) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-20T15:14:59", True),
        ("2026-11-20T15:15:00", None),
        ("2026-11-20T15:34:59", None),
        ("2026-11-20T15:35:00", False),
        ("2026-07-31T15:20:00", True),
        ("2026-11-24T15:20:00", False),
        ("2026-11-08T10:00:00", None),
        ("2025-10-21T14:00:00", True),
    ],
)
def test_the_cash_session(moment, expected):
    assert CALENDAR.session_open(at(moment), Segment.NSE_EQ) is expected


@pytest.mark.parametrize("segment", [Segment.MCX_COMM, Segment.NSE_CURRENCY, Segment.BSE_CURRENCY])
def test_segments_without_hours_are_unknown(segment):
    assert CALENDAR.session_open(at("2026-11-20T10:00:00"), segment) is None


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-11-20", True), ("2026-11-21", False), ("2026-11-24", False), ("2026-11-08", None), ("2027-01-04", None)],
)
def test_trading_days(day, expected):
    assert CALENDAR.is_trading_day(date.fromisoformat(day)) is expected


@given(st.sampled_from(ALL_DAYS), st.times())
def test_open_only_on_trading_days_and_inside_the_days_hours(day, clock):
    moment = int(datetime.combine(day, clock, IST).timestamp() * 1_000_000) * 1_000
    answer = CALENDAR.session_open(moment)
    assert (answer is None) == (CALENDAR.is_trading_day(day) is None)
    if answer:
        assert CALENDAR.is_trading_day(day)


def test_a_plain_year_has_about_250_trading_days():
    for year in (2024, 2025, 2026):
        assert 244 <= sum(CALENDAR.is_trading_day(day) is True for day in ALL_DAYS if day.year == year) <= 252


@pytest.mark.skipif(not SHARED.exists(), reason=f"the public calendar facts are not at {SHARED}")
def test_the_table_agrees_with_the_collected_facts():
    with SHARED.open(encoding="utf-8") as stream:
        facts = list(csv.DictReader(stream))
    assert len(facts) > 50
    for fact in facts:
        day = date.fromisoformat(fact["date"])
        if "from memory" in fact["note"] or (fact["kind"] == "special" and not fact["open_ist"]):
            assert CALENDAR.is_trading_day(day) is None
        elif fact["kind"] == "closed":
            assert CALENDAR.is_trading_day(day) is False
        else:
            hours = (time.fromisoformat(fact["open_ist"]), time.fromisoformat(fact["close_ist"]))
            assert hours in CALENDAR.special[day]
    listed = {date.fromisoformat(fact["date"]) for fact in facts}
    assert CALENDAR.closed | CALENDAR.special.keys() | CALENDAR.unknown == listed


def test_no_holiday_is_listed_twice_or_on_a_weekend_by_mistake():
    assert not CALENDAR.closed & (CALENDAR.special.keys() | CALENDAR.unknown)
    assert [day for day in CALENDAR.closed if day.weekday() >= 5] == []


def test_always_open_is_always_open():
    sunday = at("2026-11-22T03:00:00")
    assert AlwaysOpen().session_open(sunday, Segment.MCX_COMM) is True
    assert AlwaysOpen().is_trading_day(date(2026, 11, 22)) is True


@pytest.mark.parametrize(
    "line",
    [
        "2026-13-01,closed,,,",
        "2026-11-01,shut,,,",
        "2026-11-01,special,,,",
        "2026-11-01,special,15:00,09:00,",
        "2026-11-01",
    ],
)
def test_a_bad_line_is_named(line, tmp_path):
    path = tmp_path / "calendar.csv"
    path.write_text(f"{TABLE.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_calendar(path)
    assert line.split(",")[0] in str(caught.value)


def test_a_table_without_limits_or_file_is_named(tmp_path):
    path = tmp_path / "calendar.csv"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_calendar(path)
    path.write_text("date,kind,open,close,note\n2026-01-26,closed,,,\n")
    with pytest.raises(ConfigurationError, match="which dates it covers"):
        load_calendar(path)


HEAD = "date,kind,open,close,note\n2026-01-01,first,,,\n2026-12-31,last,,,\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (f"{HEAD}2026-03-02,closed,,,\n2026-03-02,special,09:15,10:00,\n", "2026-03-02 in two kinds"),
        (f"{HEAD}2026-03-02,closed,,,\n2026-03-02,unknown,,,\n", "2026-03-02 in two kinds"),
        (f"{HEAD}2026-03-02,unknown,,,\n2026-03-02,special,09:15,10:00,\n", "2026-03-02 in two kinds"),
        (f"{HEAD}2026-03-02,special,09:15,11:00,\n2026-03-02,special,10:59,12:00,\n", "overlaps another window"),
        ("date,kind,open,close,note\n2026-12-31,first,,,\n2026-01-01,last,,,\n", "which dates it covers"),
        ("", "which dates it covers"),
    ],
)
def test_f27_a_file_that_contradicts_itself_is_refused(body, says, tmp_path):
    path = tmp_path / "calendar.csv"
    path.write_text(body, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says):
        load_calendar(path)


def test_f27_two_windows_that_touch_and_a_mark_before_the_first_letter_are_read(tmp_path):
    path = tmp_path / "calendar.csv"
    windows = "2026-03-07,special,11:30,12:30,\n2026-03-07,special,09:15,11:30,\n"
    path.write_text(f"{HEAD}{windows}", encoding="utf-8-sig")
    calendar = load_calendar(path)
    assert calendar.source == path
    open_at = [calendar.session_open(at(f"2026-03-07T{hour}")) for hour in ("09:14:59", "11:30:00", "12:30:00")]
    assert open_at == [False, True, False]


def test_f27_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "calendar.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_calendar(path)
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load_calendar(tmp_path)


@pytest.mark.parametrize(
    ("today", "says"),
    [
        ("2026-11-20", ""),
        ("2026-10-24", ""),
        ("2026-10-25", "nobody has confirmed the trading hours of 2026-11-08; put"),
        ("2026-11-08", "nobody has confirmed the trading hours of 2026-11-08: no rule fires and no order is sent"),
        ("2026-12-17", ""),
        ("2026-12-18", "the market calendar ends on 2026-12-31; put"),
        ("2027-01-04", "the market calendar does not know 2027-01-04 (it covers 2024-01-01 to 2026-12-31): no rule"),
        ("2023-12-29", "the market calendar does not know 2023-12-29"),
    ],
)
def test_f27_what_the_table_does_not_know_is_said_at_start(today, says):
    said = CALENDAR.gap(date.fromisoformat(today))
    assert said.startswith(says)
    assert bool(said) is bool(says)
    assert not said or "MARKET_CALENDAR" in said
