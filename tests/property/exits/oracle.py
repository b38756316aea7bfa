"""A slow, second reading of exit_rules 1-3 for one position: no bands, no differences, everything from the raw quotes."""

from fractions import Fraction

MS = 1_000_000


class SlowJudge:
    """Told every quote of the position's instruments, in order. Levels in paise, None where not in force.

    `judge` returns the name of the rule that fires, None when none does.
    """

    def __init__(self, legs, *, stop=None, arm=None, distance=None, target=None, theta=False):
        self.legs = legs
        self.quotes = {leg.instrument.key: [] for leg in legs}
        self.stop, self.arm, self.distance, self.target, self.theta = stop, arm, distance, target, theta
        self.peak = 0 if arm == 0 else None
        self.breaches = {}

    def on_quote(self, quote):
        self.quotes[quote.key].append(quote)
        return self.judge(quote.received_ns, quote.key)

    def judge(self, now, ticked=None):
        if not all(self.quotes.values()):
            self.breaches = {}
            return None
        pnl = sum(leg.units * (self.mark(leg, -1) - leg.entry) for leg in self.legs)
        suspects = {index for index, leg in enumerate(self.legs) if not self.is_clean(leg)}
        if self.arm is not None and not suspects:
            if self.peak is None and pnl >= self.arm:
                self.peak = pnl
            elif self.peak is not None:
                self.peak = max(self.peak, pnl)
        fired = {name for name, line, hard in self.lines() if self.fires(name, line, hard, pnl, suspects, now, ticked)}
        order = ("stop_loss", "trailing_stop", "theta_exit", "profit_target")
        return next((name for name in order if name in fired), None)

    def lines(self):
        lines = {"stop_loss": None, "trailing_stop": None, "theta_exit": None, "profit_target": self.target}
        hards = {}
        if self.stop is not None:
            lines["stop_loss"], hards["stop_loss"] = -self.stop, -Fraction(3, 2) * self.stop
        if self.peak is not None:
            lines["trailing_stop"] = self.peak - self.distance
            hards["trailing_stop"] = self.peak - Fraction(3, 2) * self.distance
        if self.theta:
            lines["theta_exit"] = 0
        return [(name, line, hards.get(name)) for name, line in lines.items()]

    def fires(self, name, line, hard, pnl, suspects, now, ticked):
        is_target = name == "profit_target"
        if line is None or (pnl < line if is_target else pnl > line):
            self.breaches.pop(name, None)
            return False
        since, counts, trades, seen = self.breaches.setdefault(
            name,
            (
                now,
                [self.count(leg) - (leg.instrument.key == ticked) for leg in self.legs],
                [self.trade(leg) for leg in self.legs],
                set(),
            ),
        )
        seen |= {index for index, leg in enumerate(self.legs) if self.trade(leg) != trades[index]}
        settled = (
            len(self.legs) == 1
            or all(self.count(leg) > count for leg, count in zip(self.legs, counts, strict=True))
            or now - since >= 100 * MS
        )
        if is_target:
            return settled and not suspects
        best = self.best_side()
        if hard is not None and best is not None and pnl <= hard and best <= line:
            return True
        confirmed = suspects <= seen or (best is not None and best <= line) or now - since >= 1000 * MS
        return settled and (not suspects or confirmed)

    def newest(self, leg, back=-1):
        return self.quotes[leg.instrument.key][back]

    def count(self, leg):
        return len(self.quotes[leg.instrument.key])

    def trade(self, leg):
        quote = self.newest(leg)
        return quote.last, quote.exchange_time

    def said_before(self, leg):
        """How far back the newest quote is that said something else; 0 when none did."""
        quotes = self.quotes[leg.instrument.key]
        return next((-back for back in range(2, len(quotes) + 1) if quotes[-back][:7] != quotes[-1][:7]), 0)

    def mark(self, leg, back):
        quote = self.newest(leg, back)
        if quote.bid is None or quote.ask is None or quote.bid > quote.ask:
            return quote.last
        return sorted((quote.bid, quote.last, quote.ask))[1]

    def best_side(self):
        total = 0
        for leg in self.legs:
            quote = self.newest(leg)
            if quote.bid is None or quote.ask is None or quote.bid > quote.ask:
                return None
            total += leg.units * ((quote.ask if leg.units > 0 else quote.bid) - leg.entry)
        return total

    def is_clean(self, leg):
        quote, tick = self.newest(leg), leg.instrument.tick
        if quote.bid is None or quote.ask is None or quote.bid > quote.ask:
            return False
        if any(price % tick for price in (quote.last, quote.bid, quote.ask)):
            return False
        if quote.ask - quote.bid > max(5 * tick, Fraction(quote.bid + quote.ask, 2) / 10):
            return False
        if not quote.bid - tick <= quote.last <= quote.ask + tick:
            return False
        back = self.said_before(leg)
        if back:
            before = self.newest(leg, back)
            if quote.received_ns - before.received_ns < 1000 * MS:
                previous = self.mark(leg, back)
                return abs(Fraction(self.mark(leg, -1) - previous, previous)) < Fraction(1, 5)
        return True
