"""Whether a pool tells truly what a call costs: sessions in one shard that are known to use some CPU and memory."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from livekit import api

from bench._figures import Figure, Options
from bench._pool_stage import Stage, ours, stage
from bench._process import KEY, PATIENCE, SECRET
from bench._wire import new_room

#: Shares of a core, and MB. The last is what a session costs that does nothing.
WISHES = ((0.3, 0), (0.1, 200), (0.05, 50), (0.0, 0))
#: The pool averages over ten seconds.
WINDOW = 10.0
WRONG = 15.0


@dataclass(frozen=True)
class _Seen:
    cpu: float
    memory: float


async def run(_options: Options) -> list[Figure]:
    """Let sessions of different appetites run side by side, and compare what is told of them with what they used."""
    async with stage() as place, place.runs(ours(1, agent="burner.py")) as running:
        rooms = [new_room() for _ in WISHES]
        async with api.LiveKitAPI(place.server.url, KEY, SECRET) as client:
            for room, (cpu, memory) in zip(rooms, WISHES, strict=True):
                wish = json.dumps({"cpu": cpu, "mb": memory})
                request = api.CreateAgentDispatchRequest(agent_name="burner", room=room, metadata=wish)
                await client.agent_dispatch.create_dispatch(request)
        await _all_work(place, set(rooms))
        began = time.monotonic()
        await asyncio.sleep(WINDOW + 2)
        told = await asyncio.to_thread(_snapshot, running.url)
        used = _used(place, began + 2)
    idle = told[rooms[-1]]
    figures = []
    for room, (cpu, memory) in list(zip(rooms, WISHES, strict=True))[:-1]:
        seen, name = told[room], f"pool-truth, session of {cpu * 100:.0f} % and {memory} MB"
        truth = used[room] + idle.cpu
        note = f"told {seen.cpu * 100:.1f} %, used {truth * 100:.1f} %"
        figures.append(Figure(f"{name}, CPU wrong by", abs(seen.cpu / truth - 1) * 100, "%", WRONG, note=note))
        if memory:
            held = memory + idle.memory
            note = f"told {seen.memory:.0f} MB, held {held:.0f} MB"
            figures.append(Figure(f"{name}, memory wrong by", abs(seen.memory / held - 1) * 100, "%", WRONG, note=note))
    return figures


async def _all_work(place: Stage, rooms: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not rooms <= place.listener.moments("used").keys():
            place.listener.changed.clear()
            await place.listener.changed.wait()


def _snapshot(url: str) -> dict[str, _Seen]:
    with urllib.request.urlopen(f"{url}/api/pool", timeout=PATIENCE) as answer:
        told: dict[str, Any] = json.load(answer)
    return {
        session["room"]: _Seen(session["cpu"] or 0.0, (session["memory"] or 0) / 1e6) for session in told["sessions"]
    }


def _used(place: Stage, since: float) -> dict[str, float]:
    """Return the share of a core that each session has used since a moment, by its own clock."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in place.listener.told:
        if one["kind"] == "used" and one["at"] >= since:
            found.setdefault(one["room"], []).append((one["at"], one["cpu"]))
    return {room: (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]) for room, seen in found.items()}
