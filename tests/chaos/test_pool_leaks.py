"""Jobs that fail and jobs that are taken away, many, through one shard: nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from pathlib import Path

import pytest

from greenroom.pool.supervisor._calls import Call
from greenroom.pool.supervisor._offers import Offer
from support.pool_chaos import LONG, Chaos, chaos_stage
from support.program import names_in

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

JOBS = 999 if LONG else 60
WARM_UP = 12
AT_ONCE = 10
#: Upstream's objects and ours of one job are some 250 kB. Allocators keep a little now and then.
PER_JOB = 25_000
SLACK = 6 * 2**20
#: What an agent does whose session has begun.
TALKING = frozenset({"initializing", "listening", "thinking", "speaking"})

PROGRAM = """
import asyncio, gc, json, logging, os, tempfile
from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.agents.voice.room_io import RoomOptions

server = AgentServer()


def counted():
    gc.collect()
    objects = gc.get_objects()
    kinds = {"contexts": JobContext, "rooms": rtc.Room, "sessions": AgentSession, "agents": Agent}
    found = {name: sum(isinstance(each, kind) for each in objects) for name, kind in kinds.items()}
    root = logging.getLogger()
    found["handlers"] = len(root.handlers)
    found["filters"] = len(root.filters) + sum(len(handler.filters) for handler in root.handlers)
    found["factories"] = type(logging.getLogRecordFactory()).__name__
    found["tasks"] = len(asyncio.all_tasks())
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    found["temporary"] = len(os.listdir(tempfile.gettempdir()))
    found["threads"] = len(os.listdir("/proc/self/task"))
    rollup = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    # Clean pages of libraries are shared with whatever else here has loaded them, and become private after it.
    found["dirty"] = int(rollup["Private_Dirty"].split()[0]) * 1024
    return found


@server.rtc_session(agent_name="leaky")
async def entry(ctx: JobContext):
    what = ctx.job.metadata
    if what == "count":
        print("counted", json.dumps(counted()), flush=True)
        ctx.shutdown("counted")
        return
    if what == "raise":
        raise ValueError("as told")
    if what == "think":
        print("thinks in", ctx.job.room.name, flush=True)
        ctx.kept = asyncio.create_task(asyncio.sleep(3600))
        return
    ctx.add_shutdown_callback(lambda: asyncio.sleep(0))
    session = AgentSession()
    options = RoomOptions(audio_input=False, audio_output=False)
    await session.start(Agent(instructions="x"), room=ctx.room, room_options=options)
    ctx.kept = asyncio.create_task(asyncio.sleep(3600))
    await ctx.room.local_participant.set_attributes({"ready": "yes"})
    if what == "fail":
        raise ValueError("as told")
"""


async def run(stage: Chaos, room: str, what: str) -> None:
    """Let one job run to its end."""
    dispatch = stage.dispatch(room, "leaky", metadata=what)
    if what in {"think", "talk"}:
        if what == "talk":
            await stage.until(lambda now: any(each.room == room and each.state in TALKING for each in now.sessions))
        else:
            await stage.printed(f"thinks in {room}")
        await stage.server.agents.delete_dispatch(room, dispatch)
    else:
        await stage.served(lambda: any(job.state.ended_at for job in stage.jobs(room, "leaky")))
    await stage.until(lambda now: all(each.room != room for each in now.sessions))
    await stage.server.rooms.delete(room)


async def rounds(stage: Chaos, name: str, count: int) -> None:
    """Let so many jobs fail, a third of them in their rooms, and as many be taken away."""
    kinds = ["raise", "think", "raise", "think", "fail", "talk"] * (count // 3)
    for first in range(0, len(kinds), AT_ONCE):
        batch = enumerate(kinds[first : first + AT_ONCE], first)
        await asyncio.gather(*(run(stage, f"{name}-{number}", what) for number, what in batch))


async def count(stage: Chaos, name: str) -> dict[str, int]:
    """Return what the shard holds while it is at rest."""
    before = len(stage.output)
    await run(stage, name, "count")
    said = await stage.served(lambda: next((each for each in stage.output[before:] if "counted {" in each.text), None))
    found: dict[str, int] = json.loads(said.record["message"].removeprefix("counted "))
    return found


def held_here() -> Counter[str]:
    """Return what the supervisor, which is this process, holds of calls and offers."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, Call | Offer))


async def test_nothing_is_left_of_jobs_that_failed_or_were_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    program = tmp_path / "leaky.py"
    program.write_text(PROGRAM)
    async with chaos_stage(program, shards=1) as stage:
        await rounds(stage, "warm", WARM_UP)
        before = await count(stage, "first")
        (pid,) = [each.pid for each in stage.pool.snapshot().shards if each.state == "ready"]
        outside = len(names_in(Path(f"/proc/{pid}/fd")))
        await rounds(stage, "then", JOBS)
        after = await count(stage, "last")
        grown = after.pop("dirty") - before.pop("dirty")
        print(f"{JOBS} failed, {JOBS} taken away: memory {grown / 1e6:+.1f} MB, {grown / JOBS / 2 / 1e3:+.1f} kB a job")
        print(f"left: {after}")
        # Threads are kept for the next job, up to a bound.
        assert after.pop("threads") < before.pop("threads") + 16
        # Native code keeps connections for the next job, too, as many as there were jobs at once.
        assert after.pop("descriptors") <= before.pop("descriptors") + AT_ONCE
        assert after == before
        assert grown < SLACK + 2 * JOBS * PER_JOB
        assert len(names_in(Path(f"/proc/{pid}/fd"))) <= outside + AT_ONCE
        now = stage.pool.snapshot()
        assert now.shards_lost == 0
        assert (now.load, now.by_tenant, now.sessions) == (0.0, {}, ())
        failed = WARM_UP + JOBS
        in_rooms = failed // 3
        assert now.ended == {"setup": failed - in_rooms, "code": in_rooms, "terminated": failed, "agent": 2}
        assert held_here() == Counter()
