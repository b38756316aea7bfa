"""Whatever stands in the rows: reading them ends, the position has a stop or that is said, and a bad row costs no other."""

import json
from dataclasses import replace
from itertools import pairwise
from math import gcd

from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.exits.action_text import parse_action
from core.exits.override_text import parse_override
from core.exits.read_levels import LevelInputs, LevelSettings, Technical, read_levels
from core.model.exit_levels import Action, ExitLevels, LevelSource
from core.model.profile import Profile, ProfileGreek
from core.model.special_levels import GreekKind
from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow
from strategies.profiles import CATEGORY_PROFILES, NAMED_PROFILES
from tests.unit.exits.builders import EXPIRY, call, position, put, stock
from tests.unit.exits.writer_rows import CATEGORIES, tree_of, written

amounts = st.one_of(st.none(), st.floats(0.01, 1e9), st.sampled_from([0.005, 1, 50, 75_00, 8_750, 1e13]))
words = st.sampled_from(
    [
        "Close 50%", "Close entire position", "Trail stop on remainder", "Adjust or exit", "", "Close 40%", "50% of max loss",
        "2.0x credit received", "50-100% of debit paid", "Loss > 12.5 with < 21 DTE", "IV expands > 50%", "Gamma risk doubles",
        "50% profit - close half position", "With 7 days to expiry", "₹1,00,000", "NaN", "-5", "x" * 300,
    ]
)  # fmt: skip
names = st.sampled_from(
    [
        "primary", "emergency", "", "scaling_25", "scaling_level_1", "level_3", "trailing", "premium_trailing", "move_to_cost",
        "lock_profit_10", "lock_profit_", "underlying_above", "underlying_below_close_5m", "underlying_below_close_0m", "theta",
        "losing", "max_holding", "delta", "gamma", "iv_above", "Iv_Down", "nonsense", "lock_profit_99999999999.99",
    ]
)  # fmt: skip


@st.composite
def level_rows(draw):
    text = draw(words)
    return LevelRow(
        draw(st.integers(100, 200)),
        1,
        draw(st.sampled_from(["profit_target", "stop_loss", "time_exit", "greek_trigger", "unheard of"])),
        draw(names),
        draw(amounts),
        draw(st.sampled_from(["price", "percentage", "dte", "greek_value", "unheard of"])),
        draw(st.sampled_from([parse_action(text), None, *Action])),
        text,
    )


json_leaves = st.one_of(words, st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.just("0.00"))
keys = st.sampled_from(
    [
        "profit_targets", "primary", "target", "target_pct", "action", "scaling", "level_1", "level_2", "profit", "trailing",
        "activate_at", "trail_by", "stop_losses", "loss_amount", "loss_pct", "trigger", "technical", "support_resistance",
        "time_stop", "time_exits", "primary_dte", "theta_decay_threshold", "dte", "greek_triggers", "delta", "gamma", "vega",
        "threshold", "condition", "profit_target", "stop_loss", "time_exit", "anything",
    ]
)  # fmt: skip
json_trees = st.recursive(
    json_leaves, lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=2), max_leaves=25
)


