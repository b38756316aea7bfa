"""Limits over several positions: where they fire, when they are believed, and whom they close."""

import pytest

from core.exits.scope_blindness import TELL_AFTER_NS
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Urgency
from core.model.journal_records import ExitStarted, LimitTripped
from core.model.market import QuoteSource
from core.model.signals import Mode
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from tests.unit.exits.scope_rig import ENTRY, MS, TODAY, S, held, rig_with

LIMIT = 1_000
ONE, TWO = held(1, (501, 1)), held(2, (502, 1))
LOSS, PROFIT, DAILY = LimitKind.MAX_LOSS, LimitKind.MAX_PROFIT, LimitKind.DAILY_LOSS
PORTFOLIO_LOSS = ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT)


def limit(scope, kind, amount=LIMIT, name=""):
    return ScopeLimit(scope, name=name, **{kind.value: amount})


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize(
    ("kind", "move", "fires"),
    [
        (LOSS, -LIMIT + 1, False),
        (LOSS, -LIMIT, True),
        (LOSS, -LIMIT - 1, True),
        (PROFIT, LIMIT - 1, False),
        (PROFIT, LIMIT, True),
        (PROFIT, LIMIT + 1, True),
        (DAILY, -LIMIT + 1, False),
        (DAILY, -LIMIT, True),
        (DAILY, -LIMIT - 1, True),
        (LOSS, LIMIT * 5, False),
        (PROFIT, -LIMIT * 5, False),
        (DAILY, LIMIT * 5, False),
    ],
)
def test_a_limit_fires_at_its_amount_and_not_one_paisa_before(scope, kind, move, fires):
    rig = rig_with(limit(scope, kind))
    rig.put(ONE)
    rig.tick(501, ENTRY + move)
    assert rig.fired() == ({1: (f"{scope.value}_limit", kind.value)} if fires else {})


def test_the_sum_of_the_scope_counts_and_not_its_worst_position():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(ONE, TWO, held(3, (503, -1)))
    rig.tick(502, ENTRY + 600)
    rig.tick(501, ENTRY - 1_000)
    rig.tick(503, ENTRY + 599)
    rig.wait(0.2)
    assert rig.fired() == {}
    rig.tick(503, ENTRY + 600)
    rig.wait(0.1)
    assert set(rig.fired()) == {1, 2, 3}


def test_the_signal_says_what_was_compared_with_what():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(ONE, TWO)
    rig.tick(501, ENTRY - 900)
    rig.tick(502, ENTRY - 150, after=0.5)
    ticked = rig.now
    rig.wait(0.1)
    signal = rig.running(2).signal
    assert (signal.action, signal.urgency) == (Action.CLOSE_POSITION, Urgency.HIGH)
    assert (signal.threshold, signal.observed, signal.pnl) == (-LIMIT, -1_050, -150)
    assert (signal.tick_received_ns, signal.decided_ns) == (ticked, rig.now)
    assert signal.reason == "portfolio loss limit: P&L ₹-10.50 ≤ ₹-10.00 (S1 (1) ₹-9.00, S2 (2) ₹-1.50)"
    assert rig.running(1).signal.reason == signal.reason


def test_at_most_ten_positions_are_named_the_worst_first():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(*(held(n, (500 + n, 1)) for n in range(1, 13)))
    for n in range(1, 13):
        rig.tick(500 + n, ENTRY - 100 - n)
    rig.wait(0.1)
    reason = rig.running(1).signal.reason
    assert "(S12 (12) ₹-1.12, S11 (11) ₹-1.11, " in reason
    assert reason.endswith("S3 (3) ₹-1.03, 2 more)")


def test_a_limit_is_durable_in_one_batch_with_the_exits_it_begins_and_a_person_is_called():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(ONE, TWO)
    rig.tick(501, ENTRY - LIMIT)
    rig.take()
    rig.wait(0.1)
    written = [command.record for command in rig.take() if isinstance(command, cmd.WriteJournal)]
    assert written[0] == LimitTripped(Scope.PORTFOLIO, "", LOSS, -LIMIT, -LIMIT, rig.utc)
    assert [type(each) for each in written[1:3]] == [ExitStarted, ExitStarted]
    assert "portfolio loss limit fired" in rig.subjects()


