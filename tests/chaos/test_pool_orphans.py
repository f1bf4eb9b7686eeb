"""The supervisor is killed, or LiveKit's server is: what is left ends in good order, or goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.cli.token import room_config
from greenroom.grants import VideoGrant, mint
from greenroom.server import Server
from support.pool_chaos import Person, all_of, desk, kill
from support.program import Program, greenroom, names_in, none_left, processes_of
from support.sdk import Caller, callers
from support.serving import KEY, running_server
from support.signal_client import token

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos")]

PATIENCE = 60.0


@contextlib.asynccontextmanager
async def agents_of(url: str, path: Path) -> AsyncIterator[Program]:
    """Run ``greenroom agents`` with two shards; all that it starts is marked, and has one place for its files."""
    (path / "temporary").mkdir()
    environment = {"GREENROOM_TEST_MARK": str(path), "TMPDIR": str(path / "temporary")}
    at = ("--url", url.replace("http", "ws", 1), "--key", "devkey:secret", "--port", "0", "--shards", "2")
    async with greenroom("agents", str(desk(path / "desk.py")), *at, cwd=path, environment=environment) as program:
        await program.ready()
        yield program


async def served(server: Server, person: Person) -> None:
    """Ask for an agent, and wait until it answers."""
    server.agents.create_dispatch(person.room, agent_name="desk")
    async with asyncio.timeout(PATIENCE):
        while not (identity := _identity(server, person.room)):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)
    person.agent = identity
    await person.reaches()


def _identity(server: Server, room: str) -> str:
    jobs = [job for dispatch in server.agents.list_dispatch(room) for job in dispatch.state.jobs]
    return next((job.state.participant_identity for job in jobs if job.state.participant_identity), "")


async def called(make: Callable[[], Caller], url: str, room: str) -> Person:
    """Join a room whose token asks for the agent; return once the agent answers."""
    access = mint(KEY, identity="ada", video=VideoGrant(room_join=True, room=room), room_config=room_config(["desk"]))
    person = Person(await make().connect(url, access), room)
    there = person.caller.room.remote_participants
    if not there:
        await person.caller.event("participant_connected")
    person.agent = next(iter(there))
    await person.reaches()
    return person


@pytest.mark.parametrize("blocked", [False, True], ids=["at-rest", "one-blocked"])
async def test_without_their_supervisor_shards_end_their_calls_and_leave_nothing_behind(
    tmp_path: Path, blocked: bool
) -> None:
    async with running_server(Str0mEngine(EngineConfig())) as (server, url), callers() as make:
        async with agents_of(url, tmp_path) as agents:
            people = [Person(await make().connect(url, token(f"p-{n}", f"room-{n}")), f"room-{n}") for n in range(4)]
            await all_of(served(server, person) for person in people)
            pids = {person.room: (await person.ask("ping"))["pid"] for person in people}
            assert len(set(pids.values())) == 2
            if blocked:
                await people[0].ask("do", "block 3600")
                await agents.line("a shard's event loop is blocked")
            kill(agents.process.pid, signal.SIGKILL)
            # In good order: the agent leaves its room, it is not missed.
            well = [person for person in people if not blocked or pids[person.room] != pids[people[0].room]]
            assert well
            for person in well:
                await person.caller.event("participant_disconnected")
            await none_left(f"GREENROOM_TEST_MARK={tmp_path}")
        # Whoever is killed cleans nothing up; that was for calls that nobody could end any more.
        assert len(names_in(tmp_path / "temporary")) == len(people) - len(well)
        assert all(person.there() for person in people)


async def test_a_server_that_is_killed_and_started_again_gets_its_workers_and_new_calls(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with callers() as make:
        at = ("server", "--rtc-port", "0", "--key", "devkey:secret", "--data-dir", str(tmp_path / "data"))
        async with greenroom(*at, "--port", "0", cwd=tmp_path) as server:
            url = await server.ready()
            async with agents_of(url, tmp_path / "agents") as agents:
                before = await called(make, url, "before")
                pid = (await before.ask("ping"))["pid"]
                kill(server.process.pid, signal.SIGKILL)
                await server.ended()
                seen = len(agents.lines)
                await agents.line("not connected to LiveKit", after=0)
                async with greenroom(*at, "--port", url.rpartition(":")[2], cwd=tmp_path) as again:
                    await again.ready()
                    await agents.line("registered with LiveKit", after=seen)
                    after = await called(make, url, "after")
                    print(f"the shard before: {pid}, after: {(await after.ask('ping'))['pid']}")
                    assert os.getpgid(pid)
                    agents.process.send_signal(signal.SIGTERM)
                    await agents.line("draining")
                    agents.process.send_signal(signal.SIGTERM)
                    assert await agents.ended() == 0
                    assert processes_of(f"GREENROOM_TEST_MARK={tmp_path / 'agents'}") == []
