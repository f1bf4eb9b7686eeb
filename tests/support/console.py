"""The side of LiveKit's console protocol that the ``lk`` command plays, with an agent at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Mapping

from livekit.protocol.agent_pb import agent_session as pb

PATIENCE = 60.0


class Console:
    """One agent that has connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def receive(self) -> pb.AgentSessionMessage:
        (length,) = struct.unpack(">I", await self._reader.readexactly(4))
        message = pb.AgentSessionMessage.FromString(await self._reader.readexactly(length))
        if message.WhichOneof("message") == "audio_playback_flush":
            # Everything is heard at once; without being told so the agent would wait.
            answer = pb.AgentSessionMessage()
            answer.audio_playback_finished.SetInParent()
            self._send(answer)
        return message

    async def spoken(self) -> str:
        """Wait for the next thing that the agent says."""
        while True:
            message = await self.receive()
            item = message.event.conversation_item_added.item.message
            if item.role == pb.ASSISTANT and item.content:
                return item.content[0].text

    async def run(self, text: str) -> list[pb.ChatContext.ChatItem]:
        """Say something and return what came of it."""
        request = pb.SessionRequest(request_id=text, run_input=pb.SessionRequest.RunInput(text=text))
        self._send(pb.AgentSessionMessage(request=request))
        while True:
            message = await self.receive()
            if message.WhichOneof("message") == "response" and message.response.request_id == text:
                assert not message.response.error
                return list(message.response.run_input.items)

    def _send(self, message: pb.AgentSessionMessage) -> None:
        body = message.SerializeToString()
        self._writer.write(struct.pack(">I", len(body)) + body)


@contextlib.asynccontextmanager
async def console_of(*command: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Console]:
    """Run an agent's program with the address of a console at its end, until the console is left."""
    connected: asyncio.Future[Console] = asyncio.get_running_loop().create_future()
    listener = await asyncio.start_server(lambda r, w: connected.set_result(Console(r, w)), "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    hidden = {name for name in os.environ if name.startswith(("LIVEKIT_", "OPENAI_", "HTTP"))}
    process = await asyncio.create_subprocess_exec(
        *(*command, "--connect-addr", f"{host}:{port}"),
        env={name: value for name, value in os.environ.items() if name not in hidden} | {**(environment or {})},
        # The console's second signal kills its process group: it must have its own.
        start_new_session=True,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            console = await connected
            yield console
            await console.close()
    finally:
        process.terminate()
        await process.wait()
        listener.close()
