"""How this program trusts a server: verified certificate and host name, TLS 1.2 or newer, always.

A certificate that is not trusted is never a passing trouble of the network: it has words of its own, and a person is told.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from core.model.commands import Alert, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLOCK: Final = "check this machine's clock, and the network for a proxy that answers in the server's place"
_PROXY: Final = "check the network for a proxy or a login page that answers in the server's place"
_SELF_SIGNED: Final = (
    f"was signed by nobody that this machine trusts; {_PROXY}, and that the package ca-certificates is installed"
)
# The numbers of OpenSSL's X509_V_ERR_…; Python's ssl module has no names for them.
_REASONS: Final = {
    9: f"is not valid yet; {_CLOCK}",
    10: f"has expired; {_CLOCK}",
    18: _SELF_SIGNED,
    19: _SELF_SIGNED,
    20: _SELF_SIGNED,
    21: _SELF_SIGNED,
    62: f"is for another host; {_PROXY}, and the host name in the settings",
    64: f"is for another address; {_PROXY}, and the host name in the settings",
}
_NETWORK: Final = (
    ssl.SSLZeroReturnError,
    ssl.SSLEOFError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)
"""SSLErrors that say no more than that the connection ended."""


def verified_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def explain_tls(error: BaseException | None, host: str = "the server") -> str | None:
    """What is wrong with the other side's TLS and what to do, in one line; None when the error is of another kind.

    Looks through the causes, so that it also reads a NotSentError or an error of the `websockets` library.
    """
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            reason = _REASONS.get(each.verify_code) or f"is not accepted ({each.verify_message}); {_PROXY}"
            return f"TLS: the certificate of {host} {reason}"
        if isinstance(each, ssl.SSLError) and not isinstance(each, _NETWORK):
            return f"TLS: no agreement with {host} ({each.reason or type(each).__name__}); {_PROXY}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


class TlsWatch:
    """Pages once per episode: from the first certificate that is not trusted until a connection has worked.

    One for each service that a person knows by name ("market feed", "Dhan's API"); its connections share it.
    """

    def __init__(self, service: str, alert: Callable[[Alert], None]) -> None:
        self._service = service
        self._alert = alert
        self.trouble: str | None = None
        """In words, while it lasts."""

    def failed(self, error: BaseException, host: str) -> str | None:
        """Note a failed connect; the words when it is TLS that failed."""
        trouble = explain_tls(error, host)
        if trouble is not None and self.trouble is None:
            self._alert(Alert(Severity.PAGE, f"{self._service}: the server is not trusted", trouble))
        self.trouble = trouble or self.trouble
        return trouble

    def worked(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            self._alert(Alert(Severity.INFO, f"{self._service}: the server is trusted again", "a connection was made"))
