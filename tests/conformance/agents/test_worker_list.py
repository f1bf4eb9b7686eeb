"""The worker list, asked for over HTTP as the control plane does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from livekit.protocol import agent

from greenroom.config import AgentDefaults, ApiKey
from greenroom.grants import AgentGrant, VideoGrant, mint
from greenroom.httpclient import HttpClient
from greenroom.link import LinkError, LiveKit, WorkerList
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY, decline

pytestmark = pytest.mark.conformance


@pytest.fixture
async def link(stage: AgentStage) -> AsyncIterator[LiveKit]:
    livekit = LiveKit(stage.url, KEY)
    yield livekit
    await livekit.aclose()


async def test_it_names_workers_and_what_they_run(stage: AgentStage, link: LiveKit) -> None:
    worker = await stage.worker("front_desk", deployment="blue")
    stage.server.agents.create_dispatch("lobby", agent_name="front_desk", deployment="blue")
    agent_client = await stage.start(await worker.assignment())
    found = await link.workers()
    (info,) = found.workers
    assert (info.id, info.agent_name, info.deployment, info.job_type) == (worker.id, "front_desk", "blue", "room")
    assert (info.status, info.version, info.api_key) == ("available", "1.8.9", "devkey")
    (job,) = [each for each in found.jobs if each.agent_name == "front_desk"]
    assert info.jobs == (job.id,)
    assert (job.room, job.worker_id, job.present) == ("lobby", worker.id, True)
    assert job.agent_identity == f"agent-{job.id}"
    assert job.agent_identity == agent_client.join.participant.identity
    assert found.server == stage.server.rooms.server_info.node_id


async def test_what_waits_says_why_and_what_to_do(stage: AgentStage, link: LiveKit) -> None:
    stage.server.agents.create_dispatch("lobby", agent_name="nobody")
    (job,) = [each for each in (await link.workers()).jobs if each.agent_name == "nobody"]
    assert job.waits
    assert job.why == "no agent worker is connected"
    assert "LIVEKIT_URL" in job.fix
    assert job.deadline is not None


async def test_a_job_that_workers_decline_says_so(stage: AgentStage, link: LiveKit) -> None:
    worker = await stage.worker("busy", answer=decline)
    stage.server.agents.create_dispatch("lobby", agent_name="busy")
    await worker.offer()
    await worker.barrier()
    (job,) = [each for each in (await link.workers()).jobs if each.agent_name == "busy"]
    assert job.declined == 1
    assert "declined it 1 times" in job.why


async def test_how_a_job_ended_is_told_when_its_room_is_gone(stage: AgentStage, link: LiveKit) -> None:
    worker = await stage.worker("front_desk")
    stage.server.agents.create_dispatch("lobby", agent_name="front_desk")
    job = (await worker.assignment()).job
    await worker.report(job.id, agent.JS_FAILED, "it broke")
    await worker.barrier()
    await stage.server.rooms.delete("lobby")
    found = await link.workers()
    (ended,) = [each for each in found.ended if each.id == job.id]
    assert (ended.phase, ended.status, ended.error) == ("ended", "failed", "it broke")
    assert ended.ended_at is not None
    assert found.jobs == ()


async def test_one_who_knows_the_latest_is_told_of_the_next_change(stage: AgentStage, link: LiveKit) -> None:
    first = await link.workers()
    asking = asyncio.create_task(link.workers(first.version, wait=30))
    await asyncio.sleep(0)
    worker = await stage.worker("front_desk")
    changed = await asking
    assert changed.version != first.version
    assert [each.id for each in changed.workers] == [worker.id]


async def test_without_a_change_the_answer_comes_when_the_time_is_over(stage: AgentStage, link: LiveKit) -> None:
    worker = await stage.worker("front_desk")
    await worker.barrier()
    first = await link.workers()
    await worker.status(load=0.0)
    await worker.barrier()
    assert (await link.workers(first.version, wait=0.01)).version == first.version
    await worker.status(load=0.5)
    await worker.barrier()
    assert (await link.workers(first.version, wait=0.01)).version != first.version


async def test_an_unknown_version_is_answered_at_once(link: LiveKit) -> None:
    assert (await link.workers("of another server", wait=30)).workers == ()


async def test_the_end_of_the_server_answers_whoever_waits() -> None:
    async with agent_stage() as stage:
        link = LiveKit(stage.url, KEY)
        version = (await link.workers()).version
        asking = asyncio.create_task(link.workers(version, wait=60))
        await asyncio.sleep(0.05)
    assert isinstance(await asking, WorkerList)
    await link.aclose()


async def test_a_key_with_a_policy_sees_its_own_alone() -> None:
    narrow = ApiKey(key="narrow", secret="s", agents=("front_*",), rooms=("lobby",))
    async with agent_stage(keys=(KEY, narrow), agent=AgentDefaults()) as stage:
        await stage.worker("front_desk")
        await stage.worker("billing")
        for room, name in (("lobby", "front_x"), ("lobby", "billing_x"), ("office", "front_x")):
            stage.server.agents.create_dispatch(room, agent_name=name)
        link = LiveKit(stage.url, narrow)
        found = await link.workers()
        await link.aclose()
    assert [worker.agent_name for worker in found.workers] == ["front_desk"]
    assert [(job.room, job.agent_name) for job in found.jobs] == [("lobby", "front_x")]


async def test_only_an_agents_administrator_may_ask(stage: AgentStage) -> None:
    http = HttpClient()
    url = f"{stage.url}/greenroom/v1/workers"
    allowed = mint(KEY, agent=AgentGrant(admin=True))
    refused = [mint(KEY, video=VideoGrant(room_admin=True, room_list=True)), mint(KEY, agent=AgentGrant()), "nonsense"]
    statuses = [
        (await http.request("GET", url, headers={"authorization": f"Bearer {token}"})).status
        for token in (allowed, *refused)
    ]
    assert statuses == [200, 401, 401, 401]
    assert (await http.request("GET", url)).status == 401
    headers = {"authorization": f"Bearer {allowed}"}
    assert (await http.request("GET", f"{url}?after=x&wait=soon", headers=headers)).status == 400
    assert (await http.request("GET", f"{url}?after=x&wait=nan", headers=headers)).status == 200
    await http.aclose()


async def test_a_wrong_secret_says_what_to_check(stage: AgentStage) -> None:
    link = LiveKit(stage.url, ApiKey(key="devkey", secret="wrong"))
    with pytest.raises(LinkError, match="Check the API key"):
        await link.workers()
    await link.aclose()
