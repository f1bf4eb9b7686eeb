"""A shard among sessions that misbehave, and a supervisor that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from greenroom.pool import _wire as wire
from greenroom.pool._model import EndKind
from support.pool_jobs import PROGRAM, ended, launch, started
from support.pool_nursery import NurseryPeer, Process, nursery

#: One nursery serves them all: each test has a shard of its own.
pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NurseryPeer]:
    async with hatched(tmp_path_factory.mktemp("hatchery")) as made:
        yield made


@pytest.fixture
def hatchery(loaded: NurseryPeer) -> NurseryPeer:
    (loaded.path / "notes").write_text("")
    return loaded


@contextlib.asynccontextmanager
async def hatched(path: Path) -> AsyncIterator[NurseryPeer]:
    (path / "tmp").mkdir()
    file = path / "program.py"
    file.write_text(PROGRAM)
    environment = {"NOTES": str(path / "notes"), "TMPDIR": str(path / "tmp")}
    async with nursery(path, file, environment=environment, shutdown_timeout=1.0) as made:
        yield made


def notes(hatchery: NurseryPeer) -> list[str]:
    return (hatchery.path / "notes").read_text().splitlines()


async def reaped(hatchery: NurseryPeer, shard: Process) -> wire.Reaped:
    return await hatchery.next(wire.Reaped, lambda told: told.number == shard.number)


async def test_a_session_that_ends_twice_or_while_it_starts_ends_once(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1")
    shard.say(wire.End(job_id="J1", kind=EndKind.POLICY, reason="silent"))
    shard.say(wire.End(job_id="J1", kind=EndKind.DRAINED))
    shard.say(wire.End(job_id="J2", kind=EndKind.DRAINED))
    assert (await ended(shard, "J1")).kind is EndKind.POLICY
    launch(shard, "J3")
    shard.say(wire.End(job_id="J3", kind=EndKind.TERMINATED))
    await ended(shard, "J3")
    assert len([told for told in shard.said if isinstance(told, wire.Ended)]) == 2
    assert notes(hatchery) == ["J1 over silent", "J3 over parent process shutdown"]


async def test_an_agent_that_is_not_there_is_told(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1", agent_name="nobody")
    told = await ended(shard, "J1")
    assert (told.kind, told.ok) == (EndKind.SETUP, False)
    assert "nobody" in told.error


@pytest.mark.parametrize("what", ["exit", "task exits", "raise"])
async def test_a_session_that_exits_or_raises_takes_no_other_with_it(hatchery: NurseryPeer, what: str) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1")
    await started(shard, "J1")
    launch(shard, "J2", what)
    await started(shard, "J2")
    if what == "task exits":
        shard.say(wire.End(job_id="J2", kind=EndKind.DRAINED))
    await ended(shard, "J2")
    shard.say(wire.End(job_id="J1", kind=EndKind.DRAINED, reason="enough"))
    await ended(shard, "J1")
    assert "J1 over enough" in notes(hatchery)


async def test_a_shutdown_callback_that_hangs_ends_when_the_supervisor_ends_the_session(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1", "hangs on")
    await started(shard, "J1")
    shard.say(wire.End(job_id="J1", kind=EndKind.DRAINED))
    assert (await ended(shard, "J1")).kind is EndKind.DRAINED


async def test_a_retired_shard_ends_with_its_last_session(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1")
    await started(shard, "J1")
    shard.say(wire.Retire())
    os.kill(shard.pid, signal.SIGTERM)
    os.kill(shard.pid, signal.SIGINT)
    shard.say(wire.End(job_id="J1", kind=EndKind.DRAINED))
    await ended(shard, "J1")
    assert (await reaped(hatchery, shard)).status == 0


async def test_a_shard_that_loses_its_supervisor_ends_its_calls_and_itself(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1")
    launch(shard, "J2", "stubborn")
    launch(shard, "J3", "never ends")
    await started(shard, "J3")
    shard.close()
    assert (await reaped(hatchery, shard)).status == 0
    assert {"J1 over the pool is gone", "J2 is asked to end"} <= set(notes(hatchery))


@pytest.mark.parametrize(("what", "number"), [("crash", signal.SIGSEGV), ("panic", signal.SIGABRT)])
async def test_a_crash_is_told_with_its_signal_and_the_next_shard_works(
    hatchery: NurseryPeer, what: str, number: signal.Signals
) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1", what)
    told = await reaped(hatchery, shard)
    assert (told.number, told.pid, told.status) == (shard.number, shard.pid, -number)
    again = await hatchery.fork()
    launch(again, "J2", "count")
    await ended(again, "J2")


async def test_a_call_that_moves_ends_as_moved(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()
    launch(shard, "J1")
    await started(shard, "J1")
    shard.say(wire.Move(job_id="J1", patience=1.0))
    assert (await ended(shard, "J1")).kind is EndKind.MOVED


async def test_a_shard_leads_its_own_processes_and_holds_nothing_of_the_nursery(tmp_path: Path) -> None:
    async with hatched(tmp_path) as hatchery:
        first, second = await hatchery.fork(), await hatchery.fork()
        for shard in (first, second):
            assert os.getsid(shard.pid) == os.getpgid(shard.pid) == shard.pid
            assert (await asyncio.to_thread(Path(f"/proc/{shard.pid}/comm").read_text)).startswith("gr-shard-")
        hatchery.say(wire.Quit())
        # A copy of its end in a shard would keep this one from being told.
        await hatchery.gone()
        launch(first, "J1", "count")
        await ended(first, "J1")


async def test_a_setup_that_fails_or_hangs_is_told_and_costs_only_its_own_agent(tmp_path: Path) -> None:
    text = (
        "import time\nfrom livekit.agents import AgentServer\n"
        "def bad(proc): raise OSError('no model')\ndef slow(proc): time.sleep(3600)\n"
        "server = AgentServer(setup_fnc={setup}, initialize_process_timeout=0.2)\n"
        "@server.rtc_session(agent_name='{name}')\nasync def entrypoint(ctx): ctx.shutdown('fine')\n"
    )
    files = []
    for name, setup in {"good": "None", "bad": "bad", "slow": "slow"}.items():
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(text.format(setup=setup, name=name))
    async with nursery(tmp_path, *files) as made:
        shard = await made.fork(ready=False)
        failed = (await shard.next(wire.Ready)).failed
        assert failed == {
            "bad": f"its set-up failed: OSError: no model ({files[1]}:3)",
            "slow": "its set-up took longer than 0.2 s",
        }
        launch(shard, "J1", agent_name="bad")
        assert "no model" in (await ended(shard, "J1")).error
        launch(shard, "J2", agent_name="good")
        assert (await ended(shard, "J2")).kind is EndKind.AGENT


async def test_nothing_is_left_of_a_thousand_jobs_that_failed_or_were_ended(hatchery: NurseryPeer) -> None:
    shard = await hatchery.fork()

    async def run(prefix: str, count: int, what: str) -> None:
        for first in range(0, count, 50):
            jobs = [f"{prefix}{number}" for number in range(first, min(first + 50, count))]
            for job in jobs:
                launch(shard, job, what)
            for job in jobs:
                if what != "raise":
                    await started(shard, job)
                    shard.say(wire.End(job_id=job, kind=EndKind.TERMINATED))
                await ended(shard, job)

    async def count(name: str) -> dict[str, int]:
        launch(shard, name, "count")
        await ended(shard, name)
        found: dict[str, int] = eval([line for line in notes(hatchery) if line.startswith("{")][-1])
        return found

    await run("warm", 100, "raise")
    before = await count("C1")
    await run("failed", 500, "raise")
    await run("ended", 500, "thinks")
    after = await count("C2")
    grown = after.pop("resident") - before.pop("resident")
    # Threads are kept for the next job, up to a bound.
    assert max(after.pop("threads"), before.pop("threads")) < 100
    assert after == before
    assert grown < 16 * 2**20
