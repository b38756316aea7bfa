"""An operator's wish to reset limits, and its answer, in the state directory."""

import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import limit_requests
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.house_keeping import HouseKeeping
from core.limit_requests import ResetRequest, answer, ask, read_request, take_answer, waiting
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import LimitTripped
from core.model.signals import Mode
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from core.options import parse
from core.position_cache_manager import PositionCacheManager
from data_scripts import reset_limits
from tests.unit.exits.builders import leg, position

WISHES = [ResetRequest(), ResetRequest(Scope.PORTFOLIO), ResetRequest(Scope.UNDERLYING, "NIFTY")]


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_comes_across_and_is_answered(tmp_path, wish):
    folder = tmp_path / "new"
    asked = ask(folder, wish)
    assert waiting(folder) == [asked]
    assert read_request(asked) == wish
    answer(asked, ["done", "₹0.00"])
    assert waiting(folder) == []
    assert take_answer(asked) == ("done", "₹0.00")
    assert take_answer(asked) is None
    assert list(folder.iterdir()) == []


def test_both_files_are_their_owners_only(tmp_path):
    asked = ask(tmp_path, ResetRequest())
    assert asked.stat().st_mode & 0o777 == 0o600
    answer(asked, [])
    (said,) = tmp_path.iterdir()
    assert said.stat().st_mode & 0o777 == 0o600


def test_a_second_wish_replaces_neither_the_first_nor_its_answer(tmp_path):
    asked = [ask(tmp_path, wish) for wish in WISHES]
    assert waiting(tmp_path) == asked
    assert [read_request(each) for each in asked] == WISHES
    answer(asked[0], ["first"])
    assert waiting(tmp_path) == asked[1:]
    answer(asked[1], ["second"])
    later = ask(tmp_path, WISHES[0])
    assert (take_answer(asked[0]), take_answer(asked[1])) == (("first",), ("second",))
    assert waiting(tmp_path) == [asked[2], later]


def test_an_answer_that_nobody_has_fetched_goes_after_an_hour(tmp_path):
    old, young = tmp_path / "reset_limits.1.answer", tmp_path / "reset_limits.2.answer"
    for path, age_s in ((old, 3_660), (young, 3_540)):
        path.write_text("[]")
        os.utime(path, (time.time() - age_s,) * 2)
    ask(tmp_path, ResetRequest())
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"scope": "world", "name": ""}', '{"scope": null}', '{"scope": 5, "name": ""}']
)
def test_what_is_no_wish_is_none(tmp_path, text):
    request = tmp_path / "reset_limits.1.json"
    request.write_text(text)
    assert read_request(request) is None


def test_no_other_file_is_read_through_a_link(tmp_path):
    (tmp_path / "secret").write_text('{"scope": null, "name": ""}')
    link = tmp_path / "reset_limits.1.json"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        read_request(link)


@pytest.mark.parametrize("text", ["{}", "x"])
def test_an_answer_that_is_none_says_nothing(tmp_path, text):
    (tmp_path / "reset_limits.1.answer").write_text(text)
    assert take_answer(tmp_path / "reset_limits.1.json") == ()


