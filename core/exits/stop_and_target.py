"""The stop and the target of a position: the first source with a usable one wins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.action_text import parse_action
from core.exits.level_amounts import asked_of, named
from core.exits.partial_close import PERCENT_OF
from core.model.exit_levels import FULL_EXITS, Action, AmountLevel, LevelSource
from core.model.money import rupees_text
from core.model.override import Kind
from core.model.profile import Asked, Base

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.condition_words import Sentence
    from core.exits.level_sources import Sources
    from core.model.trade_rows import LevelRow

DEBIT_TEXT_TARGET: Final = 7_500
"""₹75: what the strategy builder stores for the text "50–100 % of debit" (trap 4)."""
LEAST_TARGET_PERCENT: Final = 5
"""An amount below this share of the premium is no target of a position with unlimited profit (trap 4)."""
_UNREAD_STOP: Final = Asked(50)
"""Per cent that the strategy builder stores where its stop is a sentence and not a number (trap 2)."""


class _Candidate(NamedTuple):
    """`action` None: nothing is said, or nothing certain."""

    level: AmountLevel
    asked: Asked
    name: str
    action: Action | None = None
    action_text: str = ""


def stop_of(sources: Sources) -> AmountLevel | None:
    """A stop far beyond a finite max loss could never fire and gives way, but for the operator's; if none is better it stays,
    and the note says so."""
    if sources.is_off(Kind.STOP):
        sources.note("stop loss: switched off by the operator's override; nothing limits the loss")
        return None
    beyond: AmountLevel | None = None
    for level in _stops(sources):
        amount = sources.amounts.within(level.amount, "stop", level.source, is_loss=True)
        if amount is not None:
            return replace(level, amount=amount)
        beyond = level
    if beyond is not None:
        sources.note(f"no source has a stop within the max loss: {rupees_text(beyond.amount)} stays, and cannot fire")
    return beyond


def _stops(sources: Sources) -> Iterator[AmountLevel]:
    yield from _asked(sources, sources.override.stop, LevelSource.OPERATOR, is_loss=True)
    yield from _multiple_of_credit(sources)
    for row in sources.rows.stops:
        note_action(sources, row, "a stop closes the whole position")
        yield from _level(sources.amounts.of_row(row, is_loss=True), LevelSource.LEVEL_ROW)
    risk = sources.inputs.risk
    if risk is not None and risk.stop_percent:
        yield from _asked(sources, Asked(abs(risk.stop_percent)), LevelSource.RISK_COLUMN, is_loss=True)
    for sentence in sources.tree.stops:
        yield from _asked(sources, sentence.asked, LevelSource.CONDITIONS, sentence.note, is_loss=True)
    for profile, source in sources.inputs.profiles:
        if profile.stop_percent is not None:
            yield from _asked(sources, Asked(profile.stop_percent, profile.stop_base), source, is_loss=True)


def _multiple_of_credit(sources: Sources) -> Iterator[AmountLevel]:
    """Trap 2: "2.0x credit" of unlimited loss is stored as 50 per cent and a max loss of 0. The sentence is what was meant.

    A row or a column with any other number was written by somebody else, and comes first as usual.
    """
    risk, amounts = sources.inputs.risk, sources.amounts
    if risk is None or risk.max_capital_at_risk or not amounts.payoff.is_loss_unlimited or amounts.credit is None:
        return
    said = next((sentence for sentence in sources.tree.stops if sentence.asked.base is Base.CREDIT), None)
    stored = [asked_of(row) for row in sources.rows.stops]
    if risk.stop_percent:
        stored.append(Asked(abs(risk.stop_percent)))
    if said is None or not stored or any(asked != _UNREAD_STOP for asked in stored):
        return
    amount, how = amounts.of(said.asked, is_loss=True)
    half, of_premium = amounts.of(_UNREAD_STOP, is_loss=True)
    if amount != half:
        sources.note(
            f"stop {rupees_text(amount or 0)}, {how} as exit_conditions say it, not {rupees_text(half or 0)}, {of_premium}: "
            "the builder stores that where its stop is a sentence"
        )
    yield from _level((amount, how), LevelSource.CONDITIONS)


def target_of(sources: Sources) -> tuple[AmountLevel | None, Action]:
    """The target and what it closes. One beyond max profit, or that means nothing on unlimited profit, gives way."""
    if sources.is_off(Kind.TARGET):
        sources.note("profit target: switched off by the operator's override")
        return None, Action.CLOSE_POSITION
    for candidate in _targets(sources):
        level, action = candidate.level, candidate.action
        nonsense = nonsense_of(level.amount, candidate.asked, sources)
        if nonsense:
            sources.note(f"target {rupees_text(level.amount)} ({level.source}) not used: {nonsense}")
            continue
        amount = sources.amounts.within(level.amount, "target", level.source)
        if amount is None:
            continue
        level = replace(level, amount=amount)
        if not candidate.action_text:
            return level, Action.CLOSE_POSITION
        if action is None:
            sources.note(f"{candidate.name}: action {candidate.action_text!r} is not clear; closes the position")
        elif action not in FULL_EXITS and action not in PERCENT_OF:
            sources.note(f"{candidate.name}: {action.value} closes nothing; the level only alerts")
        return level, action or Action.CLOSE_POSITION
    return None, Action.CLOSE_POSITION


def _targets(sources: Sources) -> Iterator[_Candidate]:
    override, risk, tree = sources.override, sources.inputs.risk, sources.tree
    if override.target is not None:
        yield from _candidates(sources, override.target, LevelSource.OPERATOR)
    for row in sources.rows.targets:
        for level in _level(sources.amounts.of_row(row), LevelSource.LEVEL_ROW):
            yield _Candidate(level, asked_of(row) or Asked(0), named(row), row.action, row.action_text)
    if risk is not None and risk.profit_target:
        text = tree.target_text if _is_same(risk.profit_target, tree.targets) else ""
        yield from _candidates(sources, Asked(risk.profit_target, Base.STORED), LevelSource.RISK_COLUMN, text)
    if risk is not None and risk.profit_target_percent:
        yield from _candidates(sources, Asked(abs(risk.profit_target_percent)), LevelSource.RISK_COLUMN)
    for sentence in tree.targets:
        yield from _candidates(sources, sentence.asked, LevelSource.CONDITIONS, tree.target_text, sentence.note)
    for profile, source in sources.inputs.profiles:
        if profile.target_percent is not None:
            yield from _candidates(sources, Asked(profile.target_percent, profile.target_base), source)


def _candidates(
    sources: Sources, asked: Asked, source: LevelSource, action_text: str = "", note: str = ""
) -> Iterator[_Candidate]:
    for level in _asked(sources, asked, source, note):
        yield _Candidate(level, asked, str(source), parse_action(action_text), action_text)


def _is_same(column: float, targets: tuple[Sentence, ...]) -> bool:
    """Whether the tree says the same amount as the column, so that its action is the column's: within half a rupee."""
    return any(
        sentence.asked.base is Base.STORED and abs(sentence.asked.value - column) <= _HALF_A_RUPEE
        for sentence in targets
    )


