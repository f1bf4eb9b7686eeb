"""The offline STT hears what flite says."""

from __future__ import annotations

import array
import asyncio
import json
import logging
import os
import random
import select
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, inference, stt

from greenroom import offline
from greenroom.errors import ConfigError, MissingExtraError
from greenroom.offline import Rule, _stt, _stt_process
from support.opus import through_opus
from support.voice_call import RATE, frames, spoken

pytestmark = pytest.mark.unit

Event = stt.SpeechEventType
PAUSE = bytes(2 * RATE)
SENTENCES = ["I would like to book a table".lower(), "book a table for four at half past seven", "when are you open"]
RULES = [
    Rule("book a table [for {people:int}] [at {time}]", "Done."),
    Rule("when are you open", "Always."),
]


@pytest.fixture
async def ear() -> AsyncIterator[offline.STT]:
    ear = offline.STT(RULES)
    yield ear
    await ear.aclose()


async def listen(ear: offline.STT, audio: list[rtc.AudioFrame]) -> list[stt.SpeechEvent]:
    """Have it all heard at once."""
    async with ear.stream() as stream:
        for frame in audio:
            stream.push_frame(frame)
        stream.end_input()
        return [event async for event in stream]


def finals(events: list[stt.SpeechEvent]) -> list[str]:
    return [event.alternatives[0].text for event in events if event.type is Event.FINAL_TRANSCRIPT]


async def test_a_sentence_of_the_rules_is_recognised_word_by_word(ear: offline.STT) -> None:
    audio = PAUSE + spoken("Hello, I'd like to book a table for four at half past seven, please.") + PAUSE
    events = await listen(ear, frames(audio))
    kinds = [event.type for event in events]
    assert kinds[0] is Event.START_OF_SPEECH
    assert kinds[-3:] == [Event.FINAL_TRANSCRIPT, Event.RECOGNITION_USAGE, Event.END_OF_SPEECH]
    assert kinds.index(Event.INTERIM_TRANSCRIPT) < kinds.index(Event.FINAL_TRANSCRIPT)
    final = events[-3].alternatives[0]
    assert final.text == "hello I'd like to book a table for four at half past seven please"
    assert final.language == "en-US"
    assert 0.5 < final.confidence <= 1
    assert final.words is not None
    assert " ".join(final.words) == final.text
    edges = [edge for word in final.words for edge in (word.start_time, word.end_time)]
    assert edges == sorted(edges)
    assert 1 <= final.start_time < final.end_time <= len(audio) / (2 * RATE)
    usage = events[-2].recognition_usage
    assert usage is not None
    assert usage.audio_duration > final.end_time - final.start_time


@pytest.mark.parametrize("voice", ["rms", "kal16", "slt", "awb"])
async def test_every_voice_is_understood_through_opus(ear: offline.STT, voice: str) -> None:
    audio = PAUSE + b"".join(spoken(text, voice) + PAUSE for text in SENTENCES)
    said = finals(await listen(ear, frames(through_opus(audio, RATE), rate=48000)))
    assert [text.lower() for text in said] == SENTENCES


async def test_each_utterance_is_its_own(ear: offline.STT) -> None:
    audio = PAUSE + spoken("Hello!") + PAUSE + spoken("When are you open?") + PAUSE
    assert finals(await listen(ear, frames(audio))) == ["hello", "when are you open"]