class TestMonitor:
    def house(self, folder: Path, *limits, options=("--execute",)):
        engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.LIVE, RuleSetup(limits=limits))
        engine.begin_at(1_795_156_200 * 10**9)
        trip = LimitTripped(Scope.PORTFOLIO, "", LimitKind.MAX_LOSS, -100, -200, engine.desk.utc_ns)
        engine.desk.limit_records.append(trip)
        parts = SimpleNamespace(engine=engine, settings=SimpleNamespace(state_dir=folder), options=parse(list(options)))
        return HouseKeeping(parts, lambda _: None, 0), engine  # type: ignore[arg-type]

    def test_it_answers_what_it_has_reset(self, tmp_path):
        house, engine = self.house(tmp_path, ScopeLimit(Scope.PORTFOLIO, max_loss=100))
        house.take_limit_reset()
        assert list(tmp_path.iterdir()) == [], "nobody has asked"
        asked = ask(tmp_path, ResetRequest(Scope.PORTFOLIO))
        house.take_limit_reset()
        assert waiting(tmp_path) == []
        (text,) = take_answer(asked)
        assert text.startswith("portfolio: loss limit had fired at 20 Nov 12:00:00 IST")
        commands = engine.handle(ev.StopRequested(0))
        assert len(commands) == 2, "written down, and told"

    @pytest.mark.parametrize(
        ("limits", "text", "said"),
        [
            ((), '{"scope": null, "name": ""}', "no limit is set: there is nothing to reset"),
            (
                (ScopeLimit(Scope.ACCOUNT, max_loss=100),),
                '{"scope": null, "name": ""}',
                "no limit has fired there: there is nothing to reset",
            ),
            ((), "nonsense", "the request was not understood: nothing was reset"),
        ],
    )
    def test_it_answers_also_when_there_is_nothing_to_do(self, tmp_path, limits, text, said):
        house, _ = self.house(tmp_path, *limits)
        request = tmp_path / "reset_limits.1.json"
        request.write_text(text)
        house.take_limit_reset()
        assert take_answer(request) == (said,)

    def test_two_operators_are_both_answered_and_a_wish_that_cannot_be_read_holds_up_nobody(self, tmp_path, caplog):
        house, _ = self.house(tmp_path, ScopeLimit(Scope.PORTFOLIO, max_loss=100))
        (tmp_path / "reset_limits.0.json").symlink_to(tmp_path / "nothing")
        first = ask(tmp_path, ResetRequest(Scope.ACCOUNT))
        second = ask(tmp_path, ResetRequest(Scope.PORTFOLIO))
        house.take_limit_reset()
        assert take_answer(first) == ("no limit has fired there: there is nothing to reset",)
        assert take_answer(second)[0].startswith("portfolio: loss limit had fired")
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "reset_limits.0.json cannot be read or answered" in warning.getMessage()

    @pytest.mark.parametrize(
        ("wish", "said"),
        [
            (ResetRequest(Scope.UNDERLYING, "NIFT"), "refused: there is no limit on underlying NIFT; there are: NIFTY"),
            (ResetRequest(Scope.STRATEGY, "9"), "refused: there is no limit on strategy 9; there are: 1, 2"),
            (ResetRequest(Scope.UNDERLYING, "NIFTY"), "no limit has fired there: there is nothing to reset"),
            (ResetRequest(Scope.STRATEGY), "no limit has fired there: there is nothing to reset"),
        ],
    )
    def test_a_name_that_has_no_limit_is_refused_with_those_that_have(self, tmp_path, wish, said):
        limits = (ScopeLimit(Scope.UNDERLYING, max_loss=10**9), ScopeLimit(Scope.STRATEGY, max_loss=10**9))
        house, engine = self.house(tmp_path, *limits)
        for strategy_id in (1, 2):
            held = position(leg(strategy_id, 75, 100), strategy_id=strategy_id)
            engine.handle(ev.PositionOpened(held, ExitLevels(), 0))
        request = ask(tmp_path, wish)
        house.take_limit_reset()
        assert take_answer(request) == (said,)

    def test_the_tool_ends_with_2_when_it_is_refused(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("STATE_DIR", str(tmp_path))
        monkeypatch.setattr(reset_limits, "ENV_FILE", None)
        text = "refused: there is no limit on underlying NIFT; there are: NIFTY"
        monkeypatch.setattr(reset_limits, "wait_for_answer", lambda *_: (text,))
        assert reset_limits.main(["--scope", "underlying", "--name", "nift"]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", f"{text}\nGive --name as it is listed there.\n")

    def test_a_plan_leaves_the_wish_where_it_is(self, tmp_path):
        house, _ = self.house(tmp_path, options=("--plan",))
        asked = ask(tmp_path, ResetRequest())
        house.take_limit_reset()
        assert waiting(tmp_path) == [asked]

    def test_a_folder_that_cannot_be_used_is_told_once_until_it_can(self, tmp_path, monkeypatch, caplog):
        house, _ = self.house(tmp_path)
        asked = ask(tmp_path, ResetRequest())
        with monkeypatch.context() as broken:
            broken.setattr(limit_requests, "answer", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
            house.take_limit_reset()
            house.take_limit_reset()
        told = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(told) == 1
        assert "no space" in told[0].getMessage()
        house.take_limit_reset()
        assert take_answer(asked)
