"""The unmodified ``livekit-agents`` worker against the whole server: it registers, works, drains and comes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from livekit import rtc
from livekit.protocol import agent

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.server import Server
from greenroom.server.agents import WorkerInfo
from support.sdk import Caller, callers
from support.serving import running_server
from support.signal_client import token
from support.stock_worker import ECHO_AGENT, Program, stock_worker

pytestmark = pytest.mark.conformance

PATIENCE = 60.0


class Stage:
    """A server with the real media engine, a stock worker, and a way to bring callers in."""

    def __init__(self, server: Server, url: str, worker: Program, make: Callable[[], Caller]) -> None:
        self.server = server
        self.url = url
        self.worker = worker
        self.make = make

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something only the server knows."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - the server tells nobody of workers
                await asyncio.sleep(0.02)

    async def registered(self) -> WorkerInfo:
        await self.until(self.server.agents.workers)
        return self.server.agents.workers()[0]

    def job(self, room: str = "lobby") -> agent.Job:
        """Return the only job for the echo agent."""
        (job,) = [
            job
            for dispatch in self.server.agents.list_dispatch(room)
            if dispatch.agent_name == "echo"
            for job in dispatch.state.jobs
        ]
        return job

    async def call(self) -> tuple[Caller, rtc.RemoteParticipant]:
        """Join as a person, ask for the agent and wait until it is ready."""
        caller = await self.make().connect(self.url, token("ada"))
        self.server.agents.create_dispatch("lobby", agent_name="echo", metadata="meta")
        await self.until(lambda: self.job().state.participant_identity)
        bot = await caller.sees(self.job().state.participant_identity, lambda p: p.attributes.get("ready") == "yes")
        return caller, bot


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with (
        running_server(Str0mEngine(EngineConfig())) as (server, url),
        stock_worker(url, tmp_path) as worker,
        callers() as make,
    ):
        yield Stage(server, url, worker, make)


async def heard(caller: Caller, said: Awaitable[object]) -> str:
    """Return what the agent sends back."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(reader: rtc.TextStreamReader) -> None:
        answer.set_result(await reader.read_all())

    tasks: list[asyncio.Task[None]] = []
    caller.room.register_text_stream_handler("echo", lambda reader, _: tasks.append(asyncio.create_task(read(reader))))
    await said
    try:
        return await asyncio.wait_for(answer, PATIENCE)
    finally:
        caller.room.unregister_text_stream_handler("echo")


async def test_it_takes_a_job_serves_the_call_and_leaves_when_the_dispatch_is_deleted(stage: Stage) -> None:
    info = await stage.registered()
    assert (info.agent_name, info.job_type, info.version) == ("echo", "room", "1.8.9")

    caller, bot = await stage.call()
    job = stage.job()
    assert (job.state.status, job.state.worker_id) == (agent.JS_RUNNING, info.id)
    assert bot.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    assert (bot.identity, bot.name, bot.metadata) == (f"agent-{job.id}", "Echo", "m")
    assert {"lk.agent.name": "echo", "lk.agent_name": "echo", "kind": "echo"}.items() <= dict(bot.attributes).items()
    assert await heard(caller, caller.me.send_text("hello", topic="say")) == "meta hello"

    (dispatch,) = [each for each in stage.server.agents.list_dispatch("lobby") if each.agent_name == "echo"]
    deleted = await stage.server.agents.delete_dispatch("lobby", dispatch.id)
    assert deleted is not None
    gone = await caller.event("participant_disconnected")
    assert gone.identity == bot.identity
    assert gone.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED


async def test_its_request_function_declines_a_job_or_ends_it(stage: Stage) -> None:
    await stage.registered()

    def steps(room: str) -> list[str]:
        (dispatch,) = [each for each in stage.server.agents.list_dispatch(room) if each.agent_name == "echo"]
        return [step.event for step in stage.server.agents.history(room, dispatch.id)]

    for room in ("busy", "never"):
        stage.server.agents.create_dispatch(room, agent_name="echo")
    await stage.until(lambda: "declined" in steps("busy") and "ended" in steps("never"))
    assert stage.job("busy").state.status == agent.JS_PENDING
    assert stage.job("never").state.status == agent.JS_SUCCESS


async def test_it_comes_back_after_its_connection_was_cut_and_keeps_its_call(stage: Stage) -> None:
    first = await stage.registered()
    caller, bot = await stage.call()
    stage.server.agents._runner.links[first.id].close(1012, "cut by the test")
    await stage.until(lambda: any(worker.id != first.id for worker in stage.server.agents.workers()))
    (again,) = stage.server.agents.workers()
    await stage.until(lambda: stage.job().state.worker_id == again.id)
    assert await heard(caller, caller.me.send_text("still there?", topic="say")) == "meta still there?"
    assert bot.identity in caller.room.remote_participants


async def test_the_end_of_a_call_is_a_success(stage: Stage) -> None:
    await stage.registered()
    caller, bot = await stage.call()
    room = stage.server.rooms.get("lobby")
    assert room is not None
    stage.server.rooms.remove_participant(room, bot.identity, rtc.DisconnectReason.PARTICIPANT_REMOVED)
    await caller.event("participant_disconnected")
    await stage.until(lambda: stage.job().state.ended_at)
    assert stage.job().state.status == agent.JS_SUCCESS


async def test_a_worker_that_is_stopped_takes_its_agent_along(stage: Stage) -> None:
    await stage.registered()
    caller, bot = await stage.call()
    stage.worker.process.send_signal(signal.SIGTERM)
    gone = await caller.event("participant_disconnected")
    assert gone.identity == bot.identity
    await stage.until(lambda: not stage.server.agents.workers())


async def test_a_draining_worker_finishes_its_call_and_gets_no_other(tmp_path: Path) -> None:
    # One warm process, and no opinion of how busy this machine is.
    server_of_one = "AgentServer(host='127.0.0.1', port=0, num_idle_processes=1, load_threshold=100)"
    source = ECHO_AGENT.replace("AgentServer()", server_of_one)
    async with (
        running_server(Str0mEngine(EngineConfig())) as (server, url),
        stock_worker(url, tmp_path, source=source, development=False) as worker,
        callers() as make,
    ):
        stage = Stage(server, url, worker, make)
        await stage.registered()
        caller, _ = await stage.call()
        worker.process.send_signal(signal.SIGTERM)
        await stage.until(lambda: [each.status for each in server.agents.workers()] == ["full"])
        server.agents.create_dispatch("second", agent_name="echo")
        assert stage.job("second").state.status == agent.JS_PENDING
        assert await heard(caller, caller.me.send_text("still there?", topic="say")) == "meta still there?"
        await server.rooms.delete("lobby")
        await worker.ended()
        assert server.agents.workers() == []
