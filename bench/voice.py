"""Calls by voice with the packaged agent and the offline stand-ins: how soon it speaks, and how soon it is silent."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from livekit import api, rtc

from bench._figures import Figure, Options, percentile
from bench._process import KEY, PATIENCE, SECRET, greenroom, key_option
from bench._wire import new_room

RATE = 16000
TICK = 0.02
BYTES = 2 * round(RATE * TICK)
# Peaks above this are sound; what Opus makes of flite's silence stays below.
LOUD = 300
# Who was silent for so long has stopped: flite pauses for less, and an answer takes longer.
STOPPED = 0.9
BARGE_IN_MS = 500.0

QUESTION = "What is free on Monday?"
INTERRUPTION = "Where are you?"


async def run(options: Options) -> list[Figure]:
    """Let it greet, then ask for a long answer and speak over it, again and again in one call."""
    rounds = options.count(20, least=4)
    greetings, answers, cuts = [], [], []
    async with greenroom("dev", *key_option()) as running:
        for _ in range(options.count(5, least=2) + 1):
            async with _call(running.signal_url) as caller:
                greetings.append(await caller.hears(after=caller.came) - caller.came)
                await caller.silence()
        async with _call(running.signal_url) as caller:
            await caller.hears(after=caller.came)
            await caller.silence()
            for number in range(rounds):
                question = await caller.say(QUESTION)
                answers.append(await caller.hears(after=question.ended) - question.ended)
                # Never at the same place in a word.
                await asyncio.sleep(1.5 + 0.137 * (number % 10))
                interruption = await caller.say(INTERRUPTION)
                cuts.append(await caller.silence() - interruption.began)
                await caller.hears(after=interruption.ended)
                await caller.silence()
    joins = f"{len(greetings) - 1} calls with the microphone on, from before connect(); the worker is warm"
    note = f"{rounds} times; first loud sample given to the caller's SDK to last loud sample got from it"
    return [
        Figure(
            "voice, join to first sound of the greeting p50", percentile(greetings[1:], 0.5) * 1000, "ms", note=joins
        ),
        Figure("voice, end of a question to first sound of its answer p50", percentile(answers, 0.5) * 1000, "ms"),
        Figure("voice, barge-in p50", percentile(cuts, 0.5) * 1000, "ms", BARGE_IN_MS, note=note),
        Figure("voice, barge-in worst", max(cuts) * 1000, "ms", BARGE_IN_MS, note=note),
    ]


@cache
def _spoken(text: str) -> bytes:
    """Return ``text`` as 16-bit mono audio at ``RATE``, from its first to its last loud sample."""
    command = ["flite", "-voice", "rms", "-t", text, "-o", "/dev/stdout"]
    samples = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout[44:], np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD)
    return samples[loud[0] : loud[-1] + 1].tobytes()


@dataclass(frozen=True)
class _Said:
    """When the first and the last sample of an utterance were given to the SDK."""

    began: float
    ended: float


@dataclass
class _Caller:
    """Somebody with a microphone. Moments are those of ``time.perf_counter``."""

    came: float
    source: rtc.AudioSource
    last_sound: float = 0.0
    _sound: asyncio.Event = field(default_factory=asyncio.Event)
    _to_say: asyncio.Queue[tuple[bytes, asyncio.Future[_Said]]] = field(default_factory=asyncio.Queue)

    async def say(self, text: str) -> _Said:
        """Say something; return while its last word is on its way."""
        said: asyncio.Future[_Said] = asyncio.get_running_loop().create_future()
        await self._to_say.put((_spoken(text), said))
        return await said

    async def hears(self, *, after: float) -> float:
        """Return the moment of the first sound after another moment."""
        async with asyncio.timeout(PATIENCE):
            while self.last_sound <= after:
                await self._next_sound()
        return self.last_sound

    async def silence(self) -> float:
        """Return the moment of the last sound once the agent has stopped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await asyncio.wait_for(self._next_sound(), STOPPED)
                except TimeoutError:
                    return self.last_sound

    async def _next_sound(self) -> None:
        self._sound.clear()
        await self._sound.wait()

    async def speak(self) -> None:
        """Feed the microphone: silence, and in it what is to be said."""
        while True:
            if self._to_say.empty():
                await self._capture(b"")
                continue
            audio, said = self._to_say.get_nowait()
            began = time.perf_counter()
            for position in range(0, len(audio), BYTES):
                await self._capture(audio[position : position + BYTES])
            said.set_result(_Said(began, time.perf_counter()))

    async def listen(self, track: rtc.Track) -> None:
        """Note when the agent is heard."""
        async for event in rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1):
            if np.abs(np.frombuffer(event.frame.data, np.int16).astype(np.int32)).max() > LOUD:
                self.last_sound = time.perf_counter()
                self._sound.set()

    async def _capture(self, audio: bytes) -> None:
        await self.source.capture_frame(rtc.AudioFrame(audio.ljust(BYTES, b"\0"), RATE, 1, BYTES // 2))


@contextlib.asynccontextmanager
async def _call(url: str) -> AsyncIterator[_Caller]:
    grants = api.VideoGrants(room_join=True, room=new_room())
    agents = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="front-desk")])
    bearer = api.AccessToken(KEY, SECRET).with_identity("caller").with_grants(grants).with_room_config(agents).to_jwt()
    room = rtc.Room()
    # The SDK takes samples in batches of 10 ms and holds two of them.
    caller = _Caller(time.perf_counter(), rtc.AudioSource(RATE, 1, queue_size_ms=20))
    tasks: set[asyncio.Task[None]] = set()
    room.on("track_subscribed", lambda track, *_: tasks.add(asyncio.ensure_future(caller.listen(track))))
    try:
        await room.connect(url, bearer)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", caller.source)
        await room.local_participant.publish_track(
            track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        )
        tasks.add(asyncio.create_task(caller.speak()))
        yield caller
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await room.disconnect()
        await caller.source.aclose()
