"""The fault proxy over real sockets: a client, the proxy, and a server that remembers and answers by hand."""

import asyncio
import os
from time import monotonic

import pytest

from core.paper.sockets import reset
from tests.fakes.waiting import eventually
from tests.fault_proxy import FaultProxy

BIG = os.urandom(300_000)


class Server:
    """Takes connections; what arrived on each, and whether its end arrived."""

    def __init__(self):
        self.writers = []
        self.received = []
        self.ends = []

    async def serve(self, reader, writer):
        number = len(self.writers)
        self.writers.append(writer)
        self.received.append(b"")
        self.ends.append(None)
        try:
            while chunk := await reader.read(65_536):
                self.received[number] += chunk
            self.ends[number] = "eof"
        except ConnectionError:
            self.ends[number] = "reset"


@pytest.fixture
async def server():
    found = Server()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    yield found
    await asyncio.sleep(0.01)
    listening.close()
    for writer in found.writers:
        writer.transport.abort()
    await asyncio.sleep(0.01)


@pytest.fixture
async def proxy(server):
    async with FaultProxy("127.0.0.1", server.port) as found:
        yield found
    assert not [task for task in asyncio.all_tasks() if "fault-proxy" in task.get_name()]
    assert found.links == {}


class Clients:
    def __init__(self, proxy, server):
        self.proxy, self.server, self.writers = proxy, server, []

    async def connect(self):
        """A client, and the server's end of it."""
        before = len(self.server.writers)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writers.append(writer)
        await eventually(lambda: len(self.server.writers) > before)
        return reader, writer, self.server.writers[-1]


@pytest.fixture
async def clients(proxy, server):
    found = Clients(proxy, server)
    yield found
    for writer in found.writers:
        writer.transport.abort()
    await asyncio.sleep(0.01)


async def stays_silent(reader, seconds=0.1):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)


async def test_passes_both_ways_and_counts(proxy, server, clients):
    reader, writer, answer = await clients.connect()
    writer.write(BIG)
    answer.write(BIG[::-1])
    assert await reader.readexactly(len(BIG)) == BIG[::-1]
    await eventually(lambda: server.received[0] == BIG)
    assert (proxy.connections, proxy.seen()) == (1, (len(BIG), len(BIG)))
    writer.write_eof()
    await eventually(lambda: server.ends[0] == "eof")
    answer.write(b"still here")  # one side may end before the other
    assert await reader.readexactly(10) == b"still here"
    answer.close()
    assert await reader.read() == b""
    await eventually(lambda: not proxy.links)
    assert proxy.seen() == (len(BIG), len(BIG) + 10)


async def test_addresses_keep_scheme_path_and_query(proxy):
    assert proxy.url("ws://10.0.0.1:9/feed?version=2") == f"ws://127.0.0.1:{proxy.port}/feed?version=2"
    assert proxy.url("/v2") == f"http://127.0.0.1:{proxy.port}/v2"


async def test_latency_is_per_direction_and_keeps_the_order(proxy, server, clients):
    reader, writer, answer = await clients.connect()
    proxy.to_client.latency_s, proxy.to_client.jitter_s = 0.15, 0.05
    sent = monotonic()
    for n in range(50):
        answer.write(bytes([n]))
        await asyncio.sleep(0.001)
    assert await reader.readexactly(50) == bytes(range(50))
    assert 0.1 <= monotonic() - sent < 1
    sent = monotonic()
    writer.write(b"quick")
    await eventually(lambda: server.received[0] == b"quick")
    assert monotonic() - sent < 0.1


async def test_bandwidth_is_a_ceiling(proxy, clients):
    reader, _, answer = await clients.connect()
    proxy.to_client.bytes_per_s = 100_000
    sent = monotonic()
    answer.write(BIG[:30_000])
    assert await reader.readexactly(30_000) == BIG[:30_000]
    assert 0.25 <= monotonic() - sent < 2


async def test_slices_arrive_as_pieces(proxy, clients):
    reader, _, answer = await clients.connect()
    proxy.to_client.slice_bytes, proxy.to_client.slice_pause_s = 3, 0.02
    answer.write(b"0123456789")
    assert [await reader.read(100) for _ in range(4)] == [b"012", b"345", b"678", b"9"]


@pytest.mark.parametrize("held", ["to_server", "to_client"])
async def test_f01_one_way_holds_one_direction_until_it_heals(proxy, server, clients, held):
    reader, writer, answer = await clients.connect()
    getattr(proxy, held).hold = True
    writer.write(b"up")
    answer.write(b"down")
    if held == "to_client":
        await eventually(lambda: server.received[0] == b"up")
        await stays_silent(reader)
    else:
        assert await reader.readexactly(4) == b"down"
        await asyncio.sleep(0.1)
        assert server.received[0] == b""
    proxy.calm()
    await eventually(lambda: server.received[0] == b"up")
    if held == "to_client":
        assert await reader.readexactly(4) == b"down"


