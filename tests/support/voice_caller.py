"""Somebody who calls by voice with the official Python SDK: speaks with flite, and keeps what was heard and written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc
from livekit.protocol.agent_pb import agent_session

from greenroom import offline
from support.sdk import TIMEOUT, Caller
from support.voice_call import RATE, TICK, frames, spoken

#: Samples above this are sound.
LOUD = 300
#: Who has been silent for so many seconds of audio has stopped.
STOPPED = 1.0
_BYTES = 2 * round(RATE * TICK)


@dataclass
class Line:
    """A line of the transcript: by whom, its text so far and whether that is all."""

    by: str
    text: str = ""
    final: bool = False


class VoiceCaller:
    """A caller whose agent's audio and words are kept from the beginning."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        #: What the agent sounded like: 16-bit mono audio at ``RATE``.
        self.heard = bytearray()
        #: The transcript by segment, oldest first; a partial result of the caller's own words is replaced.
        self.lines: dict[str, Line] = {}
        #: What the agent's history took up: role, text, whether it was interrupted.
        self.history: list[tuple[str, str, bool]] = []
        self._queue = bytearray()
        self._sound_at = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        room = caller.room
        room.on("track_subscribed", lambda track, *_: self._run(self._listen(track)))
        room.register_text_stream_handler("lk.transcription", lambda reader, who: self._run(self._read(reader, who)))
        room.register_byte_stream_handler("lk.agent.session", lambda reader, _who: self._run(self._note(reader)))

    async def turn_microphone_on(self) -> None:
        """Publish a microphone, which is silent until something is said."""
        source = rtc.AudioSource(RATE, 1, queue_size_ms=40)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.caller.me.publish_track(track, options)
        self._run(self._speak(source))

    def say(self, text: str) -> int:
        """Begin to say something; return how much was heard by then, in bytes."""
        self._queue += spoken(text)
        return len(self.heard)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for ``condition``, looked at whenever something was heard or written."""
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it never came; {self.lines.values()}, {self.history}") from None

    async def hears(self, seconds: float) -> None:
        """Wait until so much sound was heard from now on."""
        position = len(self.heard)
        await self.until(lambda: sound(self.heard[position:]) >= seconds)

    async def silence(self) -> None:
        """Wait until the agent has stopped."""
        position = len(self.heard)
        await self.until(lambda: len(self.heard) - max(position, self._sound_at) >= 2 * RATE * STOPPED)

    def said(self, by: str) -> list[str]:
        """List what the transcript holds of somebody, complete lines only."""
        return [line.text for line in self.lines.values() if line.final and line.by == by]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _speak(self, source: rtc.AudioSource) -> None:
        while True:
            part = bytes(self._queue[:_BYTES]).ljust(_BYTES, b"\0")
            del self._queue[:_BYTES]
            await source.capture_frame(rtc.AudioFrame(part, RATE, 1, _BYTES // 2))

    async def _listen(self, track: rtc.Track) -> None:
        async for event in rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1):
            audio = bytes(event.frame.data)
            self.heard += audio
            if sound(audio):
                self._sound_at = len(self.heard)
            self._changed.set()

    async def _read(self, reader: rtc.TextStreamReader, who: str) -> None:
        attributes = reader.info.attributes or {}
        line = self.lines.setdefault(attributes["lk.segment_id"], Line(who))
        text = ""
        async for chunk in reader:
            text += chunk
            line.text = text
        line.final = attributes.get("lk.transcription_final") == "true"
        self._changed.set()

    async def _note(self, reader: rtc.ByteStreamReader) -> None:
        message = agent_session.AgentSessionMessage.FromString(b"".join([chunk async for chunk in reader]))
        item = message.event.conversation_item_added.item.message
        if item.content:
            role = agent_session.ChatRole.Name(item.role).lower()
            self.history.append((role, "".join(part.text for part in item.content), item.interrupted))
            self._changed.set()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        async def until_the_call_ends() -> None:
            with contextlib.suppress(rtc.StreamError):
                await work

        task = asyncio.ensure_future(until_the_call_ends())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def sound(audio: bytes | bytearray) -> float:
    """Return how many seconds of audio are loud, by windows of 20 ms."""
    samples = np.frombuffer(bytes(audio), dtype=np.int16).astype(np.int32)
    windows = [samples[start : start + _BYTES // 2] for start in range(0, len(samples), _BYTES // 2)]
    return TICK * sum(int(np.abs(window).max() > LOUD) for window in windows)


async def understood(audio: bytes | bytearray, *sentences: str) -> str:
    """Hear with an ear of its own which of some sentences were said; others it does not understand."""
    async with offline.STT(phrases=sentences, small_talk=False, dictation=False) as ear:
        return (await ear.recognize(frames(bytes(16000) + bytes(audio) + bytes(32000)))).alternatives[0].text


@contextlib.asynccontextmanager
async def voice_caller(caller: Caller) -> AsyncIterator[VoiceCaller]:
    """Give a caller a voice, before it connects."""
    voice = VoiceCaller(caller)
    try:
        yield voice
    finally:
        await voice.close()
