"""Tones sent and measured with the official Python SDK: pitch and loudness at the far end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc

RATE = 48_000
TIMEOUT = 20.0
# How late a window may be before it counts as missing.
MISSING = 1.0
# What a measurement looks at. Long enough to tell 20 Hz apart.
WINDOW = RATE // 5


@contextlib.asynccontextmanager
async def tone(hz: float, level: float = 0.25, *, channels: int = 1) -> AsyncIterator[rtc.LocalAudioTrack]:
    """Yield a track that carries a sine wave.

    :param level: its peak, 1 being the loudest.
    """
    source = rtc.AudioSource(RATE, channels, queue_size_ms=200)

    async def play() -> None:
        length, start = RATE // 100, 0
        while True:
            times = np.arange(start, start + length) / RATE
            wave = (np.sin(2 * np.pi * hz * times) * level * 32767).astype(np.int16)
            data = np.repeat(wave, channels).tobytes()
            await source.capture_frame(rtc.AudioFrame(data, RATE, channels, length))
            start += length

    playing = asyncio.create_task(play())
    try:
        yield rtc.LocalAudioTrack.create_audio_track("mic", source)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await source.aclose()


class Ear:
    """Listens to one received track."""

    def __init__(self, track: rtc.Track) -> None:
        self._stream = rtc.AudioStream.from_track(track=track, sample_rate=RATE, num_channels=1)
        self._rest = np.zeros(0, dtype=np.int16)

    async def take(self) -> np.ndarray:
        """Return the next window of samples, each between -1 and 1."""
        while len(self._rest) < WINDOW:
            frame = (await anext(self._stream)).frame
            self._rest = np.concatenate([self._rest, np.frombuffer(frame.data, dtype=np.int16)])
        window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
        return window / 32768

    async def hears(self, hz: float, level: float = 0.25) -> None:
        """Return once a tone of this pitch and this level, give or take a quarter, fills a window."""
        last: tuple[float, float] = (0, 0)
        try:
            async with asyncio.timeout(TIMEOUT):
                while not (abs(last[0] - hz) <= 10 and 0.75 * level <= last[1] <= 1.25 * level):
                    last = measure(await self.take())
        except TimeoutError:
            raise AssertionError(f"{hz} Hz at {level} was not heard; the last was {last}") from None

    async def hears_something(self) -> None:
        """Return once a window is not silent."""
        async with asyncio.timeout(TIMEOUT):
            while measure(await self.take())[1] < 0.01:
                pass

    async def hears_nothing(self, windows: int = 2) -> None:
        """Return once so many windows in a row are silent, or do not come: a section that is off has no frames."""
        silent = 0
        async with asyncio.timeout(TIMEOUT):
            while silent < windows:
                try:
                    window = await asyncio.wait_for(self.take(), MISSING)
                except TimeoutError:
                    window = np.zeros(1)
                silent = silent + 1 if np.max(np.abs(window)) < 0.01 else 0

    async def close(self) -> None:
        await self._stream.aclose()


def measure(samples: np.ndarray) -> tuple[float, float]:
    """Return the strongest frequency and the peak level of a sine wave as loud as the samples."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    level = float(np.sqrt(2 * np.mean(samples**2)))
    return float(np.argmax(spectrum)) * RATE / len(samples), level
