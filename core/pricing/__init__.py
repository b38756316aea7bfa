"""What European options are worth: Black-Scholes, Black-76, implied volatility and forwards. Pure numbers."""
