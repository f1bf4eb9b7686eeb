"""The agent as a program of ``livekit-agents``: an ``AgentServer`` with an entrypoint of its own."""

from __future__ import annotations

import os

from _meter import tell
from _script import GREETING, Scripted
from livekit.agents import AgentServer, AgentSession, JobContext, cli

# The bench decides how many calls there are; a worker must not refuse them for the load it is there to bear.
server = AgentServer(load_fnc=lambda: 0.0, host="127.0.0.1", port=0)


@server.rtc_session(agent_name=os.environ.get("BENCH_AGENT", "bench"))
async def entrypoint(ctx: JobContext) -> None:
    tell("job", room=ctx.job.room.name)
    await ctx.connect()
    tell("connected", room=ctx.job.room.name)
    # As TURNS, but said here: who reads this file sees that it needs no model for the end of a turn.
    session: AgentSession[None] = AgentSession(turn_handling={"turn_detection": "vad", "interruption": {"mode": "vad"}})
    await session.start(agent=Scripted(), room=ctx.room)
    await session.generate_reply(instructions=GREETING)


if __name__ == "__main__":
    cli.run_app(server)
