"""What OpenOrca's clients need to be told, over a real log: whole objects, everything first, nothing missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, Plane, PlaneSettings, control_app, open_plane
from greenroom.eventlog import EventLog, NewEvent
from greenroom.fleet import Fleet, OpenOrcaFeed
from greenroom.grants import mint_operator
from greenroom.link import (
    AgentStateChanged,
    AgentStatus,
    JobAssigned,
    JobEnded,
    JobInfo,
    ToolsExecuted,
    WorkerGone,
    WorkerInfo,
    WorkerSeen,
)

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")
NOWHERE = "ws://127.0.0.1:1"
PATIENCE = 20.0

# What its types call required; without some of them its page is blank.
REQUIRED = {
    "agents": {
        *("id", "name", "machineId", "machineName", "status", "domain", "integrations", "currentTaskId"),
        *("currentAction", "memoryUsage", "uptime", "tasksCompleted", "collaboratingWith", "interventionRequired"),
        *("activityLevel", "loadedCores", "knowledgeContributions", "graphAccess"),
    },
    "tasks": {
        *("id", "agentId", "agentName", "domain", "title", "description", "status", "priority", "progress"),
        *("startTime", "integrationsUsed", "collaborators"),
    },
    "actionLog": {
        *("id", "agentId", "timestamp", "type", "description", "integration", "outcome", "requiresApproval"),
    },
    "machines": {"id", "name", "os", "isOnline", "lastSeen"},
    "swarms": {
        *("id", "name", "objective", "agents", "leadAgentId", "status", "progress", "tasksTotal", "tasksCompleted"),
    },
}
HEALTH = {
    *("totalAgents", "activeAgents", "offlineAgents", "interventionsRequired", "tasksInProgress"),
    *("tasksCompletedToday", "swarmsActive", "overallHealth"),
}


def job(letter: str, **fields: Any) -> JobInfo:
    known = {"agent_name": "front-desk", "room": "lobby", "room_sid": "RM_1", "agent_identity": f"agent-AJ_{letter}"}
    return JobInfo(id=f"AJ_{letter}", **{**known, **fields})


async def begin(log: EventLog, letter: str = "A", **fields: Any) -> int:
    appended = await log.append(f"session:AJ_{letter}", [NewEvent(JobAssigned(job=job(letter, **fields)))])
    return appended.last_position


def assert_whole(found: dict[str, Any]) -> None:
    for name, fields in REQUIRED.items():
        for each in found[name]:
            assert fields <= each.keys()
            assert all(each[field] is not None for field in fields - {"currentTaskId"})
    assert found["interventions"] == []
    assert found["fleetHealth"].keys() >= HEALTH
    assert {"runtime", "generatedAt", "connectionStatus"} <= found["meta"].keys()


class Client:
    """Reads the stream as OpenOrca's hook does."""

    def __init__(self, feed: OpenOrcaFeed) -> None:
        self._parts = feed.stream()
        self._read: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        while not self._read:
            async with asyncio.timeout(PATIENCE):
                part = await anext(self._parts)
            for block in part.decode().removesuffix("\n\n").split("\n\n"):
                if block.startswith("data: "):
                    self._read.append(json.loads(block.removeprefix("data: ")))
                else:
                    assert block == ": "
        return self._read.pop(0)

    async def until(self, kind: str) -> dict[str, Any]:
        while (found := await self.next())["type"] != kind:
            pass
        return found


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@pytest.fixture
async def fleet(log: EventLog) -> AsyncIterator[Fleet]:
    async with Fleet(log, together=0.01) as opened:
        yield opened


@pytest.fixture
async def feed(fleet: Fleet) -> AsyncIterator[OpenOrcaFeed]:
    opened = OpenOrcaFeed(fleet)
    yield opened
    await opened.aclose()


