"""What each refusal of the market feed calls for (dhan_v2_protocol 2.3, 2.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.model.session_time import NS_PER_S

REASONS: Final = {
    800: "internal server error",
    804: "too many instruments",
    805: "too many connections or requests",
    806: "data APIs not subscribed",
    807: "access token expired",
    808: "client id or token invalid",
    809: "access token invalid",
    810: "client id invalid",
    811: "invalid expiry date",
    812: "invalid date format",
    813: "invalid security id",
    814: "invalid request",
}


@dataclass(frozen=True, slots=True)
class Remedy:
    """How to go on. The wait doubles from `least_s` to `most_s` with each refusal in a row, under the usual back-off.

    `is_refusal` False: an ordinary loss of the connection, back-off and jitter only.
    """

    is_refusal: bool = True
    least_s: int = 0
    most_s: int = 0
    needs_token: bool = False
    use_rest: bool = False
    advice: str = ""

    def delay_ns(self, refusals: int) -> int:
        return min(self.least_s << min(refusals, 16), self.most_s) * NS_PER_S


_LOST: Final = Remedy(is_refusal=False)
_TOKEN: Final = Remedy(
    least_s=1, most_s=30, needs_token=True, use_rest=True, advice="A new access token is fetched; check the account."
)
_OURS: Final = Remedy(
    least_s=5, most_s=30, use_rest=True, advice="The request was wrong: a bug of this program or ids that do not exist."
)
_BLOCKED: Final = Remedy(
    least_s=60, most_s=300, use_rest=True, advice="Too many connection attempts: the account is blocked for minutes."
)

_REMEDY_OF_CODE: Final = {
    800: _LOST,
    804: _OURS,
    805: Remedy(
        least_s=60,
        most_s=300,
        use_rest=True,
        advice="Another program holds sockets of this account: stop it. Dhan may block the account.",
    ),
    806: Remedy(least_s=30, most_s=30, use_rest=True, advice="The account has no data plan: subscribe to it at Dhan."),
    807: _TOKEN,
    808: _TOKEN,
    809: _TOKEN,
    810: _TOKEN,
    811: _OURS,
    812: _OURS,
    813: _OURS,
    814: _OURS,
}
_REMEDY_OF_HTTP: Final = {
    400: _TOKEN,
    401: _TOKEN,
    403: _TOKEN,
    404: Remedy(least_s=5, most_s=30, use_rest=True, advice="The feed's address is wrong: check DHAN_FEED_URL."),
    429: _BLOCKED,
}


def remedy_of_code(code: int) -> Remedy:
    """For the reason of a disconnect packet; an undocumented one is an ordinary loss."""
    return _REMEDY_OF_CODE.get(code, _LOST)


def remedy_of_http(status: int) -> Remedy:
    """For an HTTP status other than 101; 5xx and the undocumented are an ordinary loss."""
    return _REMEDY_OF_HTTP.get(status, _LOST)
