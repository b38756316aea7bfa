"""A private PostgreSQL cluster in a folder of its own, on a free loopback port."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import asyncpg

SUPERUSER: Final = "postgres"
TEMPLATE: Final = "trade_template"
TRADE_TABLES: Final = Path(__file__).with_name("trade_tables.sql")

_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
wal_level = logical
max_replication_slots = 64
max_wal_senders = 16
max_connections = 100
shared_buffers = 32MB
fsync = off
full_page_writes = off
max_wal_size = 256MB
timezone = UTC
log_timezone = UTC
"""

# PostgreSQL 15.20 and its sisters load an output plugin only when this setting names it. Older servers refuse the setting.
_PLUGIN_SETTING: Final = "output_plugin_libraries"
_PLUGINS: Final = "pgoutput, test_decoding, wal2json"

# Its input is a pipe that only this process holds open: the pipe ends with the process, however that dies.
_WATCHDOG: Final = 'cat >/dev/null; "$1" stop -D "$2/data" -m immediate -s >/dev/null 2>&1; rm -rf "$2"'

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own in it
_ROOM_BYTES: Final = 1 << 30

_START_ATTEMPTS: Final = 3
_COMMAND_TIMEOUT_S: Final = 60
_DROP_ATTEMPTS: Final = 100
_DROP_PAUSE_S: Final = 0.05


class Unavailable(Exception):  # noqa: N818 - it is a reason to skip, not a fault
    """PostgreSQL cannot be run here; the text says what is missing."""


