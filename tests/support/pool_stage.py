"""A shard with one agent in service on a real server, by the least that a supervisor does; and the same on stock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.protocol import agent

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import RoomDefaults, ServerConfig
from greenroom.pool import _wire as wire
from greenroom.pool._model import AgentSpec, EndKind
from greenroom.server import Server
from support.agent_worker import KEY, AgentWorker, accept, registered, stay_silent
from support.pool_nursery import NurseryPeer, Process, nursery
from support.sdk import Caller, callers
from support.serving import running_server
from support.signal_client import token
from support.stock_worker import stock_worker

PATIENCE = 60.0


@dataclass
class CallStage:
    """A server with the real media engine, an agent in service, and callers."""

    server: Server
    url: str
    make: Callable[[], Caller]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that only the server knows."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition()):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        return found

    def job(self, room: str, name: str) -> agent.Job | None:
        """Return the room's only job for an agent."""
        jobs = [
            job
            for dispatch in self.server.agents.list_dispatch(room)
            if dispatch.agent_name == name
            for job in dispatch.state.jobs
        ]
        return jobs[0] if jobs else None

    async def call(
        self, name: str, room: str = "lobby", metadata: str = "", identity: str = "ada"
    ) -> tuple[Caller, agent.Job]:
        """Join as a person and ask for an agent; return once it is given the job."""
        caller = await self.make().connect(self.url, token(identity, room, key=KEY))
        self.server.agents.create_dispatch(room, agent_name=name, metadata=metadata)
        await self.until(lambda: (job := self.job(room, name)) and job.state.participant_identity)
        job = self.job(room, name)
        assert job is not None
        return caller, job

    async def seen(self, caller: Caller, job: agent.Job, **attributes: str) -> rtc.RemoteParticipant:
        """Wait until the agent of a job is in the caller's room, with these attributes."""
        wanted = attributes.items()
        participant: rtc.RemoteParticipant = await caller.sees(
            job.state.participant_identity, lambda there: wanted <= dict(there.attributes).items()
        )
        return participant

    async def take_away(self, room: str, name: str) -> None:
        """Delete the dispatch, and with it the job."""
        (dispatch,) = [each for each in self.server.agents.list_dispatch(room) if each.agent_name == name]
        assert await self.server.agents.delete_dispatch(room, dispatch.id) is not None


@dataclass
class ShardStage(CallStage):
    """The same with a nursery and a shard, and what they said."""

    nursery: NurseryPeer
    shard: Process
    worker: AgentWorker
    spec: AgentSpec
    advisor: Process
    asked: list[agent.Job] = field(default_factory=list)
    answers: dict[str, wire.Answer] = field(default_factory=dict)
    heard: list[wire.Started | wire.Ended] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self) -> None:
        """Do for ever what the supervisor does with assignments, terminations and ends."""
        work = (self._answer(), self._launch(), self._end(), self._report())
        self.tasks = [asyncio.create_task(each) for each in work]

    async def ended(self, job_id: str) -> wire.Ended:
        """Wait for a job's end, and return how it ended."""

        def found() -> wire.Ended | None:
            ends = (told for told in self.heard if isinstance(told, wire.Ended) and told.job_id == job_id)
            return next(ends, None)

        told: wire.Ended = await self.until(found)
        return told

    async def _answer(self) -> None:
        """Have the program's own filter answer each offer, where it has one."""
        while self.spec.asks:
            job = (await self.worker.receive("availability", within=3600)).availability.job
            number = len(self.asked)
            self.asked.append(job)
            self.advisor.say(wire.Ask(number=number, agent=self.spec.name, job=job.SerializeToString()))
            self.tasks.append(asyncio.create_task(self._answered(number, job)))

    async def _answered(self, number: int, job: agent.Job) -> None:
        told = await self.advisor.next(wire.Answer, lambda answer: answer.number == number)
        self.answers[job.id] = told
        await self.worker.send(
            availability=agent.AvailabilityResponse(
                job_id=job.id,
                available=told.accepted,
                terminate=told.terminate,
                participant_identity=told.identity,
                participant_name=told.name,
                participant_metadata=told.metadata,
                participant_attributes={"lk.agent.name": self.spec.dispatch, **told.attributes}
                if told.accepted
                else {},
            )
        )

    async def _launch(self) -> None:
        while True:
            given = (await self.worker.receive("assignment", within=3600)).assignment
            self.launch(given.job, given.token)

    def launch(self, job: agent.Job, access: str, **more: Any) -> None:
        """Have the shard run a job."""
        answer = self.answers.get(job.id, wire.Answer(number=0, accepted=True))
        self.shard.say(
            wire.Launch(
                job_id=job.id,
                agent=self.spec.name,
                tenant="default",
                job=job.SerializeToString(),
                identity=answer.identity or job.state.participant_identity,
                name=answer.name,
                metadata=answer.metadata,
                attributes=answer.attributes,
                url=self.url.replace("http", "ws", 1),
                token=access,
                worker_id=self.worker.id,
                **more,
            )
        )

    async def _end(self) -> None:
        while True:
            job_id = (await self.worker.receive("termination", within=3600)).termination.job_id
            self.shard.say(wire.End(job_id=job_id, kind=EndKind.TERMINATED))

    async def _report(self) -> None:
        while True:
            told = await self.shard.next((wire.Started, wire.Ended), within=3600)
            self.heard.append(told)
            if isinstance(told, wire.Started):
                await self.worker.report(told.job_id, agent.JS_RUNNING)
            else:
                await self.worker.report(told.job_id, agent.JS_SUCCESS if told.ok else agent.JS_FAILED)


@contextlib.asynccontextmanager
async def serving_calls() -> AsyncIterator[tuple[Server, str, Callable[[], Caller]]]:
    """Run a server with the real media engine; yield it, its URL and a maker of callers."""
    config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, room=RoomDefaults(departure_timeout=2))
    async with running_server(Str0mEngine(EngineConfig()), config) as (server, url), callers() as make:
        yield server, url, make


@contextlib.asynccontextmanager
async def shard_stage(
    path: Path, source: str, *, environment: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[ShardStage]:
    """Serve the agent that ``source`` defines from one shard."""
    file = path / "program.py"
    file.write_text(source)
    async with serving_calls() as (server, url, make):
        there = {
            "LIVEKIT_URL": url.replace("http", "ws", 1),
            "LIVEKIT_API_KEY": KEY.key,
            "LIVEKIT_API_SECRET": KEY.secret,
            **(environment or {}),
        }
        async with nursery(path, file, environment=there, **settings) as loaded:
            assert not loaded.manifest.failures, loaded.manifest.failures
            (spec,) = loaded.manifest.agents
            shard = await loaded.fork()
            advisor = await loaded.fork(wire.Role.ADVISOR)
            answer = stay_silent if spec.asks else accept
            async with registered(url, spec.dispatch, answer=answer) as worker:
                stage = ShardStage(server, url, make, loaded, shard, worker, spec, advisor)
                await stage.serve()
                try:
                    yield stage
                finally:
                    for task in stage.tasks:
                        task.cancel()
                    await asyncio.gather(*stage.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def stock_stage(
    path: Path, source: str, *, environment: Mapping[str, str] | None = None
) -> AsyncIterator[CallStage]:
    """Serve the agent that ``source`` defines from livekit-agents' own worker."""
    async with (
        serving_calls() as (server, url, make),
        stock_worker(url, path, source=source, extra=environment),
    ):
        stage = CallStage(server, url, make)
        await stage.until(server.agents.workers)
        yield stage
