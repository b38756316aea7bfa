import pytest

from core.exits.action_text import parse_action
from core.model.exit_levels import Action


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Close position", Action.CLOSE_POSITION),
        ("Close entire position", Action.CLOSE_POSITION),
        ("close", Action.CLOSE_POSITION),
        ("CLOSE_POSITION", Action.CLOSE_POSITION),
        ("Close 100%", Action.CLOSE_POSITION),
        ("Exit all", Action.CLOSE_POSITION),
        ("Square off position.", Action.CLOSE_POSITION),
        ("Close position immediately", Action.CLOSE_IMMEDIATELY),
        ("CLOSE_IMMEDIATELY", Action.CLOSE_IMMEDIATELY),
        ("Close 25%", Action.CLOSE_25),
        ("Close 50 %", Action.CLOSE_50),
        ("Close 75%", Action.CLOSE_75),
        ("CLOSE_75%", Action.CLOSE_75),
        ("close 25.0% of position", Action.CLOSE_25),
        ("Close a quarter", Action.CLOSE_25),
        ("Close three-quarters of position", Action.CLOSE_75),
        ("50% profit - close half position", Action.CLOSE_50),
        ("100% profit - close 75% position", Action.CLOSE_75),
        ("Adjust", Action.ADJUST),
        ("monitor", Action.MONITOR),
        ("HOLD", Action.HOLD),
    ],
)
def test_texts_that_say_what_to_do(text, action):
    assert parse_action(text) is action


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Trail stop on remainder",
        "Close <level>",
        "Close 40%",
        "Close 25% or 50%",
        "Close 25% then 50%",
        "Do not close position",
        "Close if IV contracts",
        "Close half, then close position",
        "Roll or close",
        "Close short leg",
        "disclose position",
    ],
)
def test_texts_that_are_not_certain_are_refused(text):
    assert parse_action(text) is None
