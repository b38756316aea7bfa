"""QuantLib's Black formula in the terms of ours. It takes any time to expiry, to the second."""

import math

import QuantLib

from core.model.instrument import Right


def calculator(right, forward, strike, years, volatility, rate):
    kind = QuantLib.Option.Call if right is Right.CALL else QuantLib.Option.Put
    payoff = QuantLib.PlainVanillaPayoff(kind, strike)
    return QuantLib.BlackCalculator(payoff, forward, volatility * math.sqrt(years), math.exp(-rate * years))


def on_spot(right, spot, strike, years, volatility, rate, dividend_yield):
    """Price, delta, gamma, theta, vega, rho; theta per year, vega and rho per 1.0."""
    forward = spot * math.exp((rate - dividend_yield) * years)
    found = calculator(right, forward, strike, years, volatility, rate)
    return (
        found.value(),
        found.delta(spot),
        found.gamma(spot),
        found.theta(spot, years),
        found.vega(years),
        found.rho(years),
    )


def on_forward(right, forward, strike, years, volatility, rate):
    """Price, delta, gamma, vega, rho; on a forward that stays where it is when the rate moves."""
    found = calculator(right, forward, strike, years, volatility, rate)
    rho = found.rho(years) + found.dividendRho(years)
    return found.value(), found.deltaForward(), found.gammaForward(), found.vega(years), rho
