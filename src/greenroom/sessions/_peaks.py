"""Peaks of a recording, for drawing its waveform: made in a process of their own, which decodes what was uploaded.

Stored are one byte for each channel and 20 ms: the loudest sample, 255 being full scale. ``docs/sessions.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from greenroom.errors import GreenroomError, MissingExtraError

logger = logging.getLogger(__name__)

RATE: Final = 50
_HEADER: Final = 2
_TIMEOUT: Final = 120.0
_IDLE: Final = 30.0
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_LARGEST: Final = 64 * 1024 * 1024


class PeaksError(GreenroomError):
    """The audio of a recording cannot be decoded."""

    code = "peaks_failed"
    status = 422


class Waveform(msgspec.Struct, frozen=True, kw_only=True):
    """Peaks by channel, each between 0 and 1; ``rate`` of them are a second."""

    rate: float
    duration: float
    channels: tuple[tuple[float, ...], ...]


def waveform(data: bytes, buckets: int | None = None) -> Waveform:
    """Read stored peaks, brought down to ``buckets`` a channel if there are more."""
    count, values = data[0], data[_HEADER:]
    length = len(values) // count if count else 0
    wanted = min(buckets or length, length)
    edges = [index * length // wanted for index in range(wanted + 1)] if wanted else [0]
    channels = []
    for channel in range(count):
        own = values[channel::count]
        found = (max(own[start:end]) for start, end in pairwise(edges))
        channels.append(tuple(round(value / 255, 3) for value in found))
    seconds = length / RATE
    return Waveform(rate=wanted / seconds if seconds else 0.0, duration=seconds, channels=tuple(channels))


class PeakMaker:
    """Makes peaks one recording after another. The process is started for the first and ends when idle."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def make(self, path: Path) -> bytes:
        """Return the peaks of the recording at ``path``.

        :raises MissingExtraError: PyAV is not installed.
        :raises PeaksError: the audio cannot be decoded, or decoding it took two minutes or the process's life.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return await self._ask(path)
            except (TimeoutError, EOFError, ConnectionError, asyncio.IncompleteReadError):
                await self.close()
                raise PeaksError("The recording could not be decoded: the decoder ended or took too long") from None
            except asyncio.CancelledError:
                await self.close()
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(_IDLE, self._end)

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        process = self._end()
        if process is not None:
            await process.wait()

    def _end(self) -> asyncio.subprocess.Process | None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return process

    async def _ask(self, path: Path) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(str(path)) + b"\n")
        await process.stdin.drain()
        word, size = (await process.stdout.readexactly(9)).split(b" ")
        body = await process.stdout.readexactly(int(size, 16))
        if word != b"ok":
            raise PeaksError(f"The recording could not be decoded: {body.decode('utf-8', 'replace')}")
        return body

    async def _start(self) -> asyncio.subprocess.Process:
        if importlib.util.find_spec("av") is None or importlib.util.find_spec("numpy") is None:
            raise MissingExtraError("Drawing a recording's waveform", "recordings")
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom.sessions._peaks_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LARGEST,
            start_new_session=True,
            # Keys are often in the environment; what decodes uploads has no use for them.
            env={name: value for name in _ENVIRONMENT if (value := os.environ.get(name)) is not None},
        )
