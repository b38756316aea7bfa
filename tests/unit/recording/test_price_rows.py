"""Price rows of others → quotes, as the local exchange would show them."""

import gzip
from pathlib import Path

import pytest

from core.model.errors import ConfigurationError
from core.model.instrument import Instrument, InstrumentKey, Segment
from core.model.market import Quote
from core.recording.price_rows import instruments_beside, keys_in, read_price_rows
from tests.unit.recording.scene import LOT, MS, key, option

HEAD = "ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi"
INDEX = InstrumentKey(Segment.IDX_I, 13)
CONTRACTS = {key(501): option(501), INDEX: Instrument(INDEX, "NIFTY", "NIFTY", 1, 5)}


def written(folder, *lines, head=HEAD):
    path = folder / "rows.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def test_sides_are_as_recorded_or_derived_or_none(tmp_path):
    path = written(
        tmp_path,
        "1000,IDX_I,13,24000.5,,,,,,",
        "2500,NSE_FNO,501,100,99.95,100.1,75,150,1,2",
        "3000,NSE_FNO,501,0.05,,,,,,",
        "4000,NSE_FNO,501,100,99.9,100.1,0,150.0,,",
        "5000,NSE_FNO,501,0,99.9,100.1,75,150,,",
        "6000,NSE_FNO,777,1,,,,,,",
    )
    found = read_price_rows(path, CONTRACTS)
    deep = 20 * LOT
    assert found.quotes == (
        Quote(INDEX, 24_000_50, None, None, 0, 0, 1, 1_000 * MS),
        Quote(key(501), 100_00, 99_95, 100_10, 75, 150, 2, 2_500 * MS),
        Quote(key(501), 5, None, 10, 0, deep, 3, 3_000 * MS),
        Quote(key(501), 100_00, None, 100_10, 0, 150, 4, 4_000 * MS),
    )
    assert found.unlisted == 1
    assert keys_in(path) == {INDEX, key(501), key(777)}


def test_columns_may_be_missing_and_the_file_packed(tmp_path):
    plain = written(tmp_path, "1000,NSE_FNO,501,100", head="ts_ms,exchange_segment,security_id,ltp")
    packed = tmp_path / "rows"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_price_rows(packed, CONTRACTS) == read_price_rows(plain, CONTRACTS)


def test_the_rhythm_is_the_median_of_each_instruments_own_intervals(tmp_path):
    ats = [0, 60, 120, 180, 1_260, 1_320]
    lines = [f"{at * 1000 + shift},NSE_FNO,{number},100,,,,,," for at in ats for shift, number in ((0, 501), (5, 502))]
    found = read_price_rows(written(tmp_path, *lines), {key(501): option(501), key(502): option(502)})
    assert found.rhythm_s == 60
    assert read_price_rows(written(tmp_path, lines[0]), CONTRACTS).rhythm_s == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x,NSE_FNO,501,100,,,,,,", "row 2"),
        ("1,NSE_FNO,501,abc,,,,,,", "row 2"),
        ("1,NSE_FNO,501,nan,,,,,,", "row 2"),
        ("1,NSE_XYZ,501,100,,,,,,", "row 2"),
        ("1,NSE_FNO,five,100,,,,,,", "row 2"),
        ("1,NSE_FNO", "row 2"),
        ("1,NSE_FNO,501,100,,,inf,1,,", "row 2"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, line, text):
    with pytest.raises(ConfigurationError, match=text):
        read_price_rows(written(tmp_path, line), CONTRACTS)


def test_rows_that_go_back_in_time_are_refused(tmp_path):
    path = written(tmp_path, "2000,NSE_FNO,501,100,,,,,,", "1000,NSE_FNO,501,100,,,,,,")
    with pytest.raises(ConfigurationError, match="row 3 is earlier"):
        read_price_rows(path, CONTRACTS)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x1f\x8bnot gzip", b"\xff\xfe\x00ts_ms"])
def test_what_are_no_price_rows_is_refused(tmp_path, content):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        read_price_rows(path, CONTRACTS)


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("nse_2025-08-29_normal_day.csv.gz", "nse_2025-08-29_instruments.csv.gz"),
        ("nse_2025-08-29_x.csv", "nse_2025-08-29_instruments.csv"),
    ],
)
def test_the_master_has_its_usual_place(name, beside):
    assert instruments_beside(Path("d") / name) == Path("d") / beside
