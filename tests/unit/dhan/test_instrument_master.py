"""The instrument master in both kinds of file, with the rows of dhan_v2_protocol 7.2."""

import gzip
from dataclasses import replace
from datetime import date

import pytest

from core.dhan.instrument_master import decode_master, parse_master
from core.model.errors import DecodeError
from core.model.instrument import Instrument, InstrumentKey, Right, Segment

DETAILED = (
    "EXCH_ID,SEGMENT,SECURITY_ID,ISIN,INSTRUMENT,UNDERLYING_SECURITY_ID,UNDERLYING_SYMBOL,SYMBOL_NAME,DISPLAY_NAME,"
    "INSTRUMENT_TYPE,SERIES,LOT_SIZE,SM_EXPIRY_DATE,STRIKE_PRICE,OPTION_TYPE,TICK_SIZE,EXPIRY_FLAG,BRACKET_FLAG,"
    "COVER_FLAG,ASM_GSM_FLAG,ASM_GSM_CATEGORY,BUY_SELL_INDICATOR,BUY_CO_MIN_MARGIN_PER,BUY_CO_SL_RANGE_MAX_PERC,"
    "BUY_CO_SL_RANGE_MIN_PERC,BUY_BO_MIN_MARGIN_PER,BUY_BO_PROFIT_RANGE_MAX_PERC,BUY_BO_PROFIT_RANGE_MIN_PERC,"
    "MTF_LEVERAGE,SM_UPPER_LIMIT,SM_LOWER_LIMIT,SM_FREEZE_QTY"
)
CALL_ROW = (
    "NSE,D,61234,NA,OPTIDX,26000,NIFTY,NIFTY-Nov2026-26200-CE,NIFTY 24 NOV 26200 CALL,OP,NA,65.0,2026-11-24,"
    "26200.00000,CE,5.0000,W,N,N,N,NA,A,0,0,0,0,0,0,0,471.6000,0.0500,1756,"
)
FUTURE_ROW = (
    "NSE,D,35001,NA,FUTIDX,26000,NIFTY,NIFTY-Nov2026-FUT,NIFTY NOV FUT,FUT,NA,65.0,2026-11-24,-0.01000,XX,10.0000,M,"
    "N,N,N,NA,A,0,0,0,0,0,0,0,0,0,-1,"
)
INDEX_ROW = "NSE,I,13,1,INDEX,,NIFTY,NIFTY,Nifty 50,INDEX,X,,NA,,XX,,NA,N,N,N,NA,A,0,0,0,0,0,0,0,,,,"
COMPACT = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,SEM_TRADING_SYMBOL,"
    "SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,SEM_OPTION_TYPE,SEM_TICK_SIZE,SEM_EXPIRY_FLAG,"
    "SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,SM_SYMBOL_NAME"
)
COMPACT_CALL_ROW = (
    "NSE,D,61234,OPTIDX,0,NIFTY-Nov2026-26200-CE,65.0,NIFTY 24 NOV 26200 CALL,2026-11-24 14:30:00,26200.00000,CE,"
    "5.0000,W,OP,NA,"
)
KEY = InstrumentKey(Segment.NSE_FNO, 61234)
NIFTY = InstrumentKey(Segment.IDX_I, 13)
CALL = Instrument(
    KEY, "NIFTY-Nov2026-26200-CE", "NIFTY", 65, 5, 1756, 2620000, date(2026, 11, 24), Right.CALL, 5, 47160
)
COMPACT_CALL = Instrument(
    KEY, "NIFTY-Nov2026-26200-CE", "NIFTY", 65, 5, None, 2620000, date(2026, 11, 24), Right.CALL, None, None
)


def file_of(*rows):
    return "\n".join(rows) + "\n"


def test_an_option_is_read_from_the_detailed_file():
    assert parse_master(file_of(DETAILED, CALL_ROW)).instruments == {KEY: CALL}
    assert CALL.max_order_quantity == 1755


@pytest.mark.parametrize("header", [COMPACT, COMPACT + ","])
def test_an_option_is_read_from_the_compact_file(header):
    assert parse_master(file_of(header, COMPACT_CALL_ROW)).instruments == {KEY: COMPACT_CALL}


def test_a_future_has_no_strike_right_freeze_or_band():
    (future,) = parse_master(file_of(DETAILED, FUTURE_ROW)).instruments.values()
    assert future == Instrument(
        InstrumentKey(Segment.NSE_FNO, 35001), "NIFTY-Nov2026-FUT", "NIFTY", 65, 10, expiry=date(2026, 11, 24)
    )


def test_an_index_needs_no_lot_and_no_tick():
    (index,) = parse_master(file_of(DETAILED, INDEX_ROW)).instruments.values()
    assert index == Instrument(InstrumentKey(Segment.IDX_I, 13), "NIFTY", "NIFTY", 1, 1)


