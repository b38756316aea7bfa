"""Settings that every test shares."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A PostgreSQL server and a Supabase look-alike over it, for whoever asks for one.
pytest_plugins = ["tests.gateway.fixtures"]

# "gate" gives the same examples on each run. HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(autouse=True)
def _logs_are_heard_again() -> Iterator[None]:
    """Some operator tools switch logs off for their process; run inside a test they must not do so for the tests after it."""
    yield
    logging.disable(logging.NOTSET)
