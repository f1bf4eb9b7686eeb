"""LiveKit's side of a worker's WebSocket: offers jobs, assigns those that are taken, keeps what it is told and when."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import websockets
from livekit.protocol import agent, models
from websockets.asyncio.server import Server, ServerConnection, serve

PATIENCE = 60.0
_OVER = frozenset({agent.JS_SUCCESS, agent.JS_FAILED})


def job_of(number: int, name: str, tenant: str, metadata: str = "bye") -> agent.Job:
    """Return a job as LiveKit offers it."""
    return agent.Job(
        id=f"AJ_{number}",
        agent_name=name,
        metadata=metadata,
        attributes={"greenroom.tenant": tenant},
        room=models.Room(name=f"r-{number}", sid=f"RM_{number}"),
    )


class Exchange:
    """A LiveKit that has nothing but workers.

    :ivar said: every message of a worker, with whose agent's it is and when it came.
    :ivar accepted: jobs that a worker took.
    :ivar launched: jobs that a worker said it runs.
    :ivar live: jobs that were taken and have not ended; ``most`` is how many there were at once, by what
        :meth:`counted` returns.
    """

    def __init__(self, counted: Callable[[agent.Job], str] = lambda _: "") -> None:
        self.said: list[tuple[float, str, agent.WorkerMessage]] = []
        self.workers: dict[str, ServerConnection] = {}
        self.accepted: dict[str, agent.Job] = {}
        self.launched: set[str] = set()
        self.ended: Counter[int] = Counter()
        self.live: set[str] = set()
        self.held: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.registrations = 0
        self._counted = counted
        self._asked: dict[str, tuple[agent.Job, asyncio.Future[bool]]] = {}
        self._news = asyncio.Event()
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"ws://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listen; again on the same port after :meth:`crash`."""
        self._server = await serve(self._serve, "127.0.0.1", self._port, compression=None)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    def crash(self) -> None:
        """Be gone without a word."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for worker in self.workers.values():
            worker.transport.abort()
        self.workers.clear()

    async def close(self) -> None:
        """Be gone."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def offer(self, job: agent.Job) -> bool:
        """Ask the worker for the job's agent whether it takes it; return what it says."""
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[job.id] = (job, asked)
        await self._send(job.agent_name, availability=agent.AvailabilityRequest(job=job))
        async with asyncio.timeout(PATIENCE):
            return await asked

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that workers tell; return what."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
            return found

    def unavailable(self, since: float) -> float | None:
        """Return when the last worker said that it takes nothing since it drains, after ``since``."""
        found: dict[str, float] = {}
        for at, name, message in self.said:
            update = message.update_worker
            if at >= since and update.draining and update.status == agent.WS_FULL:
                found.setdefault(name, at)
        return max(found.values()) if found.keys() == self.workers.keys() else None

    async def _send(self, name: str, **message: Any) -> None:
        await self.workers[name].send(agent.ServerMessage(**message).SerializeToString())

    async def _serve(self, socket: ServerConnection) -> None:
        name = ""
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in socket:
                assert isinstance(frame, bytes)
                message = agent.WorkerMessage.FromString(frame)
                name = message.register.agent_name or name
                self.said.append((time.monotonic(), name, message))
                if message.HasField("register"):
                    self.registrations += 1
                    self.workers[name] = socket
                    welcome = agent.RegisterWorkerResponse(worker_id=f"AW_{self.registrations}")
                    await self._send(name, register=welcome)
                elif message.HasField("availability"):
                    await self._answered(name, message.availability)
                elif message.HasField("update_job"):
                    self._updated(message.update_job)
                self._news.set()

    async def _answered(self, name: str, answer: agent.AvailabilityResponse) -> None:
        job, asked = self._asked.pop(answer.job_id)
        if answer.available:
            self.accepted[job.id] = job
            self.live.add(job.id)
            key = self._counted(job)
            self.held[key] += 1
            self.most[key] = max(self.most[key], self.held[key])
            await self._send(name, assignment=agent.JobAssignment(job=job, token="none"))
        asked.set_result(answer.available)

    def _updated(self, update: agent.UpdateJobStatus) -> None:
        if update.status == agent.JS_RUNNING:
            self.launched.add(update.job_id)
        elif update.status in _OVER and update.job_id in self.live:
            self.live.remove(update.job_id)
            self.held[self._counted(self.accepted[update.job_id])] -= 1
            self.ended[update.status] += 1


@contextlib.asynccontextmanager
async def exchange(counted: Callable[[agent.Job], str] = lambda _: "") -> AsyncIterator[Exchange]:
    """Run one.

    :param counted: under which name a job counts.
    """
    running = Exchange(counted)
    await running.open()
    try:
        yield running
    finally:
        await running.close()
