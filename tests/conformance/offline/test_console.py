"""The example agent under LiveKit's own console protocol: a real process, no server, no network."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.console import Console, console_of

pytestmark = pytest.mark.conformance

ROOT = Path(__file__).parents[3]
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


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    (tmp_path / "sitecustomize.py").write_text(WATCHER)
    reached = tmp_path / "reached"
    example = str(ROOT / "examples" / "agents" / "front_desk.py")
    environment = {"PYTHONPATH": str(tmp_path), "REACHED": str(reached)}
    command = (sys.executable, "-m", "livekit.agents", "console", example)
    async with console_of(*command, environment=environment) as console:
        yield console
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
