"""What is done about the token, by table; and that no history of failures ever breaks the bounds on minting."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.token_facts import (
    Attempt,
    Candidate,
    GiveUp,
    Mint,
    Outcome,
    ReadSource,
    Renew,
    Standing,
    TokenFacts,
    TradingSession,
    Trouble,
    TryCandidate,
    Verify,
    Wait,
)
from core.dhan.token_plan import dies_in, is_urgent, next_mint_ns, nothing_can_replace, plan, replace_from

S = 1_000_000_000
NOW = 100_000 * S
START, END = 1_795_146_300, 1_795_169_400  # 20 Nov 2026 09:15 and 15:40 IST
TODAY, NEXT = TradingSession(START, END), TradingSession(START + 3 * 86_400, END + 3 * 86_400)
NIGHT = START - 6 * 3_600
HOUR = 3_600

ALIVE = TokenFacts(
    now_ns=NOW,
    utc_s=START + HOUR,
    standing=Standing.TRUSTED,
    expires_at=END + 10 * HOUR,
    sessions=(TODAY, NEXT),
    looked_ns=NOW,
    asked_ns=NOW,
    tried_ns=None,
    proved_at=START - 60,
)
DEAD = replace(ALIVE, standing=Standing.DEAD, utc_s=1_795_149_905)


def tried(outcome, ago_s, step=1):
    return Attempt(NOW - int(ago_s * S), outcome, step)


def test_a_good_token_is_left_alone_until_the_next_look_at_the_sources():
    assert plan(ALIVE) == Wait(NOW + 5 * S)
    assert plan(replace(ALIVE, looked_ns=NOW - 5 * S)) == ReadSource()
    assert plan(replace(ALIVE, looked_ns=None)) == ReadSource()


def test_the_wait_ends_when_the_renewal_is_due():
    facts = replace(ALIVE, sessions=(), expires_at=ALIVE.utc_s + HOUR + 3)
    assert plan(facts) == Wait(NOW + 3 * S)


@pytest.mark.parametrize(
    ("expires_at", "utc_s", "sessions", "begin"),
    [
        pytest.param(END + HOUR, NIGHT, (), END, id="sessions not known: an hour before the end"),
        pytest.param(START - 60, NIGHT, (TODAY,), START - 60 - HOUR, id="dies before the opening"),
        pytest.param(START + 4 * HOUR, NIGHT, (TODAY,), START - HOUR, id="would die in the session: an hour before it"),
        pytest.param(END + 170, NIGHT, (TODAY,), START - HOUR, id="just after it is as bad"),
        pytest.param(END + 180, NIGHT, (TODAY,), END + 180 - HOUR, id="lives three minutes longer"),
        pytest.param(END + HOUR // 2, START + 60, (TODAY, NEXT), END, id="survives this session: not before its end"),
        pytest.param(END - HOUR, START + 60, (TODAY, NEXT), END - HOUR - 900, id="dies in this one: a quarter before"),
        pytest.param(END + 170, START + 60, (TODAY, NEXT), END + 170 - 900, id="this one, just after"),
        pytest.param(END + 90_000, END - 60, (TODAY, NEXT), END + 90_000 - HOUR, id="dies on a free day"),
    ],
)
def test_when_a_living_token_is_replaced_ahead(expires_at, utc_s, sessions, begin):
    assert replace_from(expires_at, utc_s, sessions) == begin


def test_renewing_goes_before_minting_while_the_token_lives():
    due = replace(ALIVE, utc_s=START - HOUR, expires_at=START + HOUR, can_mint=True, proved_at=START - HOUR)
    assert plan(due) == Renew()
    assert plan(replace(due, can_mint=False)) == Renew()
    assert plan(replace(due, was_minted=True)) == Mint(due.utc_s // 30)
    assert plan(replace(due, renewals=(tried(Outcome.REFUSED, 1, None),))) == Mint(due.utc_s // 30)
    hopeless = replace(due, can_mint=False, renewals=(tried(Outcome.REFUSED, 1, None),))
    assert plan(hopeless) == Wait(NOW + 5 * S)


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 30), (2, 60), (3, 120), (6, 600), (30, 600)])
def test_failed_renewals_are_repeated_ever_more_slowly(failures, wait_s):
    renewals = (tried(Outcome.UNKNOWN, wait_s, None),) * failures
    due = replace(ALIVE, utc_s=START - HOUR, expires_at=START + HOUR, renewals=renewals)
    assert plan(due) == Renew()
    early = replace(due, renewals=(tried(Outcome.UNKNOWN, wait_s - 2, None),) * failures)
    assert plan(early) == Wait(NOW + 2 * S)


def test_a_later_token_in_the_sources_is_taken_and_nothing_kills_it_meanwhile():
    due = replace(ALIVE, utc_s=START - HOUR, expires_at=START + HOUR, candidate=Candidate(START + 2 * HOUR))
    assert plan(due) == TryCandidate()
    assert plan(replace(due, tried_ns=NOW - S)) == Wait(NOW + S)


@pytest.mark.parametrize("expires_at", [None, ALIVE.expires_at, ALIVE.expires_at - 1])
def test_an_earlier_or_unreadable_token_does_not_displace_a_good_one(expires_at):
    assert plan(replace(ALIVE, candidate=Candidate(expires_at))) == Wait(NOW + 5 * S)
    assert plan(replace(ALIVE, expires_at=None, candidate=Candidate(END))) == Wait(NOW + 5 * S)


def test_a_token_past_its_own_expiry_is_proved_and_not_believed_dead():
    late = replace(ALIVE, expires_at=ALIVE.utc_s, asked_ns=NOW - 2 * S)
    assert plan(late) == Verify()
    assert plan(replace(late, asked_ns=NOW - S)) == Wait(NOW + S)


@pytest.mark.parametrize(
    ("before_s", "proved_before_s", "step"),
    [
        (1_801, 90_000, Wait),
        (1_800, 1_801, Verify),
        (1_800, 1_800, Wait),
        (900, 901, Verify),
        (900, None, Verify),
        (1, 899, Wait),
        (0, 90_000, Wait),
    ],
)
def test_the_token_is_proved_half_and_a_quarter_of_an_hour_before_the_opening(before_s, proved_before_s, step):
    proved_at = None if proved_before_s is None else START - proved_before_s
    facts = replace(ALIVE, utc_s=START - before_s, proved_at=proved_at, asked_ns=NOW - 3 * S)
    assert isinstance(plan(facts), step)


def test_a_doubted_token_the_sources_first_then_dhan():
    doubted = replace(ALIVE, standing=Standing.DOUBTED, looked_ns=NOW - 2 * S, asked_ns=NOW - 5 * S)
    assert plan(doubted) == ReadSource()
    looked = replace(doubted, looked_ns=NOW)
    assert plan(looked) == Verify()
    assert plan(replace(looked, asked_ns=NOW - S)) == Wait(NOW + S)
    assert plan(replace(looked, candidate=Candidate(None))) == TryCandidate()
    assert plan(replace(looked, candidate=Candidate(None), tried_ns=NOW - S)) == Wait(NOW + S)


def test_a_dead_token_the_sources_first_then_a_mint():
    dead = replace(DEAD, can_mint=True)
    assert plan(replace(dead, looked_ns=NOW - 2 * S)) == ReadSource()
    assert plan(dead) == Mint(DEAD.utc_s // 30)
    assert plan(replace(dead, standing=Standing.ABSENT)) == Mint(DEAD.utc_s // 30)
    assert plan(replace(dead, candidate=Candidate(None))) == TryCandidate()
    assert plan(replace(dead, candidate=Candidate(None), tried_ns=NOW)) == Wait(NOW + 1_500_000_000)


def test_without_pin_and_totp_a_person_is_called_and_the_sources_are_read_on():
    assert plan(DEAD) == GiveUp(NOW + 1_500_000_000, Trouble.NOTHING_TO_MINT_WITH)
    assert plan(replace(DEAD, looked_ns=NOW - 1_500_000_000)) == ReadSource()


def test_a_dead_token_is_asked_about_now_and_then():
    assert plan(replace(DEAD, asked_ns=NOW - 30 * S)) == Verify()
    soon = replace(DEAD, asked_ns=NOW - 29 * S)
    assert plan(soon) == GiveUp(NOW + S, Trouble.NOTHING_TO_MINT_WITH)
    absent = replace(DEAD, standing=Standing.ABSENT, asked_ns=None)
    assert plan(absent) == GiveUp(NOW + 1_500_000_000, Trouble.NOTHING_TO_MINT_WITH)


@pytest.mark.parametrize("outcome", [Outcome.GRANTED, Outcome.REFUSED, Outcome.TOO_SOON, Outcome.UNKNOWN])
def test_no_code_is_sent_twice(outcome):
    step = DEAD.utc_s // 30
    # Long ago by the monotonic clock: the wall clock was set back.
    dead = replace(DEAD, can_mint=True, mints=(tried(outcome, 7 * HOUR, step),))
    assert isinstance(plan(dead), Wait)
    assert plan(replace(dead, utc_s=dead.utc_s + 30)) == Mint(step + 1)
    unsent = replace(dead, mints=(tried(Outcome.NOT_SENT, 60, step),))
    assert plan(unsent) == Mint(step)


def test_a_code_in_its_last_seconds_waits_for_the_next():
    at = DEAD.utc_s // 30 * 30
    dead = replace(DEAD, can_mint=True, looked_ns=NOW, asked_ns=NOW)
    assert plan(replace(dead, utc_s=at + 27)) == Mint(at // 30)
    assert plan(replace(dead, utc_s=at + 28)) == Wait(NOW + 1_500_000_000)
    assert plan(replace(dead, utc_s=at + 29)) == Wait(NOW + S)


@pytest.mark.parametrize(
    ("outcomes", "wait_s"),
    [
        ((), 0),
        ((Outcome.UNKNOWN,), 30),
        ((Outcome.REFUSED,), 30),
        ((Outcome.GRANTED,), 125),
        ((Outcome.TOO_SOON,), 125),
        ((Outcome.UNKNOWN,) * 2, 60),
        ((Outcome.GRANTED,) * 3, 125),
        ((Outcome.GRANTED,) * 4, 240),
        ((Outcome.REFUSED, Outcome.REFUSED), HOUR),
        ((Outcome.REFUSED, Outcome.NOT_SENT, Outcome.REFUSED), HOUR),
        ((Outcome.REFUSED, Outcome.UNKNOWN), 60),
        ((Outcome.NOT_SENT,), 5),
        ((Outcome.GRANTED, Outcome.NOT_SENT), 125),
        ((Outcome.GRANTED,) * 5, HOUR),
    ],
)
def test_how_long_after_the_last_mint_the_next_may_be(outcomes, wait_s):
    mints = tuple(Attempt(NOW, outcome, n) for n, outcome in enumerate(outcomes))
    assert next_mint_ns(mints, NOW) == NOW + wait_s * S


def test_mints_are_forgotten_after_six_hours():
    old = (tried(Outcome.GRANTED, 6 * HOUR),) * 4
    assert next_mint_ns(old, NOW) == NOW
    spread = tuple(tried(Outcome.UNKNOWN, ago_s) for ago_s in (17_999, 14_399, 10_799, 7_199, 3_599, 1))
    assert next_mint_ns(spread, NOW) == NOW + 599 * S


@pytest.mark.parametrize(
    ("mints", "trouble"),
    [
        ((tried(Outcome.GRANTED, 60),) * 5, Trouble.SOMEONE_ELSE_MINTS),
        ((tried(Outcome.UNKNOWN, 60),) * 5, Trouble.NO_TOKEN_GIVEN),
        ((tried(Outcome.REFUSED, 60),) * 2, Trouble.CREDENTIALS_REFUSED),
    ],
)
def test_a_person_is_told_what_is_wrong_with_minting(mints, trouble):
    step = plan(replace(DEAD, can_mint=True, mints=mints))
    assert step == GiveUp(NOW + 1_500_000_000, trouble)


def test_a_wait_between_two_mints_is_no_trouble_and_nothing_is_paged_while_the_token_lives():
    assert plan(replace(DEAD, can_mint=True, mints=(tried(Outcome.GRANTED, 60),))) == Wait(NOW + 1_500_000_000)
    due = replace(ALIVE, utc_s=START - HOUR, expires_at=START + HOUR, was_minted=True, can_mint=True)
    assert plan(replace(due, mints=(tried(Outcome.REFUSED, 60),) * 2)) == Wait(NOW + 5 * S)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"left": HOUR + 1}, False),
        ({"left": HOUR}, False),
        ({"left": HOUR, "renewals": (tried(Outcome.REFUSED, 1),)}, True),
        ({"left": HOUR, "renewals": (tried(Outcome.UNKNOWN, 1),)}, False),
        ({"left": 600}, True),
        ({"left": 601}, False),
        ({"left": HOUR, "can_mint": True, "renewals": (tried(Outcome.REFUSED, 1),)}, False),
        ({"left": HOUR, "can_mint": True, "mints": (tried(Outcome.REFUSED, 1),) * 2}, True),
        ({"left": 60, "standing": Standing.DEAD}, False),
    ],
)
def test_a_person_is_warned_in_the_last_hour_when_nothing_else_can_help(changes, warned):
    left = changes.pop("left")
    facts = replace(ALIVE, utc_s=NIGHT, expires_at=NIGHT + left, **changes)
    assert nothing_can_replace(facts) is warned
    assert not nothing_can_replace(replace(facts, expires_at=None))


def test_nobody_is_warned_when_the_renewal_only_waits_for_the_end_of_the_session():
    facts = replace(ALIVE, utc_s=END - 200, expires_at=END + 300)
    assert not nothing_can_replace(facts)
    assert nothing_can_replace(replace(facts, utc_s=END))


def test_whether_the_token_dies_in_the_session():
    assert dies_in(replace(ALIVE, expires_at=END - 1)) == TODAY
    assert dies_in(replace(ALIVE, expires_at=END)) is None
    assert dies_in(replace(ALIVE, expires_at=None)) is None
    assert dies_in(replace(ALIVE, expires_at=END - 1, sessions=())) is None


def test_a_dead_token_is_urgent_from_an_hour_before_the_opening():
    assert not is_urgent(replace(DEAD, utc_s=START - HOUR - 1))
    assert is_urgent(replace(DEAD, utc_s=START - HOUR))
    assert is_urgent(replace(DEAD, utc_s=START + 60))
    assert is_urgent(replace(DEAD, utc_s=NIGHT, sessions=()))


attempts = st.lists(
    st.builds(
        Attempt,
        st.integers(NOW - 8 * HOUR * S, NOW),
        st.sampled_from(Outcome),
        st.integers(DEAD.utc_s // 30 - 3, DEAD.utc_s // 30 + 1),
    ),
    max_size=12,
).map(lambda found: tuple(sorted(found, key=lambda each: each.at_ns)))
moments = st.none() | st.integers(NOW - 100 * S, NOW)
facts_of = st.builds(
    TokenFacts,
    now_ns=st.just(NOW),
    utc_s=st.integers(START - 2 * 86_400, END + 86_400),
    standing=st.sampled_from(Standing),
    expires_at=st.none() | st.integers(START - 86_400, END + 3 * 86_400),
    was_minted=st.booleans(),
    can_mint=st.booleans(),
    sessions=st.sampled_from([(), (TODAY,), (TODAY, NEXT), (NEXT,)]),
    candidate=st.none() | st.builds(Candidate, st.none() | st.integers(START, END + 5 * 86_400)),
    looked_ns=moments,
    asked_ns=moments,
    tried_ns=moments,
    proved_at=st.none() | st.integers(START - 86_400, END),
    renewals=attempts,
    mints=attempts,
)


@given(facts_of)
def test_no_facts_lead_to_a_forbidden_step(facts):
    step = plan(facts)
    match step:
        case Renew():
            assert facts.standing is Standing.TRUSTED
            assert facts.expires_at > facts.utc_s
            assert not facts.was_minted
        case Mint(code_step):
            assert facts.can_mint
            assert code_step == facts.utc_s // 30
            assert code_step not in {mint.step for mint in facts.mints if mint.outcome is not Outcome.NOT_SENT}
            assert facts.standing is not Standing.DOUBTED
            # A dead token is never replaced by minting over one that a person has put in place.
            assert facts.candidate is None or facts.standing is Standing.TRUSTED
        case Verify():
            assert facts.standing is not Standing.ABSENT
        case Wait(until_ns) | GiveUp(until_ns, _):
            assert until_ns > NOW
            assert until_ns <= NOW + 5 * S
        case TryCandidate():
            assert facts.candidate is not None
        case ReadSource():
            assert facts.looked_ns is None or facts.looked_ns <= NOW - 1_500_000_000


class World:
    """A process that lives for hours with whatever Dhan answers; the oracle keeps its own list of what was sent."""

    def __init__(self, answers, lifetimes):
        self.answers = answers
        self.lifetimes = lifetimes
        self.now, self.utc = NOW, START
        # The other steps are looked at above; without them hours pass in a few steps.
        never = NOW + 1_000 * HOUR * S
        self.facts = replace(DEAD, can_mint=True, sessions=(), utc_s=START, looked_ns=never, asked_ns=never)
        self.sent = []

    def run(self, seconds):
        end = self.now + seconds * S
        while self.now < end:
            self.facts = replace(self.facts, now_ns=self.now, utc_s=self.utc)
            match plan(self.facts):
                case Wait(until_ns) | GiveUp(until_ns, _):
                    self.pass_ns(until_ns - self.now)
                case Mint(code_step):
                    self.mint(code_step)

    def pass_ns(self, span_ns):
        self.now += span_ns
        self.utc = START + (self.now - NOW) // S

    def mint(self, code_step):
        outcome = self.answers[len(self.sent) % len(self.answers)]
        mints = tuple(each for each in self.facts.mints if each.outcome is not Outcome.NOT_SENT)
        self.facts = replace(self.facts, mints=(*mints, Attempt(self.now, outcome, code_step)))
        self.sent.append((self.now, outcome, code_step))
        if outcome is Outcome.GRANTED:
            # It works for a while, then someone kills it.
            self.pass_ns(self.lifetimes[len(self.sent) % len(self.lifetimes)] * S)


@given(
    st.lists(st.sampled_from(Outcome), min_size=1, max_size=6), st.lists(st.integers(0, 3_000), min_size=1, max_size=4)
)
def test_no_history_breaks_the_bounds_on_minting(answers, lifetimes):
    world = World(answers, lifetimes)
    world.run(4 * HOUR)
    sent = [(at, outcome, step) for at, outcome, step in world.sent if outcome is not Outcome.NOT_SENT]
    times = [at for at, _, _ in sent]
    steps = [step for _, _, step in sent]
    assert len(steps) == len(set(steps)), "a code was sent twice"
    assert all(later - earlier >= 30 * S for earlier, later in itertools.pairwise(times))
    assert all(later - earlier >= HOUR * S for earlier, later in zip(times, times[5:], strict=False)), "six in an hour"
    for (at, outcome, _), (later, _, _) in itertools.pairwise(sent):
        assert outcome not in {Outcome.GRANTED, Outcome.TOO_SOON} or later - at >= 120 * S
    assert world.sent, "it must try at all"