@pytest.mark.parametrize("name", ["NIFTY", "nifty "])
def test_an_underlying_is_summed_by_itself_whatever_the_case_of_its_name(name):
    rig = rig_with(limit(Scope.UNDERLYING, LOSS))
    rig.put(ONE, held(2, (502, 1), on=name), held(3, (503, 1), on="BANKNIFTY"))
    rig.tick(501, ENTRY - 600)
    rig.tick(503, ENTRY - 900)
    rig.tick(502, ENTRY - 400)
    rig.wait(0.1)
    assert set(rig.fired()) == {1, 2}


def test_a_named_underlying_has_its_own_amounts_before_those_of_each():
    limits = (
        ScopeLimit(Scope.UNDERLYING, max_loss=500, max_profit=700),
        ScopeLimit(Scope.UNDERLYING, max_loss=900, name="NIFTY"),
    )
    rig = rig_with(*limits)
    rig.put(ONE, held(3, (503, 1), on="BANKNIFTY"))
    rig.tick(501, ENTRY - 899)
    rig.tick(503, ENTRY - 499)
    assert rig.fired() == {}
    rig.tick(503, ENTRY - 500)
    assert set(rig.fired()) == {3}
    rig.tick(501, ENTRY + 700)
    assert rig.fired()[1] == ("underlying_limit", "max_profit")


def test_an_underlying_that_no_limit_names_is_not_limited():
    rig = rig_with(limit(Scope.UNDERLYING, LOSS, name="BANKNIFTY"))
    rig.put(ONE)
    rig.tick(501, 1)
    assert rig.fired() == {}
    assert rig.limits.state() == ()


def test_without_limits_nobody_judges():
    assert not any(type(judge).__name__ == "ScopeLimits" for judge in rig_with().engine.judges)


def test_a_strategy_is_limited_by_itself():
    rig = rig_with(limit(Scope.STRATEGY, LOSS))
    rig.put(ONE, TWO)
    rig.tick(501, ENTRY - LIMIT)
    assert rig.fired() == {1: ("strategy_limit", "max_loss")}


def test_account_and_portfolio_have_one_sum_and_limits_of_their_own():
    rig = rig_with(limit(Scope.ACCOUNT, LOSS, 2_000), limit(Scope.PORTFOLIO, LOSS, 1_000))
    rig.put(ONE, TWO)
    slot = rig.engine.cache.slot_of(ONE.legs[0].instrument.key)
    assert len(slot.holders) == 2, "the position and one sum"
    rig.tick(501, ENTRY - 1_000)
    rig.wait(0.1)
    assert rig.fired()[1] == ("portfolio_limit", "max_loss")
    assert rig.state(LOSS, Scope.ACCOUNT).latched_ns is None


def test_several_limits_on_one_tick_close_each_position_once_by_the_nearest_scope():
    rig = rig_with(limit(Scope.PORTFOLIO, LOSS), limit(Scope.UNDERLYING, LOSS), limit(Scope.STRATEGY, LOSS, 950))
    rig.put(ONE, TWO)
    rig.tick(501, ENTRY - 2_000)
    rig.wait(0.1)
    assert rig.fired() == {1: ("strategy_limit", "max_loss"), 2: ("underlying_limit", "max_loss")}
    started = [record for record in rig.journal if isinstance(record, ExitStarted)]
    assert len(started) == 2


def test_of_two_limits_of_one_scope_on_one_tick_one_is_latched():
    rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT, daily_loss=LIMIT))
    rig.put(ONE)
    rig.tick(501, ENTRY - LIMIT)
    assert [record.kind for record in rig.journal if isinstance(record, LimitTripped)] == [LOSS]


def test_a_stop_of_the_same_event_goes_before_the_limit():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(ONE, levels=ExitLevels(stop=AmountLevel(800, LevelSource.LEVEL_ROW)))
    rig.tick(501, ENTRY - LIMIT)
    assert rig.fired() == {1: ("stop_loss", "")}
    assert rig.state(LOSS).latched_by is LOSS, "the limit has fired all the same"


