"""Calls to a LiveKit server: peer connections of the native core, for a caller that does the signalling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from greenroom._media import _native

# What is asked of the calls waits for the end of a slice at most.
_SLICE: Final = 0.01


@dataclass(frozen=True)
class CallNews:
    """What happened to a call.

    :param kind: ``reachable`` (ICE found a way), ``connected`` (DTLS is complete, too), ``closed``, ``opened`` (a data
        channel) or ``message``.
    :param label: the data channel of the last two.
    """

    kind: str
    label: str = ""
    payload: bytes = b""


@dataclass(frozen=True)
class Heard:
    """A call's audio so far, in packets.

    :param received: of other calls of the same :class:`Calls`.
    :param lost: missing between those received.
    :param strange: of anybody else.
    :param latency: median seconds from one call to the other.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    strange: int = 0
    latency: float | None = None


class Calls:
    """Calls and the thread that serves them while the context is open. Its methods are for the event loop."""

    def __init__(self) -> None:
        self._native = _native.Calls()
        self._listeners: dict[int, Callable[[CallNews], None]] = {}
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in [*self._listeners]:
            self.close(call)
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump

    def open(
        self, host: str, listener: Callable[[CallNews], None], *, audio: int = 3, video: int = 3
    ) -> tuple[int, str]:
        """Begin a call and return its number and its first offer.

        :param host: the server's IP address.
        :param audio: how many audio tracks it can receive at first, ``video`` likewise.
        :raises OSError: there is no way to that address.
        """
        call, offer = self._native.open(host, audio, video)
        self._listeners[call] = listener
        return call, offer

    def offer(self, call: int, *, audio: int = 0, mic: str | None = None) -> str | None:
        """Return another offer, with more sections; ``None`` while an answer is awaited. Raises ``ValueError``."""
        return self._native.offer(call, audio, mic)

    def answer(self, call: int, sdp: str) -> None:
        """Take the server's answer. Raises ``ValueError``."""
        self._native.answer(call, sdp)

    def candidate(self, call: int, line: str) -> None:
        """Take a candidate of the server. Raises ``ValueError``."""
        self._native.candidate(call, line)

    def speak(self, call: int, *, size: int = 80, period: float = 0.02) -> None:
        """Send ``size`` bytes of audio every ``period`` seconds, as soon as the server lets it."""
        self._native.speak(call, size, period)

    def send(self, call: int, label: str, payload: bytes) -> bool:
        """Send a message on a data channel; ``False`` when it is not open."""
        return self._native.send(call, label, payload)

    def heard(self, call: int) -> Heard:
        """Return what a call has sent and received."""
        return Heard(**self._native.heard(call))

    def close(self, call: int) -> None:
        """End a call."""
        self._listeners.pop(call, None)
        self._native.close(call)

    async def _run(self) -> None:
        while True:
            for call, kind, label, payload in await asyncio.to_thread(self._native.run, _SLICE):
                listener = self._listeners.get(call)
                if listener:
                    listener(CallNews(kind, label, payload))
