"""Runs ``greenroom talk``: from pipes, and in a terminal of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from support.program import PATIENCE

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT_", "GREENROOM_"))}


async def start(*arguments: str, cwd: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", "talk", *arguments),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )


async def talk(*arguments: str, cwd: Path, lines: str = "", **environment: str) -> tuple[int, str, str]:
    """Return exit status, stdout and stderr of a call in which ``lines`` are said."""
    process = await start(*arguments, cwd=cwd, **environment)
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(lines.encode())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def next_event(process: asyncio.subprocess.Process, name: str) -> dict[str, str]:
    assert process.stdout
    async with asyncio.timeout(PATIENCE):
        async for line in process.stdout:
            event: dict[str, str] = json.loads(line)
            if event["event"] == name:
                return event
    raise AssertionError(f"no {name}")


class Terminal:
    """A terminal with ``greenroom talk`` in it."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.master = master
        self.process = process
        self.screen = ""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    async def shows(self, pattern: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not re.search(pattern, self.screen, re.DOTALL):
                self._news.clear()
                await self._news.wait()

    def _read(self) -> None:
        try:
            self.screen += os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self.master)
        self._news.set()


@contextlib.asynccontextmanager
async def terminal(*arguments: str, cwd: Path) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom", "talk", *arguments),
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**ENVIRONMENT, "TERM": "xterm", "NO_COLOR": "1", "INPUTRC": os.devnull},
    )
    try:
        yield Terminal(master, process)
    finally:
        asyncio.get_running_loop().remove_reader(master)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(slave)
        os.close(master)
