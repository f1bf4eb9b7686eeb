"""A whole server over the fake media engine, with workers and participants that speak the bare protocol."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from livekit.protocol import agent

from greenroom.config import ServerConfig
from greenroom.server import Server
from support.agent_worker import KEY, AgentWorker, registered
from support.serving import running_server
from support.signal_client import SignalClient, token


@dataclass
class AgentStage:
    """A running server and everybody who connected to it; they leave with it."""

    server: Server
    url: str
    leaving: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def worker(self, name: str = "", **options: Any) -> AgentWorker:
        """Connect and register a worker."""
        return await self.leaving.enter_async_context(registered(self.url, name, **options))

    async def join(self, identity: str, room: str = "lobby", **claims: Any) -> SignalClient:
        """Join a room as a person."""
        return await self._join(identity, token(identity, room, key=KEY, **claims))

    async def start(self, assignment: agent.JobAssignment) -> SignalClient:
        """Join as the agent of a job that was assigned, with the token that came with it."""
        return await self._join(assignment.job.state.participant_identity, assignment.token)

    async def knock(self, access: str) -> SignalClient:
        """Connect without waiting to be let in."""
        client = await SignalClient.open(self.url, access, server=self.server)
        self.leaving.push_async_callback(client.close)
        return client

    async def _join(self, identity: str, access: str) -> SignalClient:
        client = await SignalClient.connect(self.url, access, server=self.server)
        self.leaving.push_async_callback(client.close)
        await client.participant(identity)
        return client

    def jobs(self, room: str = "lobby", agent_name: str = "") -> list[agent.Job]:
        """Return the jobs of the room's dispatches for ``agent_name``."""
        dispatches = self.server.agents.list_dispatch(room)
        return [job for each in dispatches if each.agent_name == agent_name for job in each.state.jobs]

    def only_job(self, room: str = "lobby", agent_name: str = "") -> agent.Job:
        """Return the only one."""
        (job,) = self.jobs(room, agent_name)
        return job


@contextlib.asynccontextmanager
async def agent_stage(**config: Any) -> AsyncIterator[AgentStage]:
    """Run a server; ``config`` is laid over a plain configuration."""
    settings = ServerConfig(**{"keys": (KEY,), "port": 0, "rtc_port": 0, **config})
    async with running_server(config=settings) as (server, url):
        stage = AgentStage(server, url)
        async with stage.leaving:
            yield stage
