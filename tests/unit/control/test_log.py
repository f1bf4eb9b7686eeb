"""``/api/log`` and ``/api/why`` over a real log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, PlaneSettings, control_app, open_plane
from greenroom.eventlog import NewEvent
from greenroom.link import AgentStateChanged, DispatchPending, JobAssigned, JobInfo, RoomStarted

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")
NOWHERE = "ws://127.0.0.1:1"
JOB = JobInfo(id="AJ_1", room="lobby", room_sid="RM_1", agent_name="desk")
ROOM = RoomStarted(message={"room": {"sid": "RM_1", "name": "lobby"}})


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A control plane that knows of one room, one job that ran in it and one that waits elsewhere."""
    access = Access(keys=(KEY,))
    waits = JobInfo(id="AJ_2", room="empty", agent_name="desk", why="all are full", fix="Start another worker")
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)))
        await plane.log.append("room:RM_1", [NewEvent(ROOM)])
        await plane.log.append("system:workers", [NewEvent(JobAssigned(job=JOB)), NewEvent(DispatchPending(job=waits))])
        states = [NewEvent(AgentStateChanged(state=state)) for state in ("idle", "listening")]
        await plane.log.append("session:AJ_1", [NewEvent(JobAssigned(job=JOB)), *states])
        await plane.sessions.reached(await plane.log.head())
        transport = httpx.ASGITransport(app=control_app(NOWHERE, KEY, access=access, plane=plane))
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7870"))


async def test_the_log_is_read_in_pages_of_what_is_asked_for(client: httpx.AsyncClient) -> None:
    asked = {"stream": ["session:AJ_1", "room:RM_1"], "type": ["agent.state", "room.started"], "limit": 2}
    first = (await client.get("/api/log", params=asked)).json()
    assert [(each["stream"], each["type"]) for each in first["events"]] == [
        ("room:RM_1", "room.started"),
        ("session:AJ_1", "agent.state"),
    ]
    second = (await client.get("/api/log", params={**asked, "after": first["next"]})).json()
    assert [each["data"]["state"] for each in second["events"]] == ["listening"]
    assert (second["next"], second["head"]) == (None, 6)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/api/log", {"limit": "0"}),
        ("/api/log", {"after": "-1"}),
        ("/api/log", {"streams": "x"}),
        ("/api/why", {}),
        ("/api/why", {"room": ""}),
    ],
)
async def test_a_question_that_cannot_be_asked_is_refused(
    client: httpx.AsyncClient, path: str, params: dict[str, str]
) -> None:
    answer = await client.get(path, params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, "query_invalid")


@pytest.mark.parametrize("room", ["lobby", "RM_1", "AJ_1"])
async def test_a_room_is_explained_by_its_name_its_sid_or_a_session(client: httpx.AsyncClient, room: str) -> None:
    found = (await client.get("/api/why", params={"room": room})).json()
    assert (found["room"], found["room_sid"], found["sessions"]) == ("lobby", "RM_1", ["AJ_1"])
    assert found["answer"][0] == "'desk' is in the room and is listening."


async def test_a_room_that_is_not_there_yet_is_known_by_who_waits_for_it(client: httpx.AsyncClient) -> None:
    found = (await client.get("/api/why", params={"room": "empty"})).json()
    assert (found["verdict"], found["status"], found["fix"]) == ("waiting", "unknown", "Start another worker")


async def test_a_room_nobody_has_heard_of_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/why", params={"room": "nowhere"})
    assert (answer.status_code, answer.json()["code"]) == (404, "room_unknown")


async def test_a_session_that_does_not_run_cannot_be_watched(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/events", params={"watch": "AJ_9"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "No job 'AJ_9' runs")