async def test_any_sample_rate_and_number_of_channels_will_do(ear: offline.STT) -> None:
    mono = array.array("h", PAUSE + spoken("When are you open?") + PAUSE)
    stereo = array.array("h", [sample for sample in mono for _ in range(6)])
    audio = [
        rtc.AudioFrame(part.tobytes(), 48000, 2, len(part) // 2)
        for part in (stereo[at : at + 1920] for at in range(0, len(stereo), 1920))
    ]
    assert finals(await listen(ear, audio)) == ["when are you open"]


@pytest.mark.parametrize("level", [0, 30, 1000])
async def test_silence_and_noise_are_nothing(ear: offline.STT, level: int) -> None:
    chance = random.Random(level)
    noise = array.array("h", [round(chance.gauss(0, level)) for _ in range(2 * RATE)]).tobytes()
    assert await listen(ear, frames(noise)) == []
    heard = await ear.recognize(frames(noise))
    assert heard.alternatives[0].text == ""


async def test_what_the_rules_do_not_hold_is_dictation(ear: offline.STT) -> None:
    assert finals(await listen(ear, frames(PAUSE + spoken("My uncle has a boat.") + PAUSE))) == ["my uncle has a boat"]


async def test_without_dictation_it_is_not_heard() -> None:
    ear = offline.STT(RULES, dictation=False)
    events = await listen(ear, frames(PAUSE + spoken("My uncle has a boat.") + PAUSE))
    assert finals(events) == []
    assert events[-1].type is Event.END_OF_SPEECH
    await ear.aclose()


async def test_without_rules_everything_is_dictation() -> None:
    ear = offline.STT(interim_results=False)
    assert not ear.capabilities.interim_results
    events = await listen(ear, frames(PAUSE + spoken("The weather is very nice today.") + PAUSE))
    assert finals(events) == ["the weather is very nice today"]
    assert not any(event.type is Event.INTERIM_TRANSCRIPT for event in events)
    await ear.aclose()


async def test_a_whole_recording_is_recognised_at_once(ear: offline.STT) -> None:
    audio = PAUSE + spoken("Hello!") + PAUSE + spoken("When are you open?")
    event = await ear.recognize(frames(audio))
    assert event.type is Event.FINAL_TRANSCRIPT
    assert event.alternatives[0].text == "hello when are you open"
    assert 0 < event.alternatives[0].confidence <= 1


async def test_a_flush_ends_the_utterance(ear: offline.STT) -> None:
    async with ear.stream() as stream:
        for text in ("When are you open?", "Hello!"):
            for frame in frames(PAUSE + spoken(text)):
                stream.push_frame(frame)
            stream.flush()
            event = await anext(event async for event in stream if event.type is Event.FINAL_TRANSCRIPT)
            assert event.alternatives[0].text == text.lower().strip("?!")


async def test_words_that_no_dictionary_has_sound_as_flite_says_them() -> None:
    ear = offline.STT(phrases=["turn the zorblax on"], small_talk=False, dictation=False)
    assert finals(await listen(ear, frames(PAUSE + spoken("Turn the zorblax on.") + PAUSE))) == ["turn the zorblax on"]
    await ear.aclose()


async def test_without_flite_unknown_words_are_named_and_can_be_given(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_stt.shutil, "which", lambda _: None)
    ear = offline.STT(phrases=["turn the [zorblax|light] on"], small_talk=False, dictation=False)
    assert finals(await listen(ear, frames(PAUSE + spoken("Turn the light on.") + PAUSE))) == ["turn the light on"]
    assert [record.__dict__["words"] for record in caplog.records if hasattr(record, "words")] == [["zorblax"]]
    await ear.aclose()
    caplog.clear()
    told = offline.STT(
        phrases=["turn the zorblax on"], pronunciations={"Zorblax": "z ao r b l ae k s"}, dictation=False
    )
    assert finals(await listen(told, frames(PAUSE + spoken("Turn the zorblax on.") + PAUSE))) == ["turn the zorblax on"]
    assert not [record for record in caplog.records if hasattr(record, "words")]
    await told.aclose()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[_stt_process.Recogniser]:
    """Collect the recognisers that are started."""
    recognisers: list[_stt_process.Recogniser] = []
    start = _stt_process.Recogniser.start

    async def collect(config: bytes) -> _stt_process.Recogniser:
        recognisers.append(await start(config))
        return recognisers[-1]

    monkeypatch.setattr(_stt_process.Recogniser, "start", collect)
    return recognisers


async def test_a_recogniser_that_dies_is_replaced(ear: offline.STT, started: list[_stt_process.Recogniser]) -> None:
    errors: list[stt.STTError] = []
    ear.on("error", errors.append)
    async with ear.stream(conn_options=APIConnectOptions(max_retry=1, retry_interval=0)) as stream:
        for frame in frames(PAUSE + spoken("Hello!")):
            stream.push_frame(frame)
        await anext(aiter(stream))
        started[0]._process.kill()
        stream.flush()
        for frame in frames(PAUSE + spoken("When are you open?")):
            stream.push_frame(frame)
        stream.end_input()
        assert "when are you open" in finals([event async for event in stream])
    assert [error.recoverable for error in errors] == [True]
    assert len(started) == 2


async def test_closing_in_the_middle_of_an_utterance_leaves_no_process(
    ear: offline.STT, started: list[_stt_process.Recogniser]
) -> None:
    stream = ear.stream()
    for frame in frames(PAUSE + spoken("When are you open?")):
        stream.push_frame(frame)
    await anext(aiter(stream))
    await ear.aclose()
    assert [recogniser._process.returncode for recogniser in started] == [-9]


async def test_a_prewarmed_recogniser_serves_the_next_stream_or_is_closed(
    ear: offline.STT, started: list[_stt_process.Recogniser]
) -> None:
    ear.prewarm()
    ear.prewarm()
    assert finals(await listen(ear, frames(PAUSE + spoken("Hello!") + PAUSE))) == ["hello"]
    assert len(started) == 1
    ear.prewarm()
    assert ear._spare
    await asyncio.wait({ear._spare})
    await ear.aclose()
    assert [recogniser.alive for recogniser in started] == [False, False]


def test_the_recogniser_ends_with_the_program_that_started_it() -> None:
    program = Path(_stt_process.__file__).with_name("_stt_decoder.py")
    process = subprocess.Popen([sys.executable, "-P", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    config = json.dumps({"grammar": None}).encode()
    process.stdin.write(struct.pack(">cI", b"C", len(config)) + config)
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"ready": {"unknown": []}}
    os.kill(process.pid, 2)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_killed_program_leaves_no_recogniser() -> None:
    program = """
import asyncio
from greenroom import offline

async def main():
    ear = offline.STT()
    ear.prewarm()
    print((await ear._spare).pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        recogniser = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    # A process that has ended can be read from.
    ended, _, _ = select.select([recogniser], [], [], 30)
    os.close(recogniser)
    assert ended


async def test_a_vad_of_ones_own_bounds_the_utterances() -> None:
    ear = offline.STT(RULES, vad=inference.VAD(min_silence_duration=2.0))
    audio = PAUSE + spoken("Hello!") + PAUSE + spoken("When are you open?") + PAUSE * 3
    assert finals(await listen(ear, frames(audio))) == ["hello when are you open"]
    await ear.aclose()


async def test_streams_hear_at_the_same_time(ear: offline.STT) -> None:
    said = [listen(ear, frames(PAUSE + spoken(text) + PAUSE)) for text in ("Hello!", "When are you open?")]
    assert [finals(events) for events in await asyncio.gather(*said)] == [["hello"], ["when are you open"]]


def test_without_pocketsphinx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stt.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=r"^The offline STT needs the 'speech' extra\. Run: pip install 'greenroom"
    ):
        offline.STT()


async def test_another_language_is_refused(ear: offline.STT) -> None:
    with pytest.raises(ConfigError, match="English only"):
        ear.stream(language="de")


def test_an_unreadable_phrase_is_named() -> None:
    with pytest.raises(ConfigError, match=r"A phrase of the offline STT: pattern 'book \[a table' does not close"):
        offline.STT(phrases=["book [a table"])


def test_it_says_that_it_is_a_stand_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "greenroom.offline"):
        ear = offline.STT(RULES)
    assert [record.message for record in caplog.records] == [
        "the offline STT is a stand-in: PocketSphinx, for sentences that it expects"
    ]
    assert "stand-in" in (offline.STT.__doc__ or "")
    assert (ear.model, ear.provider) == ("pocketsphinx-en-us", "greenroom")
