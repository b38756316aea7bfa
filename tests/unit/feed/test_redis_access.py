"""Where Redis is, from the settings. Neither user nor password is in a repr or in a message."""

from __future__ import annotations

import traceback

import pytest

from core.model.errors import ConfigurationError
from core.redis_line import RedisAccess, redis_access

SECRET = "pa-canary-4711"


def test_without_settings_there_is_no_redis():
    assert redis_access(None, None, 6_379) is None


def test_host_and_port():
    assert redis_access(None, "cache", 7_000) == RedisAccess("cache", 7_000)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisAccess("cache")),
        ("redis://127.0.0.1:7000/", RedisAccess("127.0.0.1", 7_000)),
        ("redis://[::1]:7000/3", RedisAccess("::1", 7_000, 3)),
        ("rediss://cache/2", RedisAccess("cache", 6_379, 2, is_tls=True)),
        (f"redis://:{SECRET}@cache:7000", RedisAccess("cache", 7_000, password=SECRET)),
        (f"redis://me:{SECRET}@cache", RedisAccess("cache", user="me", password=SECRET)),
        ("redis://m%40e:p%3A%2F%23w@cache", RedisAccess("cache", user="m@e", password="p:/#w")),
    ],
)
def test_urls(url, expected):
    assert redis_access(url, None, 6_379) == expected
    assert repr(redis_access(url, None, 6_379)).count("user") == 0


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SECRET}@cache",
        f"redis://:{SECRET}/more@cache:6379",
        f"redis://:x#{SECRET}@cache:6379",
        f"redis://:{SECRET}@",
        f"redis://cache:{SECRET}",
        f"redis://cache/{SECRET}",
        f"redis://cache:70000/{SECRET}",
        f"redis://[{SECRET}/0",
        f"rediss://:{SECRET}@cache?ssl_cert_reqs=none",
        f"redis://:{SECRET}@cache/0?socket_timeout=30",
        f"unix:///run/{SECRET}.sock",
        SECRET,
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url):
    with pytest.raises(ConfigurationError, match="Set it to redis://") as caught:
        redis_access(url, None, 6_379)
    assert "REDIS_URL" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_repr_shows_no_password():
    shown = repr(RedisAccess("cache", user="me-" + SECRET, password=SECRET))
    assert "cache" in shown
    assert SECRET not in shown
