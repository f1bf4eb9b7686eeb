"""From a participant's join to a worker that holds the job, both speaking the bare protocol."""

from __future__ import annotations

import asyncio
import time

from bench._figures import Figure, Options, spread
from bench._process import PATIENCE, greenroom, key_option
from bench._wire import joined, new_room, registered

P99_MS = 25.0


async def run(options: Options) -> list[Figure]:
    """Join one fresh room after another beside one idle worker."""
    rounds = options.count(500, least=50)
    seconds = []
    async with greenroom("server", *key_option()) as running, registered(running.signal_url) as worker:
        for _ in range(rounds + 1):
            room = new_room()
            held = worker.expect(room)
            began = time.perf_counter()
            async with joined(running.signal_url, room):
                seconds.append(await asyncio.wait_for(held, PATIENCE) - began)
    note = f"{rounds} joins, upgrade request to assignment"
    return spread("dispatch, join to assignment held", seconds[1:], p99=P99_MS, note=note)