class Cluster:
    """One running server. Made by `start_cluster`; `close` stops it and removes its folder."""

    def __init__(self, folder: Path, binaries: Path, user: str | None) -> None:
        self.folder = folder
        self.port = 0
        self._binaries = binaries
        self._user = user
        self._watchdog: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str) -> str:
        """Where a database is, as the superuser. No TLS: the driver would look for keys in the home folder."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def create_database(self, name: str, template: str = TEMPLATE) -> None:
        """Make a copy of `template`: by default one with the trade tables, empty."""
        await self._as_superuser(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    async def drop_database(self, name: str) -> None:
        """Cut every connection to the database, drop its replication slots, and drop it."""
        for attempt in range(_DROP_ATTEMPTS):
            try:
                await self._as_superuser(
                    f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{name}'",  # noqa: S608
                    f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
                )
            except asyncpg.ObjectInUseError:
                # A process that reads a slot takes a moment to end.
                if attempt == _DROP_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(_DROP_PAUSE_S)
            else:
                return

    async def stop(self, mode: str = "fast") -> None:
        """The database goes away: `fast` ends its connections, `immediate` is a crash."""
        await asyncio.to_thread(self.stop_now, mode)

    async def start(self) -> None:
        """The database comes back, on the same port."""
        await asyncio.to_thread(self.start_now)

    def stop_now(self, mode: str = "fast") -> None:
        """`stop`, for callers without an event loop."""
        self.run("pg_ctl", "stop", "-D", self._data, "-m", mode, "-w", "-s")

    def start_now(self) -> None:
        """`start`, for callers without an event loop."""
        log = str(self.folder / "server.log")
        options = f"-p {self.port} -k {self.folder}"
        self.run("pg_ctl", "start", "-D", self._data, "-l", log, "-o", options, "-w", "-s")

    def sql(self, text: str, database: str = SUPERUSER) -> str:
        """Run SQL text in one session and return what it prints. Raises Unavailable with the server's words."""
        return self.run(
            "psql",
            *("-h", str(self.folder), "-p", str(self.port), "-U", SUPERUSER, "-d", database),
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            stdin=text,
        )

    def run(self, program: str, *arguments: str, stdin: str = "") -> str:
        """Run one of PostgreSQL's programs as the user that owns the folder."""
        command = (str(self._binaries / program), *arguments)
        try:
            # Output goes to files: a server that pg_ctl started keeps an inherited pipe open for its whole life.
            with (self.folder / "out").open("w+") as out, (self.folder / "err").open("w+") as err:
                done = subprocess.run(
                    command,
                    input=stdin,
                    stdout=out,
                    stderr=err,
                    text=True,
                    check=False,
                    cwd=self.folder,
                    user=self._user,
                    group=_group_of(self._user),
                    extra_groups=None if self._user is None else (),
                    timeout=_COMMAND_TIMEOUT_S,
                )
                out.seek(0)
                err.seek(0)
                printed, complaint = out.read(), err.read()
        except (OSError, subprocess.SubprocessError) as e:
            as_whom = f" as user {self._user}" if self._user else ""
            raise Unavailable(f"{program} cannot be run{as_whom}: {e}") from e
        if done.returncode != 0:
            raise Unavailable(f"{program} {' '.join(arguments[:1])} failed: {(complaint or printed).strip()[-500:]}")
        return printed

    def initialise(self) -> None:
        """Make the data folder and its settings."""
        self.run("initdb", "-D", self._data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = _SETTINGS
        with suppress(Unavailable):  # The question fails when the server does not know the setting.
            self.run("postgres", "-C", _PLUGIN_SETTING, "-D", self._data)
            settings += f"{_PLUGIN_SETTING} = '{_PLUGINS}'\n"
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)

    def start_on_free_port(self) -> None:
        """Start; another port when somebody took the first one in between. Raises Unavailable."""
        self._watchdog = subprocess.Popen(
            ("sh", "-c", _WATCHDOG, "sh", str(self._binaries / "pg_ctl"), str(self.folder)),
            stdin=subprocess.PIPE,
            cwd="/",
            user=self._user,
            group=_group_of(self._user),
            extra_groups=None if self._user is None else (),
            start_new_session=True,
        )
        for attempt in range(_START_ATTEMPTS):
            self.port = _free_port()
            try:
                self.start_now()
            except Unavailable:
                if attempt == _START_ATTEMPTS - 1:
                    raise
            else:
                return

    def close(self) -> None:
        """Stop the server at once and remove the folder."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(_COMMAND_TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    async def _as_superuser(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.dsn(SUPERUSER))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def new_folder() -> Path:
    """An empty folder for a cluster: in memory where there is room, because a database is made there 30 times quicker."""
    # Not below pytest's own folder: only its owner may enter that, and the server runs as another user than root.
    has_room = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="pg-", dir=_MEMORY if has_room else None))


def start_cluster(folder: Path) -> Cluster:
    """Make a cluster inside `folder`, start it, and prepare the template database.

    The server cannot run as root: then the folder is given to the user `postgres` (or `nobody`), who must be able to
    reach it. Raises Unavailable with what is missing: the programs, such a user, or wal2json.
    """
    try:
        user = _server_user()
        cluster = Cluster(folder, find_binaries(), user)
        if user is not None:
            owner = pwd.getpwnam(user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        cluster.initialise()
        cluster.start_on_free_port()
        _prove_wal2json(cluster)
        cluster.sql(f"CREATE DATABASE {TEMPLATE}")
        cluster.sql(TRADE_TABLES.read_text(encoding="utf-8"), TEMPLATE)
    except BaseException:
        cluster.close()
        raise
    return cluster


def find_binaries() -> Path:
    """The folder of PostgreSQL's programs: one that has wal2json before one that has not, then the newest. Raises Unavailable."""
    folders = [
        folder
        for folder in (*_packaged_folders(), *_configured_folders())
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres", "psql"))
    ]
    if folders:
        return next((x for x in folders if (x.parent / "lib" / "wal2json.so").exists()), folders[0])
    raise Unavailable("PostgreSQL's programs initdb, pg_ctl, postgres and psql were not found: install postgresql")


def _packaged_folders() -> list[Path]:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    return sorted(found, key=lambda path: int(path.parent.name), reverse=True)


def _configured_folders() -> list[Path]:
    folders = []
    if tool := shutil.which("pg_config"):
        answer = subprocess.run((tool, "--bindir"), capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    if program := shutil.which("pg_ctl"):
        folders.append(Path(program).resolve().parent)
    return folders


def _prove_wal2json(cluster: Cluster) -> None:
    try:
        # A temporary slot: it ends with the session.
        cluster.sql("SELECT pg_create_logical_replication_slot('probe', 'wal2json', true)")
    except Unavailable as e:
        raise Unavailable(f"wal2json does not load, install postgresql-<version>-wal2json: {e}") from e


def _server_user() -> str | None:
    """Whom to run the server as: None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Unavailable("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
