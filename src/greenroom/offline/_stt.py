"""The offline STT as ``livekit-agents`` sees it: an ``STT`` and its ``SpeechStream``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import shutil
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    inference,
    stt,
    utils,
    vad,
)

from greenroom.errors import ConfigError, MissingExtraError
from greenroom.offline._patterns import Pattern, PatternError, compile_pattern
from greenroom.offline._rules import Rule
from greenroom.offline._stt_grammar import SOUNDS, build_grammar
from greenroom.offline._stt_listener import LANGUAGE, SAMPLE_RATE, Listener
from greenroom.offline._stt_process import Recogniser

logger = logging.getLogger("greenroom.offline")

MODEL: Final = "pocketsphinx-en-us"
PROVIDER: Final = "greenroom"
_Event: TypeAlias = stt.SpeechEventType


class STT(stt.STT[Any]):
    """A stand-in for speech recognition: PocketSphinx, with the model in its wheel. No network, key or download.

    Given the rules of an offline LLM it listens for what they listen for, in a bounded grammar: that is what it
    hears best. What does not fit is taken as dictation, which the same engine does poorly. English only.
    It recognises in a process of its own, so it never holds the event loop.

    :param rules: what the agent understands; usually those of its :class:`greenroom.offline.LLM`.
    :param phrases: more sentences to listen for, in the pattern language of rules: ``"table for {people:int}"``.
    :param values: what a slot may hold, by its name. Slots that take any words are only heard with it.
    :param small_talk: whether hello, yes, thank you, help and the like belong to the grammar.
    :param dictation: whether to take as dictation what the grammar does not hold; without, it is not heard.
    :param pronunciations: how words sound that PocketSphinx does not know, in its phones: ``{"ada": "EY D AH"}``.
        Without one flite is asked, where it is installed.
    :param vad: finds where an utterance begins and ends. The default is LiveKit's local one with half a second
        of silence at the end.
    :param interim_results: whether to tell what it sounds like while it is said.

    Without rules and phrases everything is dictation. Raises :class:`greenroom.errors.MissingExtraError` without
    PocketSphinx, and :class:`greenroom.errors.ConfigError` for a phrase that cannot be read.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        phrases: Sequence[str] = (),
        values: Mapping[str, Sequence[str]] | None = None,
        small_talk: bool = True,
        dictation: bool = True,
        pronunciations: Mapping[str, str] | None = None,
        vad: vad.VAD | None = None,
        interim_results: bool = True,
    ) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=interim_results, aligned_transcript="word", offline_recognize=True
            )
        )
        if importlib.util.find_spec("pocketsphinx") is None:
            raise MissingExtraError("The offline STT", "speech")
        self._vad = vad or local_vad()
        self._rules = tuple(rules)
        self._phrases = tuple(_compile(phrase) for phrase in phrases)
        self._values = dict(values or {})
        self._small_talk = small_talk
        self._dictation = dictation
        self._pronunciations = {**SOUNDS, **(pronunciations or {})}
        self._config: bytes = b""
        self._spare: asyncio.Task[Recogniser] | None = None
        self._streams: weakref.WeakSet[SpeechStream] = weakref.WeakSet()
        logger.info(
            "the offline STT is a stand-in: PocketSphinx, for sentences that it expects",
            extra={"rules": len(self._rules), "phrases": len(self._phrases)},
        )

    @property
    def model(self) -> str:
        """``pocketsphinx-en-us``."""
        return MODEL

    @property
    def provider(self) -> str:
        """``greenroom``."""
        return PROVIDER

    def prewarm(self) -> None:
        """Start the recogniser of the next stream. Needs a running event loop."""
        if self._spare is None and not self._streams:
            self._spare = asyncio.create_task(self._start(), name="offline STT prewarm")
            # A failure is met again by the stream that wants it; there may be none.
            self._spare.add_done_callback(lambda task: task.cancelled() or task.exception())

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> SpeechStream:
        """Recognise speech while it arrives, at any sample rate.

        Raises :class:`greenroom.errors.ConfigError` for a language other than English.
        """
        if utils.is_given(language) and not language.lower().startswith("en"):
            raise ConfigError(
                "The offline STT understands English only",
                fix="Leave language out, or use another STT",
                context={"language": language},
            )
        stream = SpeechStream(self, self._vad, conn_options=conn_options)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Close every stream, and the recogniser that waits for one."""
        for stream in list(self._streams):
            await stream.aclose()
        spare, self._spare = self._spare, None
        if spare is not None:
            await _end(spare)

    @contextlib.asynccontextmanager
    async def _recogniser(self) -> AsyncIterator[Recogniser]:
        spare, self._spare = self._spare, None
        starting = spare or asyncio.create_task(self._start(), name="offline STT start")
        try:
            yield await starting
        finally:
            await _end(starting)

    async def _start(self) -> Recogniser:
        # Thousands of arcs are work for some time, which is no time of the event loop's.
        self._config = self._config or await asyncio.to_thread(self._configure)
        recogniser = await Recogniser.start(self._config)
        if recogniser.unknown:
            logger.warning(
                "the offline STT does not know how some words sound; install flite or pass pronunciations",
                extra={"words": list(recogniser.unknown)},
            )
        return recogniser

    def _configure(self) -> bytes:
        if not self._rules and not self._phrases:
            return json.dumps({"grammar": None}).encode()
        grammar = build_grammar(self._rules, self._phrases, self._values, small_talk=self._small_talk)
        if grammar.unheard:
            logger.warning("the offline STT has no words for some slots", extra={"slots": list(grammar.unheard)})
        config = {
            "grammar": {"arcs": grammar.arcs, "spelled": dict(grammar.spelled)},
            "pronunciations": self._pronunciations,
            "flite": shutil.which("flite") or "",
            "dictation": self._dictation,
        }
        return json.dumps(config).encode()

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        async with self.stream(language=language, conn_options=conn_options) as stream:
            for frame in buffer if isinstance(buffer, list) else [buffer]:
                stream.push_frame(frame)
            stream.end_input()
            said = [event.alternatives[0] async for event in stream if event.type is _Event.FINAL_TRANSCRIPT]
        if not said:
            return stt.SpeechEvent(_Event.FINAL_TRANSCRIPT, alternatives=[stt.SpeechData(LANGUAGE, "")])
        whole = stt.SpeechData(
            LANGUAGE,
            " ".join(data.text for data in said),
            start_time=said[0].start_time,
            end_time=said[-1].end_time,
            confidence=sum(data.confidence for data in said) / len(said),
            words=[word for data in said for word in data.words or ()],
        )
        return stt.SpeechEvent(_Event.FINAL_TRANSCRIPT, alternatives=[whole])


class SpeechStream(stt.SpeechStream):
    """Speech as it is recognised: ``START_OF_SPEECH``, ``INTERIM_TRANSCRIPT``, ``FINAL_TRANSCRIPT``, ``END_OF_SPEECH``.

    The VAD bounds each utterance; :meth:`flush` ends it early. An utterance that was not understood has no
    ``FINAL_TRANSCRIPT``. Times are seconds of audio since the stream began.
    """

    def __init__(self, owner: STT, detector: vad.VAD, *, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=SAMPLE_RATE)
        self._owner = owner
        self._vad = detector

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Add audio of any sample rate and number of channels."""
        super().push_frame(_mono(frame))

    async def _run(self) -> None:
        async with self._owner._recogniser() as recogniser:  # noqa: SLF001
            detector = self._vad.stream()
            listener = Listener(
                recogniser,
                detector,
                self._event_ch.send_nowait,
                interim=self._owner.capabilities.interim_results,
                window=self._vad.capabilities.update_interval,
                offset=self.start_time_offset,
            )
            tasks = [asyncio.create_task(listener.listen()), asyncio.create_task(self._forward(listener))]
            try:
                await asyncio.gather(*tasks)
            finally:
                await utils.aio.cancel_and_wait(*tasks)
                await detector.aclose()

    async def _forward(self, listener: Listener) -> None:
        async for item in self._input_ch:
            if isinstance(item, self._FlushSentinel):
                await listener.flush()
            else:
                listener.push(item)
        listener.end()


async def _end(starting: asyncio.Task[Recogniser]) -> None:
    """End a recogniser, whether or not it has started."""
    starting.cancel()
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().aclose()


def _compile(phrase: str) -> Pattern:
    try:
        return compile_pattern(phrase)
    except PatternError as error:
        raise ConfigError(
            f"A phrase of the offline STT: {error}", fix="See docs/offline.md for how patterns are written"
        ) from None


def local_vad() -> vad.VAD:
    """Return LiveKit's local VAD, made to wait half a second before it calls an utterance ended.

    Shorter pauses are within a sentence, and half a sentence is hard to recognise.
    """
    return inference.VAD(min_silence_duration=0.5)


def _mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    if frame.num_channels == 1:
        return frame
    samples = np.frombuffer(frame.data, dtype=np.int16).reshape(-1, frame.num_channels)
    mixed = samples.mean(axis=1).astype(np.int16)
    return rtc.AudioFrame(mixed.tobytes(), frame.sample_rate, 1, frame.samples_per_channel)
