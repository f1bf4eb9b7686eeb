"""The same road with a stock, warm ``livekit-agents`` worker at its end: from join to its job running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from livekit.protocol import models

from bench._figures import Figure, Options, spread
from bench._process import KEY, PATIENCE, SECRET, Running, greenroom, key_option
from bench._wire import joined, new_room, until_message

PROGRAM = Path(__file__).with_name("_idle_agent.py")


class _Reports(asyncio.DatagramProtocol):
    """What the agent's processes say: ``warm`` when one is ready for a job, ``job ROOM`` when one runs."""

    def __init__(self) -> None:
        self.warm = 0
        self.jobs: dict[str, float] = {}
        self.changed = asyncio.Event()

    def datagram_received(self, data: bytes, _address: object) -> None:
        moment = time.perf_counter()
        word, _, room = data.decode().partition(" ")
        if word == "warm":
            self.warm += 1
        else:
            self.jobs[room] = moment
        self.changed.set()

    async def process_is_warm(self) -> None:
        """Return when more processes have become warm than jobs have used."""
        async with asyncio.timeout(PATIENCE):
            while self.warm <= len(self.jobs):
                self.changed.clear()
                await self.changed.wait()

    async def job_runs(self, room: str) -> float:
        """Return the moment at which the job for ``room`` ran."""
        async with asyncio.timeout(PATIENCE):
            while room not in self.jobs:
                self.changed.clear()
                await self.changed.wait()
        return self.jobs[room]


@contextlib.asynccontextmanager
async def _worker(running: Running) -> AsyncIterator[_Reports]:
    loop = asyncio.get_running_loop()
    transport, reports = await loop.create_datagram_endpoint(_Reports, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    environment = {
        "LIVEKIT_URL": running.signal_url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "BENCH_REPORT": f"{host}:{port}",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livekit.agents", "start", str(PROGRAM)),
        env=os.environ | environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield reports
    finally:
        transport.close()
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


async def run(options: Options) -> list[Figure]:
    """Join one room after another, each time with a warm process waiting."""
    rounds = options.count(20)
    to_job, to_agent = [], []
    async with greenroom("server", *key_option()) as running, _worker(running) as reports:
        for _ in range(rounds + 1):
            await reports.process_is_warm()
            room = new_room()
            began = time.perf_counter()
            async with joined(running.signal_url, room) as socket:
                arrived = await asyncio.wait_for(until_message(socket, _agent_is_active), PATIENCE)
                to_agent.append(arrived - began)
                to_job.append(await reports.job_runs(room) - began)
    note = f"{rounds} joins, a warm process each time"
    return [
        *spread("stock worker, join to job entrypoint", to_job[1:], note=note),
        *spread("stock worker, join to agent connected", to_agent[1:], note=note),
    ]


def _agent_is_active(message: object) -> bool:
    participants = message.update.participants  # type: ignore[attr-defined]
    return any(
        person.kind == models.ParticipantInfo.AGENT and person.state == models.ParticipantInfo.ACTIVE
        for person in participants
    )
