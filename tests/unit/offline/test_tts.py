"""The offline TTS: flite as a LiveKit plugin."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT

from greenroom import offline
from greenroom.errors import ConfigError
from greenroom.offline._tts_text import LONGEST_PIECE, pieces, speakable

pytestmark = pytest.mark.unit

ONCE = APIConnectOptions(max_retry=0, timeout=30)


def loudness(frame: rtc.AudioFrame) -> float:
    return max(abs(sample) for sample in frame.data)


async def test_a_sentence_is_said_at_the_rate_that_is_promised() -> None:
    voice = offline.TTS()
    frame = await voice.synthesize("Hello, how can I help you?").collect()
    assert (frame.sample_rate, frame.num_channels) == (voice.sample_rate, voice.num_channels) == (16000, 1)
    assert 1 < frame.duration < 4
    assert loudness(frame) > 1000


@pytest.mark.parametrize("name", ["kal16", "slt", "awb"])
async def test_every_voice_speaks(name: str) -> None:
    voice = offline.TTS(voice=name)
    assert voice.model == f"flite-{name}"
    assert (await voice.synthesize("Hello there.").collect()).duration > 0.5


async def test_speed_shortens_what_is_said() -> None:
    text = "The quick brown fox jumps over the lazy dog."
    usual = await offline.TTS().synthesize(text).collect()
    quick = await offline.TTS(speed=1.5).synthesize(text).collect()
    assert quick.duration < usual.duration * 0.8


async def test_the_first_sentence_is_heard_before_the_last_is_written() -> None:
    async with offline.TTS().stream() as stream:
        stream.push_text("This is the first sentence of the answer. And this is the beginning of the ")
        first = await anext(aiter(stream))
        assert loudness(first.frame) >= 0
        stream.push_text("second one, which goes on.")
        stream.end_input()
        rest = [event async for event in stream]
    assert rest[-1].is_final
    assert sum(event.frame.duration for event in rest) > 3


async def test_each_sentence_has_its_place_in_time() -> None:
    text = "This is the first sentence. This is the second sentence."
    async with offline.TTS().stream() as stream:
        stream.push_text(text)
        stream.end_input()
        events = [event async for event in stream]
    said = [timed for event in events for timed in event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])]
    assert "".join(said) == text
    total = sum(event.frame.duration for event in events)
    assert [timed.start_time for timed in said] == [0.0, said[0].end_time]
    assert said[-1].end_time == pytest.approx(total, abs=0.02)


@pytest.mark.parametrize(
    "text",
    ["…", "你好", "😀", "-t", "--help", "<speak>hi</speak>", "\x00\x01", "a" * 3000, "1" * 500, "Ünïcödé", "** _ **"],
)
async def test_odd_texts_are_said_or_are_silence(text: str) -> None:
    voice = offline.TTS(voice="kal16", speed=4)
    assert (await voice.synthesize(text, conn_options=ONCE).collect()).duration > 0
    async with voice.stream(conn_options=ONCE) as stream:
        stream.push_text(text)
        stream.end_input()
        assert [event async for event in stream][-1].is_final


@pytest.mark.parametrize("text", ["", "   ", "\n"])
async def test_empty_texts_end_at_once(text: str) -> None:
    voice = offline.TTS()
    async with voice.synthesize(text, conn_options=ONCE) as chunks:
        assert sum([event.frame.duration async for event in chunks]) <= 0.2
    async with voice.stream(conn_options=ONCE) as stream:
        stream.push_text(text)
        stream.end_input()
        assert sum([event.frame.duration async for event in stream]) <= 0.2


async def test_no_last_word_is_lost() -> None:
    voice = offline.TTS(voice="kal16")
    whole = await voice.synthesize("Hello there. How are you? Fine.").collect()
    cut = await voice.synthesize("Hello there. How are you?").collect()
    assert whole.duration > cut.duration + 0.3


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty program in flite's place."""
    path = tmp_path / "flite"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path.touch(mode=0o755)
    return path


def behave(program: Path, *lines: str) -> None:
    """Have the program do this."""
    program.write_text("\n".join(("#!/bin/sh", *lines, "")))


def written(path: Path) -> str:
    """Return what a program has written; of a pipe, when it has."""
    return path.read_text()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_interruption_kills_the_process(program: Path, tmp_path: Path, streamed: bool) -> None:
    os.mkfifo(tmp_path / "pid")
    behave(program, f"echo $$ > {tmp_path}/pid", "exec sleep 60")
    voice = offline.TTS()
    if streamed:
        stream = voice.stream()
        stream.push_text("This is a sentence.")
        stream.end_input()
        process = int(await asyncio.to_thread(written, tmp_path / "pid"))
        await stream.aclose()
    else:
        voice.synthesize("This is a sentence.")
        process = int(await asyncio.to_thread(written, tmp_path / "pid"))
        await voice.aclose()
    assert not alive(process)


async def test_what_is_said_is_no_argument_of_the_process(program: Path, tmp_path: Path) -> None:
    behave(program, f'echo "$@" > {tmp_path}/arguments', f"cat > {tmp_path}/text")
    with pytest.raises(APIConnectionError, match="flite wrote no sound"):
        await offline.TTS().synthesize("My number is secret.", conn_options=ONCE).collect()
    assert "secret" not in written(tmp_path / "arguments")
    assert written(tmp_path / "text") == "My number is secret.\n"


async def test_a_failing_program_is_an_error_of_the_api(program: Path) -> None:
    behave(program, "exit 3")
    with pytest.raises(APIConnectionError, match="flite ended with status 3"):
        await offline.TTS().synthesize("Hello.", conn_options=ONCE).collect()
    async with offline.TTS().stream(conn_options=ONCE) as stream:
        stream.push_text("Hello.")
        stream.end_input()
        with pytest.raises(APIError):
            await anext(aiter(stream))


def test_without_flite_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(offline.MissingProgramError) as caught:
        offline.TTS()
    assert str(caught.value) == "The offline TTS needs the program 'flite'. Run: apt-get install flite"


@pytest.mark.parametrize(("options", "message"), [({"voice": "hal"}, "no voice 'hal'"), ({"speed": 0.0}, "that speed")])
def test_what_flite_cannot_do_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        offline.TTS(**options)  # type: ignore[arg-type]


def test_it_says_that_it_is_a_stand_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "greenroom.offline"):
        voice = offline.TTS()
    assert [record.message for record in caplog.records] == ["the offline TTS is a stand-in: flite, without a model"]
    assert "stand-in" in (offline.TTS.__doc__ or "")
    assert (voice.model, voice.provider) == ("flite-rms", "greenroom")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It’s “fine” — really…", 'It\'s "fine" , really...'),
        ("€5 or £3.50, 50%", "5 euros or 3.50 pounds, 50 percent"),
        ("Café Zürich, Łódź, straße", "Cafe Zurich, Lodz, strasse"),
        ("**bold** and _that_ & `code`", "bold and that and 'code'"),
        ("你好, Ada!", ", Ada!"),
        ("☎ …", ""),
        ("a\tb\r\nc", "a b c"),
    ],
)
def test_text_is_put_as_flite_can_say_it(text: str, said: str) -> None:
    assert speakable(text) == said


@given(st.text(max_size=2000))
def test_any_text_becomes_bearable_ascii(text: str) -> None:
    said = speakable(text)
    parts = list(pieces(said))
    assert said.isascii()
    assert all(0 < len(part) <= LONGEST_PIECE for part in parts)
    assert "".join(parts).replace(" ", "") == said.replace(" ", "")
    assert max(map(len, said.split()), default=0) <= 41