@pytest.mark.parametrize(
    ("row", "underlying"),
    [
        (
            "NSE,D,1,OPTSTK,0,BAJAJ-AUTO-Nov2026-9000-PE,75.0,x,2026-11-24 14:30:00,9000.0,PE,5.0000,M,OP,NA,",
            "BAJAJ-AUTO",
        ),
        ("NSE,D,1,FUTSTK,0,BAJAJ-AUTO-Nov2026-FUT,75.0,x,2026-11-24 14:30:00,-0.01,XX,10.0000,M,F,NA,", "BAJAJ-AUTO"),
        ("NSE,E,1,EQUITY,0,BAJAJ-AUTO,1.0,x,,,XX,5.0000,NA,ES,EQ,BAJAJ AUTO", "BAJAJ-AUTO"),
    ],
)
def test_the_compact_file_names_the_underlying_in_the_symbol(row, underlying):
    (instrument,) = parse_master(file_of(COMPACT, row)).instruments.values()
    assert instrument.underlying == underlying


def test_an_empty_underlying_falls_back_to_the_symbol():
    (instrument,) = parse_master(file_of(DETAILED, CALL_ROW.replace(",NIFTY,", ",NA,"))).instruments.values()
    assert instrument.underlying == "NIFTY"


def test_a_put_is_a_put():
    (instrument,) = parse_master(file_of(DETAILED, CALL_ROW.replace(",CE,", ",PE,"))).instruments.values()
    assert instrument.right is Right.PUT


def test_columns_are_found_by_name():
    header, row = DETAILED.split(","), CALL_ROW.rstrip(",").split(",")
    shuffled = sorted(zip(header, row, strict=True), key=lambda pair: pair[0][::-1])
    text = file_of("NEW," + ",".join(name for name, _ in shuffled), "x," + ",".join(value for _, value in shuffled))
    assert parse_master(text).instruments == {KEY: CALL}


def test_older_files_without_band_and_freeze_are_read():
    header = DETAILED.removesuffix(",SM_UPPER_LIMIT,SM_LOWER_LIMIT,SM_FREEZE_QTY")
    row = CALL_ROW.removesuffix(",471.6000,0.0500,1756,") + ","
    (instrument,) = parse_master(file_of(header, row)).instruments.values()
    assert (instrument.freeze_quantity, instrument.upper_limit, instrument.lower_limit) == (None, None, None)


def test_quoted_fields_may_hold_commas():
    row = CALL_ROW.replace("NIFTY 24 NOV 26200 CALL", '"NIFTY, 24 NOV, 26200 ""CALL"""')
    assert parse_master(file_of(DETAILED, row)).instruments == {KEY: CALL}


def test_only_wanted_keys_are_kept():
    text = file_of(DETAILED, CALL_ROW, FUTURE_ROW, INDEX_ROW, "NSE,D,61234", CALL_ROW.replace("NSE,D", "BSE,D"))
    master = parse_master(text, [KEY])
    assert master.instruments == {KEY: replace(CALL, underlying_key=NIFTY)}
    assert master.bad_rows == 0, "a line that is cut off before its id ends is about nothing"
    assert parse_master(text, []).instruments == {}


def test_a_bad_row_is_counted_and_named_and_the_others_are_kept():
    bad = [
        CALL_ROW.replace("61234", "abc"),
        CALL_ROW.replace("65.0", "0"),
        CALL_ROW.replace("65.0", "65.5"),
        CALL_ROW.replace("65.0", "nan"),
        CALL_ROW.replace("65.0", ""),
        CALL_ROW.replace(",5.0000,", ",0.2500,"),
        CALL_ROW.replace("2026-11-24", "tomorrow"),
        CALL_ROW.replace("26200.00000", "1e5"),
        "NSE",
    ]
    master = parse_master(file_of(DETAILED, *bad, "", CALL_ROW))
    assert master.instruments == {KEY: CALL}
    assert master.bad_rows == len(bad) == len(master.problems)
    assert [problem.split(":")[0] for problem in master.problems] == [f"row {number}" for number in range(2, 11)]
    assert "lot: expected a whole number above 0, received '65.5'" in master.problems[2]
    assert "received 1" in master.problems[-1]


def test_only_the_first_problems_are_named():
    master = parse_master(file_of(DETAILED, *["NSE"] * 50))
    assert (master.bad_rows, len(master.problems)) == (50, 20)


def test_rows_of_unknown_segments_are_counted_apart():
    master = parse_master(file_of(DETAILED, CALL_ROW.replace("NSE,D", "NSE,M"), CALL_ROW))
    assert (master.skipped_rows, master.bad_rows, len(master.instruments)) == (1, 0, 1)


