"""Between the VAD and the recogniser: which audio is an utterance, and what is told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from livekit import rtc
from livekit.agents import LanguageCode, stt, vad
from livekit.agents.types import TimedString

from greenroom.offline._stt_process import Heard, Recogniser

SAMPLE_RATE: Final = 16000
LANGUAGE: Final = LanguageCode("en-US")
# An utterance that goes on for longer is recognised in pieces, in seconds.
_LONGEST: Final = 20.0
_Event: TypeAlias = stt.SpeechEventType


class Listener:
    """Takes audio to the VAD, and what the VAD calls speech to the recogniser."""

    def __init__(
        self,
        recogniser: Recogniser,
        detector: vad.VADStream,
        emit: Callable[[stt.SpeechEvent], None],
        *,
        interim: bool,
        window: float,
        offset: float,
    ) -> None:
        self._recogniser = recogniser
        self._detector = detector
        self._emit = emit
        self._interim = interim
        self._window = window
        self._pushed = self._judged = offset
        self._began: float | None = None
        self._flush_at: float | None = None
        self._flushed = asyncio.Event()

    def push(self, frame: rtc.AudioFrame) -> None:
        self._pushed += frame.duration
        self._detector.push_frame(frame)

    async def flush(self) -> None:
        """End the utterance with what was pushed so far."""
        if self._judged == self._pushed:
            return
        self._flush_at = self._pushed
        self._flushed.clear()
        # The VAD judges whole windows; silence fills the last.
        self.push(_silence(2 * self._window))
        await self._flushed.wait()

    def end(self) -> None:
        self._detector.end_input()

    async def listen(self) -> None:
        async for event in self._detector:
            if event.type is vad.VADEventType.INFERENCE_DONE:
                await self._judge(event)
            elif event.type is vad.VADEventType.START_OF_SPEECH:
                started = time.time() - event.speech_duration - event.inference_duration
                self._emit(stt.SpeechEvent(_Event.START_OF_SPEECH, speech_start_time=started))
                await self._begin(event.frames)
            elif self._began is not None:
                await self._end(time.time() - event.silence_duration - event.inference_duration)

    async def _judge(self, event: vad.VADEvent) -> None:
        self._judged += sum(frame.duration for frame in event.frames)
        if self._began is not None:
            await self._hear(event.frames)
            if self._judged - self._began >= _LONGEST:
                await self._finish(None)
                await self._begin([])
        if self._flush_at is not None and self._judged >= self._flush_at - 1e-6:
            if self._began is not None:
                await self._end(time.time())
            self._detector.flush()
            self._pushed = self._judged = max(self._pushed, self._judged)
            self._flush_at = None
            self._flushed.set()

    async def _begin(self, frames: Sequence[rtc.AudioFrame]) -> None:
        self._began = self._judged - sum(frame.duration for frame in frames)
        await self._recogniser.begin(self._tell_interim if self._interim else lambda _: None)
        await self._hear(frames)

    async def _hear(self, frames: Sequence[rtc.AudioFrame]) -> None:
        for frame in frames:
            await self._recogniser.hear(frame.data.tobytes())

    async def _end(self, speech_end: float) -> None:
        await self._finish(speech_end)
        self._began = None
        self._emit(stt.SpeechEvent(_Event.END_OF_SPEECH, speech_end_time=speech_end))

    async def _finish(self, speech_end: float | None) -> None:
        """Tell what the utterance was, and how much audio it took."""
        began = self._began or 0.0
        heard = await self._recogniser.end()
        if heard.words:
            data = _speech_data(heard, began)
            self._emit(stt.SpeechEvent(_Event.FINAL_TRANSCRIPT, alternatives=[data], speech_end_time=speech_end))
        usage = stt.RecognitionUsage(audio_duration=self._judged - began)
        self._emit(stt.SpeechEvent(_Event.RECOGNITION_USAGE, recognition_usage=usage))

    def _tell_interim(self, text: str) -> None:
        began = self._began or 0.0
        data = stt.SpeechData(LANGUAGE, text, start_time=began, end_time=self._judged)
        self._emit(stt.SpeechEvent(_Event.INTERIM_TRANSCRIPT, alternatives=[data]))


def _speech_data(heard: Heard, began: float) -> stt.SpeechData:
    return stt.SpeechData(
        LANGUAGE,
        heard.text,
        start_time=began + heard.words[0].start,
        end_time=began + heard.words[-1].end,
        confidence=heard.confidence,
        words=[
            TimedString(word.text, start_time=began + word.start, end_time=began + word.end, confidence=word.confidence)
            for word in heard.words
        ],
    )


def _silence(seconds: float) -> rtc.AudioFrame:
    samples = round(seconds * SAMPLE_RATE)
    return rtc.AudioFrame(bytes(2 * samples), SAMPLE_RATE, 1, samples)
