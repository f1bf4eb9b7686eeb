"""A voice call without a room: a microphone that is spoken into with flite, a loudspeaker that keeps what it played."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from functools import cache
from typing import Self

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.agents.voice.transcription import TranscriptSynchronizer

RATE = 16000
TICK = 0.02


@cache
def spoken(text: str, voice: str = "rms") -> bytes:
    """Return ``text`` as 16-bit mono audio at ``RATE``, said by flite without any code of ours."""
    command = ["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"]
    return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout[44:]


def frames(audio: bytes, *, rate: int = RATE, seconds: float = TICK) -> list[rtc.AudioFrame]:
    """Cut audio into frames."""
    size = 2 * round(rate * seconds)
    parts = [audio[position : position + size] for position in range(0, len(audio), size)]
    return [rtc.AudioFrame(part, rate, 1, len(part) // 2) for part in parts]


class Microphone(io.AudioInput):
    """Silence in real time, and in it what is said."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._audio = bytearray()
        self._due = time.monotonic()
        self._silent = asyncio.Event()
        self._silent.set()

    def say(self, text: str) -> None:
        """Begin to say something."""
        self._audio += spoken(text)
        self._silent.clear()

    async def said(self) -> None:
        """Wait until everything is said."""
        await self._silent.wait()

    async def __anext__(self) -> rtc.AudioFrame:
        self._due = max(self._due + TICK, time.monotonic() - 0.2)
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        size = 2 * round(RATE * TICK)
        part = bytes(self._audio[:size]).ljust(size, b"\0")
        del self._audio[:size]
        if not self._audio:
            self._silent.set()
        return rtc.AudioFrame(part, RATE, 1, size // 2)


class Loudspeaker(io.AudioOutput):
    """Plays in real time; ``played`` is what was really heard."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=RATE)
        self.played = bytearray()
        self.last_sound = 0.0
        self._queue = bytearray()
        self._position = 0.0
        self._open = False
        self._flushed = False
        self._enabled = asyncio.Event()
        self._enabled.set()
        self._more = asyncio.Event()
        self._heard = asyncio.Event()
        self._pump = asyncio.create_task(self._play())

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._open = True
        self._queue += bytes(frame.data)
        self._more.set()

    def flush(self) -> None:
        super().flush()
        self._flushed = self._open
        self._more.set()

    def clear_buffer(self) -> None:
        if self._open:
            self._finish(interrupted=True)

    def pause(self) -> None:
        super().pause()
        self._enabled.clear()

    def resume(self) -> None:
        super().resume()
        self._enabled.set()

    def take(self) -> bytes:
        """Return what was played since the last time."""
        audio = bytes(self.played)
        self.played.clear()
        return audio

    async def played_for(self, seconds: float) -> None:
        """Wait until this much was played since the last :meth:`take`."""
        while len(self.played) < 2 * RATE * seconds:
            self._heard.clear()
            await self._heard.wait()

    async def aclose(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    async def _play(self) -> None:
        size = 2 * round(RATE * TICK)
        due = time.monotonic()
        while True:
            await self._enabled.wait()
            if self._queue:
                if self._position == 0.0:
                    self.on_playback_started(created_at=time.time())
                part = self._queue[:size]
                del self._queue[:size]
                self.played += part
                self._heard.set()
                self._position += len(part) / (2 * RATE)
                self.last_sound = time.monotonic()
                due = max(due + TICK, time.monotonic() - 0.2)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            elif self._flushed:
                self._finish(interrupted=False)
            else:
                self._more.clear()
                await self._more.wait()
                due = time.monotonic()

    def _finish(self, *, interrupted: bool) -> None:
        position, self._position = self._position, 0.0
        self._queue.clear()
        self._open = self._flushed = False
        self.on_playback_finished(playback_position=position, interrupted=interrupted)


class VoiceCall:
    """A session on the line: ``async with VoiceCall(session, agent) as call``."""

    def __init__(self, session: AgentSession[None], agent: Agent) -> None:
        self.session = session
        self._agent = agent
        self.microphone = Microphone()
        self.loudspeaker = Loudspeaker()
        self._synchroniser = TranscriptSynchronizer(next_in_chain_audio=self.loudspeaker, next_in_chain_text=None)
        self.heard: list[tuple[str, bool]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        session = self.session
        for event in ("user_input_transcribed", "conversation_item_added", "agent_state_changed"):
            session.on(event, lambda *_: self._changed.set())
        session.on("user_input_transcribed", lambda event: self.heard.append((event.transcript, event.is_final)))
        session.input.audio = self.microphone
        session.output.audio = self._synchroniser.audio_output
        session.output.transcription = self._synchroniser.text_output
        await session.start(self._agent)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.aclose()
        await self._synchroniser.aclose()
        await self.loudspeaker.aclose()

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for ``condition``, looked at whenever the session tells something."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def messages(self, role: str) -> list[str]:
        """List what the history says a side has said."""
        return [
            item.text_content or ""
            for item in self.session.history.items
            if item.type == "message" and item.role == role
        ]
