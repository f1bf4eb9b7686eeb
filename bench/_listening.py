"""A shard's loop with sessions that listen: real agent sessions with LiveKit's own detection of speech, no room.

``python -m bench._listening SESSIONS SECONDS policy|default``; prints figures as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from typing import Any, Self

import uvloop
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.protocol import agent, models

from greenroom.pool._wire import Launch, ShardSettings
from greenroom.pool.shard._instruments import Instruments

_RATE, _TICK = 16000, 0.02


class Silence(io.AudioInput):
    """A microphone in a quiet room."""

    def __init__(self) -> None:
        super().__init__(label="silence")
        self._due = time.monotonic()
        self._frame = rtc.AudioFrame(bytes(2 * round(_RATE * _TICK)), _RATE, 1, round(_RATE * _TICK))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> rtc.AudioFrame:
        self._due += _TICK
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        return self._frame


class Pauses:
    """What the collector took of the loop's thread, in CPU time: other programs of the machine are no pause of it."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._started = 0.0
        gc.callbacks.append(self._heard)

    def _heard(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = time.thread_time()
        else:
            self.worst = max(self.worst, time.thread_time() - self._started)


async def call(instruments: Instruments, number: int) -> Any:
    """Start a session, and return what ends it."""
    job = agent.Job(id=f"AJ_{number}", room=models.Room(name=f"room-{number}"))
    launch = Launch(
        job_id=job.id,
        agent="a",
        tenant="t",
        job=job.SerializeToString(),
        identity="a",
        url="",
        token="",
        worker_id="",
    )
    begun = instruments.begin(launch)
    session: AgentSession[None] = AgentSession()

    async def start() -> None:
        session.input.audio = Silence()
        await session.start(Agent(instructions="Listen."))

    await asyncio.get_running_loop().create_task(start(), context=begun.context)

    async def end() -> None:
        await session.aclose()
        begun.close()

    return end


def counted(loop: Any) -> list[int]:
    """Count what is scheduled on a loop to be run at once."""
    count = [0]

    def counting(original: Any) -> Any:
        def schedule(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            return original(*arguments, **named)

        return schedule

    for name in ("call_soon", "call_soon_threadsafe"):
        setattr(loop, name, counting(getattr(loop, name)))
    return count


async def warm_up() -> None:
    """Load what a first session loads, as a nursery does before it forks."""
    session: AgentSession[None] = AgentSession()
    session.input.audio = Silence()
    await session.start(Agent(instructions="Listen."))
    await session.aclose()


async def measure(count: int, seconds: float, policy: bool) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    count_of = counted(loop)
    await warm_up()
    instruments = Instruments(lambda _message: None, ShardSettings(gc_policy=policy, ffi_routing=False), loop)
    instruments.start()
    ends = [await call(instruments, number) for number in range(count)]
    await asyncio.sleep(1)
    pauses = Pauses()
    instruments.beat()
    before, began, number = count_of[0], time.monotonic(), count
    # A call ends and another begins, four times a second.
    while time.monotonic() - began < seconds:
        await ends.pop(0)()
        ends.append(await call(instruments, number))
        number += 1
        await asyncio.sleep(0.25)
    callbacks = (count_of[0] - before) / (time.monotonic() - began)
    lags = sorted(instruments.beat().lags)
    found = {
        "pause": pauses.worst,
        "callbacks": callbacks,
        "lag_p99": lags[int(len(lags) * 0.99)],
        "lag_worst": lags[-1],
    }
    for end in ends:
        await end()
    instruments.stop()
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "policy"))), flush=True)
    os._exit(0)
