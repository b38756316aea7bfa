"""The exchange in this process, with prices that stand still until a test moves them."""

import aiohttp
import pytest

from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from tests.paper.clients import Rest


@pytest.fixture
def options():
    return ExchangeOptions(seed=7, model_step_s=0, transit_s=0.0)


@pytest.fixture
async def exchange(options):
    async with LocalExchange(options) as running:
        yield running


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as found:
        yield found


@pytest.fixture
def rest(exchange, session):
    return Rest(exchange, session)
