"""LiveKit's command line's end of the development channel: asks a worker for its calls, and gives them to the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from livekit.protocol.agent_pb import agent_dev

_MAX_MESSAGE = 16 * 1024 * 1024
_ANSWER_WITHIN = 1.5


class DevChannel:
    """Our end of one run's development channel.

    :param on_agent: called with the name that the worker will register.
    """

    def __init__(self, on_agent: Callable[[str], None]) -> None:
        self._on_agent = on_agent
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._inherited: asyncio.Future[list[agent_dev.RunningAgentJobInfo]] | None = None
        self._running: asyncio.Future[list[agent_dev.RunningAgentJobInfo]] | None = None

    async def open(self) -> str:
        """Listen on a free loopback port and return its address."""
        self._inherited = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    def inherit(self, jobs: list[agent_dev.RunningAgentJobInfo]) -> None:
        """Answer, now or once asked, which jobs to continue."""
        if self._inherited is not None and not self._inherited.done():
            self._inherited.set_result(jobs)

    async def running_jobs(self) -> list[agent_dev.RunningAgentJobInfo]:
        """Ask the worker what it runs. Empty when it does not answer in time."""
        if self._writer is None or self._writer.is_closing():
            return []
        self._running = asyncio.get_running_loop().create_future()
        request = agent_dev.AgentDevMessage(get_running_jobs_request=agent_dev.GetRunningAgentJobsRequest())
        _write(self._writer, request)
        try:
            return await asyncio.wait_for(self._running, _ANSWER_WITHIN)
        except TimeoutError:
            return []

    def close(self) -> None:
        """Close the channel. Idempotent."""
        self.inherit([])
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.close()
            return
        self._writer = writer
        answering: asyncio.Task[None] | None = None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                message = await _read(reader)
                if message.HasField("server_info"):
                    self._on_agent(message.server_info.agent_name)
                elif message.HasField("get_running_jobs_request"):
                    answering = asyncio.create_task(self._answer(writer))
                elif message.HasField("get_running_jobs_response") and self._running and not self._running.done():
                    self._running.set_result(list(message.get_running_jobs_response.jobs))
        if answering is not None:
            answering.cancel()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        assert self._inherited is not None
        jobs = await asyncio.shield(self._inherited)
        response = agent_dev.GetRunningAgentJobsResponse(jobs=jobs)
        _write(writer, agent_dev.AgentDevMessage(get_running_jobs_response=response))


async def _read(reader: asyncio.StreamReader) -> agent_dev.AgentDevMessage:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > _MAX_MESSAGE:
        raise ValueError("oversized message on the development channel")
    message = agent_dev.AgentDevMessage()
    message.ParseFromString(await reader.readexactly(length))
    return message


def _write(writer: asyncio.StreamWriter, message: agent_dev.AgentDevMessage) -> None:
    payload: bytes = message.SerializeToString()
    writer.write(len(payload).to_bytes(4, "big") + payload)
