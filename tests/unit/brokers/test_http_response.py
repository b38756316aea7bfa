"""The parser against http.client's reading of the same bytes, over every split."""

import http.client
import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers.http_response import HttpResponseParser
from core.model.errors import DecodeError

bodies = st.binary(max_size=200)


def sized(body: bytes, status: int = 200, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Some Reason\r\n%sContent-Length: %d\r\n\r\n" % (status, extra, len(body)) + body


def chunked(body: bytes, cuts: list[int]) -> bytes:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        wire += b"%x;ext=1\r\n" % (end - start) + body[start:end] + b"\r\n"
    return wire + b"0\r\nTrailer: x\r\n\r\n"


def pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [wire[start:end] for start, end in pairwise(edges)]


def parse(parts: list[bytes]):
    parser = HttpResponseParser()
    found = None
    for part in parts:
        assert found is None
        found = parser.feed(part)
    return found


def standard_library(wire: bytes) -> tuple[int, bytes]:
    class Sock:
        def makefile(self, _mode):
            return io.BytesIO(wire)

    response = http.client.HTTPResponse(Sock())
    response.begin()
    return response.status, response.read()


@given(bodies, st.integers(200, 599).filter(lambda status: status not in {204, 304}))
def test_every_split_of_a_sized_response_reads_as_the_standard_library_reads_it(body, status):
    wire = sized(body, status)
    expected = standard_library(wire)
    for cut in range(len(wire) + 1):
        response = parse([part for part in (wire[:cut], wire[cut:]) if part])
        assert (response.status, response.body) == expected
        assert response.keep_alive


@given(bodies, st.lists(st.integers(0, 10_000), max_size=5), st.lists(st.integers(0, 10_000), max_size=20))
def test_a_chunked_response_reads_as_the_standard_library_reads_it(body, chunk_cuts, read_cuts):
    wire = chunked(body, chunk_cuts)
    response = parse(pieces(wire, read_cuts))
    assert (response.status, response.body) == standard_library(wire) == (200, body)
    one_by_one = parse([wire[at : at + 1] for at in range(len(wire))])
    assert one_by_one == response


@given(st.binary(max_size=300))
def test_any_bytes_give_a_response_or_a_decode_error(junk):
    parser = HttpResponseParser()
    try:
        parser.feed(junk)
        parser.feed_eof()
    except DecodeError:
        pass


@given(bodies, st.integers(0, 10_000))
def test_a_truncated_response_is_never_complete(body, cut):
    wire = sized(body + b"x")
    parser = HttpResponseParser()
    assert parser.feed(wire[: cut % len(wire)]) is None
    if cut % len(wire):
        with pytest.raises(DecodeError):
            parser.feed_eof()


def test_a_body_without_length_ends_with_the_connection():
    parser = HttpResponseParser()
    assert parser.feed(b"HTTP/1.1 200 OK\r\n\r\n{}") is None
    response = parser.feed_eof()
    assert (response.body, response.keep_alive) == (b"{}", False)


def test_interim_responses_are_skipped():
    assert parse([b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"{}")]).body == b"{}"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_is_complete_with_its_head(status):
    assert parse([b"HTTP/1.1 %d X\r\n\r\n" % status]).body == b""


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_whether_the_connection_may_be_used_again(head, keeps):
    assert parse([head + b"Content-Length: 0\r\n\r\n"]).keep_alive is keeps


def test_bytes_after_the_response_forbid_using_the_connection_again():
    parser = HttpResponseParser()
    assert parser.feed(sized(b"{}") + b"H").keep_alive is False
    assert parser.has_excess


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"<html></html>\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n folded: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 400,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: " + b"x" * 99 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
    ids=range(19),
)
def test_doubtful_bytes_are_refused(wire):
    if wire.endswith(b"x" * 99 + b"\r\n"):
        wire += (b"T: " + b"x" * 99 + b"\r\n") * 200
    with pytest.raises(DecodeError):
        parse([wire])


def test_a_body_without_length_is_bounded():
    parser = HttpResponseParser(max_body_bytes=10)
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(DecodeError):
        parser.feed(b"x" * 11)
