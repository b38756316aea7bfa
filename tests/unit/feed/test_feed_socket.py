"""Frames over every split, without a network: the real library protocol on one side, a recording transport on the other."""

import asyncio
import os
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from core.feed_socket import MAX_MESSAGE_BYTES, FeedSocket, silent_logger


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = b""

    def write(self, data):
        self.written += data

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def can_write_eof(self):
        return False

    def close(self):
        pass

    def pause_reading(self):
        raise AssertionError("reading must never pause")


class Recorder:
    def __init__(self):
        self.binary = []
        self.text = []

    def on_binary(self, message):
        self.binary.append(message)

    def on_text(self, message):
        self.text.append(message)


def connected():
    """A socket whose request is sent, and the server's 101 answer to it."""
    protocol = ClientProtocol(parse_uri("ws://127.0.0.1/?token=x"), logger=silent_logger(), max_size=MAX_MESSAGE_BYTES)
    socket = FeedSocket(protocol)
    socket.sink = Recorder()
    socket.connection_made(Transport())
    protocol.send_request(protocol.connect())
    request = b"".join(protocol.data_to_send())
    server = ServerProtocol()
    server.receive_data(request)
    server.send_response(server.accept(server.events_received()[0]))
    return socket, b"".join(server.data_to_send())


def frame(opcode, payload, *, fin=True):
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


def run(coroutine_free_test):
    async def inside():
        coroutine_free_test()

    asyncio.run(inside())


STREAM = (
    frame(Opcode.BINARY, b"one")
    + frame(Opcode.PING, b"alive?")
    + frame(Opcode.BINARY, b"x" * 162)
    + frame(Opcode.TEXT, b"hello")
    + frame(Opcode.BINARY, b"fra", fin=False)
    + frame(Opcode.PING, b"between")
    + frame(Opcode.CONT, b"gmen", fin=False)
    + frame(Opcode.CONT, b"ted")
    + frame(Opcode.TEXT, b"te", fin=False)
    + frame(Opcode.CONT, b"xt")
    + frame(Opcode.BINARY, b"")
    + frame(Opcode.BINARY, b"last")
)
BINARY = [b"one", b"x" * 162, b"fragmented", b"", b"last"]
TEXT = [b"hello", b"text"]


def pongs(transport):
    """Unmask what the client wrote after its request."""
    data = transport.written
    found = []
    while data:
        size = data[1] & 0x7F
        mask, payload = data[2:6], data[6 : 6 + size]
        found.append((data[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))))
        data = data[6 + size :]
    return found


def check(parts):
    def inside():
        socket, answer = connected()
        wire = answer + STREAM
        edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in parts)})
        for start, end in pairwise(edges):
            socket.data_received(wire[start:end])
        assert socket.sink.binary == BINARY
        assert socket.sink.text == TEXT
        assert [payload for opcode, payload in pongs(socket.transport) if opcode == Opcode.PONG] == [
            b"alive?",
            b"between",
        ]
        assert socket.protocol.cur_size is None
        # The library would read the frames as well: only that they did not reach it shows that they were taken early.
        assert socket._is_early
        assert not socket._gave_up

    run(inside)


def test_every_single_split_of_handshake_and_frames_gives_the_same_messages():
    def inside():
        _, answer = connected()
        size = len(answer) + len(STREAM)
        for cut in range(size + 1):
            socket, answer = connected()
            wire = answer + STREAM
            for part in (wire[:cut], wire[cut:]):
                if part:
                    socket.data_received(part)
            assert (socket.sink.binary, socket.sink.text) == (BINARY, TEXT), cut

    run(inside)


def test_one_byte_at_a_time_gives_the_same_messages():
    check(range(100_000))


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_any_splits_give_the_same_messages(cuts):
    check(cuts)


@settings(max_examples=50)
@given(
    st.lists(st.binary(max_size=70_000 // 8).map(lambda b: b * 7), max_size=6),
    st.lists(st.integers(0, 400_000), max_size=9),
)
def test_messages_of_any_size_up_to_the_bound_come_out_whole(messages, cuts):
    def inside():
        socket, answer = connected()
        wire = answer + b"".join(frame(Opcode.BINARY, message) for message in messages)
        edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
        for start, end in pairwise(edges):
            socket.data_received(wire[start:end])
        assert socket.sink.binary == messages

    run(inside)


def closes_with(wire, code):
    def inside():
        socket, answer = connected()
        socket.data_received(answer + frame(Opcode.BINARY, b"good"))
        for at in range(len(wire)):
            socket.data_received(wire[at : at + 1])
        assert socket.sink.binary == [b"good"]
        opcode, payload = pongs(socket.transport)[-1]
        assert opcode == Opcode.CLOSE
        assert struct.unpack("!H", payload[:2])[0] == code

    run(inside)


def test_a_masked_frame_is_a_protocol_error():
    closes_with(Frame(Opcode.BINARY, b"bad").serialize(mask=True) + frame(Opcode.BINARY, b"after"), 1002)


def test_a_message_over_the_bound_is_refused_by_its_announced_size():
    closes_with(b"\x82\x7f" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1) + b"xx" + frame(Opcode.BINARY, b"after"), 1009)


def test_a_frame_with_reserved_bits_is_a_protocol_error():
    closes_with(b"\xc2\x01x" + frame(Opcode.BINARY, b"after"), 1002)


def test_a_new_message_inside_a_fragmented_one_is_a_protocol_error():
    closes_with(frame(Opcode.BINARY, b"fra", fin=False) + frame(Opcode.BINARY, b"new"), 1002)


def test_nothing_after_the_servers_close_frame_is_taken():
    closes_with(frame(Opcode.CLOSE, struct.pack("!H", 1000)) + frame(Opcode.BINARY, b"after"), 1000)


def test_a_refused_handshake_leaves_everything_to_the_library():
    def inside():
        socket, _ = connected()
        socket.data_received(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\n\x82\x02ab")
        assert socket.sink.binary == []
        assert socket.response.status_code == 429
        assert socket.protocol.handshake_exc is not None

    run(inside)


@pytest.mark.parametrize("size", [125, 126, 127, 65_535])
def test_the_borders_of_the_length_encoding(size):
    def inside():
        message = os.urandom(size)
        socket, answer = connected()
        wire = frame(Opcode.BINARY, message)
        socket.data_received(answer + wire[:3])
        socket.data_received(wire[3:4])
        socket.data_received(wire[4:] + wire)
        assert socket.sink.binary == [message, message]

    run(inside)
