"""How many calls an executor holds on this machine: ever more call, until its loop turns too late."""

from __future__ import annotations

import asyncio
import time

from bench import _pool_tree as processes
from bench._figures import Figure, Options, percentile
from bench._pool_stage import Executor, Stage, stage
from bench.pool import executors

STEP = 8
MOST = 48
LAG_MS = 20.0
SETTLE = 3.0
SECONDS = 5.0


async def run(options: Options) -> list[Figure]:
    """Let each executor take calls until the loop's lag p99 is 20 ms, or somebody is not answered."""
    figures = []
    async with stage() as place:
        for executor in executors(options):
            figures += await _held(place, executor, *((2, 4) if options.quick else (STEP, MOST)))
    return figures


async def _held(place: Stage, executor: Executor, step: int, most: int) -> list[Figure]:
    held, calls, story = 0, 0, []
    async with place.runs(executor) as running:
        await place.callers.call(1)
        await place.callers.leave()
        while calls < most:
            failures = (await place.callers.call(step))["failures"]
            calls += step
            lag, late, used = await _watched(place, running.process.pid)
            story.append(f"{calls}: {lag:.1f}/{late:.1f} ms, CPU {used * 100:.0f} %")
            if lag >= LAG_MS or failures:
                story += failures[:1]
                break
            held = calls
        await place.callers.leave()
    note = "lag/frame lateness p99 at " + "; ".join(story)
    return [Figure(f"pool-held, {executor.name}, calls held at lag p99 < {LAG_MS:.0f} ms", held, "", note=note)]


async def _watched(place: Stage, root: int) -> tuple[float, float, float]:
    """Return lag and lateness p99 in ms, and what the agents used, in cores."""
    with place.watching():
        await asyncio.sleep(SETTLE)
        began, before = time.monotonic(), processes.cpu_seconds(root)
        await asyncio.sleep(SECONDS)
        ended, after = time.monotonic(), processes.cpu_seconds(root)
    # A process that is too late tells later, too.
    await asyncio.sleep(0.2)
    lags, late = (place.listener.series(name, began, ended) for name in ("lags", "late"))
    tail = (percentile(values, 0.99) * 1000 if values else float("inf") for values in (lags, late))
    return (*tail, (after - before) / (ended - began))
