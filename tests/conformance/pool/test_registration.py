"""A pool and LiveKit: registered for what it serves, told how busy it is, back after the connection was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import agent

from greenroom.config import ApiKey
from greenroom.errors import GreenroomError
from greenroom.pool.supervisor import Pool
from support.pool_supervised import holder, pool_stage, settings_of
from support.serving import running_server

pytestmark = pytest.mark.conformance


async def test_a_call_is_offered_assigned_run_and_its_end_told(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with pool_stage(file, deployment="v7") as stage:
        (worker,) = stage.workers()
        assert (worker.agent_name, worker.deployment, worker.version) == ("clerk", "v7", "1.8.9")
        call = await stage.call("lobby", deployment="v7")
        assert (call.agent, call.tenant) == ("clerk", "default")
        assert (await stage.printed("begins")).shard == call.shard
        (job,) = stage.jobs("lobby")
        assert job.state.status == agent.JS_RUNNING
        assert job.state.participant_identity == f"agent-{job.id}"

        await stage.call("short", metadata="bye", deployment="v7")
        (job,) = await stage.served(lambda: [job for job in stage.jobs("short") if job.state.ended_at])
        assert job.state.status == agent.JS_SUCCESS
        assert stage.pool.snapshot().ended == {"agent": 1}


async def test_each_dispatch_name_is_a_worker_of_livekit(tmp_path: Path) -> None:
    for name in ("clerk", "nurse"):
        (tmp_path / f"{name}.py").write_text(holder(name))
    async with pool_stage(tmp_path) as stage:
        assert {worker.agent_name for worker in stage.workers()} == {"clerk", "nurse"}
        assert (await stage.call("one", "nurse")).agent == "nurse"
        assert (await stage.call("two", "clerk")).agent == "clerk"
        by_name = {worker.agent_name: worker for worker in stage.workers()}
        await stage.served(lambda: all(worker.job_count == 1 for worker in stage.workers()))
        assert set(by_name) == {"clerk", "nurse"}


async def test_a_full_pool_says_so_and_takes_the_next_call_when_one_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with pool_stage(file, max_sessions=1) as stage:
        await stage.call("one")
        await stage.served(lambda: stage.workers()[0].status == "full")
        assert stage.workers()[0].load == 1.0
        stage.dispatch("two")
        await stage.hang_up("one")
        await stage.until(lambda now: [each for each in now.sessions if each.room == "two"])


async def test_a_lost_connection_is_made_again_and_the_calls_go_on(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with pool_stage(file) as stage:
        call = await stage.call("lobby")
        (link,) = stage.pool._links.all()
        before = link.worker_id
        assert link._socket is not None
        link._socket.transport.abort()
        await stage.until(lambda now: now.agents[0].worker_id not in {"", before})
        assert [each.job_id for each in stage.pool.snapshot().sessions] == [call.job_id]
        (job,) = await stage.served(lambda: [job for job in stage.jobs("lobby") if job.state.worker_id != before])
        assert job.state.status == agent.JS_RUNNING
        await stage.hang_up("lobby")


async def test_a_message_that_cannot_be_dealt_with_leaves_the_registration_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with pool_stage(file) as stage:
        received = stage.pool._front.received

        def fails_once(*message: Any) -> None:
            monkeypatch.setattr(stage.pool._front, "received", received)
            raise KeyError("a defect")

        monkeypatch.setattr(stage.pool._front, "received", fails_once)
        await stage.call("lobby")
        await stage.hang_up("lobby")


async def test_a_key_that_the_server_does_not_know_is_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "clerk.py"
    file.write_text(holder())
    async with running_server() as (_, url):
        pool = Pool(settings_of(url, [file], key=ApiKey(key="wrong", secret="x" * 32)))
        with pytest.raises(GreenroomError, match="refuses the API key 'wrong'"):
            await pool.start()
        await pool.stop()


async def test_a_program_that_cannot_be_loaded_is_said_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from livekit.agents import AgentServer\n\nserver = AgentServer(\n")
    async with running_server() as (_, url):
        pool = Pool(settings_of(url, [file]))
        with pytest.raises(GreenroomError, match=r"broken\.py:3"):
            await pool.start()
        await pool.stop()


async def test_a_directory_without_agents_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    pool = Pool(settings_of("ws://127.0.0.1:1", [tmp_path]))
    with pytest.raises(GreenroomError, match="No agent found under"):
        await pool.start()
    assert pool._generations._last == 0
    await pool.stop()
