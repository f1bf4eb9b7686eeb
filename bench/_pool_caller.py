"""Many callers in one process, each with a voice of its own: ``python -m bench._pool_caller URL``.

Reads orders from standard input, one JSON object per line, and answers each with one line: ``{"call": N}`` has N more
people call, a few at a time, and answers when all hear the agent; ``{"count": true}`` says how much each has heard
since the last time; ``{"leave": true}`` hangs up. They use LiveKit's own SDK, so what they send and hear is Opus over
WebRTC. A caller asks the same question every few seconds, and the SDK is given minutes of it at once: the fewer
messages pass between Python and the SDK's other half, the less this process costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import uvloop
from livekit import api, rtc

from bench._process import KEY, SECRET

RATE = 16000
#: Peaks above this are sound.
LOUD = 300
QUESTION = "What is free on Monday?"
#: From one question to the next; in between the agent answers.
CYCLE = 8.0
#: How much the SDK is given at once.
BATCH = 3
#: Callers that join at the same time.
AT_ONCE = 2
PATIENCE = 30.0


@cache
def _cycle() -> np.ndarray:
    """Return the question and the silence after it."""
    command = ["flite", "-voice", "rms", "-t", QUESTION, "-o", "/dev/stdout"]
    said = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout[44:], np.int16)
    return np.concatenate([said, np.zeros(round(CYCLE * RATE) - len(said), np.int16)])


@dataclass
class _Caller:
    number: int
    agent: str
    room: rtc.Room = field(default_factory=rtc.Room)
    name: str = ""
    began: float = 0.0
    joined: float = 0.0
    subscribed: float = 0.0
    first: float = 0.0
    heard: float = 0.0
    hears: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def call(self, url: str) -> None:
        """Join with the microphone on, have an agent sent for, and wait until it is heard."""
        self.name = f"bench-{self.number}-{uuid.uuid4().hex[:8]}"
        agents = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name=self.agent)])
        grants = api.VideoGrants(room_join=True, room=self.name)
        bearer = api.AccessToken(KEY, SECRET).with_identity("caller").with_grants(grants).with_room_config(agents)
        self.room.on("track_subscribed", self._hear)
        self.began = time.monotonic()
        await self.room.connect(url, bearer.to_jwt())
        self.joined = time.monotonic()
        source = rtc.AudioSource(RATE, 1, queue_size_ms=round(1000 * CYCLE * (BATCH + 1)))
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        self._run(self._speak(source))
        async with asyncio.timeout(PATIENCE):
            await self.hears.wait()

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self.room.disconnect()

    async def _speak(self, source: rtc.AudioSource) -> None:
        # No two ask at the same moment, and the agent has said its greeting before.
        wait = np.zeros(round(RATE * (CYCLE / 2 + self.number * 0.618 % 1 * CYCLE)), np.int16)
        await _capture(source, wait)
        batch = np.concatenate([_cycle()] * BATCH)
        end = time.monotonic() + len(wait) / RATE
        while True:
            await asyncio.sleep(max(0.0, end - time.monotonic() - CYCLE / 2))
            await _capture(source, batch)
            end += CYCLE * BATCH

    def _hear(self, track: rtc.Track, *_: Any) -> None:
        self.subscribed = time.monotonic()
        self._run(self._listen(track))

    async def _listen(self, track: rtc.Track) -> None:
        for size in (20, 200):
            stream = rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1, frame_size_ms=size)
            async for event in stream:
                if np.abs(np.frombuffer(event.frame.data, np.int16).astype(np.int32)).max() > LOUD:
                    self.heard += size / 1000
                    if size == 20:
                        self.first = time.monotonic()
                        self.hears.set()
                        break
            await stream.aclose()

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def _capture(source: rtc.AudioSource, samples: np.ndarray) -> None:
    await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples)))


class _Callers:
    def __init__(self, url: str) -> None:
        self._url = url
        self._callers: list[_Caller] = []

    async def call(self, more: int, at_once: int, agent: str) -> dict[str, Any]:
        """Add callers; tell of each when it came and when it heard the agent, or why not."""
        seats = asyncio.Semaphore(at_once)
        fresh = [_Caller(len(self._callers) + number, agent) for number in range(more)]
        self._callers += fresh
        failures: list[str] = []

        async def one(caller: _Caller) -> None:
            async with seats:
                try:
                    await caller.call(self._url)
                except Exception as error:
                    failures.append(repr(error))

        await asyncio.gather(*(one(caller) for caller in fresh))
        gc.collect()
        gc.freeze()
        calls = [
            {name: getattr(caller, name) for name in ("name", "began", "joined", "subscribed", "first")}
            for caller in fresh
            if caller.first
        ]
        return {"calls": calls, "failures": failures}

    def count(self) -> dict[str, Any]:
        """Tell how many seconds of sound each has heard since the last time."""
        heard = [round(caller.heard, 2) for caller in self._callers]
        for caller in self._callers:
            caller.heard = 0.0
        return {"heard": heard}

    async def leave(self) -> dict[str, Any]:
        """Hang up and end the rooms: an agent stays for a while where nobody else is."""
        rooms = [caller.name for caller in self._callers]
        await asyncio.gather(*(caller.leave() for caller in self._callers))
        async with api.LiveKitAPI(self._url, KEY, SECRET) as client:
            ends = (client.room.delete_room(api.DeleteRoomRequest(room=room)) for room in rooms)
            await asyncio.gather(*ends, return_exceptions=True)
        self._callers.clear()
        return {}


async def main(url: str) -> None:
    callers = _Callers(url)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        if "call" in order:
            answer = await callers.call(order["call"], order.get("at_once", AT_ONCE), order.get("agent", "bench"))
        elif "count" in order:
            answer = callers.count()
        else:
            answer = await callers.leave()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
