"""The same program and the same calls on livekit-agents' own worker and on a shard: the same things happen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from livekit import rtc
from livekit.protocol import agent

from support.pool_script import PROGRAM
from support.pool_stage import CallStage, shard_stage, stock_stage
from support.sdk import Caller
from support.signal_client import token

pytestmark = pytest.mark.conformance

_AT_ONCE = 4
Act = Callable[["CallStage", str, Caller, agent.Job], Awaitable[None]]


@dataclass
class Seen:
    """What one case came to: the program's notes, the job as the server had it, and the agent as the caller saw it."""

    notes: list[str] = field(default_factory=list)
    job: list[str] = field(default_factory=list)
    status: str = ""
    room: list[str] = field(default_factory=list)


async def nothing(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    pass


async def hang_up(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    await stage.seen(caller, job, ready="yes")
    await caller.room.disconnect()


async def end_room(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    await stage.seen(caller, job, ready="yes")
    await stage.server.rooms.delete(room)


async def take_away(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    await stage.seen(caller, job, ready="yes")
    await stage.take_away(room, "same")


async def remove(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    await stage.seen(caller, job, ready="yes")
    there = stage.server.rooms.get(room)
    assert there is not None
    identity = job.state.participant_identity
    stage.server.rooms.remove_participant(there, identity, rtc.DisconnectReason.PARTICIPANT_REMOVED)


async def second_person(stage: CallStage, room: str, caller: Caller, job: agent.Job) -> None:
    await stage.seen(caller, job, ready="yes")
    bob = await stage.make().connect(stage.url, token("bob", room))
    await bob.room.disconnect()
    await take_away(stage, room, caller, job)


CASES: dict[str, Act] = {
    "hang up": hang_up,
    "room ends": end_room,
    "taken away": take_away,
    "removed": remove,
    "end raises": take_away,
    "end hangs": take_away,
    "shuts down": nothing,
    "shuts down early": nothing,
    "raises before": nothing,
    "raises after": nothing,
    "callbacks": nothing,
    "participant": second_person,
    "tool": take_away,
    "hangs up": nothing,
    "caller leaves a session": hang_up,
    "session taken away": take_away,
    "leaves work": take_away,
    "lingers": take_away,
    "refused": nothing,
    "unanswered": nothing,
}
#: In these nobody gets the job.
_NOBODY = {"refused", "unanswered"}
_ENDS_ROOM = {"room ends", "hang up", "caller leaves a session"}
#: In these the server tells the worker and the room at once: which of them the program hears first, is chance.
_EITHER = {*_ENDS_ROOM, "removed"}
_FROM_OUTSIDE = re.compile(
    "parent process shutdown|room disconnected"
    "|(?<=session end )(True|False)|(?<=close )(user_initiated|participant_disconnected)"
)


async def play(stage: CallStage, case: str, notes: Path) -> Seen:
    """Play one case in a room of its own, to its end."""
    seen = Seen()
    room = case.replace(" ", "-")
    caller = await stage.make().connect(stage.url, token("ada", room))
    dispatch = stage.server.agents.create_dispatch(room, agent_name="same", metadata=case)
    history = stage.server.agents._find(stage.server.rooms.get(room), dispatch.id)
    assert history is not None
    if case in _NOBODY:
        await stage.until(lambda: {"declined", "ended"} & {step.event for step in history.history})
    else:
        await stage.until(lambda: (job := stage.job(room, "same")) and job.state.participant_identity)
        job = stage.job(room, "same")
        assert job is not None
        kept = history.jobs[job.id]
        await CASES[case](stage, room, caller, job)
        try:
            await stage.until(lambda: _over(notes / case))
        except TimeoutError:
            raise AssertionError(f"{case} does not end: {(notes / case).read_text()}") from None
        if case not in _ENDS_ROOM:
            seen.room = await _told_of(caller, job.state.participant_identity)
            await stage.until(lambda: kept.ended_at)
        if case not in _EITHER:
            seen.status = f"{agent.JobStatus.Name(kept.status)} {kept.error}".strip()
    seen.job = [] if case in _ENDS_ROOM else [step.event for step in history.history]
    text = (notes / case).read_text()
    seen.notes = (_FROM_OUTSIDE.sub("from outside", text) if case in _EITHER else text).splitlines()
    return seen


def _over(notes: Path) -> bool:
    # What comes last in every program's life: its shutdown callbacks; and work that goes with the process.
    text = notes.read_text() if notes.exists() else ""
    last = {"leaves-work": "work is cancelled"}.get(notes.name.replace(" ", "-"), "shutdown callback")
    return last in text and ("callbacks" not in notes.name or "first" in text)


async def _told_of(caller: Caller, identity: str) -> list[str]:
    """Return how the caller saw the agent come and go. Whatever lies between, the server may tell in any order."""
    if not caller.seen("participant_connected"):
        return []
    gone = await caller.event("participant_disconnected", lambda who: who.identity == identity)
    return [gone.name, gone.metadata, gone.attributes.get("k", ""), rtc.DisconnectReason.Name(gone.disconnect_reason)]


async def play_all(stage: CallStage, notes: Path) -> dict[str, Seen]:
    """Play every case, a few at once."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(case: str) -> Seen:
        async with gate:
            return await play(stage, case, notes)

    return dict(zip(CASES, await asyncio.gather(*map(one, CASES)), strict=True))


async def _both(path: Path) -> dict[str, dict[str, Seen]]:
    found = {}
    for name, open_stage in (("stock", stock_stage), ("shard", shard_stage)):
        notes = path / name / "notes"
        notes.mkdir(parents=True)
        async with open_stage(path / name, PROGRAM, environment={"NOTES": str(notes)}) as stage:
            found[name] = await play_all(stage, notes)
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Seen]]:
    return asyncio.run(_both(tmp_path_factory.mktemp("same")))


@pytest.mark.parametrize("case", CASES)
def test_a_shard_does_what_stock_does(both: dict[str, dict[str, Seen]], case: str) -> None:
    stock, shard = both["stock"][case], both["shard"][case]
    assert shard.notes == stock.notes
    assert shard.job == stock.job
    # Of a program that raised stock says success, as its process ended well. The pool tells the truth.
    assert shard.status == ("JS_FAILED" if case.startswith("raises") else stock.status)
    assert shard.room == stock.room
    assert re.match("request same True", stock.notes[0])
