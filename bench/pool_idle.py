"""What a pool weighs before anybody calls: with one, two and four shards, beside the peers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bench import _pool_tree as processes
from bench._figures import Figure, Options
from bench._pool_stage import Executor, Stage, openrtc, ours, stage, stock

FIRST_PSS = 350.0
FURTHER_USS = 45.0
SETTLE = 3.0
#: The model is loaded for agents that need it, and this one does not.
MODELS = {"LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "1"}


async def run(options: Options) -> list[Figure]:
    """Start each, give it a moment, and weigh it."""
    peers = [stock(), *([openrtc(options.openrtc_python)] if options.openrtc_python else [])]
    async with stage() as place:
        weights = {peer.name: await _weight(place, peer) for peer in peers}
        ladder = {shards: await _weight(place, ours(shards)) for shards in (1, 2, 4)}
        weights["greenroom with the model for the end of a turn"] = await _weight(
            place, replace(ours(1), environment=MODELS)
        )
    figures = [
        Figure(
            f"pool-idle, {name}, PSS", weight.pss, "MB", note=f"USS {weight.uss:.0f} MB, {weight.processes} processes"
        )
        for name, weight in weights.items()
    ]
    for shards, weight in ladder.items():
        note = f"{weight.processes} processes, USS of each {_each(weight)} MB"
        limit = FIRST_PSS if shards == 1 else None
        figures.append(Figure(f"pool-idle, greenroom with {shards} shards, PSS", weight.pss, "MB", limit, note=note))
    further = (ladder[4].uss - ladder[1].uss) / 3
    figures.append(Figure("pool-idle, USS of a further shard", further, "MB", FURTHER_USS))
    further = (ladder[4].pss - ladder[1].pss) / 3
    figures.append(Figure("pool-idle, PSS of a further shard", further, "MB"))
    return figures


async def _weight(place: Stage, executor: Executor) -> processes.Memory:
    async with place.runs(executor) as running:
        await asyncio.sleep(SETTLE)
        return processes.memory(running.process.pid)


def _each(weight: processes.Memory) -> str:
    return " ".join(f"{unshared:.0f}" for unshared in weight.uss_of.values())
