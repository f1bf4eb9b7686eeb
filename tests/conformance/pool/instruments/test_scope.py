"""Whose output it is, what it costs and who blocks: many sessions of one program in one forked shard."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from livekit.protocol import agent, models

from greenroom.pool import _wire as wire
from support.pool_nursery import Process, nursery

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("scope")]

PROGRAM = Path(__file__).parents[3] / "support" / "pool_voices.py"
SESSIONS = 24
WAYS = {"logged", "printed", "called", "threaded", "executed", "whispered"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    async with nursery(tmp_path_factory.mktemp("shard"), PROGRAM, window=2.0, beat=0.2) as peer:
        assert not peer.manifest.failures, peer.manifest.failures
        forked = await peer.fork()
        # What stands for the room of a job that has none is made with the first of them, and takes a second.
        await ended(forked, launch(forked, -1))
        yield forked


def launch(shard: Process, number: int, mode: str = "") -> str:
    job = agent.Job(id=f"AJ_{mode}{number}", room=models.Room(name=f"room-{number}"), metadata=mode)
    shard.say(
        wire.Launch(
            job_id=job.id,
            agent="voices",
            tenant=f"tenant-{number % 5}",
            job=job.SerializeToString(),
            identity="agent",
            url="ws://nowhere.invalid",
            token="",
            worker_id="AW_1",
            fake=True,
        )
    )
    return job.id


async def ended(shard: Process, job_id: str) -> wire.Ended:
    return await shard.next(wire.Ended, lambda message: message.job_id == job_id)


async def beat_where(shard: Process, fits: Callable[[wire.Beat], bool] = lambda _: True) -> wire.Beat:
    """Wait for a beat that comes from now on and fits."""
    before = len(shard.said)
    return await shard.next(wire.Beat, lambda beat: beat not in shard.said[:before] and fits(beat))


def spent(beat: wire.Beat, job_id: str) -> wire.Spent:
    return next((each for each in beat.sessions if each.job_id == job_id), wire.Spent(job_id=job_id))


async def test_no_line_and_no_span_is_taken_for_another_session_s(shard: Process) -> None:
    before = len(shard.printed.splitlines())
    jobs = [launch(shard, number) for number in range(SESSIONS)]
    for job_id in jobs:
        assert (await ended(shard, job_id)).ok
    lines = shard.printed.splitlines()[before:]
    spans = [line.split(" ")[1:] for line in lines if line.startswith("SPAN AJ_")]
    assert len(spans) >= SESSIONS * 20
    assert [span for span in spans if span[0] != span[1] or span[2] != tenant_of(span[0])] == []

    said = [json.loads(line) for line in lines if not line.startswith("SPAN ")]
    theirs = [line for line in said if line["message"].split(" ")[0] in WAYS]
    assert {line["message"].split(" ")[0] for line in theirs} == WAYS
    assert len(theirs) == SESSIONS * 20 * (len(WAYS) - 1 + 3)
    wrong = [
        line
        for line in theirs
        if (line["session"], line["tenant"]) != (line["message"].split(" ")[1], tenant_of(line["session"]))
    ]
    assert wrong == []


def tenant_of(job_id: str) -> str:
    return f"tenant-{int(job_id.removeprefix('AJ_')) % 5}"


async def test_who_blocks_the_loop_is_named_with_the_line(shard: Process) -> None:
    job_id = launch(shard, 100, "block")
    told = await shard.next(wire.Stalled, lambda message: message.job_id == job_id)
    line = next(number for number, text in enumerate(PROGRAM.read_text().splitlines(), 1) if "time.sleep(1.5)" in text)
    assert told.line == f"{PROGRAM}:{line}"
    assert "in entrypoint" in told.stack
    over = await shard.next(wire.Stalled, lambda message: message.over and message.job_id == job_id)
    assert over.seconds >= told.seconds
    await ended(shard, job_id)


async def test_native_code_that_lets_no_thread_run_tells_where_it_was_called(shard: Process) -> None:
    job_id = launch(shard, 500, "seize")
    await written(shard, '"seizing"')
    os.kill(shard.pid, signal.SIGUSR1)
    line = next(number for number, text in enumerate(PROGRAM.read_text().splitlines(), 1) if "usleep" in text)
    await written(shard, f'File "{PROGRAM}", line {line} in entrypoint')
    await ended(shard, job_id)


async def written(shard: Process, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in shard.printed:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)


async def test_who_works_and_who_holds_memory_is_told_from_the_others(shard: Process) -> None:
    idle = [launch(shard, number, "idle") for number in range(200, 208)]
    holder = launch(shard, 300, "hold")
    await beat_where(shard, lambda told: spent(told, holder).memory > 150 << 20)
    burner = launch(shard, 400, "burn")
    begun = await beat_where(shard, lambda told: spent(told, burner).cpu > 0)
    burnt = [spent(begun, burner).cpu]
    # Until the share of it no longer grows: the window is full.
    while len(burnt) < 12:
        beat = await beat_where(shard)
        burnt.append(spent(beat, burner).cpu)
    memory = spent(beat, holder).memory / (200 << 20)
    assert 0.85 < memory < 1.15
    others = max(spent(beat, each).cpu for each in (*idle, holder))
    assert burnt[-1] > 8 * max(others, 0.01)
    for job_id in (*idle, holder, burner):
        shard.say(wire.End(job_id=job_id, kind=wire.EndKind.POLICY))
    for job_id in (*idle, holder, burner):
        await ended(shard, job_id)
