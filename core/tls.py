"""How this program trusts a server: verified certificate and host name, TLS 1.2 or newer, always."""

from __future__ import annotations

import ssl


def verified_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
