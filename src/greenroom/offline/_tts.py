"""The offline TTS as ``livekit-agents`` sees it: a ``TTS`` with its ``ChunkedStream`` and ``SynthesizeStream``."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator
from typing import Any, Final

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, tokenize, tts, utils
from livekit.agents.types import TimedString

from greenroom.offline._tts_flite import SAMPLE_RATE, Flite
from greenroom.offline._tts_text import pieces, speakable

logger = logging.getLogger("greenroom.offline")

PROVIDER: Final = "greenroom"
_BYTES_PER_SECOND: Final = 2 * SAMPLE_RATE
# What is heard of a text in which nothing can be said.
_NOTHING: Final = bytes(_BYTES_PER_SECOND // 10)


class TTS(tts.TTS[Any]):
    """A stand-in for speech synthesis: flite, Debian's small voice of 1999. No network, key or model file.

    It speaks sentence by sentence, so the first is heard while the rest is still being written, and it stops at
    once when it is interrupted. English only: accents are dropped, and other scripts are silence.

    :param voice: ``rms``, ``kal16`` (the quickest), ``slt`` or ``awb``.
    :param speed: how fast it speaks, 0.25 to 4.

    Raises :class:`greenroom.offline.MissingProgramError` without flite and :class:`greenroom.errors.ConfigError`
    for a voice or speed it does not have.
    """

    def __init__(self, *, voice: str = "rms", speed: float = 1.0) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True, aligned_transcript=True),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self._flite = Flite.find(voice, speed)
        self._streams: weakref.WeakSet[ChunkedStream | SynthesizeStream] = weakref.WeakSet()
        logger.info("the offline TTS is a stand-in: flite, without a model", extra={"voice": voice})

    @property
    def model(self) -> str:
        """``flite-`` and the voice."""
        return f"flite-{self._flite.voice}"

    @property
    def provider(self) -> str:
        """``greenroom``."""
        return PROVIDER

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> ChunkedStream:
        """Say a text that is known as a whole."""
        stream = ChunkedStream(self, self._flite, text, conn_options=conn_options)
        self._streams.add(stream)
        return stream

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> SynthesizeStream:
        """Say a text while it is being written, with each sentence's place in time."""
        stream = SynthesizeStream(self, self._flite, conn_options=conn_options)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Stop everything that is being said."""
        for stream in list(self._streams):
            await stream.aclose()


class ChunkedStream(tts.ChunkedStream):
    """One text, in frames of audio."""

    def __init__(self, owner: TTS, flite: Flite, text: str, *, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=owner, input_text=text, conn_options=conn_options)
        self._flite = flite

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("flite_"), sample_rate=SAMPLE_RATE, num_channels=1, mime_type="audio/pcm"
        )
        async for audio in _speak(self._flite, self._input_text):
            output_emitter.push(audio)
        output_emitter.flush()


class SynthesizeStream(tts.SynthesizeStream):
    """A text that arrives in tokens, in frames of audio; each sentence is said as soon as it is complete."""

    def __init__(self, owner: TTS, flite: Flite, *, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=owner, conn_options=conn_options)
        self._flite = flite

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("flite_"),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        output_emitter.start_segment(segment_id=utils.shortuuid("segment_"))
        sentences = tokenize.blingfire.SentenceTokenizer(retain_format=True).stream()
        tasks = [
            asyncio.create_task(self._collect(sentences)),
            asyncio.create_task(self._say(sentences, output_emitter)),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            await utils.aio.cancel_and_wait(*tasks)
            await sentences.aclose()

    async def _collect(self, sentences: tokenize.SentenceStream) -> None:
        async for token in self._input_ch:
            if isinstance(token, str):
                sentences.push_text(token)
            else:
                sentences.flush()
        sentences.end_input()

    async def _say(self, sentences: tokenize.SentenceStream, output: tts.AudioEmitter) -> None:
        position = 0.0
        async for sentence in sentences:
            self._mark_started()
            began = position
            async for audio in _speak(self._flite, sentence.token):
                output.push(audio)
                position += len(audio) / _BYTES_PER_SECOND
            output.push_timed_transcript(TimedString(sentence.token, start_time=began, end_time=position))
            output.flush()


async def _speak(flite: Flite, text: str) -> AsyncIterator[bytes]:
    """Yield ``text`` as audio, piece by piece; a moment of silence when there is nothing to say."""
    words = speakable(text)
    for piece in pieces(words):
        yield await flite.say(piece)
    if not words and text:
        yield _NOTHING
