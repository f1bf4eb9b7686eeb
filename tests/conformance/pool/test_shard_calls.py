"""Calls on a real server, served by a shard."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from livekit.protocol import agent

from greenroom.pool._wire import Ended, Started
from support.pool_stage import shard_stage
from support.stock_worker import ECHO_AGENT

pytestmark = pytest.mark.conformance


async def test_an_unmodified_program_serves_calls_side_by_side_in_one_process(tmp_path: Path) -> None:
    async with shard_stage(tmp_path, ECHO_AGENT) as stage:
        for number in (1, 2):
            caller, job = await stage.call("echo", f"room-{number}", metadata=f"m{number}")
            await stage.seen(caller, job, ready="yes")
            answers = caller.on_text("echo")
            await caller.me.send_text("hello", topic="say")
            assert (await answers.get())[1] == f"m{number} hello"
        assert {job.state.status for job in (stage.job("room-1", "echo"), stage.job("room-2", "echo")) if job} == {
            agent.JS_RUNNING
        }

        await stage.take_away("room-1", "echo")
        await stage.until(lambda: [each for each in stage.shard.said if isinstance(each, Ended)])
        await stage.server.rooms.delete("room-2")
        await stage.until(lambda: len([each for each in stage.shard.said if isinstance(each, Ended)]) == 2)
        assert len([each for each in stage.shard.said if isinstance(each, Started)]) == 2


SPEAKER = """
import asyncio, gc, json, logging, os
from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, room_io

server = AgentServer()


def counted():
    gc.collect()
    objects = gc.get_objects()
    kinds = (JobContext, rtc.Room, AgentSession, Agent)
    return {
        **{kind.__name__: sum(isinstance(each, kind) for each in objects) for kind in kinds},
        "filters": sum(len(handler.filters) for handler in logging.getLogger().handlers),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


@server.rtc_session(agent_name="speaker")
async def entrypoint(ctx: JobContext):
    if ctx.job.metadata == "count":
        await ctx.connect()
        await ctx.room.local_participant.set_attributes({"counted": json.dumps(counted())})
        return
    session = AgentSession()
    await session.start(
        Agent(instructions="x"), room=ctx.room, room_options=room_io.RoomOptions(audio_output=False)
    )
    await ctx.room.local_participant.set_attributes({"ready": "yes"})
    if ctx.job.metadata == "fail":
        raise ValueError("as told")
"""


async def test_nothing_is_left_of_sessions_that_ended_or_failed_in_a_room(tmp_path: Path) -> None:
    async with shard_stage(tmp_path, SPEAKER) as stage:

        async def count(room: str) -> dict[str, int]:
            caller, job = await stage.call("speaker", room, metadata="count")
            bot = await caller.sees(job.state.participant_identity, lambda there: "counted" in there.attributes)
            await stage.server.rooms.delete(room)
            await stage.ended(job.id)
            found: dict[str, int] = json.loads(bot.attributes["counted"])
            return found

        async def talk(room: str, metadata: str) -> None:
            caller, job = await stage.call("speaker", room, metadata=metadata)
            if metadata != "fail":
                await stage.seen(caller, job, ready="yes")
                await stage.take_away(room, "speaker")
            await stage.ended(job.id)

        await talk("warm-up", "")
        await talk("warm-up-2", "fail")
        before = await count("before")
        for number in range(4):
            await asyncio.gather(talk(f"room-{number}", ""), talk(f"failing-{number}", "fail"))
        assert await count("after") == before
