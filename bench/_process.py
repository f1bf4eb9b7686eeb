"""Greenroom as its user runs it: a process that says ``ready http://HOST:PORT``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEY = "benchkey"
SECRET = "bench-secret-of-no-value-to-anybody"
# A bench gives up on what never comes; it measures what does.
PATIENCE = 60.0


@dataclass(frozen=True)
class Running:
    """A ready Greenroom process."""

    process: asyncio.subprocess.Process
    url: str
    seconds_to_ready: float
    started: float

    @property
    def signal_url(self) -> str:
        """The URL LiveKit clients are given."""
        return self.url.replace("http", "ws", 1)

    def memory(self) -> tuple[float, float]:
        """Return resident and proportional memory in MB."""
        values = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) / 1000 * 1.024
        return values["Rss"], values["Pss"]

    def cpu_seconds(self) -> float:
        """Return the processor time the process has used so far."""
        return _cpu_seconds(self.process.pid)


def own_cpu_seconds() -> float:
    """Return the processor time this process has used so far."""
    return time.process_time()


def _cpu_seconds(pid: int) -> float:
    # The name of the program, in parentheses, may hold blanks; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def program() -> str:
    """Return the ``greenroom`` command of this interpreter, or the one that ``GREENROOM_BIN`` names."""
    return os.environ.get("GREENROOM_BIN") or str(Path(sys.executable).with_name("greenroom"))


@contextlib.asynccontextmanager
async def greenroom(
    *arguments: str, environment: Mapping[str, str] | None = None, command: Sequence[str] | None = None
) -> AsyncIterator[Running]:
    """Run ``greenroom ARGUMENTS`` on free ports with data of its own, from exec to ready, and stop it after use.

    :param command: what to run in place of ``greenroom``.
    """
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        free = ("--port", "0", "--rtc-port", "0", "--data-dir", str(Path(folder) / "data"))
        log = Path(folder) / "log"
        started = time.perf_counter()
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(command or [program()]),
                *arguments,
                *free,
                cwd=folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
            )
        try:
            url = await _ready(process, log)
            seconds = time.perf_counter() - started
            drain = asyncio.create_task(_drain(process))
            yield Running(process, url, seconds, started)
            drain.cancel()
        finally:
            await _stop(process)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        async for line in process.stdout:
            word, _, url = line.decode().strip().partition(" ")
            if word == "ready":
                return url
    raise RuntimeError(f"greenroom ended before it was ready:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(65536):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
    await process.wait()


def key_option() -> tuple[str, ...]:
    """Return the option that gives a server the benches' key."""
    return ("--key", f"{KEY}:{SECRET}")
