"""The development channel of LiveKit's command line: it hands the calls of one worker over to the next.

We are the worker: we say which agent we are, ask which calls to go on with, and tell ours when asked. Source:
``livekit.protocol.agent_pb.agent_dev``; a message is preceded by its length, 4 bytes, big-endian.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

_log = logging.getLogger("greenroom.pool")

_MAX_MESSAGE: Final = 16 * 1024 * 1024
_CONNECT_WITHIN: Final = 5.0

#: ``RunningAgentJobInfo``, whose module is imported only where the channel is used.
JobInfo: TypeAlias = Any


class DevLink:
    """The worker's end.

    :param address: ``host:port``, where the command line listens.
    :param on_restore: gets the calls to go on with, once.
    :param running: returns the calls that run.
    """

    def __init__(
        self,
        address: str,
        *,
        agent_name: str,
        url: str,
        on_restore: Callable[[Iterable[JobInfo]], None],
        running: Callable[[], list[JobInfo]],
    ) -> None:
        self._address = address
        self._agent_name = agent_name
        self._url = url
        self._on_restore = on_restore
        self._running = running

    async def run(self) -> None:
        """Serve the channel until the other side closes it."""
        from livekit.protocol.agent_pb import agent_dev  # noqa: PLC0415 - only where there is such a channel

        host, _, port = self._address.rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                reader, writer = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError, TimeoutError) as error:
            _log.warning("the development channel is not there", extra={"address": self._address, "why": str(error)})
            return
        try:
            info = agent_dev.ServerInfo(agent_name=self._agent_name, url=self._url)
            _write(writer, agent_dev.AgentDevMessage(server_info=info))
            request = agent_dev.GetRunningAgentJobsRequest()
            _write(writer, agent_dev.AgentDevMessage(get_running_jobs_request=request))
            while True:
                message = agent_dev.AgentDevMessage()
                message.ParseFromString(await _read(reader))
                if message.HasField("get_running_jobs_response"):
                    self._on_restore(message.get_running_jobs_response.jobs)
                elif message.HasField("get_running_jobs_request"):
                    response = agent_dev.GetRunningAgentJobsResponse(jobs=self._running())
                    _write(writer, agent_dev.AgentDevMessage(get_running_jobs_response=response))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            return
        finally:
            with contextlib.suppress(OSError):
                writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > _MAX_MESSAGE:
        raise ValueError("oversized message on the development channel")
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, message: Any) -> None:
    payload: bytes = message.SerializeToString()
    writer.write(len(payload).to_bytes(4, "big") + payload)