async def test_the_first_frame_is_everything_and_then_come_whole_objects(
    log: EventLog, fleet: Fleet, feed: OpenOrcaFeed
) -> None:
    await fleet.reached(await begin(log))
    client = Client(feed)
    first = await client.next()
    assert first["type"] == "snapshot.replace"
    assert_whole(first["snapshot"])
    await begin(log, "B")
    agents = [(await client.until("agent.updated"))["agent"] for _ in range(2)]
    assert [agent["id"] for agent in agents] == ["agent:agent-AJ_A", "agent:agent-AJ_B"]
    assert agents[0]["collaboratingWith"] == ["agent:agent-AJ_B"]
    agent = agents[1]
    assert (agent["status"], agent["domain"]) == ("active", "communications")
    assert REQUIRED["agents"] <= agent.keys()
    task = (await client.until("task.created"))["task"]
    assert (task["id"], task["progress"], REQUIRED["tasks"] <= task.keys()) == ("task:AJ_B", 50, True)
    swarm = (await client.until("swarm.updated"))["swarm"]
    assert (swarm["id"], len(swarm["agents"])) == ("swarm:lobby", 2)
    assert (await client.until("fleet.updated"))["fleetHealth"]["tasksInProgress"] == 2


async def test_an_action_is_told_once(log: EventLog, feed: OpenOrcaFeed) -> None:
    await begin(log)
    client = Client(feed)
    await client.next()
    executed = ToolsExecuted(message={"function_calls": [{"call_id": "c1", "name": "book"}]})
    await log.append("session:AJ_A", [NewEvent(executed)])
    action = (await client.until("action.logged"))["action"]
    assert (action["id"], action["type"], action["outcome"]) == ("action:AJ_A:c1", "api_call", "success")
    await log.append("session:AJ_A", [NewEvent(executed), NewEvent(AgentStateChanged(state="speaking"))])
    while (found := await client.next())["type"] != "agent.updated":
        assert found["type"] != "action.logged"
    assert found["agent"]["currentAction"] == "Speaking"


async def test_a_client_that_comes_between_a_change_and_its_telling_hears_of_it_once(log: EventLog) -> None:
    async with Fleet(log, together=3600) as fleet:
        feed = OpenOrcaFeed(fleet)
        one = Client(feed)
        await one.next()
        await begin(log)
        await one.until("task.created")
        executed = ToolsExecuted(message={"function_calls": [{"call_id": "c1", "name": "book"}]})
        appended = await log.append("session:AJ_A", [NewEvent(executed)])
        await fleet.reached(appended.last_position)
        two = Client(feed)
        assert len((await two.next())["snapshot"]["actionLog"]) == 1
        await one.until("action.logged")
        await feed.aclose()
        with pytest.raises(StopAsyncIteration):
            await two.next()


async def test_whatever_is_gone_is_forgotten_by_sending_everything(
    log: EventLog, fleet: Fleet, feed: OpenOrcaFeed
) -> None:
    worker = WorkerInfo(id="AW_1", agent_name="front-desk")
    await log.append("system:workers", [NewEvent(WorkerSeen(worker=worker))])
    await fleet.reached(await begin(log))
    client = Client(feed)
    first = await client.next()
    assert {each["id"] for each in first["snapshot"]["agents"]} == {"agent:agent-AJ_A", "agent:AW_1"}
    await log.erase("session:AJ_A", "request")
    await log.append("system:workers", [NewEvent(WorkerGone(worker=worker))])
    found = await client.until("snapshot.replace")
    assert_whole(found["snapshot"])
    assert [(each["id"], each["status"]) for each in found["snapshot"]["agents"]] == [("agent:AW_1", "offline")]
    assert found["snapshot"]["machines"][0]["isOnline"] is False


async def test_a_client_that_falls_behind_is_sent_everything(log: EventLog) -> None:
    async with Fleet(log, together=0) as fleet:
        feed = OpenOrcaFeed(fleet, kept=2)
        client = Client(feed)
        await client.next()
        for letter in "ABCDE":
            await begin(log, letter)
            appended = await log.append("system:greenroom", [NewEvent(AgentStateChanged(state="idle"))])
            await fleet.reached(appended.last_position)
            fleet.flush()
        found = await client.next()
        assert found["type"] == "snapshot.replace"
        assert len(found["snapshot"]["agents"]) == 5
        await feed.aclose()


async def test_everything_comes_again_now_and_then_and_a_sign_of_life_between(log: EventLog) -> None:
    async with Fleet(log) as fleet:
        feed = OpenOrcaFeed(fleet, keepalive=0.01, replace_every=0.1)
        client = Client(feed)
        assert [(await client.next())["type"] for _ in range(3)] == ["snapshot.replace"] * 3
        await feed.aclose()


