"""An erased session is gone from the sessions, too: from answers, from the search, and from the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.otlp import JOB, Spans, recording_upload
from support.upload_desk import Desk, upload_desk

pytestmark = pytest.mark.conformance

SECRET = "rosebud"


async def upload(desk: Desk, job: str, said: str) -> None:
    items = [{"id": "u1", "type": "message", "role": "user", "content": [said], "created_at": 1.0}]
    body, headers = recording_upload(job=job, items=items, audio=said.encode())
    assert (await desk.send("recording", body, **headers)).status_code == 200
    spans = Spans().add("agent_turn", job=job, attributes={"lk.pii.user_input": said, "lk.speech_id": "s"})
    assert (await desk.send("spans", spans.encode())).status_code == 200


def holders(path: Path) -> list[str]:
    return [str(file) for file in path.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


async def test_an_erased_session_leaves_nothing(tmp_path: Path) -> None:
    async with upload_desk(tmp_path, peaks=True) as desk:
        await upload(desk, JOB, f"my word is {SECRET}")
        await upload(desk, "AJ_other1234", "another word")
        assert len((await desk.get("/sessions", text=SECRET)).json()["sessions"]) == 1
        drawn = asyncio.Event()
        desk.sessions.listen(lambda _: drawn.set())
        async with asyncio.timeout(60):
            while (await desk.get(f"/sessions/{JOB}/peaks")).status_code == 202:
                await drawn.wait()
                drawn.clear()
        assert holders(tmp_path)

        await desk.log.erase(f"session:{JOB}", "asked")
        assert (await desk.get(f"/sessions/{JOB}")).status_code == 404
        assert (await desk.get("/sessions", text=SECRET)).json()["sessions"] == []
        assert [each["id"] for each in (await desk.get("/sessions")).json()["sessions"]] == ["AJ_other1234"]
        assert (await desk.log.verify()).ok
    assert holders(tmp_path) == []
