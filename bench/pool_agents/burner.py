"""An agent that costs what its dispatch says: ``{"cpu": share of a core, "mb": memory}``; it says what it has used."""

from __future__ import annotations

import asyncio
import json
import time

from _meter import tell
from livekit.agents import AgentServer, JobContext, cli

#: How often it works for a moment.
PERIOD = 0.05

server = AgentServer(load_fnc=lambda: 0.0, host="127.0.0.1", port=0)


@server.rtc_session(agent_name="burner")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    wish = json.loads(ctx.job.metadata)
    # Written to, or the system would not give it.
    held = [bytearray(b"x" * 1_000_000) for _ in range(wish["mb"])]
    over = asyncio.Event()

    async def ended() -> None:
        over.set()

    ctx.add_shutdown_callback(ended)
    used, told = 0.0, time.monotonic()
    while not over.is_set():
        began = time.thread_time()
        while time.thread_time() - began < wish["cpu"] * PERIOD:
            pass
        used += time.thread_time() - began
        if time.monotonic() - told >= 1:
            tell("used", room=ctx.job.room.name, cpu=used, mb=len(held))
            told = time.monotonic()
        await asyncio.sleep(PERIOD * (1 - wish["cpu"]))


if __name__ == "__main__":
    cli.run_app(server)
