"""The recogniser's process as the event loop sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from livekit.agents import APIConnectionError

_HEADER: Final = struct.Struct(">cI")
_PROGRAM: Final = Path(__file__).with_name("_stt_decoder.py")
# Answers are short; a line beyond this is not one.
_LINE_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; times are seconds from the beginning of the utterance."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What an utterance was recognised as. Without words nothing was understood."""

    words: tuple[Word, ...] = ()
    confidence: float = 0.0

    @property
    def text(self) -> str:
        """The words with blanks between."""
        return " ".join(word.text for word in self.words)


class Recogniser:
    """One recognising process, for one utterance at a time. Made by :meth:`start`.

    :ivar pid: the number of its process.
    :ivar unknown: words of the grammar that it left out, not knowing how they sound.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid: Final = process.pid
        self._on_interim: Callable[[str], None] = lambda _: None
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._reader = asyncio.create_task(self._read(), name="offline STT reader")
        self.unknown: tuple[str, ...] = ()

    @classmethod
    async def start(cls, config: bytes) -> Recogniser:
        """Start a process and wait until it has loaded ``config``. Raises ``APIConnectionError`` when it cannot."""
        process = await asyncio.create_subprocess_exec(
            # Without the program's directory on the path: its neighbours are no top-level modules.
            *(sys.executable, "-P", str(_PROGRAM)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        recogniser = cls(process)
        try:
            ready = await recogniser._ask(b"C", config, "ready")
        except BaseException:
            await recogniser.aclose()
            raise
        recogniser.unknown = tuple(ready["unknown"])
        return recogniser

    @property
    def alive(self) -> bool:
        """Whether the process still answers."""
        return not self._reader.done()

    async def begin(self, on_interim: Callable[[str], None]) -> None:
        """Begin an utterance; ``on_interim`` is told what it sounds like so far."""
        self._on_interim = on_interim
        await self._send(b"B")

    async def hear(self, audio: bytes) -> None:
        """Add 16-bit mono audio at 16 kHz. Waits while the process is far behind."""
        await self._send(b"A", audio)

    async def end(self) -> Heard:
        """End the utterance and return what it was."""
        result = await self._ask(b"E", b"", "final")
        words = tuple(Word(word["word"], word["start"], word["end"], word["confidence"]) for word in result["words"])
        return Heard(words, result["confidence"])

    async def drop(self) -> None:
        """End the utterance without wanting to know."""
        await self._ask(b"X", b"", "final")

    async def aclose(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._reader.cancel()
        await asyncio.wait({self._reader})

    async def _send(self, kind: bytes, payload: bytes = b"") -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_HEADER.pack(kind, len(payload)) + payload)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise _stopped() from None

    async def _ask(self, kind: bytes, payload: bytes, answer: str) -> Any:
        if not self.alive:
            raise _stopped()
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await self._send(kind, payload)
            return (await self._answer)[answer]
        finally:
            # An answer that nobody waits for any more may be an error.
            if not self._answer.cancel():
                self._answer.exception()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                message = json.loads(line)
                if "interim" in message:
                    self._on_interim(message["interim"])
                elif self._answer is not None and not self._answer.done():
                    self._answer.set_result(message)
        finally:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(_stopped())


def _stopped() -> APIConnectionError:
    return APIConnectionError("the offline STT's recogniser has stopped")
