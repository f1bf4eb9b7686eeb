"""A pool reports, is listed, is asked to drain; what happens to it is in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, PlaneSettings, control_app, open_plane
from greenroom.fleet import FleetState
from greenroom.fleet._state import CallPart
from support.otlp import authorization
from support.pool_reports import report, session

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")
PATH = "/observability/pools/v0"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    access = Access(keys=(KEY,))
    settings = PlaneSettings(data_dir=tmp_path, recording=False)
    async with open_plane("ws://127.0.0.1:1", (KEY,), access, settings) as plane:
        transport = httpx.ASGITransport(app=control_app("ws://127.0.0.1:1", KEY, access=access, plane=plane))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7880") as client:
            yield plane, client


async def send(client: httpx.AsyncClient, said: Any, **headers: str) -> httpx.Response:
    body = said if isinstance(said, bytes) else msgspec.json.encode(said)
    return await client.post(PATH, content=body, headers={**authorization(KEY), **headers})


async def events(plane: Any) -> list[str]:
    return [record.type for record in await plane.log.read_stream("system:pools")]


async def test_a_report_is_listed_and_answered_also_where_nothing_is_recorded(stage: Any) -> None:
    plane, client = stage
    answer = await send(client, report())
    assert (answer.status_code, answer.json()) == (200, {"drain": False, "reload": False})
    (listed,) = (await client.get("/api/pools")).json()["pools"]
    assert (listed["instance"], listed["lost"], listed["report"]["machine"]) == ("pool-1", False, "basil")
    assert (await client.get("/api/pools/pool-1")).json() == listed
    assert await events(plane) == ["pool.started"]
    (machine,) = (await client.get("/api/fleet")).json()["machines"]
    assert (machine["host"], machine["shards"]) == ("basil", 2)
    (machine,) = (await client.get("/openorca/snapshot")).json()["machines"]
    assert machine["name"] == "front-desk on basil (AW_1)"


async def test_a_pool_of_another_age_is_understood(stage: Any) -> None:
    _, client = stage
    said = msgspec.to_builtins(report()) | {"version": 9, "mood": "calm", "sessions": []}
    assert (await send(client, msgspec.json.encode(said))).status_code == 200


async def test_a_drain_is_audited_asked_for_and_done(stage: Any) -> None:
    plane, client = stage
    await send(client, report())
    answer = await client.post("/api/pools/pool-1/drain", json={})
    assert (answer.status_code, answer.json()["asked"]) == (202, ["drain"])
    assert (await send(client, report())).json() == {"drain": True, "reload": False}
    assert (await send(client, report(state="draining"))).json() == {"drain": False, "reload": False}
    assert await events(plane) == ["pool.started", "pool.control", "pool.draining"]
    record = (await plane.log.read_stream("system:pools"))[1]
    assert (record.data.verb, record.data.instance) == ("drain", "pool-1")
    assert record.data.by


async def test_a_reload_is_asked_for(stage: Any) -> None:
    _, client = stage
    await send(client, report())
    assert (await client.post("/api/pools/pool-1/reload", json={})).status_code == 202
    assert (await send(client, report())).json() == {"drain": False, "reload": True}


@pytest.mark.parametrize(("state", "status"), [(None, 404), ("stopped", 409)])
async def test_who_is_not_there_cannot_be_asked(stage: Any, state: str | None, status: int) -> None:
    plane, client = stage
    if state:
        await send(client, report(state=state))
    before = await events(plane)
    answer = await client.post("/api/pools/pool-1/drain", json={})
    assert answer.status_code == status
    assert answer.json()["fix"]
    assert await events(plane) == before


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"{", 400),
        (b'{"instance": "a"}', 400),
        (report(instance=""), 400),
        (report(machine="x" * 200), 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
async def test_what_is_no_report_is_refused(stage: Any, said: Any, status: int) -> None:
    _, client = stage
    assert (await send(client, said)).status_code == status
    assert (await client.get("/api/pools")).json()["pools"] == []


async def test_a_report_needs_a_key_that_may_upload(stage: Any) -> None:
    _, client = stage
    for headers, status in ((authorization(KEY, write=False), 403), ({"authorization": "Bearer x"}, 401)):
        answer = await client.post(PATH, content=msgspec.json.encode(report()), headers=headers)
        assert answer.status_code == status


async def test_the_room_of_a_redacted_session_is_not_named(stage: Any) -> None:
    plane, client = stage
    plane.fleet._state = FleetState(calls={"AJ_1": CallPart(id="AJ_1", redacted=True)}, rooms={})
    await send(client, report(sessions=(session(), session("AJ_2"))))
    found = (await client.get("/api/pools/pool-1")).json()["report"]["sessions"]
    assert [each["room"] for each in found] == ["redacted", "lobby"]


async def test_a_start_is_told_once_also_over_a_restart(tmp_path: Path) -> None:
    access = Access(keys=(KEY,))
    for _ in range(2):
        async with open_plane("ws://127.0.0.1:1", (KEY,), access, PlaneSettings(data_dir=tmp_path)) as plane:
            await plane.pools.take(report())
            assert await events(plane) == ["pool.started"]