@pytest.mark.parametrize("column", ["EXCH_ID", "SEGMENT", "LOT_SIZE", "TICK_SIZE", "SM_EXPIRY_DATE", "OPTION_TYPE"])
def test_a_missing_column_is_named(column):
    header = ",".join(name for name in DETAILED.split(",") if name != column)
    with pytest.raises(DecodeError, match=rf"expected the columns {column},"):
        parse_master(file_of(header, CALL_ROW))


@pytest.mark.parametrize("text", ["", "\n", "<html>", "a,b"])
def test_a_file_that_is_no_master_is_refused(text):
    with pytest.raises(DecodeError, match="SEM_SMST_SECURITY_ID"):
        parse_master(text)


def test_a_field_without_end_is_refused():
    with pytest.raises(DecodeError, match="expected CSV"):
        parse_master(DETAILED + '\n"' + "x" * 200_000)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_plain_and_gzip_files_are_decoded(pack, start):
    text = file_of(DETAILED, CALL_ROW)
    assert decode_master(pack(start + text.encode())) == text


def test_two_gzip_members_are_one_file():
    assert decode_master(gzip.compress(b"a") + gzip.compress(b"b")) == "ab"


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"x" * 1000, mtime=0)[:-9],
        b"\x1f\x8b",
        b"\x1f\x8b\x00",
        gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20,
    ],
)
def test_a_broken_gzip_file_is_refused(data):
    with pytest.raises(DecodeError, match="gzip"):
        decode_master(data)


def listing():
    """Forty contracts whose ids are parts of each other's, of prices and of dates, with the id in any place of the row."""
    for number in range(40):
        security_id = (13, 130, 1_300, 26_000, 200, 2026, 65, 5)[number % 8] + number // 8
        yield CALL_ROW.replace("61234", str(security_id)), InstrumentKey(Segment.NSE_FNO, security_id)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["unix", "windows", "no last line end"])
@pytest.mark.parametrize("style", ["as listed", "id first", "id last", "quoted"])
def test_a_few_wanted_are_found_as_in_a_whole_reading(style, end):
    def styled(row, *, is_header=False):
        fields = row.rstrip(",").split(",")
        if style == "quoted" and not is_header:
            fields[2] = f'"{fields[2]}"'
        elif style == "id first":
            fields.insert(0, fields.pop(2))
        elif style == "id last":
            fields.append(fields.pop(2))
        return ",".join(fields)

    contracts = list(listing())
    text = (end or "\n").join([styled(DETAILED, is_header=True), *(styled(row) for row, _ in contracts)]) + end
    whole = parse_master(text).instruments
    assert whole.keys() == {key for _, key in contracts}
    for few in ([0], [39], [3, 5], range(12)):
        wanted = [contracts[place][1] for place in few]
        assert parse_master(text, wanted).instruments == {key: whole[key] for key in wanted}


def test_a_few_wanted_among_many_cost_little():
    """Twenty thousand rows; counted in rows taken apart, not in seconds."""
    many = (CALL_ROW.replace("61234", str(number)) for number in range(700_000, 720_000))
    broken = CALL_ROW.replace("61234", "abc")
    master = parse_master(file_of(DETAILED, *many, broken, CALL_ROW), [KEY])
    assert master.instruments == {KEY: CALL}
    assert master.bad_rows == 0, "the broken row was not even looked at"


def test_a_contract_that_is_missing_is_looked_for_in_every_row():
    same_id = CALL_ROW.replace("NSE,D", "BSE,D")
    master = parse_master(file_of(DETAILED, same_id, CALL_ROW, "NSE"), [KEY, InstrumentKey(Segment.NSE_FNO, 9)])
    assert master.instruments == {KEY: CALL}
    assert master.bad_rows == 1


def test_a_field_that_spans_lines_is_found_by_reading_everything():
    row = CALL_ROW.replace("NIFTY 24 NOV 26200 CALL", '"two\nlines"')
    assert parse_master(file_of(DETAILED, row), [KEY]).instruments == {KEY: CALL}


SHARE_ROW = (
    "NSE,E,2885,INE002A01018,EQUITY,2885,RELIANCE,RELIANCE INDUSTRIES LTD,Reliance,ES,EQ,1.0,,,XX,10.0000,NA,N,N,N,NA,A,"
    "0,0,0,0,0,0,0,1694.0000,1386.0000,100000,"
)
BOND_ROW = SHARE_ROW.replace(",2885,INE", ",9999,INE").replace(",EQ,", ",N1,")
STOCK_CALL_ROW = CALL_ROW.replace("61234", "70001").replace("OPTIDX", "OPTSTK").replace("NIFTY", "RELIANCE")
BSE_CALL_ROW = CALL_ROW.replace("NSE,D,61234", "BSE,D,840001").replace("NIFTY", "SENSEX")
SENSEX_ROW = INDEX_ROW.replace("NSE,I,13", "BSE,I,51").replace("NIFTY", "SENSEX")
BSE_SHARE_ROW = SHARE_ROW.replace("NSE,E,2885", "BSE,E,500325").replace(",EQ,", ",A,")
SPOT_ROWS = (BOND_ROW, INDEX_ROW, SENSEX_ROW, SHARE_ROW, BSE_SHARE_ROW)


