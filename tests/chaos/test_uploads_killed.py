"""The taker of uploads is killed again and again, while agents repeat what was not acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from greenroom.eventlog import EventLog
from greenroom.sessions import SessionQuery, Sessions
from support.otlp import Spans, authorization, metrics_upload, recording_upload
from support.upload_desk import PATHS

pytestmark = pytest.mark.chaos

TESTS = Path(__file__).parents[1]
KILLS = 3
AGENTS = 4
PATIENCE = 120.0


@contextlib.asynccontextmanager
async def taker(path: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run one over the same directory; it never stops by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "support.upload_desk", str(path)),
        cwd=TESTS,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            url = (await process.stdout.readline()).decode().strip()
        yield url, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Agent:
    """Uploads sessions in order, each part until it is acknowledged."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._left: list[tuple[str, Any, dict[str, str]]] = []
        self.sessions: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self._job = ""

    def _next(self) -> tuple[str, bytes, dict[str, str]]:
        if not self._left:
            job = self._job = f"AJ_agent{self._number}session{len(self.sessions)}"
            audio = random.Random(job).randbytes(300_000)
            self.sessions[job] = sha256(audio).hexdigest()
            body, headers = recording_upload(job=job, audio=audio)
            zipped = {"content-encoding": "gzip"}
            self._left = [
                ("spans", Spans().add("agent_turn", job=job).encode(), zipped),
                ("metrics", metrics_upload(job=job), zipped),
                ("recording", body, headers),
                ("spans", Spans().add("job_entrypoint", job=job).encode(), zipped),
            ]
        return self._left[0]

    async def send(self, url: str) -> None:
        """Upload until the taker dies."""
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            while True:
                kind, body, headers = self._next()
                try:
                    response = await client.post(PATHS[kind], content=body, headers={**authorization(), **headers})
                except httpx.TransportError:
                    return
                assert response.status_code == 200, response.content
                self._left.pop(0)
                if not self._left:
                    self.acknowledged.add(self._job)


async def test_what_was_acknowledged_is_there_once_and_whole(tmp_path: Path) -> None:
    agents = [Agent(number) for number in range(AGENTS)]
    chance = random.Random(7)
    for _ in range(KILLS):
        before = sum(len(agent.acknowledged) for agent in agents)
        async with taker(tmp_path) as (url, process), asyncio.timeout(PATIENCE):
            sending = [asyncio.create_task(agent.send(url)) for agent in agents]
            while sum(len(agent.acknowledged) for agent in agents) < before + 3:  # noqa: ASYNC110 - counts what agents do
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0, 0.1))
            process.kill()
            await asyncio.gather(*sending)

    async with await EventLog.open(tmp_path / "log.db") as log:
        assert (await log.verify()).ok
        async with await Sessions.open(log, tmp_path / "sessions.db", peaks=False) as sessions:
            await sessions.reached(await log.head())
            live = await told(sessions)
            await sessions.rebuild()
            assert await told(sessions) == live
        acknowledged = set().union(*(agent.acknowledged for agent in agents))
        assert len(acknowledged) >= 3 * KILLS
        for session, audio in {job: agent.sessions[job] for agent in agents for job in agent.acknowledged}.items():
            types = [record.type for record in await log.read_stream(f"session:{session}")]
            assert sorted(types) == [
                "chat.history",
                "recording.stored",
                "session.report",
                "telemetry.metrics",
                "telemetry.spans",
                "telemetry.spans",
            ]
            assert sha256(await log.blobs.read(audio)).hexdigest() == audio
        assert acknowledged <= {session["summary"]["id"] for session in live}


async def told(sessions: Sessions) -> list[Any]:
    """Return every session, whole."""
    found = []
    after = ""
    while True:
        page = await sessions.search(SessionQuery(limit=200, after=after))
        found += [msgspec.to_builtins(await sessions.session(summary.id)) for summary in page.sessions]
        after = page.next
        if not after:
            return found
