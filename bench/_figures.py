"""What a bench measures, and how it is shown."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured number.

    :param expected: the bound it should keep, None when it is only told.
    :param higher_is_better: whether ``expected`` is a lower bound.
    """

    name: str
    value: float
    unit: str
    expected: float | None = None
    higher_is_better: bool = False
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the expectation holds; None without one."""
        if self.expected is None:
            return None
        return self.value >= self.expected if self.higher_is_better else self.value <= self.expected


@dataclass(frozen=True)
class Options:
    """How much to measure: ``rounds`` overrides a bench's own number, ``quick`` divides it by ten.

    :param openrtc_python: a Python interpreter that has OpenRTC, for the benches that compare with it.
    """

    quick: bool = False
    rounds: int | None = None
    openrtc_python: Path | None = None

    def count(self, full: int, *, least: int = 3) -> int:
        """Return how often to repeat what is repeated ``full`` times by default."""
        return self.rounds or (max(least, full // 10) if self.quick else full)


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the nearest-rank percentile: a value that was really measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def spread(
    name: str, seconds: Sequence[float], *, p50: float | None = None, p99: float | None = None, note: str = ""
) -> list[Figure]:
    """Return the median and the 99th percentile of durations, in milliseconds, beside their expectations."""
    return [
        Figure(f"{name} {label}", percentile(seconds, fraction) * 1000, "ms", expected, note=note)
        for label, fraction, expected in (("p50", 0.5, p50), ("p99", 0.99, p99))
    ]


def machine() -> dict[str, Any]:
    """Describe where the figures were measured."""
    packages = {}
    for name in ("greenroom", "livekit", "livekit-agents", "uvicorn", "uvloop"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": packages,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def command() -> str:
    """Return the command that produced this run."""
    return " ".join(["python -m bench", *sys.argv[1:]])


def circumstances(where: dict[str, Any]) -> str:
    """Say on what machine, how busy, and by which command the figures came about."""
    text = (
        f"\n{where['cpu']}, {where['cpus']} CPUs, {where['memory_gib']} GiB, {where['system']}, "
        f"Python {where['python']}: {command()}"
    )
    if where["load_before"] > where["cpus"] / 2:
        text += f"\nThe machine was busy (load {where['load_before']} before the start): durations are upper bounds."
    return text


def as_json(results: dict[str, list[Figure]], where: dict[str, Any]) -> dict[str, Any]:
    """Return everything a later comparison needs."""
    benches = {name: [asdict(figure) | {"kept": figure.kept} for figure in found] for name, found in results.items()}
    return {"command": command(), "machine": where, "benches": benches}


def table(results: dict[str, list[Figure]]) -> str:
    """Lay the figures out for a terminal."""
    rows = [("figure", "measured", "expected", "", "note")]
    for found in results.values():
        rows += [(figure.name, _amount(figure), _bound(figure), _mark(figure), figure.note) for figure in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for name, value, bound, mark, note in rows:
        cells = (name.ljust(widths[0]), value.rjust(widths[1]), bound.rjust(widths[2]), mark.ljust(widths[3]), note)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _amount(figure: Figure) -> str:
    return f"{_number(figure.value)} {figure.unit}"


def _bound(figure: Figure) -> str:
    if figure.expected is None:
        return ""
    return f"{'>=' if figure.higher_is_better else '<='} {_number(figure.expected)} {figure.unit}"


def _mark(figure: Figure) -> str:
    return {None: "", True: "ok", False: "MISSED"}[figure.kept]
