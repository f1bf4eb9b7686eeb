"""What the offline speech stand-ins cost and how well they hear: flite speaks, PocketSphinx listens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import psutil
from livekit import rtc
from livekit.agents import stt, utils

from bench._figures import Figure, Options, spread
from greenroom import offline
from greenroom.offline import Rule

VOICES = ("rms", "kal16", "awb", "slt")
RULES = [
    Rule("(book|reserve) a table [for {people:int}] [on {day}] [at {time}] [for {name}]", "Done."),
    Rule(["when are you open", "opening hours"], "Always."),
    Rule(["where are you", "how do I get there"], "Here."),
    Rule("what is free on {day}", "Nothing."),
]
SENTENCES = (
    "hello", "I would like to book a table", "book a table for four at half past seven", "when are you open",
    "where are you", "what is free on Friday", "tomorrow", "at ten o'clock", "my name is Ada Lovelace", "yes please",
    "what can you do", "thank you",
)  # fmt: skip
UNEXPECTED = "my uncle has a boat on the river"
_SILENCE = rtc.AudioFrame(bytes(32000), 16000, 1, 16000)


async def run(options: Options) -> list[Figure]:
    """Measure start, memory, work and sentences understood."""
    voices = VOICES[:1] if options.quick or options.rounds else VOICES
    spoken = {(voice, text): frame async for voice, text, frame in _spoken(voices, (*SENTENCES, UNEXPECTED))}
    figures = await _speaking(options)
    ear = offline.STT(RULES)
    figures += await _starting(ear, options)
    ear.prewarm()
    assert ear._spare is not None  # noqa: SLF001 - the recogniser's process is what is measured
    recogniser = psutil.Process((await ear._spare).pid)  # noqa: SLF001
    async with ear.stream() as stream:
        await _hear(stream, spoken[voices[0], SENTENCES[0]])
        figures.append(_memory("with a grammar", recogniser))
        began = _work(recogniser)
        exact = seconds = 0.0
        for voice in voices:
            for text in SENTENCES:
                heard, length = await _hear(stream, spoken[voice, text])
                exact += heard.casefold() == text.casefold()
                seconds += length
        bounded = (_work(recogniser) - began) / seconds
        await _hear(stream, spoken[voices[0], UNEXPECTED])
        figures.append(_memory("once it took dictation", recogniser))
    await ear.aclose()
    total = len(voices) * len(SENTENCES)
    note = f"{len(voices)} voices, {len(SENTENCES)} sentences"
    return [
        *figures,
        Figure("recogniser: work per second of speech", bounded * 1000, "ms of CPU"),
        Figure("sentences understood word for word", 100 * exact / total, "%", 75, higher_is_better=True, note=note),
    ]


async def _spoken(voices: tuple[str, ...], texts: tuple[str, ...]) -> AsyncIterator[tuple[str, str, rtc.AudioFrame]]:
    for voice in voices:
        mouth = offline.TTS(voice=voice)
        for text in texts:
            yield voice, text, await mouth.synthesize(text).collect()


async def _speaking(options: Options) -> list[Figure]:
    """Measure how soon the first sentence can be heard."""
    mouth, waits = offline.TTS(), []
    for _ in range(options.count(20)):
        began = time.perf_counter()
        async with mouth.stream() as stream:
            stream.push_text("On Friday these times are free: nine, ten, eleven. What would suit you?")
            stream.end_input()
            await anext(aiter(stream))
            waits.append(time.perf_counter() - began)
    return spread("speaking: first sound of an answer", waits)


async def _starting(ear: offline.STT, options: Options) -> list[Figure]:
    starts = []
    for _ in range(options.count(10)):
        began = time.perf_counter()
        async with ear._recogniser():  # noqa: SLF001
            starts.append(time.perf_counter() - began)
    return spread("recogniser: start", starts)


async def _hear(stream: stt.RecognizeStream, frame: rtc.AudioFrame) -> tuple[str, float]:
    """Return what was heard, and how many seconds of it the recogniser was given."""
    for part in (_SILENCE, frame, _SILENCE):
        for piece in utils.audio.AudioByteStream(16000, 1, 320).push(part.data.tobytes()):
            stream.push_frame(piece)
    stream.flush()
    text, seconds = "", 0.0
    async for event in stream:
        if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
            text = f"{text} {event.alternatives[0].text}".strip()
        elif event.recognition_usage is not None:
            seconds += event.recognition_usage.audio_duration
        elif event.type is stt.SpeechEventType.END_OF_SPEECH:
            break
    return text, seconds


def _memory(what: str, process: psutil.Process) -> Figure:
    return Figure(f"recogniser: memory {what}", process.memory_info().rss / 1e6, "MB")


def _work(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
