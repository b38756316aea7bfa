"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions


@pytest.fixture
async def exchange() -> AsyncIterator[LocalExchange]:
    async with LocalExchange(ExchangeOptions(seed=3)) as exchange:
        yield exchange
