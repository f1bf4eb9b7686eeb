"""Calls on a real server, served by a shard."""

from __future__ import annotations

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