@pytest.mark.parametrize(("existing", "new"), [(True, True), (True, False), (False, True)])
async def test_f01_a_black_hole_takes_everything_and_gives_nothing(proxy, server, clients, existing, new):
    old = await clients.connect()
    proxy.blackhole(existing=existing, new=new)
    young = await clients.connect()
    for (reader, writer, answer), is_held in ((old, existing), (young, new)):
        writer.write(b"up")
        answer.write(b"down")
        if is_held:
            await stays_silent(reader)
        else:
            assert await reader.readexactly(4) == b"down"
    assert server.received == [b"" if existing else b"up", b"" if new else b"up"]
    proxy.release()
    await eventually(lambda: server.received == [b"up", b"up"])


async def test_f01_in_a_black_hole_the_end_of_the_peer_is_not_seen(proxy, server, clients):
    reader, writer, answer = await clients.connect()
    proxy.blackhole()
    answer.transport.abort()
    await stays_silent(reader)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert len(proxy.links) == 1


async def test_a_held_connection_can_be_reset(proxy, server, clients):
    reader, _, _ = await clients.connect()
    proxy.blackhole()
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    await eventually(lambda: server.ends[0] == "reset" and not proxy.links)


async def test_reset_of_one_connection_leaves_the_others(proxy, server, clients):
    readers = [(await clients.connect())[0] for _ in range(3)]
    proxy.reset(2)
    with pytest.raises(ConnectionResetError):
        await readers[1].read(1)
    await eventually(lambda: server.ends == [None, "reset", None])
    server.writers[2].write(b"alive")
    assert await readers[2].readexactly(5) == b"alive"
    await eventually(lambda: set(proxy.links) == {1, 3})
    proxy.reset()
    await eventually(lambda: server.ends == ["reset"] * 3)
    with pytest.raises(KeyError):
        proxy.reset(2)


async def test_new_connections_can_be_reset_by_number(proxy, server, clients):
    proxy.reset_new = lambda number: number <= 2
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
    assert server.writers == []
    await clients.connect()
    assert proxy.connections == 3


async def test_a_reset_of_the_peer_is_passed_as_a_reset(proxy, server, clients):
    reader, _, answer = await clients.connect()
    reset(answer.transport)
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    _, writer, _ = await clients.connect()
    reset(writer.transport)
    await eventually(lambda: server.ends[1] == "reset")


@pytest.mark.parametrize("with_reset", [False, True])
async def test_cut_after_so_many_bytes(proxy, server, clients, with_reset):
    reader, _, answer = await clients.connect()
    answer.write(b"first")
    assert await reader.readexactly(5) == b"first"
    proxy.to_client.cut_after, proxy.to_client.cut_with_reset = 1_000, with_reset
    answer.write(BIG)
    if with_reset:
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1_000)
    else:
        assert await reader.read() == BIG[:995]
    await eventually(lambda: not proxy.links)


async def test_down_refuses_and_up_listens_on_the_same_port(proxy, server, clients):
    reader, _, _ = await clients.connect()
    kept = proxy.port
    proxy.down()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", kept)
    proxy.up()
    assert proxy.port == kept
    reader, _, answer = await clients.connect()
    proxy.down(keep_existing=True)
    answer.write(b"kept")
    assert await reader.readexactly(4) == b"kept"


async def test_a_slow_close(proxy, clients):
    reader, _, answer = await clients.connect()
    proxy.to_client.close_delay_s = 0.2
    answer.write(b"bye")
    answer.close()
    assert await reader.readexactly(3) == b"bye"
    closed = monotonic()
    assert await reader.read() == b""
    assert monotonic() - closed > 0.15


async def test_nobody_upstream_is_a_reset(server):
    async with FaultProxy("127.0.0.1", 1) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def test_five_hundred_connections_leave_no_descriptor_and_no_task(proxy, server):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  the count is all that matters
    for n in range(500):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        if n % 3 == 0:
            proxy.reset()
        elif n % 3 == 1:
            writer.transport.abort()
        else:
            await eventually(lambda seen=n: proxy.connections > seen and proxy.links)
            proxy.blackhole(new=False)
            writer.close()
            proxy.release()
        writer.close()
    await eventually(lambda: proxy.connections == 500 and len(proxy._serving) == len(proxy.links))
    proxy.down()
    await eventually(lambda: not proxy._serving)
    for writer in server.writers:
        writer.transport.abort()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208
