"""A call under ``greenroom dev``, by LiveKit's own Python client, while the agent's author keeps saving."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit import rtc

from greenroom.cli.token import room_config
from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from support.program import greenroom

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("dev")]

AGENT = """
from livekit.agents import AgentServer, JobContext

server = AgentServer()

@server.rtc_session(agent_name="desk")
async def entry(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.room.local_participant.send_text("{version}", topic="lk.chat")
"""
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def caller(url: str, texts: asyncio.Queue[tuple[str, str]]) -> AsyncIterator[rtc.Room]:
    """Call the agent; what it says, and who said it, goes into ``texts``."""
    reading = set()

    def on_text(reader: rtc.TextStreamReader, identity: str) -> None:
        async def read() -> None:
            texts.put_nowait((identity, await reader.read_all()))

        reading.add(asyncio.create_task(read()))

    key = ApiKey(key="devkey", secret="secret")
    video = VideoGrant(room_join=True, room="lobby")
    token = mint(key, identity="ada", video=video, room_config=room_config(["desk"]))
    room = rtc.Room()
    room.register_text_stream_handler("lk.chat", on_text)
    await room.connect(url, token)
    try:
        yield room
    finally:
        await room.disconnect()


async def test_a_call_goes_on_in_the_version_that_was_saved(tmp_path: Path) -> None:
    agent = tmp_path / "desk.py"
    agent.write_text(AGENT.format(version="one"))
    texts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with greenroom("dev", "desk.py", "--port", "0", "--rtc-port", "0", cwd=tmp_path) as program:
        url = await program.ready()
        async with asyncio.timeout(PATIENCE), caller(url.replace("http", "ws"), texts) as room:
            identity, said = await texts.get()
            assert said == "one"
            agent.write_text(AGENT.format(version="two"))
            assert await texts.get() == (identity, "two")
            await program.line(r"call goes on with newer code")
            assert room.isconnected()
            assert [*room.remote_participants] == [identity]
        assert await program.interrupt() == 0
