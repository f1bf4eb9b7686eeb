"""What the models inside livekit-agents' wheels weigh: loaded once before shards are forked, and in each shard."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from bench._figures import Figure, Options

MODELS = {"vad": "voice activity", "eot": "end of turn"}


async def run(_options: Options) -> list[Figure]:
    """Weigh each model alone, and a shard that uses it with and without its having been loaded before."""
    cold = await _weigh()
    figures = []
    for name, title in MODELS.items():
        warm = await _weigh(name)
        figures += [
            Figure(f"models, {title}, loaded once, PSS", warm["pss"], "MB", note=f"USS {warm['uss']:.1f} MB"),
            Figure(f"models, {title}, in each shard that uses it, USS", warm["shards"][name], "MB"),
            Figure(f"models, {title}, in each shard when not loaded before, USS", cold["shards"][name], "MB"),
        ]
    return figures


async def _weigh(*models: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "bench._models_weighed", *models), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, "the process that was weighed has failed"
    return json.loads(said)