@st.composite
def damaged_trees(draw):
    """A tree of the builder, with some of its branches put upside down, as text that may be cut or encoded twice."""
    tree = tree_of(draw(st.sampled_from(list(CATEGORIES))), draw(st.sampled_from([525.0, 1e6])), 225.0)
    for key in draw(st.sets(st.sampled_from(list(tree)))):
        tree[key] = draw(json_trees)
    text = json.dumps(draw(st.one_of(st.just(tree), json_trees)))
    return draw(st.sampled_from([text, json.dumps(text), text[: len(text) // 2], text + "}", ""]))


texts = st.one_of(st.none(), st.text(max_size=20), damaged_trees())
risks = st.builds(
    RiskRow,
    st.just(1),
    st.one_of(st.none(), st.integers(1, 10**12)),
    amounts,
    st.one_of(st.none(), st.integers(1, 10**12)),
    st.one_of(st.none(), st.integers(1, 10**12)),
    st.one_of(st.none(), st.integers(1, 10**12)),
    amounts,
    st.one_of(st.none(), st.integers(1, 4_000)),
    texts,
    texts,
    texts,
    texts,
    texts,
)
entries = st.one_of(st.none(), st.integers(1, 200))
legs = st.one_of(
    st.builds(call, st.integers(1, 3), st.sampled_from([75, -75, 150, -40]), st.sampled_from([90, 100, 110]), entries),
    st.builds(put, st.integers(1, 3), st.sampled_from([75, -75, 300]), st.sampled_from([90, 100]), entries),
    st.builds(stock, st.integers(1, 3), st.sampled_from([75, -75]), entries),
    st.builds(
        call,
        st.just(4),
        st.sampled_from([65, -130, 70]),
        st.just(110),
        entries,
        lot=st.just(65),
        underlying=st.sampled_from(["NIFTY", "NIFTY", "BANKNIFTY"]),
    ),
    st.builds(
        call, st.just(9), st.just(-75), st.just(100), entries, expiry=st.sampled_from([EXPIRY.replace(month=11), None])
    ),
)
prices = st.one_of(st.none(), st.integers(1, 10**8))
own = Profile(
    "own", premium_trailing_percent=20, lock=((20, 0), (10, 5)), scaling=((50, Action.CLOSE_50), (40, Action.CLOSE_75)),
    losing_time_days=5, holding_days=9, trailing_arm_percent=500, trailing_peak_percent=20,
    greeks=(ProfileGreek(GreekKind.DELTA, 0.5),), own_rules=("x",),
)  # fmt: skip
overrides = st.sampled_from(
    [
        None,
        *map(
            parse_override,
            [
                "stop=5000; target=30%; trail=20%peak@10%; premium_trail=20%; cost_at=20%; scale=50%:40%; losing=5",
                "stop=2x; none=target,scale,greeks,adjust; underlying_above=1",
                "none=dte,theta,losing,hold,square_off",
                "stop=9999999; target=9999999; trail=50@9999999; lock=9999999@5; scale=25%:1,75%:9999999",
            ],
        ),
    ]
)
inputs = st.builds(
    LevelInputs,
    st.lists(legs, min_size=1, max_size=4).map(lambda made: position(*made)),
    st.sampled_from(list(CATEGORY_PROFILES.values())),
    st.one_of(st.none(), risks),
    st.lists(level_rows(), max_size=8).map(tuple),
    st.sampled_from([None, own, *NAMED_PROFILES.values()]),
    overrides,
    st.sampled_from([LevelSettings(), LevelSettings(adjust_first=None, holding_days=1, technical=Technical.CLOSE)]),
    st.one_of(st.none(), st.builds(MonitoringRow, st.just(1), prices, prices, amounts, amounts)),
    st.lists(
        st.builds(
            PlannedLeg, st.just(1), st.sampled_from(["CE", "PE", "?"]), st.sampled_from([9_000, 10_000]),
            st.sampled_from([None, EXPIRY.isoformat()]), amounts, amounts, amounts,
        ),
        max_size=4,
    ).map(tuple),
    prices,
)  # fmt: skip


@settings(max_examples=300)
@given(inputs)
def test_any_rows_are_read_and_what_protects_is_known(given_rows):
    levels = read_levels(given_rows)
    if levels.stop is None:
        event("no stop")
        assert any(note.startswith("no stop loss is in force") for note in levels.notes)
    check(levels)
    assert len(set(levels.notes)) == len(levels.notes)
    assert all(note and len(note) < 2_000 for note in levels.notes)


def check(levels: ExitLevels) -> None:
    """What the rules take for granted of every level."""
    most = levels.max_profit
    for level in (levels.stop, levels.target, levels.premium_trailing):
        assert level is None or level.amount > 0
    assert all(is_within(level, level.amount, most) for level in (levels.target, *levels.scaling) if level is not None)
    if levels.trailing is not None:
        assert levels.trailing.arm >= 0
        assert levels.trailing.distance > 0
        assert is_within(levels.trailing, levels.trailing.arm, most)
    steps = () if levels.lock is None else levels.lock.steps
    assert levels.lock is None or steps
    assert all(is_within(levels.lock, step.trigger, most) for step in steps)
    assert all(0 <= step.floor < step.trigger for step in steps)
    assert all(one.trigger < other.trigger and one.floor < other.floor for one, other in pairwise(steps))
    shares = [{Action.CLOSE_25: 25, Action.CLOSE_50: 50, Action.CLOSE_75: 75}[step.action] for step in levels.scaling]
    assert shares == sorted(set(shares))
    assert [step.amount for step in levels.scaling] == sorted(step.amount for step in levels.scaling)
    assert all(step.amount > 0 for step in levels.scaling)
    assert all(greek.threshold > 0 for greek in levels.greeks)
    assert all(greek.reference is None or greek.reference > 0 for greek in levels.greeks)
    assert all(level.price > 0 for level in levels.underlying)
    assert levels.losing_time is None or levels.stop is not None
    if levels.adjustment is not None:
        assert 0 < levels.adjustment.first < levels.adjustment.last


def is_within(level, amount: int, most: int | None) -> bool:
    """No row makes a level that the legs cannot reach; the operator may."""
    return most is None or amount <= most or level.source is LevelSource.OPERATOR


GOOD = (
    LevelRow(1, 1, "stop_loss", "primary", 100_00, "price", Action.CLOSE_POSITION, "Close position"),
    LevelRow(2, 1, "profit_target", "primary", 40, "percentage", Action.CLOSE_50, "Close 50%"),
    LevelRow(3, 1, "time_exit", "primary", 3, "dte", Action.CLOSE_POSITION, "Close position"),
)


@settings(max_examples=100)
@given(st.lists(level_rows(), max_size=10), texts, texts, st.permutations(range(13)))
def test_a_bad_row_costs_no_other_row_its_protection(bad, tree, column, order):
    spread = position(call(1, 150, 100, 5), call(2, -150, 110, 2))
    clean = RiskRow(1, max_capital_at_risk=225_00)
    rows = [*GOOD, *(replace(row, level_id=row.level_id + 1_000) for row in bad)]
    mixed = tuple(rows[index] for index in order if index < len(rows))
    shown = GOOD if set(GOOD) <= set(mixed) else tuple(row for row in GOOD if row in mixed)
    category = CATEGORY_PROFILES["directional"]
    damaged = replace(clean, exit_conditions=tree, scaling_exits=column, greek_triggers=column, technical_stops=tree)
    found = read_levels(LevelInputs(spread, category, damaged, mixed))
    alone = read_levels(LevelInputs(spread, category, clean, shown))
    for row, field in zip(GOOD, ("stop", "target", "dte"), strict=True):
        if row in mixed:
            assert getattr(found, field) == getattr(alone, field)
    if GOOD[1] in mixed:
        assert found.target_action is Action.CLOSE_50


@given(st.sampled_from(list(CATEGORIES)), st.integers(2, 20), st.sampled_from([1, 75]))
def test_every_amount_of_the_builders_rows_grows_with_the_lots(category, lots, stored_units):
    """Stored for one unit or for one lot: what a lot has, times the lots."""

    def of(number):
        made = (call(1, -75 * number, 100, 60), call(2, 75 * number, 200, 20), put(3, -75 * number, 90, 40))
        rows = written(category, 80 * stored_units, 90 * stored_units)
        return read_levels(LevelInputs(position(*made), CATEGORY_PROFILES["neutral"], rows.risk, rows.levels))

    def figures(levels):
        amounts_of = [levels.stop.amount, levels.target.amount, levels.trailing.arm, levels.trailing.distance]
        return [*amounts_of, *(step.amount for step in levels.scaling), levels.adjustment.first]

    for one, many in zip(figures(of(1)), figures(of(lots)), strict=True):
        assert abs(one * lots - many) <= lots


@given(
    st.sampled_from(["stop_loss", "profit_target", "trailing", "move_to_cost", "scaling_50"]),
    st.integers(1, 5),
    st.integers(900, 1_100),
)
def test_a_rupee_level_of_a_row_is_as_it_stands_the_whole_or_none(kind, lots, share):
    """In thousandths of the most that can be made (₹525 a lot) or lost (₹225)."""
    spread = position(call(1, 75 * lots, 100, 5), call(2, -75 * lots, 110, 2))
    exit_type, name = (kind, "primary") if kind in {"stop_loss", "profit_target"} else ("profit_target", kind)
    most = 225_00 if kind == "stop_loss" else 525_00
    asked = most * share // 1_000
    rows = (LevelRow(1, 1, exit_type, name, asked, "price", None, ""),)
    levels = read_levels(LevelInputs(spread, CATEGORY_PROFILES["directional"], rows=rows))
    found = {
        "stop_loss": lambda: levels.stop.amount if levels.stop.source is LevelSource.LEVEL_ROW else None,
        "profit_target": lambda: levels.target.amount if levels.target.source is LevelSource.LEVEL_ROW else None,
        "trailing": lambda: levels.trailing and levels.trailing.arm,
        "move_to_cost": lambda: levels.lock and levels.lock.steps[0].trigger,
        "scaling_50": lambda: levels.scaling[0].amount if levels.scaling else None,
    }[kind]()
    assert found == (min(asked, most) * lots if asked * 20 <= most * 21 else None)
    assert any("is beyond the max" in note for note in levels.notes) is (asked > most)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([(75, 65), (250, 1), (35, 35)]))
def test_lots_are_counted_each_by_its_own_size(near, far, sizes):
    one, other = (call(1, -sizes[0] * near, 100, 5, lot=sizes[0]), call(2, sizes[1] * far, 110, 8, lot=sizes[1]))
    rows = (LevelRow(1, 1, "stop_loss", "primary", 7_00, "price", None, ""),)
    levels = read_levels(LevelInputs(position(one, other), Profile("bare"), rows=rows))
    assert levels.stop.note == "₹7.00 per lot"
    assert levels.stop.amount == 7_00 * gcd(near, far)
