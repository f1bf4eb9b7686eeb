"""Where executors of agents are compared: one embedded server, one process of callers, one executor at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import _pool_tree as processes
from bench._process import KEY, PATIENCE, SECRET, Running, greenroom, key_option, program

PROGRAMS = Path(__file__).with_name("pool_agents")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Executor:
    """What runs the agent.

    :param ready: what its log or standard output holds once it takes calls.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    is_ours: bool = False


def stock() -> Executor:
    """Return livekit-agents as it is: a process for each call, two waiting."""
    command = (sys.executable, str(PROGRAMS / "program.py"), "start")
    return Executor("stock", command, "registered worker")


def openrtc(python: Path) -> Executor:
    """Return OpenRTC, run by a Python that has it."""
    command = (str(python), str(PROGRAMS / "classes.py"), "start")
    note = "its models are not here: LiveKit's own VAD in place of the Silero plugin, a name for the turn detector"
    return Executor("openrtc", command, "registered worker", note)


def ours(shards: int, name: str = "", *extra: str, agent: str = "program.py") -> Executor:
    """Return ``greenroom agents`` with some shards."""
    command = (program(), "agents", str(PROGRAMS / agent), "--shards", str(shards), "--port", "0", *extra)
    return Executor(name or f"greenroom {shards}", command, "ready http", is_ours=True)


class Listener(asyncio.DatagramProtocol):
    """What the meters in the agents' processes tell, with when it came."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    def datagram_received(self, data: bytes, _address: object) -> None:
        self.told.append(json.loads(data))
        self.changed.set()

    def series(self, name: str, since: float, until: float) -> list[float]:
        """Return the values of all processes that came between two moments, in seconds."""
        seconds = (one for one in self.told if one["kind"] == "second" and since <= one["at"] <= until)
        return [value / 1e5 for one in seconds for value in one[name]]

    def moments(self, kind: str) -> dict[str, float]:
        """Return when something first happened in each room."""
        found: dict[str, float] = {}
        for one in self.told:
            if one["kind"] == kind:
                found.setdefault(one["room"], one["at"])
        return found


class Callers:
    """The other process, in which everybody who calls lives."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def call(self, number: int, at_once: int = 2, agent: str = "bench") -> dict[str, Any]:
        """Have more people call; returns once all have heard the agent, or given up."""
        return await self._ask({"call": number, "at_once": at_once, "agent": agent})

    async def count(self) -> list[float]:
        """Return how many seconds of sound each has heard since the last time."""
        return list((await self._ask({"count": True}))["heard"])

    async def leave(self) -> None:
        """Hang up."""
        await self._ask({"leave": True})

    async def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("the callers' process has ended")
        return dict(json.loads(line))


@dataclass
class Stage:
    """The server, the callers and what the agents tell."""

    server: Running
    callers: Callers
    listener: Listener
    environment: dict[str, str]
    watch: Path
    folder: Path

    @contextlib.asynccontextmanager
    async def runs(self, executor: Executor) -> AsyncIterator[Running]:
        """Run an executor from its start until nothing of it is left; the URL is that of its own HTTP port."""
        log = self.folder / f"{executor.name.replace(' ', '-')}-{time.monotonic_ns()}.log"
        started = time.perf_counter()
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *executor.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, **self.environment, **executor.environment},
                start_new_session=True,
            )
        try:
            text = await _said(process, log, executor.ready)
            seconds = time.perf_counter() - started
            address = re.search(r"^ready (http://\S+)", text, re.MULTILINE)
            yield Running(process, address[1] if address else "", seconds, started)
        finally:
            await _end(process)
            if keep := os.environ.get("BENCH_KEEP_LOGS"):
                shutil.copy(log, keep)

    @contextlib.contextmanager
    def watching(self) -> Any:
        """Have the agents' loops watched closely."""
        self.watch.touch()
        try:
            yield
        finally:
            self.watch.unlink()


async def _said(process: asyncio.subprocess.Process, log: Path, words: str) -> str:
    """Wait until a log holds some words, and return it; what foreign programs say is not ours to choose."""
    async with asyncio.timeout(PATIENCE):
        while words not in (text := _text(log)):
            if process.returncode is not None:
                raise RuntimeError(f"an executor ended before it was ready:\n{_text(log)[-3000:]}")
            await asyncio.sleep(0.05)
    return text


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Interrupt an executor, and kill what is left of it: nobody is on the line any more."""
    members = processes.tree(process.pid)
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
    for pid in {*members, *processes.tree(process.pid)} - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await process.wait()


@contextlib.asynccontextmanager
async def stage(*server_options: str) -> AsyncIterator[Stage]:
    """Set everything up but the executor."""
    loop = asyncio.get_running_loop()
    transport, listener = await loop.create_datagram_endpoint(Listener, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as name:
        folder = Path(name)
        async with greenroom("server", *key_option(), *server_options) as server, _callers(server) as callers:
            environment = {
                "LIVEKIT_URL": server.signal_url,
                "LIVEKIT_API_KEY": KEY,
                "LIVEKIT_API_SECRET": SECRET,
                "BENCH_REPORT": f"{host}:{port}",
                "BENCH_WATCH": str(folder / "watch"),
                "PYTHONWARNINGS": "ignore",
            }
            try:
                yield Stage(server, callers, listener, environment, folder / "watch", folder)
            finally:
                transport.close()


@contextlib.asynccontextmanager
async def _callers(server: Running) -> AsyncIterator[Callers]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench._pool_caller", server.signal_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 24,
    )
    try:
        yield Callers(process)
    finally:
        process.kill()
        await process.wait()
