"""``greenroom dev`` from exec to its first agent being there."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

from bench._figures import Figure, Options, percentile
from bench._process import PATIENCE, Running, greenroom

REGISTERED_SECONDS = 5.0


async def run(options: Options) -> list[Figure]:
    """Start the packaged example repeatedly."""
    rounds = options.count(5, least=2)
    ready, registered = [], []
    for _ in range(rounds):
        async with greenroom("dev") as running:
            ready.append(running.seconds_to_ready)
            registered.append(await asyncio.to_thread(_first_agent, running))
    note = f"{rounds} starts"
    return [
        Figure("dev exec to ready p50", percentile(ready, 0.5), "s", note=note),
        Figure(
            "dev exec to first agent registered p50", percentile(registered, 0.5), "s", REGISTERED_SECONDS, note=note
        ),
        Figure("dev exec to first agent registered worst", max(registered), "s", note=note),
    ]


def _first_agent(running: Running) -> float:
    """Ask until an agent is ready; blocks, so that nothing but the asking takes part in what is measured."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{running.url}/api/agents", timeout=5) as response:
            if any(agent["state"] == "ready" for agent in json.load(response)["agents"]):
                return time.perf_counter() - running.started
        time.sleep(0.02)
    raise TimeoutError("no agent was ready in time")