class TestBelieved:
    """When a breach is one."""

    @pytest.fixture
    def rig(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT, max_profit=LIMIT))
        rig.put(ONE, TWO)
        return rig

    def test_one_leg_waits_for_nothing(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.tick(501, ENTRY - LIMIT)
        assert set(rig.fired()) == {1}

    @pytest.mark.parametrize("move", [-LIMIT, LIMIT])
    def test_several_legs_settle_first(self, rig, move):
        rig.tick(501, ENTRY + move)
        assert rig.limits.next_deadline_ns == rig.now + 100 * MS
        assert rig.engine.next_wake_ns <= rig.now + 100 * MS
        rig.now += 100 * MS - 1
        rig.tick(501, ENTRY + move)
        assert rig.fired() == {}
        rig.now += 1
        rig.tick(501, ENTRY + move)
        assert set(rig.fired()) == {1, 2}

    def test_the_clock_asks_when_no_tick_does(self, rig):
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2}

    def test_the_caller_is_told_of_the_new_deadline(self, rig):
        assert rig.engine.next_wake_ns is None or rig.engine.next_wake_ns > rig.now
        assert not rig.engine.has_new_deadline
        rig.tick(501, ENTRY - LIMIT)
        assert rig.engine.has_new_deadline

    def test_a_breach_that_ends_in_between_begins_anew(self, rig):
        rig.tick(501, ENTRY - LIMIT)
        rig.tick(501, ENTRY - LIMIT + 1, after=0.06)
        assert rig.limits.next_deadline_ns is None
        rig.tick(501, ENTRY - LIMIT, after=0.06)
        rig.wait(0.05)
        assert rig.fired() == {}
        rig.wait(0.05)
        assert set(rig.fired()) == {1, 2}

    @pytest.mark.parametrize(("move", "fires"), [(-1_499, False), (-1_500, True)])
    def test_at_the_hard_multiple_nothing_is_waited_for(self, rig, move, fires):
        rig.tick(501, ENTRY + move)
        assert bool(rig.fired()) is fires

    def test_beyond_the_hard_multiple_a_leg_without_two_sides_makes_it_wait(self, rig):
        rig.tick(502, ENTRY, bid=ENTRY + 1, ask=ENTRY)
        rig.beat(8)
        rig.tick(501, ENTRY - 2_000)
        assert rig.fired() == {}
        rig.wait(0.1)
        assert rig.fired() == {}, "one suspect leg without two sides: nobody knows its best side"
        rig.wait(0.9)
        assert set(rig.fired()) == {1, 2}

    def test_a_profit_beyond_every_multiple_settles_too(self, rig):
        rig.tick(501, ENTRY + 3 * LIMIT)
        assert rig.fired() == {}

    def test_a_suspect_leg_counts_at_the_side_that_flatters_it(self, rig):
        """The mark of the long is the bid's side of a wide book; at its ask nothing is breached."""
        rig.beat(8)
        rig.tick(501, ENTRY - LIMIT, bid=ENTRY - LIMIT, ask=ENTRY - LIMIT + 2_000)
        rig.wait(0.1)
        assert rig.fired() == {}
        rig.wait(0.899_999)
        assert rig.fired() == {}
        rig.wait(0.000_001)
        assert set(rig.fired()) == {1, 2}, "it has stood for the longest wait"

    def test_a_suspect_leg_that_breaches_at_its_best_side_as_well_waits_for_nothing_more(self, rig):
        rig.tick(501, ENTRY - 4_000, bid=ENTRY - 4_000, ask=ENTRY - LIMIT, after=0.5)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2}

    def test_a_short_flatters_itself_at_the_bid(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(held(1, (501, -1)), TWO)
        rig.beat(8)
        rig.tick(501, ENTRY + LIMIT, bid=ENTRY + LIMIT - 1_500, ask=ENTRY + LIMIT)
        rig.wait(0.1)
        assert rig.fired() == {}
        rig.tick(501, ENTRY + LIMIT + 1_500, bid=ENTRY + LIMIT, ask=ENTRY + LIMIT + 1_600, after=0.06)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2}

    def test_a_profit_needs_every_leg_clean(self, rig):
        rig.beat(8)
        rig.tick(501, ENTRY + LIMIT, bid=ENTRY, ask=ENTRY + 2 * LIMIT)
        rig.wait(3)
        assert rig.fired() == {}
        rig.beat(8)
        rig.tick(501, ENTRY + LIMIT)
        rig.beat()
        assert set(rig.fired()) == {1, 2}

    def test_what_waited_in_a_socket_is_no_price_to_act_on_at_once(self, rig):
        rig.tell(ev.LoopStalled(rig.now, 3 * S))
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.wait(0.2)
        assert rig.fired() == {}

    def test_a_standstill_is_noticed_by_the_tick_that_follows_it(self, rig):
        rig.tick(501, ENTRY - 5 * LIMIT, after=5)
        assert rig.fired() == {}

    def test_legs_are_not_looked_at_on_every_tick_of_a_breach(self, rig, monkeypatch):
        looks = []
        real = type(next(iter(rig.engine.guards.values()))).safe_to_trade
        monkeypatch.setattr(
            "core.exits.position_guard.PositionGuard.safe_to_trade",
            lambda guard, at_ns: looks.append(at_ns) or real(guard, at_ns),
        )
        rig.tick(501, ENTRY - LIMIT)
        begun, looks[:] = rig.now, [at for at in looks if at == rig.now]
        for _ in range(999):
            rig.tick(501, ENTRY - LIMIT, after=0.000_05)
        at = sorted({(each - begun) // MS for each in looks})
        assert at == [0], "nothing between the begin and 50 ms later"
        rig.tick(501, ENTRY - LIMIT, after=0.000_05)
        assert {(each - begun) // MS for each in looks} == {0, 50}

    def test_of_two_breaches_each_ends_by_itself(self):
        rig = rig_with(limit(Scope.ACCOUNT, LOSS, 1_000), limit(Scope.PORTFOLIO, LOSS, 1_300))
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - 1_300)
        rig.tick(501, ENTRY - 1_299, after=0.06)
        rig.tick(501, ENTRY - 1_300, after=0.02)
        rig.wait(0.02)
        assert rig.fired() == {1: ("account_limit", "max_loss"), 2: ("account_limit", "max_loss")}
        assert rig.state(LOSS).latched_by is None

    def test_a_breach_that_begins_soon_after_a_look_is_looked_at_when_the_pause_is_over(self, rig):
        rig.tick(501, ENTRY - LIMIT)
        rig.tick(501, ENTRY, after=0.01)
        rig.tick(501, ENTRY - 3 * LIMIT, after=0.01)
        assert rig.fired() == {}
        assert rig.limits.next_deadline_ns == rig.now + 30 * MS
        rig.wait(0.03)
        assert set(rig.fired()) == {1, 2}, "beyond the hard multiple"


class TestNotKnown:
    """A sum that is not known fires nothing, and that is said."""

    @pytest.fixture
    def rig(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        return rig

    def told(self, rig):
        return [alert.text for alert in rig.alerts if "limits over positions" in alert.subject]

    def test_a_position_without_a_price_keeps_the_sum_unknown(self, rig):
        rig.put(held(3, (503, 1)), quoted=False)
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.wait(1)
        assert rig.fired() == {}
        assert rig.state(LOSS).open_pnl is None
        rig.tick(503, ENTRY)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2, 3}

    def test_so_does_one_without_an_entry(self, rig):
        rig.put(held(3, (503, 1), entry=None))
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.wait(1)
        assert rig.fired() == {}
        assert "the entry price is not known for OPT-503 of S3 (3)" in rig.state(LOSS).blind

    def test_a_doubted_price_ends_a_breach_that_stands(self, rig):
        rig.tick(501, ENTRY - LIMIT)
        rig.now += 90 * MS
        rig.doubt(502)
        rig.wait(0.05)
        assert rig.fired() == {}
        rig.tick(502, ENTRY, after=0.05)
        rig.wait(0.05)
        assert rig.fired() == {}, "the breach began anew when the sum was known again"
        rig.wait(0.25)
        assert set(rig.fired()) == {1, 2}

    def test_a_doubted_price_is_found_on_the_tick_that_breaches(self, rig):
        rig.doubt(502)
        rig.beat()
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.tick(501, ENTRY - 5 * LIMIT, after=0.01)
        rig.wait(2)
        assert rig.fired() == {}

    def test_a_person_is_called_when_it_lasts_and_told_when_it_is_over(self, rig):
        rig.doubt(502)
        rig.beat()
        rig.wait(TELL_AFTER_NS / S - 0.26)
        assert self.told(rig) == []
        rig.beat(2)
        assert self.told(rig) == ["the portfolio limit cannot be judged: no fresh price for OPT-502 of S2 (2)"]
        rig.beat(8)
        assert len(self.told(rig)) == 1
        rig.tick(502, ENTRY)
        rig.beat()
        assert self.told(rig)[1:] == ["the portfolio limit: every price is believed"]
        rig.beat(8)
        assert len(self.told(rig)) == 2

    def test_it_is_a_blind_spot_of_every_position_of_the_scope(self, rig):
        guards = rig.engine.guards
        assert guards[1].blind_spot(rig.now) is None
        rig.doubt(502)
        rig.beat()
        why = "the portfolio limit cannot be judged: no fresh price for OPT-502 of S2 (2)"
        assert guards[1].blind_spot(rig.now) == guards[2].blind_spot(rig.now) == rig.state(LOSS).blind == why
        rig.session_open = False
        rig.wait(0.25)
        assert guards[1].blind_spot(rig.now) is None, "a closed market is no fault"

    def test_a_saved_price_is_no_price(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, quoted=False)
        rig.tick(501, ENTRY - 5 * LIMIT, source=QuoteSource.CACHE)
        rig.tick(501, ENTRY - 6 * LIMIT, source=QuoteSource.CACHE)
        rig.beat(2)
        assert rig.state(LOSS).open_pnl == -6 * LIMIT
        assert "only a saved price" in rig.state(LOSS).blind
        assert rig.fired() == {}
        rig.tick(501, ENTRY - 6 * LIMIT)
        rig.beat()
        assert set(rig.fired()) == {1}

    def test_prices_grow_old_without_a_live_feed(self, rig):
        rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now))
        rig.beat(24)
        assert "no fresh price for OPT-501" in rig.state(LOSS).blind
        rig.tell(ev.FeedStateChanged(is_live=True, at_ns=rig.now))
        rig.beat(2)
        assert rig.state(LOSS).blind == ""

    def test_many_limits_are_told_in_one_page(self):
        rig = rig_with(limit(Scope.STRATEGY, LOSS))
        rig.put(*(held(n, (500 + n, 1)) for n in range(1, 6)))
        rig.doubt(*(500 + n for n in range(1, 6)))
        rig.beat(24)
        assert rig.subjects() == ["5 limits over positions cannot be judged"]
        assert self.told(rig)[0].endswith("OPT-503 of S3 (3); and 2 more")

    def test_a_position_that_is_gone_hinders_nothing_any_more(self, rig):
        rig.doubt(502)
        rig.beat(24)
        rig.tell(ev.PositionGone(2, rig.now))
        rig.beat()
        assert rig.state(LOSS).blind == ""
        assert self.told(rig)[-1] == "the portfolio limit: every price is believed"

    @pytest.mark.parametrize("is_open", [False, None])
    def test_nothing_fires_outside_of_a_session_known_to_be_open(self, rig, is_open):
        rig.session_open = is_open
        rig.wait(0.25)
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.beat(20)
        assert rig.fired() == {}
        rig.session_open = True
        rig.beat(2)
        assert set(rig.fired()) == {1, 2}, "the clock finds it when the session opens"

    def test_a_closing_session_ends_a_breach_and_pages_nobody(self, rig):
        rig.doubt(502)
        rig.tick(501, ENTRY - LIMIT)
        rig.session_open = False
        rig.beat(40)
        assert self.told(rig) == []

    def test_a_monitor_that_is_told_to_stop_fires_nothing_and_writes_nothing(self, rig):
        rig.tell(ev.StopRequested(rig.now))
        rig.tick(501, ENTRY - 5 * LIMIT)
        rig.wait(1)
        assert rig.fired() == {}
        assert rig.journal == []


