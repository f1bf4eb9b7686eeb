"""An agent worker down to its protocol: registers, answers offers as told, and never starts a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import websockets
from livekit.protocol import agent, models
from websockets.asyncio.client import ClientConnection, connect

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint

KEY = ApiKey(key="devkey", secret="secret")
TIMEOUT = 10.0

Answer = Callable[[agent.Job], agent.AvailabilityResponse | None]


def worker_token(key: ApiKey = KEY) -> str:
    """Mint the token of a worker as its SDK does: no identity, no room."""
    return mint(key, video=VideoGrant(agent=True))


def accept(job: agent.Job) -> agent.AvailabilityResponse:
    """Take every job, as a stock worker does."""
    return agent.AvailabilityResponse(
        job_id=job.id,
        available=True,
        participant_identity=f"agent-{job.id}",
        participant_attributes={"lk.agent.name": job.agent_name},
    )


def decline(job: agent.Job) -> agent.AvailabilityResponse:
    """Take none."""
    return agent.AvailabilityResponse(job_id=job.id, available=False)


def refuse_for_good(job: agent.Job) -> agent.AvailabilityResponse:
    """Say that the job should run nowhere."""
    return agent.AvailabilityResponse(job_id=job.id, terminate=True)


def stay_silent(_job: agent.Job) -> None:
    """Leave offers unanswered."""


class AgentWorker:
    """One worker connection.

    Messages are kept in order in :attr:`log`; :meth:`receive` takes the next one of a kind and leaves the
    others for later calls.

    :param answer: what is said to an offer, at once; ``None`` says nothing.
    """

    def __init__(self, socket: ClientConnection, answer: Answer = accept) -> None:
        self.socket = socket
        self.answer = answer
        self.id = ""
        self.log: list[agent.ServerMessage] = []
        self._unread: list[agent.ServerMessage] = []
        self._arrived = asyncio.Condition()
        self._closed = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, url: str, *, key: ApiKey = KEY, token: str | None = None, answer: Answer = accept
    ) -> AgentWorker:
        """Connect without registering. Raises ``websockets.InvalidStatus``."""
        socket = await connect(
            f"{url.replace('http', 'ws', 1)}/agent",
            additional_headers={"Authorization": f"Bearer {worker_token(key) if token is None else token}"},
            max_size=None,
            compression=None,
            open_timeout=TIMEOUT,
        )
        return cls(socket, answer)

    async def register(self, name: str = "", **fields: Any) -> agent.RegisterWorkerResponse:
        """Register and return the answer; ``fields`` are further ones of the request."""
        fields.setdefault(
            "allowed_permissions",
            models.ParticipantPermission(
                can_publish=True, can_subscribe=True, can_publish_data=True, can_update_metadata=True, agent=True
            ),
        )
        await self.send(register=agent.RegisterWorkerRequest(agent_name=name, version="1.8.9", **fields))
        response = (await self.receive("register")).register
        self.id = response.worker_id
        return response

    async def send(self, **message: Any) -> None:
        """Send a WorkerMessage given by its field."""
        await self.socket.send(agent.WorkerMessage(**message).SerializeToString())

    async def status(self, *, full: bool = False, load: float = 0.0) -> None:
        """Say how busy the worker is."""
        status = agent.WS_FULL if full else agent.WS_AVAILABLE
        await self.send(update_worker=agent.UpdateWorkerStatus(status=status, load=load))

    async def report(self, job_id: str, status: agent.JobStatus, error: str = "") -> None:
        """Say how a job is doing."""
        await self.send(update_job=agent.UpdateJobStatus(job_id=job_id, status=status, error=error))

    async def barrier(self) -> None:
        """Return once the server has handled everything sent so far."""
        stamp = len(self.log) + 1
        await self.send(ping=agent.WorkerPing(timestamp=stamp))
        while (await self.receive("pong")).pong.last_timestamp != stamp:
            pass

    async def receive(self, kind: str, *, within: float = TIMEOUT) -> agent.ServerMessage:
        """Return the next message of ``kind``."""

        def take() -> agent.ServerMessage | None:
            for message in self._unread:
                if message.WhichOneof("message") == kind:
                    self._unread.remove(message)
                    return message
            return None

        async with asyncio.timeout(within), self._arrived:
            while (found := take()) is None:
                if self._closed:
                    raise ConnectionError(f"closed before {kind} came: {self.kinds}")
                await self._arrived.wait()
            return found

    async def assignment(self) -> agent.JobAssignment:
        """Return the next job that this worker is given."""
        return (await self.receive("assignment")).assignment

    async def offer(self) -> agent.Job:
        """Return the next job that this worker is asked about."""
        return (await self.receive("availability")).availability.job

    @property
    def kinds(self) -> list[str | None]:
        """The kinds of all messages so far, in order."""
        return [message.WhichOneof("message") for message in self.log]

    async def close(self) -> None:
        """Drop the connection."""
        await self.socket.close()
        await self._reader

    async def wait_closed(self, within: float = TIMEOUT) -> tuple[int | None, str | None]:
        """Wait for the server to close; returns its code and reason."""
        async with asyncio.timeout(within):
            await self.socket.wait_closed()
            await self._reader
        return self.socket.close_code, self.socket.close_reason

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                message = agent.ServerMessage.FromString(frame)
                if message.HasField("availability"):
                    response = self.answer(message.availability.job)
                    if response is not None:
                        await self.send(availability=response)
                async with self._arrived:
                    self.log.append(message)
                    self._unread.append(message)
                    self._arrived.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            async with self._arrived:
                self._closed = True
                self._arrived.notify_all()


@contextlib.asynccontextmanager
async def registered(
    url: str, name: str = "", *, key: ApiKey = KEY, answer: Answer = accept, **fields: Any
) -> AsyncIterator[AgentWorker]:
    """Connect and register a worker for as long as the context lasts."""
    worker = await AgentWorker.open(url, key=key, answer=answer)
    try:
        await worker.register(name, **fields)
        yield worker
    finally:
        await worker.close()
