"""Clients by the hundred: ``greenroom-load``, against a server that runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.program import PATIENCE, Program, greenroom

PROGRAM = Path(__file__).parents[2] / "target" / "release" / "greenroom-load"


@contextlib.asynccontextmanager
async def lone_server(cwd: Path) -> AsyncIterator[tuple[Program, str]]:
    """Run ``greenroom server`` with the development key; yields it and its ``http://HOST:PORT``."""
    async with greenroom("server", "--port", "0", "--rtc-port", "0", cwd=cwd) as program:
        yield program, await program.ready()
        await program.interrupt()


async def load(url: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run ``greenroom-load ARGUMENTS`` against a server and return what it told, by event."""
    if not PROGRAM.exists():
        raise FileNotFoundError("greenroom-load is not built; run: scripts/setup.sh load")
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "--url", url.replace("http", "ws", 1), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": "secret"},
    )
    try:
        async with asyncio.timeout(3 * PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    told = [json.loads(line) for line in out.splitlines()]
    return {report["event"]: report for report in told}
