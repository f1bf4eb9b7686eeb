"""Sound of a call: where the caller's voice comes from, where the others are heard, how loud it is.

All of it is 16-bit mono at ``RATE``, in blocks of ``BLOCK`` bytes: ten milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import numpy as np
from livekit import rtc

from greenroom.errors import ConfigError

RATE: Final = 48_000
SAMPLES: Final = RATE // 100
BLOCK: Final = 2 * SAMPLES
SILENCE: Final = bytes(BLOCK)
#: What is none: ``--microphone none``.
NOTHING: Final = "none"
#: How many steps :func:`loudness` has, from silence to as loud as it can be.
STEPS: Final = 5
# Quieter than this is silence, in decibels below full scale.
_FLOOR: Final = 50.0
# How long a recording is followed by silence before it counts as said: the agent must notice that it is over.
_PAUSE: Final = 1.5
_WAV: Final = {".wav", ".wave"}


class Microphone(Protocol):
    """Where the caller's voice comes from.

    :ivar live: whether somebody can say something at any time.
    """

    live: bool

    async def block(self) -> bytes:
        """Return the next ten milliseconds."""

    def close(self) -> None:
        """Stop listening."""


class Speaker(Protocol):
    """Where the others are heard."""

    def play(self, block: bytes) -> None:
        """Play ten milliseconds after what is still to be played."""

    def close(self) -> None:
        """Stop playing."""


#: What a call by voice goes through.
Sound: TypeAlias = tuple[Microphone, Speaker]


class Recording:
    """A microphone that says what a WAV file holds, once :meth:`begin` is called; before and after it is silent."""

    live = False

    def __init__(self, path: Path) -> None:
        self._blocks = _blocks_of(path)
        self._begun = False
        self.said: Final = asyncio.Event()

    def begin(self) -> None:
        """Start speaking."""
        self._begun = True

    async def block(self) -> bytes:
        """Return the next ten milliseconds."""
        if not self._begun:
            return SILENCE
        block = next(self._blocks, None)
        if block is None:
            self.said.set()
        return block or SILENCE

    def close(self) -> None:
        """Nothing is open."""


class Silence:
    """A microphone that is none, and a loudspeaker that is none."""

    live = True

    async def block(self) -> bytes:
        """Return ten milliseconds of silence."""
        return SILENCE

    def play(self, block: bytes) -> None:
        """Play nothing."""

    def close(self) -> None:
        """Nothing is open."""


class Recorder:
    """A loudspeaker that writes a WAV file; it takes the place of one that is there."""

    def __init__(self, path: Path) -> None:
        self._open = contextlib.ExitStack()
        try:
            raw = self._open.enter_context(path.open("wb"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}", fix="Choose another --speaker") from None
        self._file = self._open.enter_context(wave.Wave_write(raw))
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE)
        # The header must be there even if nothing is ever played.
        self._file.writeframes(b"")

    def play(self, block: bytes) -> None:
        """Add ten milliseconds to the file."""
        self._file.writeframesraw(block)

    def close(self) -> None:
        """Finish the file."""
        self._open.close()


def is_file(choice: str) -> bool:
    """Tell whether a microphone or loudspeaker is meant to be a WAV file."""
    return Path(choice).suffix.lower() in _WAV


def loudness(block: bytes) -> int:
    """Return how loud a block is, from 0 to ``STEPS``."""
    samples = np.frombuffer(block, dtype=np.int16).astype(np.float64)
    power = float(np.mean(samples**2)) if samples.size else 0.0
    if power < 1:
        return 0
    decibels = 10 * math.log10(power / 32768**2)
    return max(0, min(STEPS, math.ceil(STEPS * (decibels + _FLOOR) / _FLOOR)))


def _blocks_of(path: Path) -> Iterator[bytes]:
    fix = f"Convert it: ffmpeg -i {path} -ac 1 -c:a pcm_s16le OUT.wav"
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            audio = file.readframes(file.getnframes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", fix="Give a WAV file as the --microphone"
        ) from None
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it breaks off"
        raise ConfigError(f"{path} is no WAV file with plain samples: {reason}", fix=fix) from None
    if width != 2:
        raise ConfigError(f"{path} has samples of {8 * width} bits; 16 are understood", fix=fix)
    samples = np.frombuffer(audio[: len(audio) // (2 * channels) * 2 * channels], dtype=np.int16)
    mono = samples.reshape(-1, channels).mean(axis=1).astype(np.int16).tobytes()
    return _paced(_resampled(mono, rate))


def _resampled(mono: bytes, rate: int) -> bytes:
    if rate == RATE or not mono:
        return mono
    resampler = rtc.AudioResampler(rate, RATE, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH)
    frames = resampler.push(rtc.AudioFrame(mono, rate, 1, len(mono) // 2)) + resampler.flush()
    return b"".join(bytes(frame.data) for frame in frames)


def _paced(audio: bytes) -> Iterator[bytes]:
    for start in range(0, len(audio), BLOCK):
        yield audio[start : start + BLOCK].ljust(BLOCK, b"\0")
    for _ in range(round(100 * _PAUSE)):
        yield SILENCE
