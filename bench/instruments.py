"""What a shard's instruments cost, and what its collector's pauses are with and without the policy."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from bench._figures import Figure, Options, percentile
from greenroom.pool.shard._spent import Meter

SESSIONS = 32


async def run(options: Options) -> list[Figure]:
    """Measure sessions that listen, then what measuring adds to each callback of theirs."""
    seconds = 4.0 if options.quick else 20.0
    figures = []
    rate = 0.0
    for way in ("default", "policy"):
        found = await _listening(way, seconds)
        rate = max(rate, found["callbacks"])
        title = f"{SESSIONS} sessions that listen, {'the policy' if way == 'policy' else 'the collector as it is'}"
        figures += [
            Figure(f"{title}, longest pause", found["pause"] * 1000, "ms", 10 if way == "policy" else None),
            Figure(f"{title}, loop lag p99", found["lag_p99"] * 1000, "ms"),
        ]
    plain, measured = await asyncio.to_thread(_callbacks, 5 if options.quick else 20)
    added = measured - plain
    return [
        *figures,
        Figure("a callback without the meter", plain * 1e9, "ns"),
        Figure("a callback with the meter", measured * 1e9, "ns"),
        Figure(
            f"the meter at {SESSIONS} sessions",
            added * rate * 100,
            "% of a core",
            1,
            note=f"{rate:.0f} callbacks a second",
        ),
    ]


async def _listening(way: str, seconds: float) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench._listening", str(SESSIONS), str(seconds), way), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def _callbacks(rounds: int) -> tuple[float, float]:
    """Return the seconds that an empty callback takes on a loop, without the meter and with it."""
    plain, measured = [], []
    # The one beside the other, since the machine is not equally fast all the time.
    for _ in range(rounds):
        plain.append(_timed(None))
        measured.append(_timed(Meter(10.0)))
    return percentile(plain, 0.5), percentile(measured, 0.5)


def _timed(meter: Meter | None) -> float:
    loop = uvloop.new_event_loop()
    if meter is not None:
        meter.install(loop)
    count = 100_000

    def again(left: int) -> Any:
        if left:
            loop.call_soon(again, left - 1)
        else:
            loop.stop()

    loop.call_soon(again, count)
    began = time.thread_time()
    loop.run_forever()
    took = time.thread_time() - began
    if meter is not None:
        meter.stop()
    loop.close()
    return took / count
