"""Our own HTTP client on real sockets: what was sent, how often, and what is known afterwards."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from core.brokers.http_connection import (
    HttpConnection,
    HttpEndpoint,
    NotSentError,
    NotTrustedError,
    OutcomeUnknownError,
    open_connection,
)
from core.brokers.warm_connections import HttpLimits, WarmConnections
from core.clock import SystemClock
from core.host_names import HostNames
from core.model.commands import Severity
from core.model.errors import ConfigurationError
from core.tls import TlsWatch, verified_tls
from tests.fakes.certificates import self_signed
from tests.fakes.http_server import OK, dropping, json_response, raw_server, replying, silent
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

QUICK = HttpLimits(connect_timeout_s=1.0, total_timeout_s=0.2)


@contextlib.asynccontextmanager
async def client_of(server, limits=None, clock=None, tls=None, scheme="http", host="127.0.0.1"):
    endpoint = HttpEndpoint.from_url(f"{scheme}://{host}:{server.port}/v2", tls)
    client = WarmConnections(endpoint, lambda: b"X-Constant: 1\r\n", clock or SystemClock(), limits)
    try:
        yield client
    finally:
        await client.close()


async def test_a_request_goes_out_once_and_its_answer_comes_back():
    async with raw_server(replying(json_response('{"orderId":"1"}'))) as server, client_of(server) as client:
        await client.open()
        before = SystemClock().monotonic_ns()
        response = await client.request("POST", "/orders", b'{"a":1}')
        assert (response.status, response.body) == (200, b'{"orderId":"1"}')
        assert before <= response.sent_ns <= SystemClock().monotonic_ns()
        (request,) = server.requests
        assert (request.method, request.path, request.body) == ("POST", "/v2/orders", b'{"a":1}')
        assert request.headers == {"Host": f"127.0.0.1:{server.port}", "X-Constant": "1", "Content-Length": "7"}


async def test_two_connections_are_warm_before_the_first_request_and_are_reused():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await eventually(lambda: server.connections == 2)
        for _ in range(5):
            await client.request("GET", "/positions")
        assert server.connections == 2
        assert client.opened == 2


async def test_simultaneous_requests_each_have_their_own_connection():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await asyncio.gather(*(client.request("POST", "/orders", b"%d" % n) for n in range(5)))
        assert sorted(request.body for request in server.requests) == [b"0", b"1", b"2", b"3", b"4"]


async def test_an_answer_lost_after_the_request_was_taken_is_unknown_and_nothing_is_sent_again():
    async with raw_server(dropping) as server, client_of(server) as client:
        await client.open()
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", "/orders", b"{}")
        assert caught.value.sent_ns
        assert caught.value.was_dropped
        await client.refill()
        assert len(server.requests) == 1


async def test_a_silent_server_is_unknown_at_the_deadline_and_the_connection_is_not_used_again():
    async with raw_server(silent) as server, client_of(server, QUICK) as client:
        await client.open()
        with pytest.raises(OutcomeUnknownError):
            await client.request("POST", "/orders", b"{}")
        first = server.requests[0].connection
        server.answer = replying(OK)
        for _ in range(4):
            await client.request("GET", "/orders")
        assert first not in {request.connection for request in server.requests[1:]}


@pytest.mark.parametrize(
    "garbage", [b"<html>busy</html>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n"]
)
async def test_garbage_or_a_cut_off_answer_is_unknown(garbage):
    async def answer(_request, writer):
        writer.write(garbage)
        writer.close()

    async with raw_server(answer) as server, client_of(server, QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", "/orders", b"{}")
        assert not caught.value.was_dropped
        assert len(server.requests) == 1


async def test_a_connection_that_the_peer_closed_while_idle_is_replaced_before_the_request_is_written():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await eventually(lambda: server.connections == 2)
        for writer in server.writers:
            writer.close()
            await writer.wait_closed()
        # No turn of the client's loop has to pass: the unread end of the stream is seen in the kernel.
        response = await client.request("POST", "/orders", b"{}")
        assert response.status == 200
        assert len(server.requests) == 1
        assert server.requests[0].connection > 2


async def test_the_peers_close_is_seen_in_the_kernel_before_the_loop_delivers_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = HttpEndpoint.from_url(f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection = await open_connection(endpoint, SystemClock(), 1.0, HostNames(SystemClock()))
        peer, _ = listener.accept()
        assert connection.is_usable
        peer.close()
        assert not connection.is_usable
        with pytest.raises(NotSentError):
            await connection.exchange(b"POST / HTTP/1.1\r\n\r\n", asyncio.get_running_loop().time() + 1)


async def test_bytes_nobody_asked_for_end_the_connection():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await eventually(lambda: server.connections == 2)
        for writer in server.writers[:2]:
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await eventually(lambda: client.opened >= 4)
        assert (await client.request("POST", "/orders", b"{}")).status == 200


async def test_an_answer_followed_by_more_bytes_is_used_and_its_connection_is_not():
    async with raw_server(replying(OK + b"HTTP")) as server, client_of(server) as client:
        await client.request("POST", "/orders", b"{}")
        await client.request("POST", "/orders", b"{}")
        assert [request.connection for request in server.requests] == [1, 2] or server.connections > 1
        assert server.requests[0].connection != server.requests[1].connection


async def test_nobody_listening_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = WarmConnections(HttpEndpoint.from_url(f"http://127.0.0.1:{port}"), lambda: b"", SystemClock())
    with pytest.raises(NotSentError):
        await client.request("POST", "/orders", b"{}")
    await client.close()


async def test_a_server_that_does_not_finish_the_handshake_is_not_sent():
    async with raw_server(silent) as server:
        limits = HttpLimits(connect_timeout_s=0.1)
        async with client_of(server, limits, scheme="https") as client:
            with pytest.raises(NotSentError, match=r"0\.1 s"):
                await client.request("POST", "/orders", b"{}")


async def test_a_redirect_is_an_answer_and_is_not_followed():
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(replying(moved)) as server, client_of(server) as client:
        assert (await client.request("POST", "/orders", b"{}")).status == 307
        assert len(server.requests) == 1


async def test_proxy_settings_are_ignored(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        assert (await client.request("GET", "/profile")).status == 200


async def test_a_chunked_answer_in_small_pieces_is_whole():
    async def answer(_request, writer):
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()

    async with raw_server(answer) as server, client_of(server) as client:
        assert (await client.request("GET", "/orders")).body == b"[1,2]"


async def test_connection_close_is_obeyed():
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    async with raw_server(replying(closing)) as server, client_of(server) as client:
        await client.request("GET", "/a")
        await client.request("GET", "/b")
        assert server.requests[0].connection != server.requests[1].connection


async def test_a_long_idle_connection_is_replaced_off_the_path():
    clock = ManualClock()
    async with raw_server(replying(OK)) as server, client_of(server, clock=clock) as client:
        await client.open()
        clock.pass_seconds(26)
        await client.refill()
        assert client.opened == 4
        assert client.idle_count == 2
        await client.refill()
        assert client.opened == 4


async def test_lost_connections_are_opened_again_without_a_request():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await eventually(lambda: server.connections == 2)
        for writer in server.writers[:2]:
            writer.transport.abort()
        await eventually(lambda: server.connections == 4 and client.idle_count == 2)


async def test_a_burst_leaves_only_a_few_connections_open():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await asyncio.gather(*(client.request("GET", "/orders") for _ in range(12)))
        assert client.idle_count == 8


async def test_a_connection_in_use_counts_as_warm():
    async with raw_server(silent) as server, client_of(server) as client:
        await client.open()
        task = asyncio.create_task(client.request("POST", "/orders", b"{}"))
        await eventually(lambda: server.requests)
        await client.refill()
        assert client.opened == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancelled_request_closes_its_connection():
    async with raw_server(silent) as server, client_of(server) as client:
        task = asyncio.create_task(client.request("POST", "/orders", b"{}"))
        await eventually(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.idle_count == 0


async def test_a_trusted_certificate_works_and_the_default_trust_refuses_it(tmp_path):
    context, certificate = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=certificate)
    async with raw_server(replying(OK), ssl=context) as server:
        async with client_of(server, tls=trusting, scheme="https") as client:
            await client.open()
            for _ in range(3):
                assert (await client.request("POST", "/orders", b"{}")).status == 200
            assert client.opened == 2
        async with client_of(server, scheme="https") as client:
            with pytest.raises(NotSentError, match=r"TLS: the certificate of .* was signed by nobody"):
                await client.request("POST", "/orders", b"{}")
    assert len(server.requests) == 3


async def test_a_certificate_of_another_host_is_refused(tmp_path):
    context, certificate = self_signed(tmp_path, "broker.example")
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        raw_server(replying(OK), ssl=context) as server,
        client_of(server, tls=trusting, scheme="https") as client,
    ):
        with pytest.raises(NotSentError):
            await client.request("POST", "/orders", b"{}")
    assert server.requests == []


def test_the_default_trust_verifies_and_wants_tls_1_2():
    tls = HttpEndpoint.from_url("https://api.example/v2/").tls
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    "url", ["", "ftp://x/v2", "https://", "https://host:port/", "http://u:p@host/", "http://h/?a=1"]
)
def test_an_unusable_url_is_a_configuration_error_that_does_not_repeat_it(url):
    with pytest.raises(ConfigurationError):
        HttpEndpoint.from_url(url)


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("https://a.example/v2", "a.example"),
        ("http://a.example:8080", "a.example:8080"),
        ("http://[::1]:81", "[::1]:81"),
    ],
)
def test_the_host_header_names_the_port_only_where_it_is_not_the_default(url, host_header):
    assert HttpEndpoint.from_url(url).host_header == host_header


async def test_a_connection_that_was_never_made_sends_nothing():
    with pytest.raises(NotSentError):
        await HttpConnection(SystemClock()).exchange(b"x", 1.0)


async def test_f22_the_api_pages_once_while_its_certificate_is_not_trusted(tmp_path):
    context, certificate = self_signed(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=certificate)
    alerts = []
    trust = TlsWatch("Dhan's API", alerts.append)
    async with raw_server(replying(OK), ssl=context) as server:
        for tls in (verified_tls(), verified_tls(), trusting, verified_tls()):
            endpoint = HttpEndpoint.from_url(f"https://127.0.0.1:{server.port}", tls)
            client = WarmConnections(endpoint, lambda: b"", SystemClock(), HttpLimits(5.0, 5.0), trust=trust)
            for _ in range(3):
                with contextlib.suppress(NotTrustedError):
                    await client.request("GET", "/orders")
            await client.close()
    assert [(alert.severity, alert.subject) for alert in alerts] == [
        (Severity.PAGE, "Dhan's API: the server is not trusted"),
        (Severity.INFO, "Dhan's API: the server is trusted again"),
        (Severity.PAGE, "Dhan's API: the server is not trusted"),
    ]
    assert "127.0.0.1 was signed by nobody" in alerts[0].text
    assert len(server.requests) == 3


async def test_a_bug_in_the_upkeep_reaches_the_loop_at_once_and_comes_out_of_close(monkeypatch):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    async with raw_server(replying(OK)) as server:
        endpoint = HttpEndpoint.from_url(f"http://127.0.0.1:{server.port}")
        client = WarmConnections(endpoint, lambda: b"", SystemClock())
        await client.open()

        async def broken():
            raise RuntimeError("a bug")

        monkeypatch.setattr(client, "refill", broken)
        client.drop_idle()
        await eventually(lambda: told)
        # What the monitor's handler looks for before it ends the run.
        assert "handle" in told[0]
        assert str(told[0]["exception"]) == "a bug"
        assert (await client.request("POST", "/orders", b"{}")).status == 200, "an exit under way goes on till the end"
        with pytest.raises(RuntimeError, match="a bug"):
            await client.close()
        assert client.idle_count == 0
        await client.close()


async def test_idle_connections_are_replaced_after_a_sleep():
    async with raw_server(replying(OK)) as server, client_of(server) as client:
        await client.open()
        await eventually(lambda: server.connections == 2)
        client.drop_idle()
        assert client.idle_count == 0
        await eventually(lambda: client.idle_count == 2)
        assert client.opened == 4
