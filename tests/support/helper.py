"""A Python module of the tests that runs in a process of its own and is spoken to by lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

PATIENCE = 60.0
_TESTS = Path(__file__).parents[1]


class Helper:
    """The process. It ends when its standard input does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self, within: float = PATIENCE) -> str:
        """Return the next line it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            line = await self._process.stdout.readline()
        assert line, "a helper process has ended"
        return line.decode().strip()

    async def ask(self, line: str, within: float = PATIENCE) -> str:
        """Say a line and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self.line(within)


@contextlib.asynccontextmanager
async def helper(module: str, *arguments: str) -> AsyncIterator[Helper]:
    """Run ``python -m MODULE ARGUMENTS``; at the end its standard input is closed and it has to go by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
