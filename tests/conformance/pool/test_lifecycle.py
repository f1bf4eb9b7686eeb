"""Policies, placement and memory: what ends a call by rule, who shares a process with whom, and how big one may get."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import agent

from greenroom.pool.settings import AgentSettings, PolicySettings
from support.pool_supervised import holder, pool_stage

pytestmark = pytest.mark.conformance


async def test_a_policy_ends_a_call_and_its_reason_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "greenroom.pool")
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, policies=PolicySettings(max_duration=0.5)) as stage:
        stage.dispatch("lobby")
        await stage.until(lambda now: now.ended == {"policy": 1})
        (job,) = await stage.served(lambda: [job for job in stage.jobs("lobby") if job.state.ended_at])
        assert job.state.status == agent.JS_SUCCESS
        assert "max_duration" in job.state.error
    assert any(record.message == "a policy ends a call" for record in caplog.records)


@pytest.mark.parametrize(
    "told",
    [{"agents": {"clerk": AgentSettings(placement="dedicated")}}, {"placement": "dedicated"}],
    ids=["agent", "pool"],
)
async def test_a_dedicated_agent_has_a_process_for_each_call_and_one_in_reserve(
    tmp_path: Path, told: dict[str, Any]
) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, **told) as stage:
        # The first call does not wait for its process, either.
        await stage.until(lambda now: sum(each.state == "ready" for each in now.shards) == 2)
        calls = [await stage.call(f"room-{number}") for number in range(2)]
        assert calls[0].shard != calls[1].shard
        # One for everybody, one for each call, one in reserve.
        await stage.until(lambda now: sum(each.state == "ready" for each in now.shards) == 4)
        await stage.hang_up("room-0")
        await stage.until(lambda now: calls[0].shard not in {each.number for each in now.shards})


async def test_a_tenant_that_has_its_own_shard_shares_it_with_nobody(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    agents = {"clerk": AgentSettings(placement="tenant")}
    async with pool_stage(tmp_path, agents=agents) as stage:
        shards = {}
        for room, tenant in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            call = await stage.call(room, attributes={"greenroom.tenant": tenant})
            shards[room] = call.shard
        assert shards["a1"] == shards["a2"] != shards["b1"]


async def test_a_shard_that_holds_too_much_gets_no_more_calls_and_keeps_those_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, memory_warn_mb=1, memory_limit_mb=1) as stage:
        first = await stage.call("one")
        await stage.until(
            lambda now: (
                any(each.state == "retiring" for each in now.shards)
                and any(each.state == "ready" for each in now.shards)
            )
        )
        second = await stage.call("two")
        assert second.shard != first.shard
        assert {each.room for each in stage.pool.snapshot().sessions} == {"one", "two"}
        await stage.hang_up("one")
        await stage.until(lambda now: first.shard not in {each.number for each in now.shards})
    assert sum("holds much memory" in record.message for record in caplog.records) <= 4


async def test_a_nursery_that_dies_is_replaced_and_no_call_notices(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        call = await stage.call("one")
        (generation,) = stage.pool._generations.all()
        os.kill(generation.nursery.pid, 9)
        await stage.until(lambda now: now.generation == 2)
        assert [each.job_id for each in stage.pool.snapshot().sessions] == [call.job_id]
        await stage.call("two")
        await stage.hang_up("one")
        await stage.until(lambda now: {each.generation for each in now.shards} == {2})
