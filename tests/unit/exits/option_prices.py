"""What an option is worth by the plain formula, with Greeks by differences: an oracle that shares no code with the monitor."""

from __future__ import annotations

from datetime import datetime
from math import erf, exp, log, sqrt

from core.model.session_time import IST

YEAR_S = 365 * 86_400


def worth(is_call, spot, strike, iv, years, rate=0.0):
    """Rupees, for European options without dividends."""
    d1 = (log(spot / strike) + (rate + iv * iv / 2) * years) / (iv * sqrt(years))
    d2 = d1 - iv * sqrt(years)
    normal = [0.5 * (1 + erf(d / sqrt(2))) for d in (d1, d2)]
    call = spot * normal[0] - strike * exp(-rate * years) * normal[1]
    return call if is_call else call - spot + strike * exp(-rate * years)


def years_between(now_ns, expiry, close="15:40"):
    end = datetime.fromisoformat(f"{expiry} {close}").replace(tzinfo=IST).timestamp()
    return (end - now_ns / 1e9) / YEAR_S


def implied(is_call, price, spot, strike, years):
    low, high = 1e-4, 5.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(is_call, spot, strike, middle, years) < price else (low, middle)
    return (low + high) / 2


def sums(legs, spot, years):
    """(delta, gamma a rupee, theta a day, vega a point, volatility) of legs (is_call, strike, units, price), in rupees."""
    delta = gamma = theta = vega = weighted = weights = 0.0
    step, moment = spot * 1e-4, 1e-3 / 365
    for is_call, strike, units, price in legs:
        iv = implied(is_call, price, spot, strike, years)
        up, here, down = (worth(is_call, spot + move, strike, iv, years) for move in (step, 0, -step))
        point = (worth(is_call, spot, strike, iv + 1e-5, years) - here) * 1e3
        delta += units * (up - down) / (2 * step)
        gamma += units * (up - 2 * here + down) / step**2
        theta += units * (worth(is_call, spot, strike, iv, years - moment) - here) * 1e3
        vega += units * point
        weighted += abs(units * point) * iv
        weights += abs(units * point)
    return delta, gamma, theta, vega, weighted / weights
