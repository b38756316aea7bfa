"""What the scripts' command lines have in common: a wrong option is one sentence and a remedy, like every other wrong input."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, NoReturn

from core.model.errors import ConfigurationError
from data_scripts.realtime_market_fetcher import key_from_text

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey


class OptionParser(argparse.ArgumentParser):
    """`parse_args` raises ConfigurationError and never ends the program."""

    def __init__(self, program: str) -> None:
        super().__init__(program, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}.", "Run it with --help for the list of options.")


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, received {text!r}")
    return value


def strategy_ids(text: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected strategy ids such as 42,43, received {text!r}") from None


def instrument_keys(text: str) -> tuple[InstrumentKey, ...]:
    try:
        return tuple(dict.fromkeys(key_from_text(part.strip()) for part in text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
