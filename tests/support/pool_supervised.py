"""A whole pool, supervisor and shards, in front of a real server; driven by dispatches, watched by its snapshot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit.protocol import agent

from greenroom._media import EngineConfig, MediaEngine, Str0mEngine
from greenroom.config import ServerConfig
from greenroom.pool.settings import PoolSettings
from greenroom.pool.supervisor import Output, Pool
from greenroom.reports import PoolSnapshot, SessionReport
from greenroom.server import Server
from support.serving import KEY, running_server

PATIENCE = 30.0

#: An agent that stays until it is told to go, without ever connecting: no media is needed to hold a call.
HOLDER = """
import asyncio
import os
import signal
import time

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session(agent_name="{name}")
async def entry(ctx: JobContext):
    print("begins", ctx.job.id, "{version}", flush=True)
    said = ctx.job.metadata
    if said == "bye":
        ctx.shutdown("done")
    elif said == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif said.startswith("block"):
        time.sleep(float(said.split()[1]))


if __name__ == "__main__":
    cli.run_app(server)
"""


def holder(name: str = "clerk", version: str = "one") -> str:
    """Return the source of an agent that holds calls. Metadata tells it ``bye``, ``crash`` or ``block SECONDS``."""
    return HOLDER.format(name=name, version=version)


@dataclass
class PoolStage:
    """A server and a pool, what the pool printed, and words for what tests do to both."""

    server: Server
    url: str
    pool: Pool
    output: list[Output]
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, found: Callable[[PoolSnapshot], Any]) -> Any:
        """Wait until the pool's snapshot shows something; return what."""
        async with asyncio.timeout(PATIENCE):
            while not (value := found(self.pool.snapshot())):
                self.news.clear()
                # CPU, memory and lag change without being told of.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self.news.wait()
            return value

    async def served(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that only the server knows."""
        async with asyncio.timeout(PATIENCE):
            while not (value := condition()):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
            return value

    def dispatch(self, room: str, name: str = "clerk", **said: Any) -> str:
        """Ask for an agent; return the id of the dispatch."""
        return self.server.agents.create_dispatch(room, agent_name=name, **said).id

    def jobs(self, room: str, name: str = "clerk") -> list[agent.Job]:
        """Return a room's jobs for an agent."""
        return [
            job
            for dispatch in self.server.agents.list_dispatch(room)
            if dispatch.agent_name == name
            for job in dispatch.state.jobs
        ]

    async def call(self, room: str, name: str = "clerk", **said: Any) -> SessionReport:
        """Ask for an agent, and return the call once it runs."""
        self.dispatch(room, name, **said)
        return await self.until(lambda now: next((each for each in now.sessions if each.room == room), None))

    async def hang_up(self, room: str) -> None:
        """End the room, and with it the call."""
        await self.server.rooms.delete(room)
        await self.until(lambda now: all(each.room != room for each in now.sessions))

    async def printed(self, words: str) -> Output:
        """Wait for a line of a shard or nursery."""
        return await self.served(lambda: next((line for line in self.output if words in line.text), None))

    def workers(self) -> list[Any]:
        """Return what LiveKit knows of the pool's registrations."""
        return self.server.agents.workers()


def settings_of(url: str, paths: Sequence[Path], **more: Any) -> PoolSettings:
    """Return how a small pool in a test works."""
    more = {"shards": 1, "port": 0, **more}
    return PoolSettings(url=url.replace("http", "ws", 1), key=more.pop("key", KEY), paths=tuple(paths), **more)


@contextlib.asynccontextmanager
async def pool_stage(
    *paths: Path,
    engine: MediaEngine | None = None,
    media: bool = False,
    config: ServerConfig | None = None,
    **settings: Any,
) -> AsyncIterator[PoolStage]:
    """Run a server and a pool of these files.

    :param media: whether agents really connect.
    :param config: of the server.
    """
    engine = engine or (Str0mEngine(EngineConfig()) if media else None)
    async with running_server(engine, config) as (server, url):
        output: list[Output] = []
        pool = Pool(settings_of(url, paths, **settings), on_output=output.append)
        stage = PoolStage(server, url, pool, output)
        pool.listen(stage.news.set)
        try:
            await pool.start()
            yield stage
        finally:
            await pool.stop()
