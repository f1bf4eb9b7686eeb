"""The sound of a call from the terminal: files, levels and the machine's devices."""

from __future__ import annotations

import array
import asyncio
import math
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from greenroom.cli.talk._choice import list_sound, open_sound
from greenroom.cli.talk._devices import DeviceMicrophone, DeviceSpeaker, choose, devices
from greenroom.cli.talk._sound import BLOCK, RATE, SILENCE, STEPS, Recorder, Recording, Silence, loudness
from greenroom.errors import ConfigError

pytestmark = pytest.mark.unit


def tone(seconds: float, rate: int, level: float = 0.5) -> array.array[int]:
    steps = range(round(seconds * rate))
    return array.array("h", [round(32767 * level * math.sin(2 * math.pi * 440 * step / rate)) for step in steps])


def write(path: Path, samples: array.array[int], rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


async def said_by(recording: Recording) -> bytes:
    recording.begin()
    blocks = []
    while not recording.said.is_set():
        blocks.append(await recording.block())
    return b"".join(blocks)


async def test_a_recording_is_silent_until_it_is_told_to_speak(tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "a.wav", tone(0.5, RATE), RATE))
    assert [await recording.block() for _ in range(3)] == [SILENCE] * 3
    said = await said_by(recording)
    assert said.startswith(tone(0.5, RATE).tobytes())
    assert not any(said[RATE:])
    assert await recording.block() == SILENCE


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1), (22050, 2)])
async def test_any_rate_and_number_of_channels_is_said_at_its_pitch(tmp_path: Path, rate: int, channels: int) -> None:
    samples = array.array("h", [sample for sample in tone(1, rate) for _ in range(channels)])
    said = np.frombuffer(await said_by(Recording(write(tmp_path / "a.wav", samples, rate, channels))), dtype=np.int16)
    power = np.abs(np.fft.rfft(said[:RATE]))
    assert int(power.argmax()) == 440


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no WAV file with plain samples: it breaks off"),
        (b"I am a text, and no sound at all", "is no WAV file with plain samples: file does not start with RIFF id"),
    ],
)
def test_what_is_no_wav_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Recording(path)


def test_other_samples_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, RATE), RATE, width=1)
    with pytest.raises(ConfigError, match=r"samples of 8 bits; 16 are understood\. Convert it: ffmpeg -i"):
        Recording(path)


def test_what_is_heard_is_written_and_a_call_without_sound_leaves_an_empty_file(tmp_path: Path) -> None:
    for blocks in ([], [SILENCE, tone(0.01, RATE).tobytes()]):
        recorder = Recorder(tmp_path / "a.wav")
        for block in blocks:
            recorder.play(block)
        recorder.close()
        with wave.open(str(tmp_path / "a.wav"), "rb") as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
            assert file.readframes(file.getnframes()) == b"".join(blocks)


def test_levels_go_from_silence_to_full() -> None:
    levels = [loudness(tone(0.01, RATE, level).tobytes()) for level in (0, 0.001, 0.01, 0.1, 0.3, 1)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, STEPS)
    assert loudness(b"") == 0


LAPTOP = [
    {"name": "HDA Intel: Analog (hw:0,0)", "max_input_channels": 2, "max_output_channels": 2},
    {"name": "USB Headset:\nAudio", "max_input_channels": 1, "max_output_channels": 2},
    {"name": "HDMI 0", "max_input_channels": 0, "max_output_channels": 8},
]


class PortAudio:
    """What PortAudio tells of a laptop; its streams are moved by hand."""

    class PortAudioError(Exception):
        pass

    def __init__(self, listed: list[dict[str, Any]], *, broken: bool = False) -> None:
        self.default = SimpleNamespace(device=[1, 0])
        self.opened: list[dict[str, Any]] = []
        self.closed: list[int] = []
        self._listed = listed
        self._broken = broken

    def query_devices(self) -> list[dict[str, Any]]:
        return self._listed

    def RawInputStream(self, **options: Any) -> Any:  # noqa: N802 - PortAudio's name
        if self._broken:
            raise self.PortAudioError("Device unavailable")
        self.opened.append(options)
        return SimpleNamespace(start=lambda: None, close=lambda: self.closed.append(options["device"]))

    RawOutputStream = RawInputStream


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch) -> PortAudio:
    port_audio = PortAudio(LAPTOP)
    monkeypatch.setitem(sys.modules, "sounddevice", port_audio)  # type: ignore[arg-type]
    return port_audio


