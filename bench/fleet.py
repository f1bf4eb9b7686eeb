"""The fleet: a snapshot of ten thousand agents, how soon clients hear of an event, and what idle clients cost."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench._figures import Figure, Options, percentile
from bench._process import PATIENCE
from greenroom.eventlog import EventLog, NewEvent
from greenroom.fleet import Fleet, OpenOrcaFeed
from greenroom.link import AgentStateChanged, JobAssigned, JobInfo

AGENTS = 10_000
CALLS = 100
CLIENTS = 20
IDLE = 1_000
STATES = ("listening", "thinking", "speaking")


async def run(options: Options) -> list[Figure]:
    """Measure all three."""
    return [*await snapshots(options), *await telling(options), *await idling(options)]


# Snapshots


async def snapshots(options: Options) -> list[Figure]:
    """Make snapshots of a fleet in which something has changed since the one before."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        async with await EventLog.open(Path(folder) / "log.db") as log:
            last = await _calls(log, AGENTS)
            started = time.perf_counter()
            async with Fleet(log) as fleet:
                await fleet.ready()
                rebuilt = time.perf_counter() - started
                feed = OpenOrcaFeed(fleet)
                ours: list[float] = []
                theirs: list[float] = []
                feed.snapshot()
                for number in range(options.count(100, least=20)):
                    event = NewEvent(AgentStateChanged(state=STATES[number % 3]))
                    last = (await log.append(_stream(number), [event])).last_position
                    await fleet.reached(last)
                    started = time.perf_counter()
                    size = len(fleet.json())
                    ours.append(time.perf_counter() - started)
                    started = time.perf_counter()
                    feed.snapshot()
                    theirs.append(time.perf_counter() - started)
                await feed.aclose()
    what = f"{AGENTS} agents in calls, one changed since the last; {size / 1e6:.1f} MB of JSON"
    return [
        Figure("fleet, snapshot p50", percentile(ours, 0.5) * 1000, "ms", 10, note=what),
        Figure("fleet, snapshot p95", percentile(ours, 0.95) * 1000, "ms"),
        Figure("fleet, OpenOrca snapshot p50", percentile(theirs, 0.5) * 1000, "ms"),
        Figure("fleet, made anew from the log", rebuilt, "s", note=f"{last} events"),
    ]


# Events


async def telling(options: Options) -> list[Figure]:
    """Send events of many calls to many clients, and see when each has them."""
    rounds = options.count(5, least=2)
    async with serving() as server:
        waits: dict[str, list[float]] = {"/api/events": [], "/openorca/events": []}
        for path, found in waits.items():
            clients = [await _Reader.open(server.url, path) for _ in range(CLIENTS)]
            for _ in range(rounds):
                # All calls change within a second or so, one after the other.
                for call in range(CALLS):
                    sent = time.monotonic()
                    await server.ask(f"change {call}")
                    heard = await asyncio.gather(*(client.heard(_job(call)) for client in clients))
                    found += [at - sent for at in heard]
                    await asyncio.sleep(1 / CALLS)
            for client in clients:
                client.close()
    what = f"{CALLS} calls, {CLIENTS} clients, {rounds * CALLS} events, from before the append to the client's read"
    api, orca = waits.values()
    return [
        Figure("fleet, event to SSE client p50", percentile(api, 0.5) * 1000, "ms", note=what),
        Figure("fleet, event to SSE client p95", percentile(api, 0.95) * 1000, "ms", 100),
        Figure(
            "fleet, event to OpenOrca client p95",
            percentile(orca, 0.95) * 1000,
            "ms",
            300,
            note="changes within 100 ms come together",
        ),
    ]


# Idle clients


async def idling(_options: Options) -> list[Figure]:
    """Have clients that only wait, and weigh the server before and with them."""
    _more_files()
    async with serving() as server:
        await (await _Reader.open(server.url, "/api/events")).hello()
        before = server.memory()
        clients = [await _Reader.open(server.url, "/api/events") for _ in range(IDLE)]
        for client in clients:
            await client.hello()
        held = server.memory() - before
        for client in clients:
            client.close()
    return [
        Figure(f"fleet, memory of {IDLE} idle SSE clients", held, "MB", 100, note="/api/events, proportional memory")
    ]


class _Reader:
    """An SSE client over a bare socket: a browser's own cost is not what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, path: str) -> _Reader:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        client = cls(reader, writer)
        await client._until(b"\r\n\r\n")
        return client

    async def hello(self) -> None:
        """Wait for the first event."""
        await self._until(b"data: ")

    async def heard(self, job: str) -> float:
        """Return when an event of a job had come."""
        marks = (f"session:{job}".encode(), f"agent:agent-{job}".encode())
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self._reader.readline()
                if any(mark in line for mark in marks) and b"snapshot.replace" not in line:
                    return time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def _until(self, mark: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._reader.readuntil(mark)


class _Serving:
    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def ask(self, line: str) -> None:
        """Have something done; returns when it has begun."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    def memory(self) -> float:
        """Return the proportional memory in MB."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1000 * 1.024


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[_Serving]:
    """Run a control plane beside no LiveKit at all, in a process of its own, with its calls."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.fleet", folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            async with asyncio.timeout(PATIENCE):
                url = (await process.stdout.readline()).decode().strip()
            yield _Serving(process, url)
        finally:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _serve(folder: Path) -> None:
    from greenroom.config import ApiKey, Limits  # noqa: PLC0415 - for the process that serves
    from greenroom.control import Access, PlaneSettings, control_app, open_plane  # noqa: PLC0415
    from greenroom.server import listen, serve, url_of  # noqa: PLC0415

    _more_files()
    key = ApiKey(key="devkey", secret="secret")
    nowhere = "ws://127.0.0.1:1"
    opened = listen("127.0.0.1", 0)
    access = Access(keys=(key,))
    stop = asyncio.Event()
    async with open_plane(nowhere, (key,), access, PlaneSettings(data_dir=folder)) as plane:
        await _calls(plane.log, CALLS)
        app = control_app(nowhere, key, access=access, plane=plane)
        commands = asyncio.create_task(_obey(plane.log, stop))
        await serve(
            app,
            opened,
            limits=Limits(),
            on_ready=lambda: print(url_of(opened), flush=True),
            on_stop=plane.hang_up,
            stop=stop,
        )
        await commands


async def _obey(log: EventLog, stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    count = 0
    while line := await reader.readline():
        count += 1
        call = int(line.split()[1])
        state = STATES[(count // CALLS) % len(STATES)]
        await log.append(_stream(call), [NewEvent(AgentStateChanged(state=state))])
    stop.set()


async def _calls(log: EventLog, count: int) -> int:
    last = 0
    for first in range(0, count, 1000):
        appended = await asyncio.gather(
            *(
                log.append(_stream(number), [NewEvent(JobAssigned(job=_call(number)), time.time())])
                for number in range(first, min(first + 1000, count))
            )
        )
        last = max(each.last_position for each in appended)
    return last


def _job(number: int) -> str:
    return f"AJ_bench{number:06}"


def _stream(number: int) -> str:
    return f"session:{_job(number)}"


def _call(number: int) -> JobInfo:
    fields: dict[str, Any] = {
        "room": f"room-{number}",
        "room_sid": f"RM_bench{number:06}",
        "agent_name": "front-desk",
        "agent_identity": f"agent-{_job(number)}",
        "worker_id": f"AW_{number % 50}",
        "status": "running",
    }
    return JobInfo(id=_job(number), **fields)


def _more_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192) if most > 0 else 8192, most))


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
