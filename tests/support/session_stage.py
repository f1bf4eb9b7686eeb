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

server = AgentServer(host="127.0.0.1", port=0, num_idle_processes=1, load_threshold=100)


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


def has_begun(agent: rtc.RemoteParticipant) -> bool:
    """Tell whether the agent's session runs. Two states that follow quickly may arrive in the wrong order."""
    return agent.attributes.get("lk.agent.state", "initializing") != "initializing"


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

    async def agent(self, room: str = "lobby") -> Call:
        """Ask for the agent in a room, created if need be, and wait until it is there."""
        await self.until(self.server.agents.workers)
        dispatch = self.server.agents.create_dispatch(room, agent_name="waiter")

        def present() -> list[Call]:
            live = self.server.rooms.get(room)
            (found,) = self.server.agents.list_dispatch(room, dispatch.id)
            return [
                Call(job_id=job.id, room=room, agent_identity=job.state.participant_identity, room_sid=live.sid)
                for job in found.state.jobs
                if live is not None and job.state.participant_identity in live.participants
            ]

        await self.until(present)
        return present()[0]

    async def caller(self, call: Call, identity: str = "ada") -> tuple[Caller, rtc.RemoteParticipant]:
        """Join as a person and wait until the agent's session has begun."""
        caller = await self.make().connect(self.url, token(identity, call.room, key=KEY))
        return caller, await caller.sees(call.agent_identity, has_begun)

    async def call(self, room: str = "lobby", *, identity: str = "ada") -> tuple[Caller, rtc.RemoteParticipant, Call]:
        """Have a person and an agent in a room, ready to talk."""
        call = await self.agent(room)
        return (*await self.caller(call, identity), call)


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
