"""A stock agent that talks by text with no model, on a real server, and callers to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from livekit import rtc

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import ServerConfig
from greenroom.link import Call, LiveKit
from greenroom.server import Server
from support.sdk import Caller, callers
from support.serving import KEY, running_server
from support.signal_client import token
from support.stock_worker import Program, stock_worker

PATIENCE = 60.0

#: A waiter: greets, books tables with a tool, and tells when it is open.
WAITER = """
from greenroom import offline
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool, room_io

server = AgentServer(num_idle_processes=1, load_threshold=100)


class Waiter(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a waiter.")

    @function_tool
    async def book_table(self, people: int) -> str:
        \"\"\"Book a table.\"\"\"
        return f"a table for {people}"


@server.rtc_session(agent_name="waiter")
async def entrypoint(ctx: JobContext) -> None:
    rules = [
        offline.Rule("book a table for {people:int}", "You have {result}.", tool="book_table"),
        offline.Rule("when are you open", "From noon to ten."),
    ]
    session = AgentSession(llm=offline.LLM(rules), vad=None, turn_handling={"turn_detection": None})
    text = room_io.RoomOptions(audio_input=False, audio_output=False)
    await session.start(Waiter(), room=ctx.room, room_options=text)
    session.say("Welcome.")


if __name__ == "__main__":
    cli.run_app(server)
"""


@dataclass
class SessionStage:
    """The server, its API, the worker, and a way to bring callers in."""

    server: Server
    url: str
    livekit: LiveKit
    worker: Program
    make: Callable[[], Caller]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something nobody is told of."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nobody is told of it
                await asyncio.sleep(0.02)

    async def call(self, room: str = "lobby", *, identity: str = "ada") -> tuple[Caller, rtc.RemoteParticipant, Call]:
        """Join as a person, ask for the agent and wait until it listens."""
        await self.until(self.server.agents.workers)
        caller = await self.make().connect(self.url, token(identity, room, key=KEY))
        self.server.agents.create_dispatch(room, agent_name="waiter")

        def job_id() -> str:
            jobs = [job for each in self.server.agents.list_dispatch(room) for job in each.state.jobs]
            return next((job.id for job in jobs if job.state.participant_identity), "")

        await self.until(job_id)
        job = job_id()
        agent = f"agent-{job}"
        bot = await caller.sees(agent, lambda each: each.attributes.get("lk.agent.state") == "listening")
        live = self.server.rooms.get(room)
        assert live is not None
        return caller, bot, Call(job_id=job, room=room, agent_identity=agent, room_sid=live.sid)


@contextlib.asynccontextmanager
async def session_stage(path: Path, **config: object) -> AsyncIterator[SessionStage]:
    """Run all of it; ``config`` is laid over a plain configuration."""
    settings = ServerConfig(**{"keys": (KEY,), "port": 0, "rtc_port": 0, **config})  # type: ignore[arg-type]
    async with (
        running_server(Str0mEngine(EngineConfig()), settings) as (server, url),
        stock_worker(url, path, source=WAITER, development=False) as worker,
        callers() as make,
    ):
        livekit = LiveKit(url, KEY)
        try:
            yield SessionStage(server, url, livekit, worker, make)
        finally:
            await livekit.aclose()
