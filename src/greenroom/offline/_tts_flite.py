"""Flite, run once for each piece of text."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import wave
from dataclasses import dataclass
from typing import Final

from livekit.agents import APIConnectionError, APITimeoutError

from greenroom.errors import ConfigError, GreenroomError

SAMPLE_RATE: Final = 16000
VOICES: Final = ("rms", "kal16", "slt", "awb")
# Flite takes a fiftieth of the time that the words take.
_TIMEOUT: Final = 30.0


class MissingProgramError(GreenroomError):
    """A program that Debian packages is not installed."""

    code = "missing_program"

    def __init__(self, feature: str, program: str, *, apt: str) -> None:
        super().__init__(
            f"{feature} needs the program '{program}'", fix=f"Run: apt-get install {apt}", context={"program": program}
        )


@dataclass(frozen=True, slots=True)
class Flite:
    """Flite with a voice.

    :param program: its path.
    :param voice: one of ``VOICES``.
    :param stretch: how much longer than usual it takes to say something.
    """

    program: str
    voice: str
    stretch: float

    @classmethod
    def find(cls, voice: str, speed: float) -> Flite:
        """Find flite on the path.

        Raises :class:`MissingProgramError` without it and :class:`ConfigError` for an unknown voice or a speed
        out of range.
        """
        if voice not in VOICES:
            raise ConfigError(f"The offline TTS has no voice '{voice}'", fix=f"Choose one of: {', '.join(VOICES)}")
        if not 0.25 <= speed <= 4:
            raise ConfigError("The offline TTS cannot speak at that speed", fix="Choose a speed from 0.25 to 4")
        program = shutil.which("flite")
        if program is None:
            raise MissingProgramError("The offline TTS", "flite", apt="flite")
        return cls(program, voice, 1 / speed)

    async def say(self, text: str) -> bytes:
        """Return ``text`` as 16-bit mono audio at ``SAMPLE_RATE``. When cancelled, flite is killed.

        Raises ``APIConnectionError`` when flite fails and ``APITimeoutError`` when it takes too long.
        """
        # In memory: flite writes its header last, which a pipe does not allow. The text goes through a pipe because
        # arguments are seen by every user of the machine.
        sink = os.memfd_create("speech")
        try:
            await self._run(text, sink)
            return _samples(os.pread(sink, os.fstat(sink).st_size, 0))
        finally:
            os.close(sink)

    async def _run(self, text: str, sink: int) -> None:
        process = await asyncio.create_subprocess_exec(
            self.program,
            *("-voice", self.voice, "--setf", f"duration_stretch={self.stretch:.3f}"),
            *("-f", "-", "-o", f"/proc/self/fd/{sink}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(sink,),
        )
        try:
            # Without an end of line flite may swallow the last word.
            await asyncio.wait_for(process.communicate(f"{text}\n".encode("ascii")), _TIMEOUT)
        except TimeoutError:
            raise APITimeoutError("flite takes too long") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise APIConnectionError(f"flite ended with status {process.returncode}")


def _samples(file: bytes) -> bytes:
    try:
        with wave.open(io.BytesIO(file)) as sound:
            form = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth())
            samples: bytes = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError):
        raise APIConnectionError("flite wrote no sound") from None
    if form != (SAMPLE_RATE, 1, 2):
        raise APIConnectionError(f"flite wrote {form[1]} channels of {8 * form[2]} bits at {form[0]} Hz")
    return samples
