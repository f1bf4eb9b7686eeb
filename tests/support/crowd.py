"""Many people with the Python SDK, in processes of their own: twenty clients in one process starve each other.

``python -m support.crowd play URL [TOKEN HZ]...`` publishes a tone for each token and prints ``SID HZ`` when it has.
``python -m support.crowd listen URL TOKEN...`` waits until each hears one track and prints a line; then everybody
unsubscribes or subscribes for each line that says ``off`` or ``on``, and a line says when all have.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

from livekit import rtc

from support.helper import helper
from support.sdk import Caller, callers
from support.sound import tone

MIC = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)

#: A token, and the pitch in hertz that its bearer plays.
Player: TypeAlias = tuple[str, int]
#: Lets everybody subscribe, or unsubscribe.
Subscribe: TypeAlias = Callable[[bool], Awaitable[None]]


@contextlib.asynccontextmanager
async def players(url: str, members: Sequence[Player], *, processes: int) -> AsyncIterator[dict[str, int]]:
    """Let people publish; yields the pitch of each track by its sid. They leave at the end."""
    shares = [members[n::processes] for n in range(processes)]
    async with contextlib.AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(helper(__name__, "play", url, *map(str, itertools.chain(*share))))
            for share in shares
        ]
        lines = [await process.line() for process, share in zip(started, shares, strict=True) for _ in share]
        yield {sid: int(hz) for sid, hz in map(str.split, lines)}


@contextlib.asynccontextmanager
async def listeners(url: str, tokens: Sequence[str], *, processes: int) -> AsyncIterator[Subscribe]:
    """Let people listen to the one track there is; they leave at the end.

    The SDK sends each wish from a task of its own: the next may overtake it unless the server has it.
    """
    async with contextlib.AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(helper(__name__, "listen", url, *tokens[n::processes]))
            for n in range(processes)
        ]
        for process in started:
            await process.line()

        async def subscribe(wanted: bool) -> None:
            await asyncio.gather(*(process.ask("on" if wanted else "off") for process in started))

        yield subscribe


async def _play(url: str, *members: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        make = await stack.enter_async_context(callers())
        for token, hz in zip(members[::2], members[1::2], strict=True):
            caller = await make().connect(url, token, auto_subscribe=False)
            track = await stack.enter_async_context(tone(int(hz)))
            published = await caller.me.publish_track(track, MIC)
            print(published.sid, hz, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _listen(url: str, *tokens: str) -> None:
    async with callers() as make:
        members = [await make().connect(url, token) for token in tokens]
        heard = [(member, (await member.event("track_subscribed"))[1]) for member in members]
        print("listening", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await asyncio.gather(*(_subscribe(*one, wanted=line.strip() == "on") for one in heard))
            print("done", flush=True)


async def _subscribe(member: Caller, publication: rtc.RemoteTrackPublication, *, wanted: bool) -> None:
    publication.set_subscribed(wanted)
    await member.event("track_subscribed" if wanted else "track_unsubscribed")


if __name__ == "__main__":
    _role, *_arguments = sys.argv[1:]
    asyncio.run({"play": _play, "listen": _listen}[_role](*_arguments))
    # The SDK's threads call into an interpreter that is being taken apart, and abort the process.
    sys.stdout.flush()
    os._exit(0)
