"""The example agent under LiveKit's own console protocol: a real process, no server, no network."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit.protocol.agent_pb import agent_session as pb

pytestmark = pytest.mark.conformance

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
# Runs first in every process of the agent and writes down each attempt to leave the machine.
WATCHER = """
import os, sys

def watch(event, args):
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else ""
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if host and not str(host).startswith(("127.", "::1", "localhost")):
        with open(os.environ["REACHED"], "a") as log:
            log.write(f"{event} {host}\\n")

sys.addaudithook(watch)
"""


class Console:
    """The side of the console protocol that the ``lk`` command plays."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def receive(self) -> pb.AgentSessionMessage:
        (length,) = struct.unpack(">I", await self._reader.readexactly(4))
        return pb.AgentSessionMessage.FromString(await self._reader.readexactly(length))

    async def spoken(self) -> str:
        """Wait for the next thing that the agent says."""
        while True:
            message = await self.receive()
            item = message.event.conversation_item_added.item.message
            if item.role == pb.ASSISTANT and item.content:
                return item.content[0].text

    async def run(self, text: str) -> list[pb.ChatContext.ChatItem]:
        """Say something and return what came of it."""
        body = pb.AgentSessionMessage(
            request=pb.SessionRequest(request_id=text, run_input=pb.SessionRequest.RunInput(text=text))
        ).SerializeToString()
        self._writer.write(struct.pack(">I", len(body)) + body)
        while True:
            message = await self.receive()
            if message.WhichOneof("message") == "response" and message.response.request_id == text:
                assert not message.response.error
                return list(message.response.run_input.items)


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    (tmp_path / "sitecustomize.py").write_text(WATCHER)
    reached = tmp_path / "reached"
    connected: asyncio.Future[Console] = asyncio.get_running_loop().create_future()
    listener = await asyncio.start_server(lambda r, w: connected.set_result(Console(r, w)), "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    hidden = {name for name in os.environ if name.startswith(("LIVEKIT_", "OPENAI_", "HTTP"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livekit.agents", "console"),
        *(str(ROOT / "examples" / "agents" / "front_desk.py"), "--connect-addr", f"{host}:{port}"),
        env={name: value for name, value in os.environ.items() if name not in hidden}
        | {"PYTHONPATH": str(tmp_path), "REACHED": str(reached)},
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
    assert not reached.exists(), reached.read_text()


async def test_a_booking_by_console_needs_no_server_and_no_network(console: Console) -> None:
    assert await console.spoken() == "Hello, this is the front desk of Harbour Clinic. How can I help you?"
    looked = await console.run("what is free on 2030-05-03?")
    assert [item.WhichOneof("item") for item in looked] == ["function_call", "function_call_output", "message"]
    assert looked[0].function_call.arguments == '{"day": "2030-05-03"}'
    assert looked[2].message.content[0].text.startswith("On Friday 3 May these times are free: ")
    asked = await console.run("at 3 pm please")
    assert [item.message.content[0].text for item in asked] == ["What name shall I put?"]
    booked = await console.run("Ada Lovelace")
    assert booked[-1].message.content[0].text == "Done. Ada Lovelace is booked for Friday 3 May at 15:00. See you then!"
