"""Runs the ``greenroom`` command as its user does and waits for what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

PATIENCE = 60.0


class Program:
    """A running ``greenroom``. Lines of stdout and stderr are kept in the order they came."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._readers = [
            asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr) if stream
        ]

    async def line(self, pattern: str, *, after: int = 0) -> str:
        """Wait for a line that ``pattern`` is found in, the ``after`` first lines aside."""
        seen = after
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for text in self.lines[seen:]:
                    if re.search(pattern, text):
                        return text
                seen = len(self.lines)
                if all(reader.done() for reader in self._readers):
                    raise AssertionError(f"ended without {pattern!r}:\n" + "\n".join(self.lines))
                await self._news.wait()

    async def ready(self) -> str:
        """Wait for the ready line and return the URL in it."""
        return (await self.line(r"^ready http://")).split()[1]

    async def ended(self) -> int:
        """Wait for the end and return the exit status. Every line has been read by then."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(self._readers)
            return await self.process.wait()

    async def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            await self._add(line.decode().rstrip("\n"))
        async with self._news:
            self._news.notify_all()

    async def _add(self, line: str) -> None:
        async with self._news:
            self.lines.append(line)
            self._news.notify_all()


@contextlib.asynccontextmanager
async def greenroom(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """Run ``greenroom ARGUMENTS`` in ``cwd``; it is killed if it is still there afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", *arguments),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await program.ended()


async def outcome(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> tuple[int, list[str]]:
    """Run ``greenroom ARGUMENTS`` to its end; return its exit status and its lines."""
    async with greenroom(*arguments, cwd=cwd, environment=environment) as program:
        return await program.ended(), program.lines


def processes_of(marker: str) -> list[int]:
    """Return the processes on this machine whose environment or arguments hold ``marker``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                held = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if marker.encode() in held and not _is_zombie(entry):
                    found.append(int(entry.name))
    return found


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def none_left(marker: str) -> None:
    """Wait until no process holds ``marker``. The end of a process that is not ours cannot be awaited: ask again."""
    await asyncio.to_thread(_wait_for_none, marker)


def _wait_for_none(marker: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := processes_of(marker):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def names_in(directory: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(entry.name for entry in directory.iterdir())