def underlying_of(row, *others, header=DETAILED):
    """By reading a few, and by reading everything: the two ways must agree."""
    text = file_of(header, row, *others)
    (key,) = (key for key in parse_master(file_of(header, row)).instruments)
    found = parse_master(text).instruments[key].underlying_key
    assert parse_master(text, [key]).instruments[key].underlying_key == found
    many = [key, *(InstrumentKey(Segment.NSE_FNO, 900_000 + number) for number in range(20))]
    assert parse_master(text, many).instruments[key].underlying_key == found
    return found


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (CALL_ROW, NIFTY),
        (FUTURE_ROW, NIFTY),
        (STOCK_CALL_ROW, InstrumentKey(Segment.NSE_EQ, 2885)),
        (STOCK_CALL_ROW.replace("NSE,D", "BSE,D"), InstrumentKey(Segment.BSE_EQ, 500325)),
        (BSE_CALL_ROW, InstrumentKey(Segment.IDX_I, 51)),
        (CALL_ROW.replace("NIFTY", "UNHEARD"), None),
        (CALL_ROW.replace("NSE,D", "MCX,M"), None),
        (INDEX_ROW, None),
        (SHARE_ROW, None),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_underlying_is_found_by_name_because_its_id_is_the_exchanges(row, expected, order):
    """26000 is the exchange's token of NIFTY; Dhan's id of it is 13."""
    assert underlying_of(row, *SPOT_ROWS[::order]) == expected


def test_a_derivative_without_a_row_of_its_underlying_has_none():
    assert underlying_of(CALL_ROW) is None


def test_the_share_is_taken_and_not_its_bond_or_a_row_that_is_broken():
    series_less = SHARE_ROW.replace(",EQ,", ",NA,").replace("2885", "77")
    assert underlying_of(STOCK_CALL_ROW, BOND_ROW) is None
    assert underlying_of(STOCK_CALL_ROW, series_less) == InstrumentKey(Segment.NSE_EQ, 77)
    assert underlying_of(STOCK_CALL_ROW, series_less, SHARE_ROW, series_less) == InstrumentKey(Segment.NSE_EQ, 2885)
    assert underlying_of(STOCK_CALL_ROW, SHARE_ROW.replace("2885", "x")) is None
    assert underlying_of(STOCK_CALL_ROW, SHARE_ROW.replace("NSE,E", "XSE,E")) is None
    assert underlying_of(STOCK_CALL_ROW, "NSE,E,2885,RELIANCE") is None


def test_the_underlying_is_found_in_the_compact_file_too():
    index = "NSE,I,13,INDEX,0,NIFTY,1.0,Nifty 50,,,XX,5.0000,NA,INDEX,X,"
    assert underlying_of(COMPACT_CALL_ROW, index, header=COMPACT) == NIFTY


def test_a_file_without_series_and_in_another_order_names_the_underlying():
    header = DETAILED.replace(",SERIES,", ",")
    rows = [row.replace(",OP,NA,", ",OP,").replace(",INDEX,X,", ",INDEX,") for row in (CALL_ROW, INDEX_ROW)]
    assert underlying_of(*rows, header=header) == NIFTY
    moved = [",".join((row.rstrip(",").split(",") + [""] * 4)[:32][::-1]) for row in (DETAILED, CALL_ROW, INDEX_ROW)]
    assert underlying_of(*moved[1:], header=moved[0]) == NIFTY


def test_f13_the_key_is_segment_and_id_because_ids_repeat():
    """The same number is an index, a share and an option: whoever asks for one gets that one."""
    rows = [
        INDEX_ROW,
        SHARE_ROW.replace("2885", "13"),
        CALL_ROW.replace("61234", "13"),
        BSE_CALL_ROW.replace("840001", "13"),
    ]
    text = file_of(DETAILED, *rows)
    for segment in (Segment.IDX_I, Segment.NSE_EQ, Segment.NSE_FNO, Segment.BSE_FNO):
        key = InstrumentKey(segment, 13)
        (found,) = parse_master(text, [key]).instruments.values()
        assert found == parse_master(text).instruments[key]
    assert parse_master(text).instruments.keys() == {
        InstrumentKey(segment, 13) for segment in (Segment.IDX_I, Segment.NSE_EQ, Segment.NSE_FNO, Segment.BSE_FNO)
    }
