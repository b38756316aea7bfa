"""Percentiles, and what machine they were measured on."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 100. NaN for nothing."""
    if not values:
        return float("nan")
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 100) - 1))]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": percentile(values, 50),
        "p99": percentile(values, 99),
        "p99_9": percentile(values, 99.9),
        "max": max(values, default=float("nan")),
        "count": len(values),
    }


def disk_ms(folder: Path, writes: int = 300) -> dict[str, float]:
    """What the disk under `folder` takes to make 4 KiB durable: the floor of every journal figure."""
    path, took = folder / "disk-probe", []
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(writes):
            start = time.perf_counter_ns()
            os.write(file, bytes(4_096))
            os.fsync(file)
            took.append((time.perf_counter_ns() - start) / 1e6)
    finally:
        os.close(file)
        path.unlink()
    return spread(took)


def machine() -> dict[str, str | int]:
    found = {"cpu": platform.processor() or platform.machine()}
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = (
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        )
        found["cpu"] = next(named, found["cpu"])
    return {
        "cpu": found["cpu"],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
        "loop": _loop_name(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": f"{os.getloadavg()[0]:.1f}",
    }


def _loop_name() -> str:
    try:
        import uvloop  # noqa: PLC0415  optional
    except ImportError:
        return f"asyncio ({asyncio.SelectorEventLoop.__name__})"
    return f"uvloop {uvloop.__version__}"