async def test_what_an_agent_states_is_kept_to_words_that_the_client_knows(
    log: EventLog, fleet: Fleet, feed: OpenOrcaFeed
) -> None:
    await begin(log)
    stated = AgentStatus(domain="phone", integrations=("Calendar", "phone"), priority="urgent", progress=30.0)
    await fleet.reached((await log.append("session:AJ_A", [NewEvent(stated)])).last_position)
    snapshot = (await Client(feed).next())["snapshot"]
    agent, task = snapshot["agents"][0], snapshot["tasks"][0]
    assert (agent["domain"], agent["integrations"]) == ("communications", ["calendar"])
    assert (task["priority"], task["progress"], task["integrationsUsed"]) == ("urgent", 30.0, ["calendar"])


async def test_a_call_that_ended_leaves_its_agent_offline_and_its_task_done(
    log: EventLog, fleet: Fleet, feed: OpenOrcaFeed
) -> None:
    await fleet.reached(await begin(log))
    client = Client(feed)
    await client.next()
    await log.append("session:AJ_A", [NewEvent(JobEnded(job=job("A", status="failed", error="it broke")))])
    assert (await client.until("agent.updated"))["agent"]["status"] == "offline"
    task = (await client.until("task.updated"))["task"]
    assert (task["status"], task["description"]) == ("failed", "it broke")


# Over HTTP


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    access = Access(bind="0.0.0.0", allowed_hosts=("ops.example",), keys=(KEY,))
    async with open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)) as opened:
        yield opened


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    access = Access(bind="0.0.0.0", allowed_hosts=("ops.example",), keys=(KEY,))
    transport = httpx.ASGITransport(app=control_app(NOWHERE, KEY, access=access, plane=plane))
    async with httpx.AsyncClient(transport=transport, base_url="http://ops.example") as opened:
        yield opened


def token(role: Any, purpose: Any = "api") -> str:
    return mint_operator(KEY, role, name="grace", purpose=purpose, ttl=60)


async def test_a_client_without_headers_brings_its_token_in_the_address_or_a_cookie(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openorca/snapshot")).status_code == 401
    assert (await client.get("/openorca/snapshot?token=nonsense")).status_code == 401
    assert (await client.get(f"/api/fleet?token={token('read')}")).status_code == 401
    answer = await client.get(f"/openorca/snapshot?token={token('read')}")
    assert_whole(answer.json())
    client.cookies.set("greenroom_session", token("read", "session"))
    assert (await client.get("/openorca/snapshot")).status_code == 200
    for path in ("runtime-info", "runtime"):
        found = (await client.get(f"/openorca/{path}")).json()
        assert (found["runtime"], found["supports"]["sse"]) == ("livekit-agents", True)
    refused = await client.get("/openorca/snapshot", headers={"Origin": "http://evil.example"})
    assert refused.status_code == 403


async def test_a_decision_on_what_nobody_asked_is_refused_every_time_and_needs_the_role(
    client: httpx.AsyncClient,
) -> None:
    path = "/openorca/interventions/resolve"
    decision = {"interventionId": "intervention-hb6gdym3", "action": "approve", "actor": {"type": "human"}}
    assert (await client.post(f"{path}?token={token('read')}", json=decision)).status_code == 403
    for _ in range(2):
        answer = await client.post(f"{path}?token={token('operate')}", json=decision)
        assert (answer.status_code, "intervention-hb6gdym3" in answer.text) == (404, True)
    for broken in (b"", b"{}", b'{"interventionId": "x", "action": "explode"}', b"\xff"):
        assert (await client.post(f"{path}?token={token('operate')}", content=broken)).status_code == 400


async def test_the_fleet_over_the_api_says_null_where_openorca_says_a_number(
    plane: Plane, client: httpx.AsyncClient
) -> None:
    feed = plane.feed.stream(plane.feed.place(None)[0], False, lambda frame: frame.type == "fleet.changed")
    await anext(feed)
    await begin(plane.log)
    async with asyncio.timeout(PATIENCE):
        told = json.loads((await anext(feed)).decode().split("data: ")[1])
    assert told["calls"] == ["AJ_A"]
    headers = {"Authorization": f"Bearer {token('read')}"}
    found = (await client.get("/api/fleet", headers=headers)).json()
    (agent,) = found["agents"]
    assert (agent["status"], agent["domain"], agent["cost_usd"]) == (None, None, None)
    assert found["tasks"][0]["progress"] is None
