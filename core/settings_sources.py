"""Where options come from: environment before `.env`, each name checked, secrets also as files."""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from core.model.errors import ConfigurationError

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "SUPABASE_URL": ("NEXT_PUBLIC_SUPABASE_URL",),
    "SUPABASE_KEY": (
        "SUPABASE_ANON_KEY",
        "NEXT_PUBLIC_SUPABASE_ANON_KEY",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_SERVICE_KEY",
    ),
    "LADDER_RUNGS_BPS": ("LADDER_RUNGS",),
}
"""Other names of an option. Where several are set, the option's own name wins, then the first alias."""

FROM_FILE: Final = frozenset(
    {
        "DHAN_CLIENT_ID",
        "DHAN_ACCESS_TOKEN",
        "DHAN_PIN",
        "DHAN_TOTP_SECRET",
        "SUPABASE_KEY",
        "SUPABASE_ROLE_TOKEN",
        "REDIS_URL",
    }
)
"""Options that `<name>_FILE` may hold the path of."""

PREFIXES: Final = (
    "ABSENCE_",
    "ATTEMPTS_PER_LEG",
    "DECISION_LOG",
    "DECISION_SAMPLE",
    "DEFAULT_PROFILE",
    "DHAN_",
    "EXIT_",
    "HARD_STOP_",
    "INSTRUMENTS_MAX",
    "INTRADAY_",
    "LADDER_",
    "LEG_SETTLE",
    "LIMIT_ACCOUNT",
    "LIMIT_PORTFOLIO",
    "LIMIT_STRATEGY",
    "LIMIT_UNDERLYING",
    "LIVE_TRADING",
    "LOG_DIR",
    "LOG_FORM",
    "LOG_LE",
    "MARKET_CAL",
    "MARKET_HOUR",
    "MARK_STALE",
    "NEXT_PUBLIC_SUPABASE_",
    "ORDERS_PER_",
    "ORDER_CONNECT",
    "ORDER_TIMEOUT",
    "POSITION_MAX_AGE",
    "POSITION_WATCH",
    "QUIET_VERIFY",
    "RECORD_DIR",
    "REDIS_",
    "RUNG_",
    "SQUARE_OFF_",
    "STATE_",
    "STOP_CONFIRM",
    "STORE_POLL",
    "SUPABASE_",
    "TECHNICAL_LE",
    "TRADES_",
    "UNDERLYING_STILL",
    "WORKING_MAX",
)
"""A name that begins like one of ours and is not one of ours is a typing error, not a stranger."""

# Set by systemd, by container links and by the contract suite of the stores; never read here.
_FOREIGN: Final = re.compile(r"STATE_DIRECTORY|REDIS_PORT_.*|REDIS_SERVICE_.*|REDIS_PORT=tcp:.*|SUPABASE_TEST_\w+")
_TOKEN: Final = "DHAN_ACCESS_TOKEN"  # noqa: S105  the name of an option
_TOKEN_FILE: Final = f"{_TOKEN}_FILE"
_OF_ONE: Final = re.compile(r"(EXIT_PROFILE|EXIT_OVERRIDE)_(\d{1,18})", re.ASCII)
"""Options of one strategy; their field is the plural and holds one value for each id."""
_MAX_SECRET_BYTES: Final = 16_384
_SYSTEMD_MODE: Final = 0o440


def gather(environ: Mapping[str, str], env_file: Path | None, names: Iterable[str]) -> dict[str, object]:
    """Values by field name (lower case) from the environment, then from `env_file`; empty values count as not set.

    `names` are the options' own names in capitals. Raises ConfigurationError for an unknown name, a contradiction, an
    unreadable or unsafe file.
    """
    valid = _valid_names(names)
    values: dict[str, object] = {}
    of_one: dict[str, dict[int, str]] = {}
    from_file = {} if env_file is None else read_env_file(env_file)
    for source, place in ((from_file, f"{env_file}"), (environ, "the environment")):
        found = _own_values(source, valid, place, of_one)
        values.update(_without_files(found, place, Path(environ.get("CREDENTIALS_DIRECTORY", ""))))
    values.update(of_one)
    return values


