"""What runs on a server, as it reaches the log: from its worker list, or from its rooms where there is none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import agent

from greenroom.eventlog import EventLog, LogFullError, Record
from greenroom.ingest import LiveWatch, WatchSettings
from greenroom.link import Call, LiveKit
from greenroom.server import Server
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY
from support.serving import serve_app
from support.signal_client import SignalClient

pytestmark = pytest.mark.conformance

QUICK = WatchSettings(rest=0.01, rounds=0.05, states=0.02)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@pytest.fixture
async def stage() -> AsyncIterator[AgentStage]:
    async with agent_stage() as running:
        yield running


@contextlib.asynccontextmanager
async def watching(url: str, log: EventLog) -> AsyncIterator[LiveWatch]:
    livekit = LiveKit(url, KEY)
    watch = LiveWatch(log, livekit, settings=QUICK)
    await watch.start()
    try:
        yield watch
    finally:
        await watch.aclose()
        await livekit.aclose()


async def until(log: EventLog, kind: str) -> Record:
    async for record in log.follow(0):
        if record.type == kind:
            return record
    raise AssertionError("the log was closed")


async def start(stage: AgentStage, **attributes: str) -> SignalClient:
    """Bring an agent into the lobby."""
    worker = await stage.worker("desk")
    stage.server.agents.create_dispatch("lobby", agent_name="desk")
    agent = await stage.start(await worker.assignment())
    participant = next(each for each in stage.server.rooms.participants if each.sid == agent.sid)
    room = participant.room
    stage.server.rooms.apply(room, room.update_participant(participant, 0, attributes=attributes))
    return agent


async def test_workers_and_their_jobs_are_in_the_log(stage: AgentStage, log: EventLog) -> None:
    async with watching(stage.url, log) as watch:
        bot = await start(stage)
        assigned = (await until(log, "job.assigned")).data.job  # type: ignore[union-attr]
        assert assigned.agent_identity == bot.join.participant.identity
        await stage.server.rooms.delete("lobby")
        ended = await until(log, "job.ended")
        assert ended.data.job.status == "success"  # type: ignore[union-attr]
        copies = log.follow(0, streams=[f"session:{assigned.id}"], types=("job.assigned", "job.ended"))
        assert [(await anext(copies)).type for _ in range(2)] == ["job.assigned", "job.ended"]
        assert watch.has_worker_list
        assert watch.latest is not None
        assert watch.failing_since is None


async def test_why_a_dispatch_waits_is_in_the_log(stage: AgentStage, log: EventLog) -> None:
    async with watching(stage.url, log):
        stage.server.agents.create_dispatch("lobby", agent_name="nobody")
        pending = (await until(log, "dispatch.pending")).data.job  # type: ignore[union-attr]
        assert pending.why == "no agent worker is connected"
        assert pending.fix


async def test_an_agent_nobody_listens_to_shows_the_state_it_is_polled_in(stage: AgentStage, log: EventLog) -> None:
    async with watching(stage.url, log) as watch:
        await start(stage, **{"lk.agent.state": "listening"})
        state = await until(log, "agent.state")
        assert (state.data.state, state.data.polled) == ("listening", True)  # type: ignore[union-attr]
        (call,) = watch.calls.values()
        assert call == Call(
            job_id=call.job_id,
            room="lobby",
            agent_identity=f"agent-{call.job_id}",
            room_sid=stage.server.rooms.get("lobby").sid,  # type: ignore[union-attr]
        )
        await watch.look_at_states()
        states = [record for record in await log.read() if record.type == "agent.state"]
        assert len(states) == 1


class Foreign:
    """A LiveKit server without a worker list."""

    def __init__(self, server: Server) -> None:
        self._app = server.app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/greenroom"):
            scope = {**scope, "path": "/nothing"}
        await self._app(scope, receive, send)


async def test_a_server_without_a_worker_list_is_looked_through(stage: AgentStage, log: EventLog) -> None:
    async with serve_app(Foreign(stage.server)) as url, watching(url, log) as watch:
        await stage.join("ada")
        await stage.join("eve", kind="agent", video={"hidden": True})
        bot = await start(stage, **{"lk.agent.state": "thinking", "lk.agent.name": "desk"})
        assigned = (await until(log, "job.assigned")).data.job  # type: ignore[union-attr]
        assert assigned.agent_identity == bot.join.participant.identity == f"agent-{assigned.id}"
        assert (assigned.room, assigned.agent_name) == ("lobby", "desk")
        state = await until(log, "agent.state")
        assert (state.stream, state.data.state) == (f"session:{assigned.id}", "thinking")  # type: ignore[union-attr]
        assert not watch.has_worker_list
        await bot.leave()
        ended = await until(log, "job.ended")
        assert (ended.data.job.id, ended.data.job.status) == (assigned.id, "")  # type: ignore[union-attr]


async def test_an_agent_with_a_name_of_its_own_is_found_by_its_dispatch(stage: AgentStage, log: EventLog) -> None:
    def answer(job: agent.Job) -> agent.AvailabilityResponse:
        return agent.AvailabilityResponse(job_id=job.id, available=True, participant_identity="waiter")

    async with serve_app(Foreign(stage.server)) as url, watching(url, log):
        worker = await stage.worker("desk", answer=answer)
        stage.server.agents.create_dispatch("lobby", agent_name="desk")
        assignment = await worker.assignment()
        assert assignment.job.state.participant_identity == "waiter"
        await stage.start(assignment)
        assigned = (await until(log, "job.assigned")).data.job  # type: ignore[union-attr]
        assert (assigned.id, assigned.agent_identity) == (assignment.job.id, "waiter")


async def test_what_could_not_be_stored_is_told_with_the_next_list(
    stage: AgentStage, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, failures = log.append, iter([True])

    async def failing(*arguments: Any, **options: Any) -> Any:
        if next(failures, False):
            raise LogFullError("The disk is full")
        return await append(*arguments, **options)

    monkeypatch.setattr(log, "append", failing)
    await stage.worker("desk")
    async with watching(stage.url, log) as watch:
        await until(log, "worker.seen")
        assert watch.seen_at is not None or watch.failing_since is not None


async def test_a_server_that_is_away_is_said_to_be(log: EventLog) -> None:
    async with agent_stage() as stage:
        url = stage.url
    async with watching(url, log) as watch:
        while watch.failing_since is None:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
        assert watch.latest is None