class TestOnTheWayOut:
    """Positions whose exit is under way count until it is over."""

    def test_a_profit_that_is_being_taken_does_not_look_like_a_loss(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY + 800)
        rig.tick(502, ENTRY - 999)
        rig.exit(1)
        rig.wait(2)
        rig.tick(501, ENTRY + 900)
        rig.tick(502, ENTRY - 1_500, after=0.3)
        rig.wait(0.2)
        assert set(rig.fired()) == {1}, "the sum is -600"
        assert rig.state(LOSS).open_pnl == -600

    def test_a_loss_that_is_being_cut_still_counts(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - 800)
        rig.exit(1)
        rig.tick(502, ENTRY - 200)
        rig.wait(0.2)
        assert rig.fired() == {1: ("operator", ""), 2: ("portfolio_limit", "max_loss")}

    def test_it_counts_no_more_when_it_is_over(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.tick(501, ENTRY - 800)
        rig.exit(1)
        rig.fill_all()
        assert rig.fired() == {}
        assert rig.state(LOSS).open_pnl == 0

    def test_a_doubted_price_of_it_makes_the_sum_unknown(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.exit(1)
        rig.beat()
        rig.doubt(501)
        rig.tick(502, ENTRY - 5 * LIMIT)
        rig.wait(1)
        assert set(rig.fired()) == {1}
        assert "no fresh price for OPT-501 of S1 (1)" in rig.state(LOSS).blind

    def test_shared_instruments_in_opposite_directions_cancel_out(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(held(1, (501, 3)), held(2, (501, -3)))
        slot = rig.engine.cache.slot_of(ONE.legs[0].instrument.key)
        assert len(slot.holders) == 2, "the sum does not move with it"
        rig.tick(501, ENTRY - 5_000)
        rig.wait(0.2)
        assert rig.fired() == {}
        rig.positions({501: 0})
        rig.exit(1)
        rig.tick(501, ENTRY - 6_000)
        rig.wait(0.1)
        assert rig.state(LOSS).open_pnl == 0

    @pytest.mark.parametrize(
        ("entry", "source", "why"),
        [
            (ENTRY, None, "no price for OPT-503"),
            (None, QuoteSource.FEED, "the entry price is not known for OPT-503"),
            (ENTRY, QuoteSource.CACHE, "only a saved price for OPT-503"),
        ],
    )
    def test_neither_is_it_known_without_believed_prices(self, entry, source, why):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(TWO)
        rig.put(held(3, (503, 1), entry=entry), quoted=False)
        if source is not None:
            rig.tick(503, ENTRY, source=source)
        rig.exit(3)
        rig.beat()
        rig.doubt(503)
        rig.tick(502, ENTRY - 5 * LIMIT)
        rig.beat(2)
        assert set(rig.fired()) == {3}
        assert f"{why} of S3 (3)" in rig.state(LOSS).blind

    def test_who_is_not_counted_cannot_leave(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.limits.gone(99)
        rig.put(ONE)
        assert rig.state(LOSS).open_pnl == 0


class TestAlertMode:
    def test_it_is_told_once_and_nothing_is_written(self):
        rig = rig_with(PORTFOLIO_LOSS, mode=Mode.ALERT)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        rig.beat(8)
        assert [each for each in rig.subjects() if "limit" in each] == ["portfolio loss limit fired"]
        assert sorted(each for each in rig.subjects() if "would exit" in each) == [
            "would exit S1 (1)",
            "would exit S2 (2)",
        ]
        assert rig.journal == []
        rig.put(held(3, (503, 1)))
        assert "would exit S3 (3)" in rig.subjects()

    def test_what_would_be_closed_counts_at_the_marks_of_that_moment(self):
        rig = rig_with(limit(Scope.PORTFOLIO, DAILY), mode=Mode.ALERT)
        rig.put(held(1, (501, 1), opened=TODAY), levels=ExitLevels(stop=AmountLevel(700, LevelSource.LEVEL_ROW)))
        rig.put(held(2, (502, 1), opened=TODAY))
        rig.tick(501, ENTRY - 700)
        rig.beat()
        rig.tick(501, ENTRY)
        rig.tick(502, ENTRY - 299)
        rig.wait(0.2)
        assert rig.state(DAILY).day_pnl == -999
        rig.tick(502, ENTRY - 300)
        rig.wait(0.2)
        assert rig.state(DAILY).latched_by is DAILY
        assert rig.journal == []
