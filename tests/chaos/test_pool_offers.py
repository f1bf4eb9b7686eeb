"""Offers race for one place over a real WebSocket, and for none at all once the pool drains."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import agent

from greenroom.httpclient import HttpClient
from greenroom.pool.supervisor import Pool
from support.pool_chaos import LONG, SLOWNESS
from support.pool_exchange import Exchange, exchange, job_of
from support.pool_supervised import holder, settings_of
from support.program import Program, greenroom

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

OFFERS = 10_000 if LONG else 500
AT_ONCE = 50
#: What is promised: LiveKit knows it from then on.
UNAVAILABLE_WITHIN = 0.1
TENANTS = ("acme", "globex")


def capped_by(what: str) -> Callable[[agent.Job], str]:
    """Return what a job is counted under."""
    if what == "worker":
        return lambda _: "worker"
    return (lambda job: job.agent_name) if what == "agent" else lambda job: job.attributes["greenroom.tenant"]


@contextlib.asynccontextmanager
async def pool_at(url: str, path: Path, **settings: Any) -> AsyncIterator[Pool]:
    """Run a pool with two agents."""
    for name in ("clerk", "doctor"):
        (path / f"{name}.py").write_text(holder(name))
    pool = Pool(settings_of(url, [path], **settings))
    try:
        await pool.start()
        yield pool
    finally:
        await pool.stop()


async def race(
    there: Exchange,
    count: int,
    on_answer: Callable[[int], None] = lambda _: None,
    agents: tuple[str, ...] = ("clerk", "doctor"),
) -> list[bool]:
    """Offer so many jobs, many at a time; return the answers."""
    dice = random.Random(6)
    numbers = iter(range(count))
    answers = []

    async def caller() -> None:
        for number in numbers:
            job = job_of(number, dice.choice(agents), dice.choice(TENANTS))
            await asyncio.sleep(dice.random() * 0.05)
            answers.append(await there.offer(job))
            on_answer(len(answers))

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return answers


@pytest.mark.parametrize(
    ("what", "settings", "capped"),
    [
        ("worker", {"max_sessions": 1}, "worker"),
        ("agent", {"max_sessions_per_agent": {"clerk": 1}}, "clerk"),
        ("tenant", {"max_sessions_per_tenant": {"acme": 1}}, "acme"),
    ],
)
async def test_of_racing_offers_one_at_a_time_is_taken_and_each_that_is_runs(
    tmp_path: Path, what: str, settings: dict[str, Any], capped: str
) -> None:
    async with exchange(capped_by(what)) as there, pool_at(there.url, tmp_path, **settings) as pool:
        # Each agent has a WebSocket of its own, and nothing orders an end on one and an acceptance on the other.
        agents = ("clerk", "doctor") if what == "agent" else ("clerk",)
        answers = await race(there, OFFERS, agents=agents)
        await there.until(lambda: not there.live)
        assert len(answers) == OFFERS
        print(f"cap of one {what}: {sum(answers)} of {OFFERS} taken, at once at most {dict(there.most)}")
        assert there.most[capped] == 1
        assert there.launched == there.accepted.keys()
        assert there.ended == {agent.JS_SUCCESS: len(there.accepted)}
        now = pool.snapshot()
        assert (now.started, now.load, now.by_tenant) == (len(there.accepted), 0.0, {})
        assert now.started + sum(now.refused.values()) == OFFERS


@dataclass
class Draining:
    """A pool that is told to drain: how, and how its end is awaited."""

    order: Callable[[], Awaitable[object]]
    over: Callable[[], Awaitable[object]]


@contextlib.asynccontextmanager
async def draining(how: str, url: str, path: Path) -> AsyncIterator[Draining]:
    """Run a pool that is drained by a signal, over HTTP or by its own method."""
    if how == "signal":
        for name in ("clerk", "doctor"):
            (path / f"{name}.py").write_text(holder(name))
        at = ("--url", url, "--key", "devkey:secret", "--port", "0", "--shards", "1")
        async with greenroom("agents", str(path), *at, cwd=path) as program:
            await program.ready()
            yield Draining(lambda: _signalled(program), lambda: _ended_well(program))
        return
    async with pool_at(url, path) as pool:
        if how == "method":
            tasks: list[asyncio.Task[bool]] = []

            async def order() -> None:
                tasks.append(asyncio.create_task(pool.drain()))

            yield Draining(order, lambda: tasks[0])
        else:
            client = HttpClient()
            yield Draining(lambda: client.request("POST", f"{pool.url}/drain"), pool.drained)
            await client.aclose()


async def _signalled(program: Program) -> None:
    program.process.send_signal(signal.SIGTERM)


async def _ended_well(program: Program) -> None:
    assert await program.ended() == 0


@pytest.mark.parametrize("how", ["signal", "http", "method"])
async def test_a_draining_pool_says_so_at_once_and_takes_nothing_that_it_does_not_run(tmp_path: Path, how: str) -> None:
    async with exchange() as there, draining(how, there.url, tmp_path) as pool:
        await there.until(lambda: len(there.workers) == 2)
        # One call goes on all the while, so that the pool has a reason to stay.
        assert await there.offer(job_of(100_000, "clerk", "acme", metadata=""))
        await there.until(lambda: "AJ_100000" in there.launched)
        racing = asyncio.create_task(race(there, OFFERS))
        await there.until(lambda: len(there.accepted) >= 10)
        ordered = time.monotonic()
        await pool.order()
        told = await there.until(lambda: there.unavailable(ordered))
        taken = len(there.accepted)
        late = told - ordered
        print(f"drained by {how}: unavailable after {late * 1000:.0f} ms, {taken} taken before")
        assert late < UNAVAILABLE_WITHIN * SLOWNESS
        await racing
        assert len(there.accepted) == taken
        for number in range(20):
            assert not await there.offer(job_of(200_000 + number, "clerk", "acme"))
        await there.until(lambda: there.live == {"AJ_100000"})
        assert there.launched == there.accepted.keys()
        clerk = there.workers["clerk"]
        await clerk.send(agent.ServerMessage(termination=agent.JobTermination(job_id="AJ_100000")).SerializeToString())
        await there.until(lambda: not there.live)
        async with asyncio.timeout(30):
            await pool.over()


async def test_a_server_that_comes_back_is_told_of_the_calls_that_run_and_gives_new_ones(tmp_path: Path) -> None:
    async with exchange() as there, pool_at(there.url, tmp_path) as pool:
        for number in range(3):
            assert await there.offer(job_of(number, "clerk", "acme", metadata=""))
        await there.until(lambda: len(there.launched) == 3)
        there.crash()
        there.said.clear()
        await there.open()
        await there.until(lambda: len(there.workers) == 2)
        running = {"AJ_0", "AJ_1", "AJ_2"}
        told = await there.until(
            lambda: next((each.migrate_job for *_, each in there.said if each.HasField("migrate_job")), None)
        )
        assert set(told.job_ids) == running
        await there.until(
            lambda: running == {each.update_job.job_id for *_, each in there.said if each.HasField("update_job")}
        )
        assert pool.state == "serving"
        assert {each.job_id for each in pool.snapshot().sessions} == running
        assert await there.offer(job_of(3, "clerk", "acme", metadata=""))
        assert await there.offer(job_of(4, "doctor", "acme"))
        await there.until(lambda: there.launched >= {"AJ_3", "AJ_4"})
