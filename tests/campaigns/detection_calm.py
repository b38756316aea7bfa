"""Markets in which nothing is wrong: the whole monitor beside them must neither alarm, nor reconnect, nor doubt a price.

Each scene has a control, the same scene with a fault in it: an alarm would have been seen.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.exits.price_trust import TrustState
from core.model.session_time import IST, NS_PER_S
from core.options import Options
from tests.campaigns.detection_cell import Cell, ShiftedClock, cell, positions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.campaigns.detection_trials import Found

TRADING_DAY: Final = (2026, 11, 20)
INDICES: Final = ("13", "25", "51")
BEFORE_S: Final = 6.0
"""The scenes whose subject is a moment of the day begin so long before it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`at`: IST time of the moment. `indices_stop`: at the moment no index ticks any more. `control`: a fault instead of calm."""

    name: str
    at: tuple[int, int]
    seconds: float
    indices_stop: bool = False
    control: str = ""


def scenes(seconds: float) -> list[Scene]:
    return [
        Scene("quiet options, the index ticks", (11, 0), seconds),
        Scene("the market is closed", (16, 30), seconds),
        Scene("the market closes", (15, 40), seconds),
        Scene("indices stop at 15:30, options are quiet", (15, 30), seconds, indices_stop=True),
        Scene("closing auction of shares, no index, quiet options", (15, 15), seconds, indices_stop=True),
    ]


def controls() -> list[Scene]:
    return [
        Scene("control: the index stops at 11:00", (11, 0), 8.0, indices_stop=True, control="reconnect"),
        Scene("control: one price is hidden from the feed", (11, 0), 8.0, control="mute"),
        Scene("control: neither feed nor REST", (11, 0), 10.0, control="page"),
    ]


async def watch(folder: Path, seed: int, scene: Scene, found: Found) -> None:
    """Run the scene; what should not have been seen (or, of a control, should have been) goes to `found.wrong`."""
    moment = datetime(*TRADING_DAY, *scene.at, tzinfo=IST).timestamp()
    clock = ShiftedClock(int((moment - BEFORE_S - time.time()) * NS_PER_S))
    held = positions(3, 1, clock.utc_ns())
    async with cell(folder, seed, held, Options(alert_only=True), clock, MARKET_HOURS="calendar") as one:
        await asyncio.sleep(moment - clock.utc_ns() / NS_PER_S)
        alerts, requests = len(one.alerts), one.quote_requests()
        _begin(one, scene)
        await asyncio.sleep(scene.seconds)
        seen = _seen(one, scene, alerts, requests)
    if not scene.control:
        found.wrong += [f"{scene.name}: {each}" for each in seen]
    elif not any(each.startswith(scene.control) for each in seen):
        found.wrong.append(f"{scene.name}: expected a {scene.control}, saw {seen or 'nothing'}")


def _begin(one: Cell, scene: Scene) -> None:
    if scene.indices_stop:
        for index in INDICES:
            one.exchange.add_fault({"kind": "market_halt", "seconds": 10_000, "security_id": index})
    if scene.control == "mute":
        leg = one.held[0].legs[0]
        fault = {"kind": "feed_silence", "seconds": 10_000, "security_id": str(leg.security_id)}
        one.exchange.add_fault(fault)
        one.quote(leg.security_id, leg.entry + 10)
    if scene.control == "page":
        one.exchange.add_fault({"kind": "feed_silence", "seconds": 10_000})
        one.exchange.add_fault({"kind": "http_5xx", "where": {"path": "/marketfeed"}})


def _seen(one: Cell, scene: Scene, alerts: int, requests: int) -> list[str]:
    status, counts = one.feed.status, one.parts.prices.watch.trust.counts()
    # What the checks at the start have to say of a shifted clock, late on a slow machine, is no alarm of the market.
    alarms = [alert for alert in one.alerts[alerts:] if not alert.subject.startswith("preflight: ")]
    seen = [f"{alert.severity.value.lower()}: {alert.subject}: {alert.text}" for alert in alarms]
    if status.reconnects or one.feed_facts()["opened"] != 1:
        seen.append(f"reconnects: {status.reconnects} ({status.last_end})")
    seen += [f"mute: {counts[TrustState.MUTED]}"] * bool(counts[TrustState.MUTED])
    seen += [f"doubted: {counts[TrustState.STALE]}"] * bool(counts[TrustState.STALE])
    if any(guard.stale_keys(one.parts.clock.monotonic_ns()) for guard in one.parts.engine.guards.values()):
        seen.append("doubted: a guard does not believe a price")
    asked = one.quote_requests() - requests
    if scene.at >= (15, 40) and asked:
        seen.append(f"{asked} quote requests in a closed market")
    if scene.at == (11, 0) and asked > 3 + scene.seconds / 5:
        seen.append(f"{asked} quote requests for quiet prices")
    return seen
