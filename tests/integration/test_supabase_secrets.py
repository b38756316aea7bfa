"""Keys and tokens are nowhere: not in what is printed, logged or stored, not in a repr, not in a trace."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from core.clock import SystemClock
from core.house_keeping import HouseKeeping
from core.name_gate import NameGate
from core.options import parse
from core.realtime_session import Inbox, RealtimeSession, SessionEnded
from core.settings import load_settings
from core.stores.open_store import supabase_access
from core.stores.supabase_store import SupabaseStore
from core.trades_source import trades_source
from core.watch import watch
from tests.gateway.server import SupabaseGateway
from tests.integration.processes import ROOT, eventually
from tests.integration.supabase_scene import supabase_environment
from tests.integration.test_supabase_exit import check_finished, condor_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from core.settings import Settings
    from tests.integration.test_supabase_exit import Scene

PIECE = 16
"""Characters. Whoever prints 20 of a secret in a row prints one of the pieces that are looked for."""


def pieces(secret: str) -> Iterator[str]:
    """Of each part of a token, and of the whole as an address would hold it."""
    for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
        for part in form.split("."):
            yield from (part[at : at + PIECE] for at in range(0, max(1, len(part) - PIECE + 1), 4) if len(part) >= 12)


def found_in(content: bytes, secrets: dict[str, str]) -> set[str]:
    """Names of the secrets of which a piece is in the content, as text of one or of two bytes a character."""
    return {
        name
        for name, secret in secrets.items()
        for piece in pieces(secret)
        if piece.encode() in content or piece.encode("utf-16-le") in content
    }


def leaks(folder: Path, secrets: dict[str, str]) -> dict[str, set[str]]:
    """By file."""
    found = {str(x.relative_to(folder)): found_in(x.read_bytes(), secrets) for x in folder.rglob("*") if x.is_file()}
    return {name: names for name, names in found.items() if names}


@pytest.fixture
async def scene(gateway: SupabaseGateway, database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with condor_scene(gateway, database, tmp_path) as made:
        yield made


def keys_of(scene: Scene) -> dict[str, str]:
    """Both are tokens of this test alone."""
    return {"SUPABASE_KEY": scene.gateway.service_key, "SUPABASE_ROLE_TOKEN": scene.gateway.token("exit_monitor")}


def secrets_of(scene: Scene, keys: dict[str, str]) -> dict[str, str]:
    return keys | {"DHAN_ACCESS_TOKEN": scene.exchange.ready["access_token"]}


def echoes(keys: dict[str, str]) -> list[tuple[int, str, str]]:
    """Refusals of a server that repeats what it was sent."""
    said = " ".join(
        f"apikey={x} Authorization: Bearer {x} wss://host/websocket?apikey={x}&vsn=1" for x in keys.values()
    )
    body = json.dumps({"code": "XX000", "message": said, "details": said, "hint": said})
    return [
        (500, body, "application/json"),
        (400, body.replace("XX000", "22P02"), "application/json"),
        (401, body.replace("XX000", "PGRST301"), "application/json"),
        (403, json.dumps({"message": said}), "application/json"),
        (502, f"<html>{said}</html>", "text/html"),
        (200, f"<html>{said}</html>", "text/html"),
        (200, json.dumps([{"new_id": said}]), "application/json"),
    ]


def test_the_search_finds_whole_secrets_and_their_parts(tmp_path: Path) -> None:
    secrets = {"A": "aaaaaaaaaaaabbbbbbbb.ccccccccccccdddddddd.eeeeeeeeeeeeffffffff", "B": "12345678901234567890"}
    (tmp_path / "clean").write_text("aaaa bbbb 1234567890")
    assert leaks(tmp_path, secrets) == {}
    (tmp_path / "log").write_text("bearer aaaaaaaaaaaabbbbbbbb.ccccccccccccdddddddd")
    (tmp_path / "journal").write_bytes(b"\0\1" + secrets["B"].encode("utf-16-le"))
    assert leaks(tmp_path, secrets) == {"log": {"A"}, "journal": {"B"}}


async def go_through_faults(scene: Scene, keys: dict[str, str]) -> None:
    """Each until the monitor is live again."""
    gateway = scene.gateway
    said = " and ".join(keys.values())
    for status in (401, 503):
        gateway.faults.refuse_upgrade = status
        gateway.cut_sockets()
        refused = len(gateway.requests)
        await eventually(lambda: any(r.status == status for r in gateway.requests[refused:]))  # noqa: B023
        gateway.faults.refuse_upgrade = None
        await scene.until_live()
    await gateway.expire_channels()
    await eventually(lambda: gateway.live_count == 0)
    await scene.until_live()
    gateway.faults.changes_error = f"could not subscribe with {said}"
    gateway.cut_sockets()
    await eventually(lambda: gateway.live_count == 0)
    await asyncio.sleep(0.5)
    gateway.faults.changes_error = None
    await scene.until_live()
    for text in (
        f"garbage {said}",
        json.dumps({"event": said, "topic": said, "payload": {"reason": said}, "ref": None}),
    ):
        gateway.send_raw(text)
    error = {"extension": "postgres_changes", "status": "error", "message": said, "channel": "options-exit-monitor"}
    message = {"ref": None, "event": "system", "topic": "realtime:options-exit-monitor", "payload": error}
    gateway.send_raw(json.dumps(message))
    await eventually(lambda: gateway.live_count == 0)
    await scene.until_live()
    gateway.faults.rest_fail.extend(echoes(keys))
    await eventually(lambda: not gateway.faults.rest_fail)
    token = scene.exchange.ready["access_token"]
    refusal = {
        "kind": "refuse",
        "status": 401,
        "code": "DH-901",
        "message": f"access-token {token} is not valid: {token}",
    }
    await scene.exchange.post("fault", refusal | {"where": {"path": "/positions", "times": 1}})
    await asyncio.sleep(1.0)


async def test_no_key_is_printed_logged_or_stored_by_a_run_at_debug(scene: Scene) -> None:
    keys = keys_of(scene)
    secrets = secrets_of(scene, keys)
    scratch = scene.folder / "tmp"
    scratch.mkdir()
    settings = {"LOG_LEVEL": "DEBUG", "TMPDIR": str(scratch), "PYTHONWARNINGS": "default", "PYTHONASYNCIODEBUG": "1"}
    monitor = await scene.start_guarding("--execute", **keys, **settings)
    await scene.until_live()
    await go_through_faults(scene, keys)
    # The last one is a row: as the answer to an update it would say that the update has won.
    scene.gateway.faults.rest_fail.extend(echoes(keys)[:-1])
    await scene.stop_is_hit()
    await eventually(scene.rows_closed)
    await eventually(lambda: "RowsWritten" in scene.journal_kinds())
    code, out = await monitor.finish()
    assert code == 0, out
    await check_finished(scene)
    wrong = SupabaseGateway(scene.dsn).service_key
    refused = await scene.start("--execute", **(settings | keys | {"SUPABASE_KEY": wrong}))
    code, out = await refused.ended()
    assert (code, "Copy the key again" in out) == (4, True), out
    log = (scene.folder / "logs" / "realtime_automated_monitor.log").read_text()
    assert "***" in log, "no echo reached the log: the faults have shown nothing"
    assert " DEBUG " in log or " INFO " in log
    stored = {x.name for x in (scene.folder / "state").iterdir()}
    assert {"exit_journal.db", "last_rows.json", "holder_id"} <= stored
    assert leaks(scene.folder, secrets | {"wrong key": wrong}) == {}


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """A run in this process sets levels; the other tests keep theirs."""
    loggers = [
        logging.getLogger(),
        *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    levels = [(each, each.level) for each in loggers]
    yield
    for each, level in levels:
        each.setLevel(level)


def loaded(scene: Scene, **values: str) -> Settings:
    return load_settings(supabase_environment(scene.exchange.ready, scene.folder, scene.gateway) | values, None)


async def test_a_crash_with_the_key_in_its_words_leaves_a_trace_without_it(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet_logging: None,
) -> None:
    keys = keys_of(scene)
    secrets = secrets_of(scene, keys)
    url = f"{scene.gateway.url}/realtime/v1/websocket?apikey={keys['SUPABASE_KEY']}&vsn=1.0.0"

    def fail(_: HouseKeeping) -> None:
        raise RuntimeError(f"bug: handshake with {url} failed, headers {keys}, {' '.join(secrets.values())}")

    monkeypatch.setattr(HouseKeeping, "_look_after_store", fail)
    screen = io.StringIO()
    settings = loaded(scene, LOG_LEVEL="DEBUG", **keys)
    with pytest.raises(RuntimeError, match="bug"):
        await watch(parse(["--alert-only"]), settings, screen)
    printed = capsys.readouterr()
    shown = printed.out + printed.err + screen.getvalue()
    assert "Traceback (most recent call last)" in shown
    assert "RuntimeError: bug: handshake with" in shown
    assert found_in(shown.encode(), secrets) == set()
    assert leaks(scene.folder, secrets) == {}


async def test_no_key_is_in_a_repr_or_in_an_exception(scene: Scene) -> None:
    keys = keys_of(scene)
    secrets = secrets_of(scene, keys)
    settings = loaded(scene, **keys)
    access = supabase_access(settings)
    clock = SystemClock()
    source = trades_source(settings, parse(["--execute"]), clock)
    session = RealtimeSession(access, Inbox(), NameGate(clock), has_canary=True, patience_s=1.0)
    ended = SessionEnded("no connection", OSError(f"{keys}"))
    things = [settings, settings.model_dump(), access, access.tables, clock, source, session, ended, Inbox()]
    things += [source.store, source.listener, source._lease, source.store.__dict__, source._lease.__dict__]
    texts = [f"{thing!r} {thing!s}" for thing in things]
    for echo in [None, *echoes(keys)]:
        if echo is not None:
            scene.gateway.faults.rest_fail.append(echo)
        store = SupabaseStore(access if echo is not None else access_with_wrong_key(access), clock, timeout_s=1.0)
        try:
            await store.open()
            await store.read_snapshot()
        except Exception as error:  # noqa: BLE001  whatever comes, it is looked at
            texts.append(f"{error!r} {error} {vars(error)}" + "".join(traceback.format_exception(error)))
        texts.append(f"{store.health()!r} {vars(store)!r}")
        await store.close()
        scene.gateway.faults.rest_fail.clear()
    secrets["wrong key"] = access_with_wrong_key(access).key
    shown = [text for text in texts if found_in(text.encode(), secrets)]
    assert shown == []
    assert any("RefusedRequest" in text for text in texts)
    assert any("TransportError" in text for text in texts)


def access_with_wrong_key(access):
    head, claims, signature = access.key.split(".")
    return type(access)(access.url, f"{head}.{claims}.{signature[::-1]}", None, access.tables)


async def test_the_check_script_prints_no_wrong_key(scene: Scene) -> None:
    wrong = {"SUPABASE_KEY": SupabaseGateway(scene.dsn).service_key}
    for options in ((), ("--json",)):
        code, out = await check_supabase(scene, wrong, *options)
        assert code == 4, out
        assert b"Copy the key again" in out or b"API settings" in out
        assert found_in(out, wrong) == set()


@pytest.mark.parametrize("where", ["rest", "realtime"])
async def test_the_check_script_prints_no_key_that_the_server_repeats(scene: Scene, where: str) -> None:
    keys = keys_of(scene)
    if where == "rest":
        # The first answer is looked at by its status only.
        scene.gateway.faults.rest_fail.extend(echoes(keys)[:1] * 2)
    else:
        scene.gateway.faults.changes_error = " and ".join(keys.values())
    _, out = await check_supabase(scene, keys, "--json")
    assert found_in(out, keys) == set()
    assert b"***" in out, "no echo was shown"


async def check_supabase(scene: Scene, keys: dict[str, str], *options: str) -> tuple[int, bytes]:
    clean = {name: value for name, value in os.environ.items() if "SUPABASE" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "data_scripts/check_supabase.py",
        *options,
        cwd=ROOT,
        env=clean | {"SUPABASE_URL": scene.gateway.url} | keys,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out
