"""CPU per call of executors that serve calls at the same moments: whatever else runs slows all of them alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from statistics import median

from bench import _pool_tree as processes
from bench._figures import Figure, Options
from bench._pool_stage import Executor, Stage, openrtc, ours, stage, stock
from bench.pool import OF_OPENRTC_CPU, OF_STOCK_CPU

#: On each of two.
CALLS = 8
SETTLE = 4.0
SECONDS = 6.0
WINDOWS = 4


async def run(options: Options) -> list[Figure]:
    """Let one shard share the machine with each of the peers in turn."""
    peers = [(stock(), OF_STOCK_CPU)]
    if options.openrtc_python:
        peers.append((openrtc(options.openrtc_python), OF_OPENRTC_CPU))
    calls, windows = (2, 1) if options.quick else (CALLS, options.rounds or WINDOWS)
    figures = []
    async with stage() as place:
        for peer, most in peers:
            theirs, mine = await _beside(place, (peer, ours(1)), calls, windows)
            shares = [own / other for own, other in zip(mine, theirs, strict=True)]
            note = f"{median(mine):.2f} % to {median(theirs):.2f} % of a core; {min(shares):.2f} to {max(shares):.2f}"
            name = f"pool-pairs, {calls} calls each at once, CPU per call, of {peer.name}'s"
            figures.append(Figure(name, median(shares), "times", most, note=note))
    return figures


async def _beside(place: Stage, executors: tuple[Executor, Executor], calls: int, windows: int) -> list[list[float]]:
    """Return the CPU per call of each executor in each window, in percent of a core."""
    found: list[list[float]] = [[] for _ in executors]
    async with contextlib.AsyncExitStack() as stack:
        roots = []
        for number, executor in enumerate(executors):
            agent = replace(executor, environment={**executor.environment, "BENCH_AGENT": f"bench-{number}"})
            roots.append((await stack.enter_async_context(place.runs(agent))).process.pid)
        for number in range(len(executors)):
            if failures := (await place.callers.call(calls, agent=f"bench-{number}"))["failures"]:
                raise RuntimeError(f"calls were not answered: {failures}")
        await asyncio.sleep(SETTLE)
        for _ in range(windows):
            began, before = time.monotonic(), [processes.cpu_seconds(root) for root in roots]
            await asyncio.sleep(SECONDS)
            passed = time.monotonic() - began
            for series, root, early in zip(found, roots, before, strict=True):
                series.append((processes.cpu_seconds(root) - early) / passed / calls * 100)
        await place.callers.leave()
    return found
