"""What is told of a server that is not trusted, from real handshakes."""

import asyncio
import ssl

import pytest

from core.model.commands import Severity
from core.tls import TlsWatch, explain_tls, verified_tls
from tests.fakes.certificates import self_signed

CLOCK = "check this machine's clock, and the network for a proxy"


async def refused(tmp_path, name, *, days=(-1, 1), trusts=True, as_host="broker.example", server=None):
    """The error of a handshake with such a server."""
    context, certificate = self_signed(tmp_path, name, days=days)
    trusting = ssl.create_default_context(cafile=certificate) if trusts else verified_tls()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    serving = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context if server is None else None
    )
    port = serving.sockets[0].getsockname()[1]
    with pytest.raises(OSError) as caught:  # noqa: PT011  which one it is, is what the tests look at
        await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=as_host)
    serving.close()
    await serving.wait_closed()
    return caught.value


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "broker.example", "days": (-9, -2)}, f"TLS: the certificate of H has expired; {CLOCK}"),
        ({"name": "broker.example", "days": (2, 9)}, f"TLS: the certificate of H is not valid yet; {CLOCK}"),
        ({"name": "broker.example", "trusts": False}, "TLS: the certificate of H was signed by nobody"),
        ({"name": "other.example"}, "TLS: the certificate of H is for another host; check the network for a proxy"),
        ({"name": "127.0.0.2", "as_host": "127.0.0.1"}, "TLS: the certificate of H is for another address"),
    ],
)
async def test_f22_each_reason_has_its_words_and_its_remedy(tmp_path, options, says):
    error = await refused(tmp_path, **options)
    assert (explain_tls(error, "H") or "").startswith(says)
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = error
    assert explain_tls(wrapped, "H") == explain_tls(error, "H")


async def test_f22_a_server_that_speaks_no_tls_is_no_network_trouble(tmp_path):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n")
        await writer.drain()
        writer.close()

    serving = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = serving.sockets[0].getsockname()[1]
    with pytest.raises(ssl.SSLError) as caught:
        await asyncio.open_connection("127.0.0.1", port, ssl=verified_tls(), server_hostname="broker.example")
    serving.close()
    assert (explain_tls(caught.value) or "").startswith("TLS: no agreement with the server (WRONG_VERSION_NUMBER)")


@pytest.mark.parametrize(
    "error",
    [
        None,
        ConnectionResetError(),
        TimeoutError(),
        ssl.SSLEOFError(),
        ssl.SSLZeroReturnError(),
        ssl.SSLSyscallError(),
        ValueError("certificate"),
    ],
)
def test_a_connection_that_just_ended_is_not_about_trust(error):
    assert explain_tls(error) is None


def test_an_unknown_reason_of_openssl_is_quoted():
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 23, "certificate revoked"
    assert explain_tls(error, "H").startswith("TLS: the certificate of H is not accepted (certificate revoked); check")


def test_errors_that_are_each_others_context_do_not_loop():
    one, other = ValueError(), ValueError()
    one.__context__, other.__context__ = other, one
    assert explain_tls(one) is None


def test_f22_a_page_comes_once_per_episode_and_the_end_is_told():
    alerts = []
    watch = TlsWatch("market feed", alerts.append)
    expired = ssl.SSLCertVerificationError()
    expired.verify_code, expired.verify_message = 10, "certificate has expired"
    watch.worked()
    assert watch.failed(OSError(), "H") is None
    for _ in range(3):
        assert "has expired" in watch.failed(expired, "H")
    assert watch.failed(ConnectionResetError(), "H") is None
    watch.failed(expired, "H")
    assert [alert.severity for alert in alerts] == [Severity.PAGE]
    watch.worked()
    watch.worked()
    watch.failed(expired, "H")
    assert [alert.severity for alert in alerts] == [Severity.PAGE, Severity.INFO, Severity.PAGE]
    assert alerts[0].subject == "market feed: the server is not trusted"
