"""LiveKit's protocol without an SDK: what a client and a worker say, and no more."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from livekit import api
from livekit.protocol import agent, models, rtc
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK

from bench._process import KEY, SECRET
from greenroom._media._fake_sdp import client_offer


def new_room() -> str:
    return f"bench-{uuid.uuid4().hex[:12]}"


def token(room: str, identity: str) -> str:
    """Return a participant's token."""
    grants = api.VideoGrants(room_join=True, room=room)
    return api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grants).to_jwt()


def agent_token() -> str:
    """Return a worker's token: no identity, no room."""
    return api.AccessToken(KEY, SECRET).with_grants(api.VideoGrants(agent=True)).to_jwt()


def join_query() -> str:
    """Return the ``join_request`` of a client with LiveKit's first offer."""
    request = rtc.JoinRequest(
        client_info=models.ClientInfo(sdk=models.ClientInfo.PYTHON, version="1.1.21", protocol=17, client_protocol=2),
        connection_settings=rtc.ConnectionSettings(auto_subscribe=True),
        publisher_offer=rtc.SessionDescription(type="offer", sdp=client_offer(), id=1),
    )
    wrapped = rtc.WrappedJoinRequest(join_request=request.SerializeToString())
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def _open(url: str, bearer: str) -> connect:
    headers = {"Authorization": f"Bearer {bearer}"}
    return connect(url, additional_headers=headers, compression=None, max_size=None, proxy=None)


async def messages(socket: ClientConnection) -> AsyncIterator[rtc.SignalResponse]:
    """Yield what the server signals."""
    async for frame in _frames(socket):
        yield rtc.SignalResponse.FromString(frame)


async def _frames(socket: ClientConnection) -> AsyncIterator[bytes]:
    with contextlib.suppress(ConnectionClosedOK):
        while True:
            yield await socket.recv(decode=False)


@contextlib.asynccontextmanager
async def joined(signal_url: str, room: str, identity: str = "caller") -> AsyncIterator[ClientConnection]:
    """Join over signalling alone; the body runs once the join and the answer are here, then the client leaves."""
    async with _open(f"{signal_url}/rtc/v1?join_request={join_query()}", token(room, identity)) as socket:
        seen = set()
        async for message in messages(socket):
            seen.add(message.WhichOneof("message"))
            if {"join", "answer"} <= seen:
                break
        yield socket
        leave = rtc.LeaveRequest(reason=models.CLIENT_INITIATED)
        with contextlib.suppress(OSError):
            await socket.send(rtc.SignalRequest(leave=leave).SerializeToString())


@dataclass
class Worker:
    """A worker that takes every job, and remembers when it held each room's assignment."""

    held: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def expect(self, room: str) -> asyncio.Future[float]:
        """Return what becomes the moment (``time.perf_counter``) at which the job for ``room`` was held."""
        return self.held.setdefault(room, asyncio.get_running_loop().create_future())

    async def serve(self, socket: ClientConnection) -> None:
        async for frame in _frames(socket):
            message = agent.ServerMessage.FromString(frame)
            if message.HasField("availability"):
                job = message.availability.job
                answer = agent.AvailabilityResponse(
                    job_id=job.id, available=True, participant_identity=f"agent-{job.id}"
                )
                await socket.send(agent.WorkerMessage(availability=answer).SerializeToString())
            elif message.HasField("assignment"):
                moment = time.perf_counter()
                held = self.expect(message.assignment.job.room.name)
                if not held.done():
                    held.set_result(moment)


@contextlib.asynccontextmanager
async def registered(signal_url: str, agent_name: str = "") -> AsyncIterator[Worker]:
    """Register a worker for rooms and serve its jobs while the body runs."""
    async with _open(f"{signal_url}/agent", agent_token()) as socket:
        register = agent.RegisterWorkerRequest(type=agent.JT_ROOM, agent_name=agent_name, version="1.8.9")
        await socket.send(agent.WorkerMessage(register=register).SerializeToString())
        reply = agent.ServerMessage.FromString(await socket.recv(decode=False))
        if not reply.HasField("register"):
            raise RuntimeError("the server did not answer the registration first")
        status = agent.UpdateWorkerStatus(status=agent.WS_AVAILABLE, load=0.0)
        await socket.send(agent.WorkerMessage(update_worker=status).SerializeToString())
        worker = Worker()
        serving = asyncio.create_task(worker.serve(socket))
        try:
            yield worker
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


async def until_message(socket: ClientConnection, condition: Callable[[rtc.SignalResponse], bool]) -> float:
    """Return the moment at which a message that satisfies ``condition`` came."""
    async for message in messages(socket):
        if condition(message):
            return time.perf_counter()
    raise RuntimeError("the server ended the connection")
