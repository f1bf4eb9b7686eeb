"""What a page plays, measured inside it, and speech for its microphone."""

from __future__ import annotations

import asyncio
import base64
import shutil
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.async_api import Page

from support.browser import FAKE_MICROPHONE
from support.sound import RATE, TIMEOUT, Ear
from support.voice_call import RATE as SPOKEN_RATE
from support.voice_call import spoken

# The samples that are measured at once: some 85 ms.
_LISTEN = """async (selector) => {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 4096 });
  const elements = [...document.querySelectorAll(selector)];
  for (const element of elements) context.createMediaStreamSource(element.srcObject).connect(analyser);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  const { sampleRate: rate } = context;
  await context.close();
  const playing = elements.filter((element) => !element.paused && !element.muted).length;
  return { rate, playing, samples: [...samples] };
}"""

_RECORD = """() => {
  window.recording = [];
  const context = new AudioContext({ sampleRate: 16000 });
  const tap = context.createScriptProcessor(4096, 1, 1);
  tap.onaudioprocess = ({ inputBuffer }) => {
    recording.push(Int16Array.from(inputBuffer.getChannelData(0), (sample) => sample * 32767));
  };
  context.createMediaStreamSource(document.querySelector("audio").srcObject).connect(tap);
  tap.connect(context.destination);
}"""
_RECORDED = """async () => {
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob(recording));
  });
  return url.slice(url.indexOf(",") + 1);
}"""


@dataclass(frozen=True)
class PageSound:
    """A moment of what a page plays: its strongest pitch in Hz, and the peak of a sine wave as loud as it."""

    hz: float
    level: float
    #: How many audio elements play and are not muted.
    playing: int


async def listen(page: Page, elements: str = "audio") -> PageSound:
    """Measure the sound that the audio elements of a page are given, or those that a selector names."""
    found = await page.evaluate(_LISTEN, elements)
    samples = np.array(found["samples"])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    hz = float(np.argmax(spectrum)) * found["rate"] / len(samples)
    return PageSound(hz, float(np.sqrt(2 * np.mean(samples**2))), found["playing"])


async def plays(page: Page, hz: float, level: float, elements: str = "audio") -> PageSound:
    """Return once the page plays a tone of this pitch and this level, give or take a quarter."""
    sound = PageSound(0, 0, 0)
    try:
        async with asyncio.timeout(TIMEOUT):
            while not (abs(sound.hz - hz) <= 15 and 0.75 * level <= sound.level <= 1.25 * level):
                sound = await listen(page, elements)
    except TimeoutError:
        raise AssertionError(f"{hz} Hz at {level} was not played; the last was {sound}") from None
    return sound


@dataclass(frozen=True)
class Speech:
    """Something spoken, as a file for :func:`speaking`."""

    path: Path
    #: Its loudness over time, one number for each 20 ms.
    loudness: np.ndarray

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes Chromium say it into every microphone, over and over, without asking."""
        return (*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={self.path}")


async def speech(text: str, path: Path) -> Speech:
    """Let flite speak a text into a file."""
    assert shutil.which("flite"), "flite is missing. Run: apt-get install flite"
    flite = await asyncio.create_subprocess_exec("flite", "-voice", "slt", "-t", text, "-o", str(path))
    assert await flite.wait() == 0
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16) / 32768
        return Speech(path, _loudness(samples, file.getframerate()))


async def hears_speech(ear: Ear, said: Speech) -> None:
    """Return once what is heard rises and falls as what is said over and over."""
    heard = np.zeros(0)
    best = 0.0
    try:
        async with asyncio.timeout(TIMEOUT):
            while best < 0.8:
                heard = np.concatenate([heard, _loudness(await ear.take(), RATE)])
                best = max(best, _likeness(heard[-2 * len(said.loudness) :], said.loudness))
    except TimeoutError:
        raise AssertionError(f"the speech was not heard; the best likeness was {best:.2f}") from None


def _loudness(samples: np.ndarray, rate: int) -> np.ndarray:
    length = rate // 50
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    return np.sqrt(np.mean(frames**2, axis=1))


def _likeness(heard: np.ndarray, said: np.ndarray) -> float:
    """Return how well the best stretch of what was heard correlates with what was said, at most 1."""
    if len(heard) < len(said):
        return 0
    stretches = np.lib.stride_tricks.sliding_window_view(heard, len(said))
    with np.errstate(invalid="ignore"):
        likeness = [np.corrcoef(stretch, said)[0, 1] for stretch in stretches[-12:]]
    return float(np.nan_to_num(likeness).max())


class Recording:
    """Everything that a page plays, from a moment on."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def of(cls, page: Page) -> Recording:
        """Begin to record the page's first audio element, once there is one."""
        await page.locator("audio").first.wait_for(state="attached")
        await page.evaluate(_RECORD)
        return cls(page)

    async def take(self) -> bytes:
        """Return what was played so far, as 16-bit mono audio at 16 kHz."""
        return base64.b64decode(await self._page.evaluate(_RECORDED))


def script(path: Path, *parts: str | float) -> Path:
    """Write a file for a microphone: texts that are spoken, and between them seconds of silence."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SPOKEN_RATE, 0, "NONE", ""))
        for part in parts:
            file.writeframes(spoken(part) if isinstance(part, str) else bytes(2 * round(SPOKEN_RATE * part)))
    return path
