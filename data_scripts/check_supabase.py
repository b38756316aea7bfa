# ruff: noqa: E402  imports follow the line that makes them possible
"""Is the Supabase project ready for the monitor? Each thing that is not, with its remedy.

    python data_scripts/check_supabase.py [--json]

Uses the settings of the monitor (.env and environment). Changes none of your rows; the only thing it writes is a row
`check_supabase` in monitor_lease, where that table exists. Names each check on stderr when it is done. Exit code: 0 ready
(perhaps with warnings), 2 settings wrong, 4 not ready. Never prints a key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Run as a file, Python looks for modules in this folder only.
    sys.path.insert(0, str(ROOT))

from tabulate import tabulate

from core.clock import SystemClock
from core.exit_codes import ExitCode
from core.model.errors import ConfigurationError, StoreError, TransportError
from core.realtime_changes import WATCHED
from core.settings import ENV_FILE, load_settings
from core.stores import supabase_checks as checks
from core.stores.open_store import supabase_access
from core.stores.row_closing import CLOSED, OPEN
from core.stores.row_mirror import TABLES
from core.stores.rows import TRADES
from core.stores.schema import OPTIONAL_TABLES
from core.stores.supabase_checks import Finding
from core.stores.supabase_columns import Columns, described, wanted, without
from core.stores.supabase_errors import Meaning, RefusedRequest
from core.stores.supabase_rest import SupabaseRest
from data_scripts.supabase_probe import LeaseProbe, contact, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.settings import Settings
    from core.stores.columns import Row
    from core.stores.supabase_access import SupabaseAccess
    from core.stores.supabase_errors import Refusal

_MORE_THAN_USUAL: Final = 1_001
"""Rows. A hosted project gives 1,000 at once unless it is told otherwise."""
_NO_SENSE: Final = "check_supabase"
_WIDTHS: Final = (None, None, 38, 46)


class Check:
    """One run. `findings` grow in the order of the checks; what fails is a finding, not an exception."""

    def __init__(self, access: SupabaseAccess, rest: SupabaseRest, settings: Settings) -> None:
        self.findings: list[Finding] = []
        self._access = access
        self._rest = rest
        self._timeout_s = settings.supabase_timeout_s
        self._poll_s = settings.supabase_poll_s
        self._clock = SystemClock()
        self._took_s: list[float] = []

    async def run(self) -> None:
        if not await self._is_reached():
            return
        found = {table: await self._columns(table) for table in TABLES}
        trades = found[TRADES]
        if trades is not None and trades.key is not None:
            key = trades.key
            await self._judged(
                "open trades", self._rows(key), lambda said: checks.table_refused(self._access, TRADES, said)
            )
            await self._judged("closing a row", self._update(key), checks.may_not_update)
        await self._judged("risk_events", self._risk_event(), checks.risk_events)
        await self._judged("own tables", self._own_tables(), lambda said: checks.failed("own tables", said.words))
        self._add(checks.answers(self._took_s))
        lease = LeaseProbe(self._rest, self._clock)
        has_lease = await self._judged("lease", self._lease(lease), checks.lease_refused)
        if not has_lease:
            self._add(checks.clock(None))
        await self._changes([table for table in WATCHED if found[table] is not None], lease if has_lease else None)
        if has_lease:
            await lease.release()

    def _add(self, *findings: Finding) -> None:
        self.findings += findings
        for finding in findings:
            # A slow project must not look like a script that hangs.
            print(f"{finding.verdict.value:<5}{finding.check}", file=sys.stderr, flush=True)

    async def _select(self, table: str, columns: str, *, order: str | None = None, limit: int = 1) -> list[Row]:
        began_ns = self._clock.monotonic_ns()
        try:
            return await self._rest.select(table, columns, order=order, limit=limit)
        finally:
            self._took_s.append((self._clock.monotonic_ns() - began_ns) / 1e9)

    async def _judged(self, check: str, work: Awaitable[Finding], refused: Callable[[Refusal], Finding]) -> bool:
        """Whether the work came to its end."""
        try:
            self._add(await work)
        except RefusedRequest as error:
            self._add(refused(error.refusal))
            return False
        except (StoreError, TransportError) as error:
            self._add(checks.failed(check, str(error)))
            return False
        return True

    async def _is_reached(self) -> bool:
        began_ns = self._clock.monotonic_ns()
        broken = await contact(self._access.url, self._timeout_s)
        if broken is not None:
            self._add(checks.not_reached(broken.stage, broken.words))
            return False
        took_ms = (self._clock.monotonic_ns() - began_ns) / 1e6
        parts = urlsplit(self._access.url)
        reached = checks.reached(parts.hostname or "", took_ms, is_private=parts.scheme == "https")
        now_s = self._clock.utc_ns() / 1e9
        key = checks.accepted(self._access, now_s)
        try:
            await self._select(TRADES, "order_status")
        except RefusedRequest as error:
            if not checks.is_of_a_project(error.refusal):
                self._add(checks.not_reached(checks.Stage.PROJECT, error.refusal.words))
                return False
            # What is wrong with the table, the check of the table says.
            if error.meaning is Meaning.KEY_REFUSED:
                key = checks.key_refused(self._access, error.refusal, now_s)
        except (StoreError, TransportError) as error:
            self._add(checks.not_reached(checks.Stage.ANSWER, str(error)))
            return False
        self._add(reached, key)
        return key.verdict is not checks.Verdict.FAIL

    async def _columns(self, table: str) -> Columns | None:
        """What the table has; None when it cannot be used."""
        columns = wanted(table)
        while True:
            try:
                await self._select(table, columns.all)
            except RefusedRequest as error:
                absent = error.refusal.column
                if error.meaning is not Meaning.NO_COLUMN or absent is None:
                    is_optional = table in OPTIONAL_TABLES and error.meaning in {Meaning.NO_TABLE, Meaning.DENIED}
                    refused = checks.optional_table if is_optional else checks.table_refused
                    self._add(refused(self._access, table, error.refusal))
                    return None
                fewer = without(columns, absent)
                if fewer is None:
                    self._add(checks.column_missing(self._access, table, described(columns, absent)))
                    return None
                columns = fewer
            except (StoreError, TransportError) as error:
                self._add(checks.failed(f"table {table}", str(error)))
                return None
            else:
                lacking = sorted(set(wanted(table).optional) - set(columns.optional))
                self._add(checks.columns_found(self._access, table, lacking))
                return columns

    async def _rows(self, key: str) -> Finding:
        opened = await self._rest.select_all(TRADES, key, [("order_status", "eq", OPEN)], key=key)
        page = await self._select(TRADES, key, order=key, limit=_MORE_THAN_USUAL)
        is_cut = bool(page) and len(page) < _MORE_THAN_USUAL
        rest = await self._rest.select(TRADES, key, order=key, limit=1, offset=len(page)) if is_cut else []
        return checks.rows_seen(
            self._access, len(opened), any_row=bool(page), largest_answer=len(page) if rest else None
        )

    async def _update(self, key: str) -> Finding:
        """The update of a real exit, for a row that does not exist: rights are checked before rows are looked for."""
        values = {
            "order_status": CLOSED,
            "exit_order_id": None,
            "exit_price": None,
            "exit_time": None,
            "exit_reason": None,
        }
        await self._rest.update(TRADES, values, [(key, "eq", checks.NO_ROW), ("order_status", "eq", OPEN)], key)
        return checks.may_update()

    async def _risk_event(self) -> Finding:
        """A row whose numbers are none: the server looks at the rights first, and then refuses the values."""
        row = dict.fromkeys(("execution_id", "strategy_id", "threshold_value", "triggered_at"), _NO_SENSE)
        await self._rest.insert_once("risk_events", row, "execution_id")
        return checks.risk_events(None)

    async def _own_tables(self) -> Finding:
        # At once: one after the other they would be the longest silence where answers are slow.
        are_there = await asyncio.gather(*map(self._is_there, checks.OWN_TABLES))
        return checks.own_tables(
            [table for table, is_there in zip(checks.OWN_TABLES, are_there, strict=True) if not is_there]
        )

    async def _is_there(self, table: str) -> bool:
        try:
            await self._rest.select(table, "*", limit=1)
        except RefusedRequest as error:
            # Denied is there: not every role may read all of them, nor must it.
            return error.meaning is Meaning.DENIED
        return True

    async def _lease(self, lease: LeaseProbe) -> Finding:
        await lease.beat()
        # The first one also pays for a connection and a plan.
        second = await lease.beat()
        self._add(checks.clock(second.ahead_s, second.unsure_s))
        return checks.lease_taken(second.took_ms)

    async def _changes(self, tables: Sequence[str], lease: LeaseProbe | None) -> None:
        answers = await told(self._access, tables, lease, self._clock)
        if answers and not any(answer.is_open for answer in answers):
            self._add(checks.no_realtime(answers[0].reason))
            return
        self._add(*(checks.published(self._access, answer.table, answer.reason, self._poll_s) for answer in answers))
        if lease is not None and not answers[-1].reason:
            self._add(checks.canary(answers[-1].echo_ms))


def shown(findings: Sequence[Finding]) -> str:
    rows = [(finding.check, finding.verdict.value, finding.found, finding.remedy) for finding in findings]
    return tabulate(rows, ("Check", "Result", "Found", "Remedy"), tablefmt="simple_grid", maxcolwidths=list(_WIDTHS))


def summary(findings: Sequence[Finding]) -> str:
    if checks.fails(findings):
        lines = ["Not ready: mend what says FAIL, from the top, then run this again."]
    elif any(finding.remedy for finding in findings):
        lines = ["Ready. What says warn makes it better."]
    else:
        lines = ["Ready."]
    remedies = " ".join(finding.remedy for finding in findings)
    if ".sql" in remedies:
        lines.append(
            f"The .sql files are in {checks.MIGRATIONS}: paste them into the SQL Editor of the dashboard, in order."
        )
    if ".py" in remedies:
        lines.append("The .py files are in data_scripts.")
    return "\n".join(lines)


async def findings_of(settings: Settings) -> list[Finding]:
    access = supabase_access(settings)
    rest = await SupabaseRest.connect(access, settings.supabase_timeout_s)
    check = Check(access, rest, settings)
    try:
        await check.run()
    finally:
        await rest.close()
    unused = [checks.file_unused()] if "trades_db" in settings.model_fields_set else []
    return check.findings + unused


def main(arguments: Sequence[str]) -> ExitCode:
    if set(arguments) - {"--json"}:
        print(__doc__, file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    try:
        settings = load_settings(os.environ, ENV_FILE)
    except ConfigurationError as error:
        print(error.problem, error.remedy, sep="\n", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    if settings.supabase_url is None:
        print("SUPABASE_URL is not set.\nPut it and SUPABASE_KEY into .env or the environment.", file=sys.stderr)
        return ExitCode.BAD_OPTIONS
    # The libraries would log addresses, and an address of the change stream holds the key.
    logging.disable(logging.CRITICAL)
    findings = asyncio.run(findings_of(settings))
    code = ExitCode.REFUSED if checks.fails(findings) else ExitCode.CLEAN
    if "--json" in arguments:
        listed = [asdict(finding) for finding in findings]
        print(json.dumps({"findings": listed, "exit_code": int(code)}, ensure_ascii=False, indent=2))
    else:
        print(shown(findings), summary(findings), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