@pytest.mark.usefixtures("laptop")
def test_devices_are_listed_with_what_they_can_be_and_the_usual_ones_marked() -> None:
    assert list_sound().splitlines() == [
        "  0  microphone   speaker*  HDA Intel: Analog (hw:0,0)",
        "  1  microphone*  speaker   USB Headset: Audio",
        "  2               speaker   HDMI 0",
    ]


def test_a_machine_without_devices_is_told_to_use_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", PortAudio([]))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no sound device\. Use files in place of one: --microphone QUESTION\.wav"):
        list_sound()
    with pytest.raises(ConfigError, match=r"This machine has no microphone\. Without a sound card use files"):
        open_sound("", "")


@pytest.mark.usefixtures("laptop")
def test_a_device_is_chosen_by_number_or_part_of_its_name() -> None:
    found = devices()
    chosen = [("microphone", ""), ("speaker", ""), ("microphone", "0"), ("speaker", "headset"), ("speaker", "HDMI 0")]
    assert [choose(found, role, wanted).number for role, wanted in chosen] == [1, 0, 0, 1, 2]


@pytest.mark.usefixtures("laptop")
@pytest.mark.parametrize(
    ("role", "wanted", "message"),
    [
        ("microphone", "hdmi", r"No microphone is called 'hdmi'\. Choose one by its number: 0 \(HDA .*, 1 \(USB"),
        ("speaker", "h", r"More than one speaker is called 'h'\. Choose one by its number: 0 .*, 1 .*, 2 "),
        ("speaker", "7", "No speaker is called '7'"),
    ],
)
def test_an_unclear_choice_lists_what_there_is(role: str, wanted: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(devices(), role, wanted)


async def test_a_microphone_and_a_loudspeaker_of_the_machine(laptop: PortAudio) -> None:
    microphone, speaker = open_sound("", "hdmi")
    assert isinstance(microphone, DeviceMicrophone)
    assert isinstance(speaker, DeviceSpeaker)
    hears, plays = (options["callback"] for options in laptop.opened)
    assert [options["device"] for options in laptop.opened] == [1, 2]
    times = SimpleNamespace(currentTime=1.0, inputBufferAdcTime=0.99, outputBufferDacTime=1.02)
    block = tone(0.01, RATE).tobytes()
    speaker.play(block)
    out = bytearray(BLOCK)
    plays(memoryview(out), 480, times, None)
    assert bytes(out) == block
    plays(memoryview(out), 480, times, None)
    assert bytes(out) == SILENCE
    await asyncio.to_thread(hears, block, 480, times, None)
    assert len(await microphone.block()) == BLOCK
    slow = SimpleNamespace(currentTime=9.0, inputBufferAdcTime=0.0, outputBufferDacTime=-9.0)
    await asyncio.to_thread(hears, block, 480, slow, None)
    assert len(await microphone.block()) == BLOCK
    microphone.close()
    speaker.close()
    assert laptop.closed == [1, 2]


async def test_a_device_that_does_not_open_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", PortAudio(LAPTOP, broken=True))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="The microphone 'USB Headset: Audio' cannot be opened: Device unavailable"):
        open_sound("", "none")


async def test_none_and_files_need_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # type: ignore[arg-type]
    microphone, speaker = open_sound("none", str(tmp_path / "a.WAV"))
    assert isinstance(microphone, Silence)
    assert microphone.live
    assert await microphone.block() == SILENCE
    speaker.close()
