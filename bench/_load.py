"""``greenroom-load``: the clients of the media benches, and the program that only calls ``sendto``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench._process import KEY, SECRET

_ROOT = Path(__file__).parents[1]


def load_program() -> str:
    """Return the program that ``make setup`` built, or the one that ``GREENROOM_LOAD_BIN`` names."""
    given = os.environ.get("GREENROOM_LOAD_BIN")
    built = _ROOT / "target" / "release" / "greenroom-load"
    if given is None and not built.exists():
        raise RuntimeError("greenroom-load is not built; run: scripts/setup.sh load")
    return given or str(built)


async def load(*arguments: str) -> AsyncIterator[dict[str, Any]]:
    """Run ``greenroom-load ARGUMENTS`` and yield what it tells, when it tells it."""
    process = await asyncio.create_subprocess_exec(
        load_program(),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET},
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            yield json.loads(line)
        if await process.wait():
            raise RuntimeError(f"greenroom-load ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def sendto_floor(fan: int, rate: float, size: int, seconds: float) -> float:
    """Return the processor time in us of a datagram, sent in bursts of ``fan`` by ``sendto`` alone."""
    options = ("--fan", str(fan), "--rate", str(rate), "--size", str(size), "--seconds", str(seconds))
    cost = [report["cpu_us"] async for report in load("floor", *options)]
    return float(cost[0])


def thread_seconds(pid: int) -> dict[str, float]:
    """Return the processor time of each of a process's threads so far, by name; those of one name together."""
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name = (task / "comm").read_text().strip()
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
            seconds[name] = seconds.get(name, 0.0) + spent
    return seconds