def read_env_file(path: Path) -> dict[str, str]:
    """The names and values of a `.env` file; {} when there is none. Nothing in it is expanded.

    Raises ConfigurationError for a line that is no assignment, by its number, never by its content.
    """
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__
        raise ConfigurationError(f"{path} cannot be read ({reason}).", "Make it a readable UTF-8 text file.") from None
    for binding in bindings:
        if binding.error:
            line = binding.original.line
            raise ConfigurationError(f"{path} line {line} is not NAME=value.", "Correct the line or put # before it.")
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def _valid_names(names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Each accepted name → (the option's own name, its rank: 0 wins)."""
    valid = {name: (name, 0) for name in names if name not in {"EXIT_PROFILES", "EXIT_OVERRIDES"}}
    for own, others in ALIASES.items():
        valid |= {other: (own, rank) for rank, other in enumerate(others, start=1)}
    return valid | {f"{name}_FILE": (f"{name}_FILE", 0) for name in FROM_FILE}


def _own_values(
    source: Mapping[str, str], valid: Mapping[str, tuple[str, int]], place: str, of_one: dict[str, dict[int, str]]
) -> dict[str, str]:
    best: dict[str, tuple[int, str]] = {}
    spelling: dict[str, str] = {}
    for raw_name, raw_value in source.items():
        name, value = raw_name.upper(), raw_value.strip()
        if _FOREIGN.fullmatch(name) or _FOREIGN.fullmatch(f"{name}={value}"):
            continue
        if found := _OF_ONE.fullmatch(name):
            if value:
                of_one.setdefault(f"{found[1].lower()}s", {})[int(found[2])] = value
            continue
        if name not in valid:
            _refuse_if_ours(raw_name, valid, place)
            continue
        if not value:
            continue
        if spelling.setdefault(name, value) != value:
            raise ConfigurationError(
                f"{name} is set twice in {place}, in different spellings and with different values.",
                "Keep one of them.",
            )
        own, rank = valid[name]
        if own not in best or rank < best[own][0]:
            best[own] = (rank, value)
    return {own: value for own, (_, value) in best.items()}


def _refuse_if_ours(name: str, valid: Iterable[str], place: str) -> None:
    if not name.upper().startswith(PREFIXES):
        return
    near = difflib.get_close_matches(name.upper(), list(valid), n=1, cutoff=0.0)[0]
    raise ConfigurationError(
        f"{name} in {place} is not an option of this program.", f"Did you mean {near}? Correct or remove it."
    )


def _without_files(found: Mapping[str, str], place: str, credentials: Path) -> dict[str, object]:
    """The values of one source by field name, each `…_FILE` replaced by the content of its file."""
    values: dict[str, object] = {name.lower(): text for name, text in found.items() if not _is_file_name(name)}
    for file_name in filter(_is_file_name, found):
        name = file_name.removesuffix("_FILE")
        if name in found:
            raise ConfigurationError(f"{name} and {file_name} are both set in {place}.", "Keep one of them.")
        values[name.lower()] = read_secret(Path(found[file_name]).expanduser(), file_name, credentials)
    return values


def _is_file_name(name: str) -> bool:
    return name.endswith("_FILE")


def read_secret(path: Path, variable: str, credentials: Path = Path()) -> str:
    """The secret in a file that only its owner may read, without surrounding blanks.

    A file in `credentials` (systemd's CREDENTIALS_DIRECTORY) may have mode 0440: its group bit shows the access list
    that lets the service's user in. Raises ConfigurationError naming the variable and the file, never the content.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        is_credential = path.parent == credentials and credentials.is_absolute()
        if mode & 0o077 & ~(_SYSTEMD_MODE if is_credential else 0):
            raise ConfigurationError(
                f"{variable}: {path} may be read by others (mode {mode:04o}).", f"Run: chmod 600 {path}"
            )
        content = path.read_bytes()[: _MAX_SECRET_BYTES + 1]
        text = content.decode("ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: {path} cannot be read ({error.strerror}).", f"Create the file, or remove {variable}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable}: {path} is not ASCII text.", "Write only the secret into it.") from None
    if not text or len(content) > _MAX_SECRET_BYTES:
        problem = "is empty" if not text else f"is larger than {_MAX_SECRET_BYTES} bytes"
        raise ConfigurationError(f"{variable}: {path} {problem}.", "Write only the secret into it.")
    return text


@dataclass(frozen=True, slots=True)
class FoundTokens:
    """The access tokens that stand in the sources now, the one that a start would take first. Kept out of the repr.

    `problems`: what could not be read, each with its remedy and never with any content.
    """

    tokens: tuple[str, ...] = field(repr=False)
    problems: tuple[str, ...]


class TokenSource:
    """Looks again where the access token came from: `.env` and the files that DHAN_ACCESS_TOKEN_FILE names.

    The operator may change them while the program runs; the environment itself is fixed then. Only the token is read: a
    half-edited line about something else must not keep a fresh token out. Blocking file reads: call it in a thread.
    """

    def __init__(self, environ: Mapping[str, str], env_file: Path | None) -> None:
        self._fixed = {name.upper(): value.strip() for name, value in environ.items() if name.upper() in _TOKEN_NAMES}
        self._credentials = Path(environ.get("CREDENTIALS_DIRECTORY", ""))
        self._env_file = env_file
        self._seen: tuple[object, ...] | None = None
        self._files: tuple[Path, ...] = ()

    def look(self) -> FoundTokens | None:
        """What stands there now; None when nothing has changed since the last look. Never raises ConfigurationError."""
        before = self._stamps()
        if before == self._seen:
            return None
        found = self._read()
        # Stamped before it was read: what is written meanwhile is seen next time. What had problems is read again.
        self._seen = None if found.problems else before
        return found

    def _read(self) -> FoundTokens:
        tokens: list[str] = []
        problems: list[str] = []
        files: list[Path] = []
        in_file: dict[str, str] = {}
        try:
            named = {} if self._env_file is None else read_env_file(self._env_file)
            in_file = {name.upper(): value.strip() for name, value in named.items() if name.upper() in _TOKEN_NAMES}
        except ConfigurationError as error:
            problems.append(str(error))
        for source in (self._fixed, in_file):
            if source.get(_TOKEN):
                tokens.append(source[_TOKEN])
            elif source.get(_TOKEN_FILE):
                path = Path(source[_TOKEN_FILE]).expanduser()
                files.append(path)
                try:
                    tokens.append(read_secret(path, _TOKEN_FILE, self._credentials))
                except ConfigurationError as error:
                    problems.append(str(error))
        self._files = tuple(files)
        usable = tuple(dict.fromkeys(token for token in tokens if re.fullmatch(r"[!-~]+", token)))
        if len(usable) < len(set(tokens)):
            problems.append(f"{_TOKEN}: expected printable ASCII without blanks. Copy the token again, whole.")
        return FoundTokens(usable, tuple(problems))

    def _stamps(self) -> tuple[object, ...]:
        """Changes when a file is written, replaced, removed, or gets other permissions."""
        paths = (*((self._env_file,) if self._env_file is not None else ()), *self._files)
        return tuple((path, _stamp(path)) for path in paths)


_TOKEN_NAMES: Final = frozenset({_TOKEN, _TOKEN_FILE})


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
