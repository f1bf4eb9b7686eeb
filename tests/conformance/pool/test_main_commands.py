"""``python main.py connect``, ``console`` and ``download-files`` of a program with an ``AgentPool``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from support import no_network
from support.pool_program import write_program
from support.program import Program
from support.sdk import callers
from support.serving import KEY, running_server
from support.signal_client import token

pytestmark = pytest.mark.conformance

PATIENCE = 60.0
POOL = """
pool = AgentPool(default_llm=Parrot(), default_greeting="Say hello.", observers=[Witness()])
pool.add("sales", Sales, room_options=TEXT)
if __name__ == "__main__":
    pool.run()
"""
#: A plugin that fetches something where nobody can, and one that needs nothing.
PLUGINS = """
import urllib.request

from livekit.agents import Plugin


class Model(Plugin):
    def __init__(self):
        super().__init__("model", "1", "livekit.plugins.model")

    def download_files(self):
        urllib.request.urlopen("https://models.example/weights.bin", timeout=5)


class Plain(Plugin):
    def __init__(self):
        super().__init__("plain", "1", "livekit.plugins.plain")


Plugin.register_plugin(Model())
Plugin.register_plugin(Plain())
"""


@contextlib.asynccontextmanager
async def running(*command: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
        | {**(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_connect_makes_one_call_in_a_room_and_is_left_with_ctrl_c(tmp_path: Path) -> None:
    program = write_program(tmp_path / "main.py", POOL)
    async with running_server(Str0mEngine(EngineConfig())) as (server, url), callers() as make:
        caller = await make().connect(url, token("ada", "sales-1", key=KEY))
        texts = caller.on_text("lk.transcription")
        environment = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY.key, "LIVEKIT_API_SECRET": KEY.secret}
        arguments = ("connect", "--room", "sales-1", "--participant-identity", "clerk")
        async with running(sys.executable, str(program), *arguments, environment=environment) as agent:
            async with asyncio.timeout(PATIENCE):
                assert (await texts.get())[:2] == ("clerk", "parrot hears Say hello.")
            await caller.me.send_text("good day", topic="lk.chat")
            async with asyncio.timeout(PATIENCE):
                assert (await texts.get())[1] == "parrot hears good day"
            await server.rooms.delete("sales-1")
            await agent.line("ends sales-1 success NoneType")
            # LiveKit's own connect stays until it is interrupted, and what it says of that is its own.
            await agent.interrupt()


async def test_connect_without_a_room_says_so(tmp_path: Path) -> None:
    async with running(sys.executable, str(write_program(tmp_path / "main.py", POOL)), "connect") as agent:
        assert await agent.ended() == 2
        assert any("--room" in line for line in agent.lines)


async def test_a_console_in_a_terminal_greets_and_is_left_with_ctrl_c(tmp_path: Path) -> None:
    program = write_program(tmp_path / "main.py", POOL)
    ours, theirs = pty.openpty()
    shown = bytearray()
    news = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:
            loop.remove_reader(ours)
        news.set()

    async def shows(words: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            while words not in shown:
                news.clear()
                await news.wait()

    command = (sys.executable, str(program), "console", "--text")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    loop.add_reader(ours, read)
    try:
        await shows(b"parrot hears Say hello.")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            await process.wait()
        assert b"Traceback" not in shown, shown.decode(errors="replace")
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_download_files_without_a_network_says_what_failed_and_what_did_not(tmp_path: Path) -> None:
    program = write_program(tmp_path / "main.py", POOL)
    package = tmp_path / "livekit" / "plugins" / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGINS)
    command, environment = no_network.command(str(program), "download-files")
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    async with running(*command, environment=environment) as program_:
        assert await program_.ended() == 1
        said = "\n".join(program_.lines)
    assert "failed downloading files for livekit.plugins.model" in said
    assert "finished downloading files for livekit.plugins.plain" in said
    assert "Traceback" not in said


async def test_download_files_without_plugins_says_that_there_is_nothing(tmp_path: Path) -> None:
    program = write_program(tmp_path / "main.py", POOL)
    command, environment = no_network.command(str(program), "download-files")
    async with running(*command, environment=environment) as agent:
        assert await agent.ended() == 0
        assert any("discovered" in line for line in agent.lines)
