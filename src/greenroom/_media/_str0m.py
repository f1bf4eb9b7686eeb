"""The Rust core as a :class:`~greenroom._media.MediaEngine`.

One native thread moves the media. It never touches Python: events wait in the core, a descriptor on the
event loop says that there are some, and one callback takes them in batches.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import itertools
import os
import socket
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from greenroom._media import _native
from greenroom._media._engine import (
    NO_PLAN,
    Answer,
    AudioLevels,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    EngineStats,
    Event,
    EventHandler,
    Plan,
    Receive,
    Section,
    Send,
    TrackId,
    TrackStarted,
    TransportClosed,
    TransportConnected,
    TransportEvent,
    TransportId,
)
from greenroom.errors import ConfigError, MediaEngineError, PortInUseError

# Events taken per turn of the event loop: few enough that handling them holds nothing else up for long.
_BATCH: Final = 256
_STATS: Final = frozenset(field.name for field in fields(EngineStats))

# Cores whose threads must be joined before the interpreter goes.
_running: set[_native.Engine] = set()


class Str0mEngine:
    """Moves media and data with str0m: ICE, DTLS, SRTP and SCTP on one thread and one UDP socket.

    It belongs to the process and the event loop that started it; a forked child must make its own.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self._native: _native.Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: EventHandler | None = None
        self._process = 0
        # The core has numbers of its own, never used twice: an event of a transport that was closed by command
        # finds no owner here and is dropped, even if its number is in use again.
        self._numbers = itertools.count(1)
        self._inward: dict[TransportId, int] = {}
        self._outward: dict[int, TransportId] = {}
        self._answers: dict[int, asyncio.Future[Answer]] = {}

    @property
    def port(self) -> int:
        """The UDP port in use; 0 when not running."""
        return self._native.port if self._native is not None else 0

    async def start(self, on_events: EventHandler) -> None:
        """Open the socket and begin. Events reach ``on_events`` on this event loop, in order."""
        if self._native is not None:
            raise MediaEngineError("The media engine is already running")
        self._native = _open(self.config)
        self._handler = on_events
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._native.fileno(), self._take)
        _running.add(self._native)

    async def stop(self) -> None:
        """Close every transport and join the thread. Idempotent; no event follows."""
        native, self._native, self._handler = self._native, None, None
        if native is None:
            return
        self._inward.clear()
        self._outward.clear()
        _running.discard(native)
        if self._process != os.getpid():
            # The loop's poller is shared with the parent of the fork: leave it alone, too.
            native.stop()
            return
        loop = asyncio.get_running_loop()
        try:
            if loop is self._loop:
                # The thread says goodbye to every client first, which must not hold up the loop.
                stopped = asyncio.Event()
                loop.add_reader(native.fileno(), lambda: _await_stopped(native, stopped))
                native.finish()
                await stopped.wait()
        finally:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(native.fileno())
            native.stop()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(MediaEngineError("The media engine has stopped"))

    def create_transport(self, transport: TransportId, *, lite: bool = True) -> None:
        """Prepare a transport. Raises :class:`MediaEngineError` when stopped or when the number is taken."""
        native = self._engine()
        if transport in self._inward:
            raise MediaEngineError("The transport exists already", context={"transport": transport})
        number = next(self._numbers)
        self._inward[transport] = number
        self._outward[number] = transport
        native.create(number, lite)

    def inspect_offer(self, sdp: str) -> tuple[Section, ...]:
        """Return the sections of an offer; see :class:`~greenroom._media.MediaEngine`."""
        try:
            return tuple(Section(*section) for section in _native.inspect_offer(sdp))
        except ValueError as error:
            raise _unusable(str(error)) from None

    async def accept_offer(self, transport: TransportId, sdp: str, plan: Plan = NO_PLAN) -> Answer:
        """Apply the client's offer and return the answer; see :class:`~greenroom._media.MediaEngine`."""
        native = self._engine()
        number = self._inward.get(transport)
        if number is None:
            raise MediaEngineError("The transport is unknown", context={"transport": transport})
        request = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        try:
            receive = [(mid, act.dtx, act.stereo) for mid, act in plan.items() if isinstance(act, Receive)]
            send = [(mid, act.stream, act.track) for mid, act in plan.items() if isinstance(act, Send)]
            native.offer(request, number, sdp, receive, send)
            return await answer
        finally:
            self._answers.pop(request, None)

    def add_candidate(self, transport: TransportId, candidate: str) -> None:
        """Give the transport a remote candidate (the ``candidate:…`` line). Unusable ones are ignored."""
        number = self._inward.get(transport)
        if number is not None:
            self._engine().candidate(number, candidate)

    def send(self, transports: Sequence[TransportId], label: str, payload: bytes) -> None:
        """Send one message to many transports; see :class:`~greenroom._media.MediaEngine`."""
        inward = self._inward
        numbers = [inward[transport] for transport in transports if transport in inward]
        if numbers:
            self._engine().send(numbers, label, payload)

    def publish(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Take RTP that arrives on a section for this track."""
        number = self._inward.get(transport)
        if number is not None:
            self._engine().publish(track, number, mid)

    def unpublish(self, track: TrackId) -> None:
        """End a track and every forward of it. Idempotent."""
        self._engine().unpublish(track)

    def forward(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Send a track's packets on a section, instead of any other's."""
        number = self._inward.get(transport)
        if number is not None:
            self._engine().forward(track, number, mid)

    def unforward(self, transport: TransportId, mid: str) -> None:
        """Send nothing more on a section. Idempotent."""
        number = self._inward.get(transport)
        if number is not None:
            self._engine().unforward(number, mid)

    def set_forward_paused(self, transport: TransportId, mid: str, paused: bool) -> None:
        """Hold back one receiver's packets, or let them flow again."""
        number = self._inward.get(transport)
        if number is not None:
            self._engine().pause(number, mid, paused)

    def set_track_muted(self, track: TrackId, muted: bool) -> None:
        """Hold back a track's packets from everybody, or let them flow again."""
        self._engine().mute(track, muted)

    def close_transport(self, transport: TransportId) -> None:
        """Flush what can be flushed at once, close, and forget. No event follows for it. Idempotent."""
        number = self._inward.pop(transport, None)
        if number is not None:
            del self._outward[number]
            self._engine().close(number)

    def stats(self) -> EngineStats:
        """Return counters without stopping anything; zeros when not running."""
        if self._native is None:
            return EngineStats()
        counters = self._native.stats()
        known = {name: counters.pop(name) for name in _STATS & counters.keys()}
        return EngineStats(**known, events_pending=self._native.pending(), extra=dict(counters))

    def _engine(self) -> _native.Engine:
        if self._native is None:
            raise MediaEngineError("The media engine is not running")
        if self._process != os.getpid():
            raise MediaEngineError(
                "The media engine belongs to the process that started it",
                fix="Start the engine after the fork, or spawn the process instead",
            )
        return self._native

    def _take(self) -> None:
        """Take a batch of events. The descriptor stays readable while more are waiting."""
        if self._native is None or self._handler is None:
            return
        batch: list[Event] = []
        for kind, number, *rest in self._native.take(_BATCH):
            if kind in (_native.ANSWERED, _native.REFUSED):
                self._resolve(number, kind, rest)
            elif kind == _native.TRACK_STARTED:
                batch.append(TrackStarted(number))
            elif kind == _native.AUDIO_LEVELS:
                batch.append(AudioLevels(rest[0]))
            elif (transport := self._outward.get(number)) is not None:
                batch.append(self._event(kind, transport, rest))
        if batch:
            self._handler(batch)

    def _resolve(self, request: int, kind: int, rest: list[Any]) -> None:
        answer = self._answers.get(request)
        if answer is None or answer.done():
            return
        if kind == _native.ANSWERED:
            sdp, sections = rest
            answer.set_result(Answer(sdp, tuple(Section(*section) for section in sections)))
        else:
            answer.set_exception(_unusable(rest[0]))

    def _event(self, kind: int, transport: TransportId, rest: list[Any]) -> TransportEvent:
        if kind == _native.DATA:
            return DataReceived(transport, *rest)
        if kind == _native.CHANNEL_OPENED:
            return ChannelOpened(transport, *rest)
        if kind == _native.CHANNEL_CLOSED:
            return ChannelClosed(transport, *rest)
        if kind == _native.CONNECTED:
            return TransportConnected(transport)
        self._outward.pop(self._inward.pop(transport), None)
        return TransportClosed(transport, *rest)


def _unusable(reason: str) -> MediaEngineError:
    return MediaEngineError(f"The offer cannot be used: {reason}")


def _await_stopped(native: _native.Engine, stopped: asyncio.Event) -> None:
    if any(event[0] == _native.STOPPED for event in native.take(_BATCH)):
        stopped.set()


def _open(config: EngineConfig) -> _native.Engine:
    try:
        return _native.Engine(
            bind=_resolve_host(config.bind),
            port=config.port,
            addresses=config.addresses,
            max_message=config.max_message,
            send_buffer=config.send_buffer,
        )
    except ValueError as error:
        raise ConfigError(
            f"'{error}' is not an IP address", fix="Give media addresses as numbers, for example 192.0.2.7"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(config.bind, config.port, protocol="UDP", option="--rtc-port") from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"{config.bind} is not an address of this machine", fix="Pass --bind with one of its addresses"
            ) from None
        raise ConfigError(
            f"UDP port {config.port} on {config.bind} cannot be opened: {error.strerror or error}",
            fix="Choose another with --rtc-port",
        ) from None


def _resolve_host(host: str) -> str:
    """Turn a name such as ``localhost`` into an address; leave anything else as it is."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return host
    # IPv4 first: it is what a browser on a machine without IPv6 can reach.
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def _join_all() -> None:
    for native in _running:
        native.stop()


atexit.register(_join_all)
