"""Shards die: their calls go on in others, a call that kills them does not for ever, and no process is left over."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from livekit.protocol import agent

from greenroom.pool._model import EndKind
from greenroom.pool.settings import WatchdogSettings
from support.pool_supervised import holder, pool_stage
from support.sdk import callers
from support.serving import KEY
from support.signal_client import token

pytestmark = pytest.mark.conformance

GUEST = """
import os

from livekit.agents import AgentServer, JobContext, cli

from greenroom.pool import context

server = AgentServer()


@server.rtc_session(agent_name="guest")
async def entry(ctx: JobContext):
    await ctx.connect()
    await ctx.room.local_participant.set_attributes({"pid": str(os.getpid()), "resumed": str(context.resumed())})


if __name__ == "__main__":
    cli.run_app(server)
"""


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; who its parent is may take its time to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_the_calls_of_a_shard_that_crashes_go_on_in_another(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, shards=2) as stage:
        calls = [await stage.call(f"room-{number}") for number in range(4)]
        victim = calls[0].shard
        (shard,) = [each for each in stage.pool.snapshot().shards if each.number == victim]
        os.kill(shard.pid, signal.SIGSEGV)
        now = await stage.until(lambda now: now if now.rescued == 2 else None)
        assert {each.job_id for each in now.sessions} == {each.job_id for each in calls}
        assert victim not in {each.shard for each in now.sessions}
        assert now.ended == {"rescued": 2}
        assert all(job.state.status == agent.JS_RUNNING for number in range(4) for job in stage.jobs(f"room-{number}"))
        await stage.until(lambda now: sum(each.state == "ready" for each in now.shards) == 2)
        for number in range(4):
            await stage.hang_up(f"room-{number}")


async def test_a_call_that_kills_every_shard_it_is_in_is_given_up_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        innocent = await stage.call("innocent")
        stage.dispatch("guilty", metadata="crash")
        now = await stage.until(lambda now: now if now.ended.get("killed") else None)
        assert [each.job_id for each in now.sessions] == [innocent.job_id]
        (job,) = await stage.served(lambda: [job for job in stage.jobs("guilty") if job.state.ended_at])
        assert job.state.status == agent.JS_FAILED
        assert "died" in job.state.error


async def test_the_agent_is_back_in_its_room_after_a_crash(tmp_path: Path) -> None:
    (tmp_path / "guest.py").write_text(GUEST)
    async with pool_stage(tmp_path, media=True) as stage, callers() as make:
        caller = await make().connect(stage.url, token("ada", "lobby", key=KEY))
        call = await stage.call("lobby", "guest")
        identity = f"agent-{call.job_id}"
        there = await caller.sees(identity, lambda each: "pid" in each.attributes)
        first = there.attributes["pid"]
        os.kill(int(first), signal.SIGKILL)
        there = await caller.sees(identity, lambda each: each.attributes.get("pid") not in {None, first})
        assert stage.pool.snapshot().rescued == 1
        assert [job.state.status for job in stage.jobs("lobby", "guest")] == [agent.JS_RUNNING]


async def test_livekits_ending_of_a_job_whose_first_agent_has_left_does_not_end_the_second(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, shards=2) as stage:
        call = await stage.call("lobby")
        (shard,) = [each for each in stage.pool.snapshot().shards if each.number == call.shard]
        os.kill(shard.pid, signal.SIGKILL)
        await stage.until(lambda now: now.rescued)
        (link,) = stage.pool._links.all()
        ending = agent.ServerMessage(termination=agent.JobTermination(job_id=call.job_id))
        stage.pool.received(link, ending)
        assert stage.pool._runs.calls.running[call.job_id].ending is None
        stage.pool.received(link, ending)
        await stage.until(lambda now: now.ended.get("terminated"))


async def test_a_blocked_shard_is_told_of_gets_no_calls_and_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    watchdog = WatchdogSettings(stall=0.2, unfed=0.5, kill=1.5)
    async with pool_stage(tmp_path, shards=2, watchdog=watchdog) as stage:
        stage.dispatch("stuck", metadata="block 60")
        stalled = await stage.until(lambda now: next((each for each in now.shards if each.state == "stalled"), None))
        assert "clerk.py" in stalled.where
        other = await stage.call("fine")
        assert other.shard != stalled.number
        await stage.until(lambda now: now.rescued)
        await stage.until(lambda now: now.ended.get("killed"))
        assert [each.room for each in stage.pool.snapshot().sessions] == ["fine"]
    said = [record for record in caplog.records if record.message == "a shard's event loop is blocked"]
    assert any("clerk.py" in record.where and "entry" in record.stack for record in said)


async def test_no_process_is_left_when_a_pool_has_stopped(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path, shards=2) as stage:
        await stage.call("one")
        pids = [each.pid for each in stage.pool.snapshot().shards]
        pids += [each.nursery.pid for each in stage.pool._generations.all()]
        assert len(pids) == 3
    assert not [pid for pid in pids if is_running(pid)]


async def test_a_call_whose_shard_and_nursery_both_die_goes_on_once_the_code_is_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        call = await stage.call("lobby")
        (generation,) = stage.pool._generations.all()
        nursery = generation.nursery._process
        assert nursery is not None
        (shard,) = stage.pool.snapshot().shards
        os.kill(nursery.pid, signal.SIGKILL)
        await nursery.gone.wait()
        os.kill(shard.pid, signal.SIGKILL)
        now = await stage.until(lambda now: now if now.rescued else None)
        assert [(each.job_id, each.rescues) for each in now.sessions] == [(call.job_id, 1)]
        assert now.ended == {"rescued": 1}
        assert now.generation == 2
        assert [job.state.status for job in stage.jobs("lobby")] == [agent.JS_RUNNING]
        await stage.hang_up("lobby")


async def test_a_call_that_waits_for_a_shard_can_be_ended(tmp_path: Path) -> None:
    (tmp_path / "clerk.py").write_text(holder())
    async with pool_stage(tmp_path) as stage:
        await stage.call("lobby")
        stage.pool._generations.fork_no_more()
        (shard,) = stage.pool.snapshot().shards
        os.kill(shard.pid, signal.SIGKILL)
        await stage.until(lambda now: not now.shards)
        (call,) = stage.pool._runs.calls.running.values()
        assert call.waits is not None
        stage.pool._runs.end_all(EndKind.DRAINED, "enough")
        assert stage.pool.snapshot().ended == {"drained": 1}