_HALF_A_RUPEE: Final = 50


def nonsense_of(amount: int, asked: Asked, sources: Sources) -> str:
    """Why no profit of this amount (paise) can be meant where profit is unlimited, "" where it can. Shares always can."""
    payoff, premium = sources.amounts.payoff, sources.amounts.premium
    if asked.base is not Base.STORED or not payoff.is_profit_unlimited:
        return ""
    if asked.value == DEBIT_TEXT_TARGET:
        return "₹75 stands for the text '50–100 % of debit'"
    if premium is not None and amount * 100 < LEAST_TARGET_PERCENT * premium:
        return f"below {LEAST_TARGET_PERCENT} % of the premium, with unlimited profit"
    return ""


def note_action(sources: Sources, row: LevelRow, what: str) -> None:
    """Say that a row whose rule closes everything asks for something else."""
    if row.action_text and row.action is not None and row.action not in FULL_EXITS:
        sources.note(f"{named(row)}: action {row.action_text!r} is not read: {what}")


def _asked(
    sources: Sources, asked: Asked | None, source: LevelSource, note: str = "", *, is_loss: bool = False
) -> Iterator[AmountLevel]:
    if asked is not None:
        amount, how = sources.amounts.of(asked, is_loss=is_loss)
        yield from _level((amount, f"{how} ({note})" if note else how), source)


def _level(read: tuple[int | None, str], source: LevelSource) -> Iterator[AmountLevel]:
    amount, how = read
    if amount is not None and amount > 0:
        yield AmountLevel(amount, source, how)
