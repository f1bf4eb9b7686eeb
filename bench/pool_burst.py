"""A worker that has just started and is sent many calls at once: it takes as many as it may, no more and no fewer.

Nobody talks here; a call is served when its session has begun.
"""

from __future__ import annotations

import asyncio
import time

from livekit import api

from bench._figures import Figure, Options
from bench._pool_stage import Executor, Stage, openrtc, ours, stage, stock
from bench._process import KEY, SECRET
from bench._wire import new_room

#: How many calls come at once, and how many the worker may hold; None is its default.
BURSTS: tuple[tuple[int, int | None], ...] = ((1, None), (5, None), (20, None), (20, 5), (100, 20))
#: An agent that has not come by then does not come.
PATIENCE = 20.0
#: How long nobody more comes before the count is taken.
QUIET = 4.0


async def run(options: Options) -> list[Figure]:
    """Send bursts to freshly started workers and count who was served."""
    bursts = ((5, 2),) if options.quick else BURSTS
    figures = []
    async with stage() as place:
        for burst, most in bursts:
            limit = () if most is None else ("--max-sessions", str(most))
            expected = burst if most is None else min(burst, most)
            figures += await _burst(place, ours(2, "greenroom", *limit), burst, expected, most)
        peers = [stock(), *([openrtc(options.openrtc_python)] if options.openrtc_python else [])]
        for peer in [] if options.quick else peers:
            figures += await _burst(place, peer, 20, None, None)
    return figures


async def _burst(place: Stage, executor: Executor, burst: int, expected: int | None, most: int | None) -> list[Figure]:
    async with place.runs(executor), api.LiveKitAPI(place.server.url, KEY, SECRET) as client:
        rooms = [new_room() for _ in range(burst)]
        began = time.monotonic()
        await asyncio.gather(
            *(
                client.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(agent_name="bench", room=room))
                for room in rooms
            )
        )
        served, last, worst = 0, began, 0
        while time.monotonic() - began < PATIENCE and time.monotonic() - last < QUIET and served < burst:
            now = len(place.listener.moments("entered").keys() & set(rooms))
            if now != served:
                served, last = now, time.monotonic()
            worst = max(worst, now)
            await asyncio.sleep(0.1)
        # Room for one more would be found by now: the others stay where they are until someone leaves.
        names = api.DeleteRoomRequest
        await asyncio.gather(*(client.room.delete_room(names(room=room)) for room in rooms), return_exceptions=True)
    what = f"{burst} at once" if most is None else f"{burst} at once, at most {most}"
    taken = Figure(
        f"pool-burst, {executor.name}, {what}, served",
        worst,
        "",
        expected,
        higher_is_better=True,
        note=f"the last after {last - began:.1f} s",
    )
    if expected is None or expected == burst:
        return [taken]
    return [taken, Figure(f"pool-burst, {executor.name}, {what}, too many", max(0, worst - expected), "", 0)]
