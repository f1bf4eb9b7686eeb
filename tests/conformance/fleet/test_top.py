"""``greenroom top`` against a control plane that serves, from a process that is not it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli._api import ApiError
from greenroom.cli._options import ApiOptions
from greenroom.cli.top import TopRequest, top_command
from greenroom.control import Access, PlaneSettings, control_app, open_plane
from greenroom.eventlog import NewEvent
from greenroom.grants import mint_operator
from greenroom.link import AgentStateChanged, JobAssigned, JobInfo, WorkerInfo, WorkerSeen
from support.serving import KEY, serve_app

pytestmark = pytest.mark.conformance

NOWHERE = "ws://127.0.0.1:1"
JOB = JobInfo(id="AJ_1", room="lobby", room_sid="RM_1", agent_name="front-desk", worker_id="AW_1")


async def test_it_shows_workers_and_calls_to_who_brings_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    access = Access(api_token="another", keys=(KEY,))
    async with open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)) as plane:
        worker = WorkerInfo(id="AW_1", agent_name="front-desk", status="available", load=0.25)
        await plane.log.append("system:workers", [NewEvent(WorkerSeen(worker=worker))])
        told = [NewEvent(JobAssigned(job=JOB)), NewEvent(AgentStateChanged(state="speaking"))]
        appended = await plane.log.append("session:AJ_1", told)
        await plane.fleet.reached(appended.last_position)
        async with serve_app(control_app(NOWHERE, KEY, access=access, plane=plane)) as url:

            def top(**asked: Any) -> str:
                assert top_command(ApiOptions(url=url), TopRequest(once=True, **asked)) == 0
                return capsys.readouterr().out

            monkeypatch.delenv("GREENROOM_TOKEN", raising=False)
            with pytest.raises(ApiError, match="asks who you are"):
                await asyncio.to_thread(top)
            token = mint_operator(KEY, "read", name="grace", purpose="api", ttl=60)
            monkeypatch.setenv("GREENROOM_TOKEN", token)
            text = await asyncio.to_thread(top)
            assert "AW_1    front-desk  available  25%" in text
            assert "front-desk: call in lobby  Speaking" in text
            found = json.loads(await asyncio.to_thread(lambda: top(as_json=True)))
            assert [(each["session"], each["state"]) for each in found["calls"]] == [("AJ_1", "speaking")]
