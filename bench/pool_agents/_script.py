"""An agent whose providers need no network and always do the same: the load is the pipeline's, not a model's.

Its VAD is LiveKit's own and hears real audio. The STT writes a sentence whenever somebody has stopped speaking, the
LLM streams one answer word by word, and the TTS renders PCM as fast as it is played.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from _meter import Punctual, meter, tell
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    APIConnectOptions,
    get_job_context,
    llm,
    stt,
    tts,
    utils,
)

#: What a session of every executor is told, so that all take turns alike.
TURNS = {"turn_detection": "vad", "interruption": {"mode": "vad"}}
GREETING = "Greet the caller."

RATE = 24000
CHUNK = 0.1
LOUD = 500
#: Seconds of silence after which the STT writes what it heard.
ENDED = 0.2
HEARD = "what is free on monday"
ANSWER = "Here is what is free. On Monday we have a table at seven and another at nine, which would you like?"
SECONDS_PER_CHARACTER = 0.035


def _speech() -> bytes:
    """Return a second of something like a voice: harmonics that open and close four times a second."""
    at = np.arange(RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 140 * number * at) / number for number in range(1, 12))
    return (voice * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * at)) * 4000).astype(np.int16).tobytes()


SPEECH = _speech()


class ScriptedSTT(stt.STT[Any]):
    """Writes the same sentence after everything it hears."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        return _final()

    def stream(
        self, *, language: Any = NOT_GIVEN, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> stt.RecognizeStream:
        del language
        return _Hearing(stt=self, conn_options=conn_options)


class _Hearing(stt.RecognizeStream):
    async def _run(self) -> None:
        punctual = Punctual(meter())
        quiet: float | None = None
        async for frame in self._input_ch:
            if not hasattr(frame, "data"):
                continue
            punctual.frame(frame.duration)
            if int(np.abs(np.frombuffer(frame.data, np.int16)[::4]).max()) > LOUD:
                quiet = 0.0
            elif quiet is not None:
                quiet += frame.duration
                if quiet >= ENDED:
                    quiet = None
                    self._event_ch.send_nowait(_final())


def _final() -> stt.SpeechEvent:
    said = stt.SpeechData(language="en", text=HEARD)
    return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[said])


class ScriptedLLM(llm.LLM[Any]):
    """Gives the same answer to everything."""

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        return _Answering(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Answering(llm.LLMStream):
    async def _run(self) -> None:
        request = utils.shortuuid("answer_")
        for word in ANSWER.split():
            delta = llm.ChoiceDelta(role="assistant", content=word + " ")
            self._event_ch.send_nowait(llm.ChatChunk(id=request, delta=delta))
            await asyncio.sleep(0.02)


class ScriptedTTS(tts.TTS[Any]):
    """Hums for as long as the text would take to say, and no faster."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Saying(tts=self, input_text=text, conn_options=conn_options)


class _Saying(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("said_"), sample_rate=RATE, num_channels=1, mime_type="audio/pcm"
        )
        tell("spoke", room=get_job_context().room.name)
        loop = asyncio.get_running_loop()
        began, size = loop.time(), 2 * round(RATE * CHUNK)
        for number in range(max(1, round(len(self._input_text) * SECONDS_PER_CHARACTER / CHUNK))):
            place = number * size % len(SPEECH)
            output_emitter.push(SPEECH[place : place + size])
            # One piece ahead of what is played.
            await asyncio.sleep(max(0.0, began + number * CHUNK - loop.time()))
        output_emitter.flush()


class Scripted(Agent):
    """Greets, and answers every question with the same sentence."""

    def __init__(self) -> None:
        super().__init__(instructions="Help.", stt=ScriptedSTT(), llm=ScriptedLLM(), tts=ScriptedTTS())

    async def on_enter(self) -> None:
        meter()
        tell("entered", room=get_job_context().room.name)
