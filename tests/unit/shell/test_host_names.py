"""Last good addresses: what a connect waits for when the resolver fails, hangs or lies about the family."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest

from core.brokers.http_connection import HttpEndpoint, NotSentError, NotTrustedError, open_connection
from core.brokers.warm_connections import HttpLimits, WarmConnections
from core.clock import SystemClock
from core.host_names import FORGET_FAILURES_NS, FRESH_S, HostNames, HostUnknownError, addresses_by_name
from tests.fakes.certificates import self_signed
from tests.fakes.feed_server import feed_server
from tests.fakes.http_server import OK, raw_server, replying
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

HOST = "api.broker.example"
V4, OTHER_V4, V6 = "127.0.0.1", "127.0.0.2", "::1"


class Resolver:
    """Answers `found` while it is open; hangs while it is not; raises `error` if there is one."""

    def __init__(self, *found, error=None):
        self.found = found
        self.error = error
        self.open = threading.Event()
        self.open.set()
        self.asked = []

    def __call__(self, host):
        self.asked.append(threading.current_thread())
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error
        return self.found


@contextmanager
def resolver_of(*found, error=None):
    resolver = Resolver(*found, error=error)
    try:
        yield resolver
    finally:
        resolver.open.set()
        for thread in resolver.asked:
            thread.join(5)


async def timed(names, host=HOST):
    began = time.monotonic()
    found = await names.addresses_of(host)
    return found, time.monotonic() - began


async def test_f23_a_hanging_resolver_is_waited_for_once_and_the_last_good_address_serves_on():
    clock = ManualClock()
    with resolver_of(V4) as resolver:
        names = HostNames(clock, patience_s=0.2, resolve=resolver)
        assert await names.addresses_of(HOST) == (V4,)
        resolver.open.clear()
        clock.pass_seconds(FRESH_S + 1)
        found, first_s = await timed(names)
        assert found == (V4,)
        assert 0.15 < first_s < 1.0
        later = [await timed(names) for _ in range(50)]
        assert {found for found, _ in later} == {(V4,)}
        assert sum(seconds for _, seconds in later) < 0.2
        assert len(resolver.asked) == names.look_ups == 2
        assert names.from_memory == 51
        assert all(thread.daemon for thread in resolver.asked)
        # The resolver is back with a new address: what hung is the answer.
        resolver.found = (OTHER_V4,)
        resolver.open.set()
        await eventually(lambda: names._hosts[HOST].look_up is None)
        assert await names.addresses_of(HOST) == (OTHER_V4,)
        assert len(resolver.asked) == 2


@pytest.mark.parametrize("error", [socket.gaierror(-3, "Temporary failure in name resolution"), OSError()])
async def test_f23_a_failing_resolver_is_asked_again_and_costs_nothing(error):
    clock = ManualClock()
    with resolver_of(V4) as resolver:
        names = HostNames(clock, resolve=resolver)
        await names.addresses_of(HOST)
        resolver.error = error
        clock.pass_seconds(FRESH_S + 1)
        for _ in range(3):
            assert await names.addresses_of(HOST) == (V4,)
        assert len(resolver.asked) == 4
        resolver.error = None
        await names.addresses_of(HOST)
        await names.addresses_of(HOST)
        assert len(resolver.asked) == 5


async def test_a_name_that_was_never_found_says_so_and_one_patience_serves_all():
    with resolver_of(V4) as resolver:
        resolver.open.clear()
        names = HostNames(ManualClock(), first_patience_s=0.2, resolve=resolver)
        began = time.monotonic()
        answers = await asyncio.gather(*(names.addresses_of(HOST) for _ in range(5)), return_exceptions=True)
        assert time.monotonic() - began < 1.0
        assert {type(answer) for answer in answers} == {HostUnknownError}
        assert str(answers[0]) == f"the name {HOST} is not found (no answer in time); check the machine's DNS"
        assert len(resolver.asked) == 1


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "no\x00name"])
async def test_what_can_be_no_name_is_not_found(host):
    with pytest.raises(HostUnknownError):
        await HostNames(ManualClock()).addresses_of(host)


async def test_a_fresh_answer_is_used_without_asking():
    clock = ManualClock()
    with resolver_of(V4) as resolver:
        names = HostNames(clock, resolve=resolver)
        for _ in range(3):
            await names.addresses_of(HOST)
            clock.pass_seconds(FRESH_S / 3 - 0.1)
        assert len(resolver.asked) == 1
        clock.pass_seconds(1)
        await names.addresses_of(HOST)
        assert len(resolver.asked) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_an_address_is_not_looked_up(host):
    with resolver_of(error=OSError()) as resolver:
        assert await HostNames(ManualClock(), resolve=resolver).addresses_of(host) == (host,)
        assert resolver.asked == []


async def test_p19_ipv4_is_first_and_ipv6_only_after_three_failures_of_every_ipv4_address():
    clock = ManualClock()
    with resolver_of(V6, V4, OTHER_V4) as resolver:
        names = HostNames(clock, resolve=resolver)
        assert await names.addresses_of(HOST) == (V4, OTHER_V4, V6)
        names.failed(HOST, V4)
        assert await names.addresses_of(HOST) == (OTHER_V4, V4, V6)
        for _ in range(2):
            names.failed(HOST, V4)
        assert await names.addresses_of(HOST) == (OTHER_V4, V6, V4)
        for _ in range(3):
            names.failed(HOST, OTHER_V4)
        assert (await names.addresses_of(HOST))[0] == V6
        names.worked(HOST, OTHER_V4)
        assert (await names.addresses_of(HOST))[0] == OTHER_V4
        clock.monotonic += FORGET_FAILURES_NS + 1
        assert (await names.addresses_of(HOST))[0] == V4


async def test_p19_a_host_with_ipv6_alone_is_reached_there():
    with resolver_of(V6) as resolver:
        assert await HostNames(ManualClock(), resolve=resolver).addresses_of(HOST) == (V6,)


async def test_a_failed_address_has_the_resolver_asked_before_the_next_connect():
    with resolver_of(V4) as resolver:
        names = HostNames(ManualClock(), resolve=resolver)
        with pytest.raises(ConnectionRefusedError):
            async with names.address(HOST):
                raise ConnectionRefusedError
        resolver.found = (OTHER_V4,)
        async with names.address(HOST) as address:
            assert address == OTHER_V4
        async with names.address(HOST):
            pass
        assert len(resolver.asked) == 2


async def test_an_untrusted_certificate_is_no_fault_of_the_address():
    with resolver_of(V4, OTHER_V4) as resolver:
        names = HostNames(ManualClock(), resolve=resolver)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with names.address(HOST):
                raise ssl.SSLCertVerificationError
        assert await names.addresses_of(HOST) == (V4, OTHER_V4)


def test_the_systems_resolver_gives_each_address_once():
    assert "127.0.0.1" in addresses_by_name("localhost")
    assert len(set(addresses_by_name("localhost"))) == len(addresses_by_name("localhost"))


async def test_f23_requests_go_on_by_the_name_while_the_resolver_is_away(tmp_path):
    """On sockets, over TLS: the certificate is for the name, the Host header too, the address comes from memory."""
    context, certificate = self_signed(tmp_path, HOST)
    trusting = ssl.create_default_context(cafile=certificate)
    clock = ManualClock()
    with resolver_of(V4) as resolver:
        async with raw_server(replying(OK), ssl=context) as server:
            names = HostNames(clock, patience_s=0.2, resolve=resolver)
            endpoint = HttpEndpoint.from_url(f"https://{HOST}:{server.port}/v2", trusting)
            client = WarmConnections(endpoint, lambda: b"", clock, HttpLimits(5.0, 5.0), names=names)
            await client.open()
            assert (await client.request("POST", "/orders", b"{}")).status == 200
            # From here on it hangs: neither open connections nor new ones mind.
            resolver.open.clear()
            clock.pass_seconds(FRESH_S + 1)
            began = time.monotonic()
            client.drop_idle()
            for _ in range(5):
                assert (await client.request("POST", "/orders", b"{}")).status == 200
            assert time.monotonic() - began < 1.5
            assert client.opened >= 3
            assert {request.headers["Host"] for request in server.requests} == {f"{HOST}:{server.port}"}
            await client.close()


async def test_f23_a_look_up_takes_no_thread_of_the_shared_pool():
    with resolver_of() as resolver:
        resolver.open.clear()
        endpoint = HttpEndpoint.from_url(f"http://{HOST}:1")
        names = HostNames(SystemClock(), resolve=resolver)
        connects = [open_connection(endpoint, SystemClock(), 0.1, names) for _ in range(50)]
        errors = await asyncio.gather(*connects, return_exceptions=True)
        assert {type(error) for error in errors} == {NotSentError}
        began = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(10)))
        assert time.monotonic() - began < 0.5
        assert len(resolver.asked) == 1


async def test_p19_an_address_that_refuses_costs_no_connect():
    """The first address refuses at once: the next one is tried within the same connect."""
    with resolver_of(OTHER_V4, V4) as resolver:
        async with raw_server(replying(OK)) as server:
            names = HostNames(SystemClock(), resolve=resolver)
            endpoint = HttpEndpoint.from_url(f"http://{HOST}:{server.port}")
            connection = await open_connection(endpoint, SystemClock(), 2.0, names)
            connection.close()
            assert (await names.addresses_of(HOST))[0] == V4
            server_port = server.port
        with pytest.raises(NotSentError, match=f"expected a connection to {HOST}"):
            await open_connection(HttpEndpoint.from_url(f"http://{HOST}:{server_port}"), SystemClock(), 2.0, names)


async def test_an_address_that_does_not_answer_goes_last_for_the_next_connect():
    with socket.create_server((OTHER_V4, 0), backlog=0) as full, resolver_of(OTHER_V4, V4) as resolver:
        port = full.getsockname()[1]
        # A full queue drops what knocks: nothing answers.
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((OTHER_V4, port))
        names = HostNames(SystemClock(), resolve=resolver)
        with pytest.raises(NotSentError, match="none came"):
            await open_connection(HttpEndpoint.from_url(f"http://{HOST}:{port}"), SystemClock(), 0.2, names)
        assert await names.addresses_of(HOST) == (V4, OTHER_V4)
        for each in waiting:
            each.close()


async def test_f22_a_certificate_that_is_not_trusted_is_an_error_of_its_own(tmp_path):
    context, certificate = self_signed(tmp_path, HOST, days=(-9, -2))
    trusting = ssl.create_default_context(cafile=certificate)
    with resolver_of(V4, OTHER_V4) as resolver:
        async with raw_server(replying(OK), ssl=context) as server:
            names = HostNames(SystemClock(), resolve=resolver)
            endpoint = HttpEndpoint.from_url(f"https://{HOST}:{server.port}", trusting)
            with pytest.raises(
                NotTrustedError, match=rf"TLS: the certificate of {HOST} has expired; check this machine's clock"
            ):
                await open_connection(endpoint, SystemClock(), 5.0, names)
            assert server.requests == []


async def test_f23_the_order_updates_connect_from_memory_too():
    from core.feed_socket import SocketLimits, open_feed_socket  # noqa: PLC0415

    class Sink:
        def on_binary(self, message): ...
        def on_text(self, message): ...
        def on_lost(self): ...

    clock = ManualClock()
    with resolver_of(V4) as resolver:
        names = HostNames(clock, patience_s=0.2, resolve=resolver)
        async with feed_server() as server:
            url = f"ws://{HOST}:{server.port}/feed"
            for _ in range(2):
                began = time.monotonic()
                socket_ = await open_feed_socket(url, Sink(), SocketLimits(), None, names)
                await socket_.drop()
                assert time.monotonic() - began < 1.5
                resolver.open.clear()
                clock.pass_seconds(FRESH_S + 1)
            assert len(server.paths) == 2
            resolver.open.set()
