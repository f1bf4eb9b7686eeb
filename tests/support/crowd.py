"""People who each play a tone, in processes of their own: twenty SDK clients in one process starve each other.

``python -m support.crowd URL [TOKEN HZ]...`` joins with the Python SDK once per token, prints ``SID HZ`` for each
track it has published, and leaves when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from livekit import rtc

from support.sdk import callers
from support.sound import tone

PATIENCE = 60.0
MIC = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
_TESTS = Path(__file__).parents[1]

#: A token, and the pitch in hertz that its bearer plays.
Member = tuple[str, int]


@contextlib.asynccontextmanager
async def crowd(url: str, members: Sequence[Member], *, processes: int) -> AsyncIterator[dict[str, int]]:
    """Let people publish; yields the pitch of each track by its sid. They leave at the end."""
    async with contextlib.AsyncExitStack() as stack:
        shares = [members[n::processes] for n in range(processes)]
        started = [await stack.enter_async_context(_process(url, share)) for share in shares]
        async with asyncio.timeout(PATIENCE):
            lines = await asyncio.gather(*map(_read, started, map(len, shares)))
        yield {sid: int(hz) for sid, hz in (line.split() for some in lines for line in some)}


@contextlib.asynccontextmanager
async def _process(url: str, members: Sequence[Member]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, url),
        *(str(part) for member in members for part in member),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    )
    try:
        yield process
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


async def _read(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(count)]
    assert all(lines), "a process of the crowd ended before it had published"
    return lines


async def _main(url: str, members: Sequence[Member]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        make = await stack.enter_async_context(callers())

        async def play(token: str, hz: int) -> None:
            caller = await make().connect(url, token, auto_subscribe=False)
            track = await stack.enter_async_context(tone(hz))
            published = await caller.me.publish_track(track, MIC)
            print(published.sid, hz, flush=True)

        for member in members:
            await play(*member)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    _url, *_rest = sys.argv[1:]
    asyncio.run(_main(_url, [(token, int(hz)) for token, hz in zip(_rest[::2], _rest[1::2], strict=True)]))
