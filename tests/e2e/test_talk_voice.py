"""``greenroom talk --voice`` as its user runs it: a spoken question, and the answer heard again."""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from greenroom import offline
from support.program import greenroom
from support.talking import ENVIRONMENT, talk, terminal
from support.voice_call import RATE, frames, spoken

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("dev")]

GREETING = "Hello, this is the front desk of Harbour Clinic. How can I help you?"
# What the agent is expected to say, for whoever listens to it.
SPOKEN = [
    "hello this is the front desk of harbor clinic how can I help you",
    "we are at one harbor street across from the ferry",
]
ANSWER = "We are at 1 Harbour Street, across from the ferry."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the packaged agent can be called."""
    async with greenroom("dev", "--port", "0", "--rtc-port", "0", cwd=tmp_path_factory.mktemp("dev")) as program:
        address = await program.ready()
        await program.line("agent front-desk registered")
        yield address.replace("http", "ws", 1)
        await program.interrupt()


def record(path: Path, text: str) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(spoken(text, "kal16"))


def recording(path: Path) -> tuple[int, bytes]:
    with wave.open(str(path), "rb") as file:
        return file.getframerate(), file.readframes(file.getnframes())


async def recognised(path: Path) -> str:
    rate, audio = recording(path)
    pause = bytes(2 * rate)
    async with offline.STT(phrases=SPOKEN, small_talk=False, dictation=False) as ear:
        return (await ear.recognize(frames(pause + audio + pause, rate=rate))).alternatives[0].text


def seconds_of_sound(audio: bytes, rate: int) -> float:
    """Count the hundredths of a second that are not silent."""
    samples = np.frombuffer(audio, np.int16)
    blocks = samples[: len(samples) // (rate // 100) * (rate // 100)].reshape(-1, rate // 100)
    return float((np.abs(blocks).max(axis=1) > 500).sum()) / 100


async def test_a_spoken_question_is_answered_by_voice(url: str, tmp_path: Path) -> None:
    record(tmp_path / "question.wav", "Where are you?")
    arguments = ("--microphone", "question.wav", "--speaker", "answer.wav", "--url", url)
    status, out, err = await talk("front-desk", *arguments, cwd=tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"front-desk: {GREETING}", "you: where are you", f"front-desk: {ANSWER}"]
    assert (await recognised(tmp_path / "answer.wav")).startswith(SPOKEN[0])
    # The rest is the answer. Where processors starve it has gaps, in which its words cannot be told.
    greeting = seconds_of_sound(spoken(GREETING), RATE)
    rate, audio = recording(tmp_path / "answer.wav")
    assert seconds_of_sound(audio, rate) > 1.25 * greeting


async def test_a_program_reads_what_was_heard_and_typed_lines_follow(url: str, tmp_path: Path) -> None:
    record(tmp_path / "question.wav", "When are you open?")
    arguments = ("--json", "--microphone", "question.wav", "--speaker", "none", "--url", url)
    status, out, err = await talk("front-desk", *arguments, cwd=tmp_path, lines="/mute\nwhere are you?\n")
    assert (status, err) == (0, "")
    told = [json.loads(line) for line in out.splitlines()]
    assert [event["text"] for event in told if event["event"] == "heard" and event["final"]] == ["when are you open"]
    kinds = [event["event"] for event in told if event["event"] in {"said", "heard", "muted", "sent"}]
    assert [kind for kind, after in zip(kinds, [*kinds[1:], ""], strict=True) if kind != after] == [
        "said", "heard", "said", "muted", "sent", "said",
    ]  # fmt: skip


async def test_the_prompt_shows_the_levels_and_a_key_mutes(url: str, tmp_path: Path) -> None:
    arguments = ("--microphone", "none", "--speaker", "heard.wav", "--url", url)
    async with terminal("front-desk", *arguments, cwd=tmp_path) as call:
        await call.shows(r"help you\?.*listening +you\|     \| agent\|     \| > ")
        call.press("half a line\x14")
        await call.shows(r"Your microphone is off; /mute turns it on\..*you\|muted\|")
        call.press("/mute\r")
        await call.shows(r"Your microphone is on\..*you\|     \|")
        call.press("where are you?\r")
        await call.shows(r"across from the ferry\.\r\n")
        call.press("\x04")
        await call.shows(r"You left the call\.")
        assert await call.process.wait() == 0
        assert "Traceback" not in call.screen
    rate, audio = recording(tmp_path / "heard.wav")
    assert len(audio) > 2 * rate


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--microphone", "missing.wav", "--speaker", "none"],
            "missing.wav cannot be read: No such file or directory. Give a WAV file as the --microphone",
        ),
        (
            ["--microphone", "none", "--speaker", "no/where.wav"],
            "no/where.wav cannot be written: No such file or directory. Choose another --speaker",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_one_line(
    url: str, tmp_path: Path, arguments: list[str], error: str
) -> None:
    status, out, err = await talk("front-desk", *arguments, "--url", url, cwd=tmp_path)
    assert (status, out, err) == (2, "", f"greenroom: {error}\n")


@pytest.mark.parametrize("option", ["--voice", "--list-devices"])
async def test_without_portaudio_it_says_what_to_install(url: str, tmp_path: Path, option: str) -> None:
    code = "import sys; sys.modules['sounddevice'] = None; from greenroom.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "talk", "front-desk", "--url", url, option),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    _, err = await process.communicate()
    assert err.decode() == (
        "greenroom: A call by voice needs the 'talk' extra. "
        "Run: pip install 'greenroom[talk]' && apt-get install libportaudio2\n"
    )
    assert process.returncode == 2
