"""The seam between the control plane and whatever moves the media.

Python decides, the engine carries. Transports are named by integers that Python chooses. Commands
never block; events arrive in batches on the event loop that started the engine. RTP stays inside the
engine; data packets cross. Two engines keep this contract: ``Str0mEngine`` (the Rust core) and
``FakeEngine`` (virtual time, no sockets). ``tests/conformance/media`` runs one suite over both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

TransportId: TypeAlias = int


class Channel(StrEnum):
    """The data channels LiveKit clients open, by label. The client's stream ids differ; labels do not."""

    RELIABLE = "_reliable"
    LOSSY = "_lossy"
    DATA_TRACK = "_data_track"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Where the engine listens.

    :param bind: address of the UDP socket; a wildcard listens everywhere.
    :param port: UDP port, 0 for any free one.
    :param addresses: addresses put into candidates. Empty: the bind address or, for a wildcard, those
        of every interface.
    :param max_message: largest data-channel message in bytes, written into answers.
    :param send_buffer: bytes that may wait for one reliable receiver before it is given up.
    """

    bind: str = "127.0.0.1"
    port: int = 0
    addresses: tuple[str, ...] = ()
    max_message: int = 64_000
    send_buffer: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Section:
    """One media section of an accepted offer: ``kind`` is audio, video or application, ``direction`` what
    the client offered, ``cid`` the second token of its ``a=msid`` (empty without one)."""

    mid: str
    kind: str
    direction: str
    cid: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to an offer. ``sections`` are in the order of the offer."""

    sdp: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class TransportConnected:
    """ICE and DTLS are up. Sent once per transport."""

    transport: TransportId


@dataclass(frozen=True, slots=True)
class TransportClosed:
    """The transport is gone without having been closed by command. Sent at most once, and last.

    ``reason`` is ``ice_timeout`` (the client went silent), ``dtls`` (handshake or close alert),
    ``overflow`` (a reliable receiver fell behind ``send_buffer``) or ``fault`` (a defect in the engine that
    cost this transport only; ``detail`` says which)."""

    transport: TransportId
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """The client opened a data channel."""

    transport: TransportId
    label: str


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A data channel ended while its transport lives on."""

    transport: TransportId
    label: str


@dataclass(frozen=True, slots=True)
class DataReceived:
    """One whole message from a client's data channel."""

    transport: TransportId
    label: str
    payload: bytes


Event: TypeAlias = TransportConnected | TransportClosed | ChannelOpened | ChannelClosed | DataReceived
EventHandler: TypeAlias = Callable[[Sequence[Event]], None]


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since the engine started, and what is alive now."""

    transports: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_unroutable: int = 0
    messages_in: int = 0
    messages_out: int = 0
    lossy_dropped: int = 0
    events_pending: int = 0
    faults: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)


class MediaEngine(Protocol):
    """Moves media and data for many transports."""

    @property
    def port(self) -> int:
        """The UDP port in use; 0 before :meth:`start` and for engines without sockets."""
        ...

    async def start(self, on_events: EventHandler) -> None:
        """Open sockets and begin. Events reach ``on_events`` on this event loop, in order.

        Raises :class:`greenroom.errors.PortInUseError` or :class:`greenroom.errors.ConfigError`.
        """
        ...

    async def stop(self) -> None:
        """Close every transport and join every thread. Idempotent; no event follows."""
        ...

    def create_transport(self, transport: TransportId, *, lite: bool = True) -> None:
        """Prepare a transport as ICE-lite (or full ICE) and DTLS server, with the engine's host candidates."""
        ...

    async def accept_offer(self, transport: TransportId, sdp: str) -> Answer:
        """Apply the client's offer and return the answer.

        The application section is accepted; every media section is answered ``inactive``. Header
        extensions and payload types are accepted on all of them, RED is left out, candidates are inside.
        Raises :class:`greenroom.errors.MediaEngineError` for an unknown transport or an unusable offer;
        the transport stays as it was.
        """
        ...

    def add_candidate(self, transport: TransportId, candidate: str) -> None:
        """Give the transport a remote candidate (the ``candidate:…`` line). Unusable ones are ignored."""
        ...

    def send(self, transports: Sequence[TransportId], label: str, payload: bytes) -> None:
        """Send one message to many transports.

        Order is kept per transport and label. Before the channel opens, reliable messages wait and lossy
        ones are dropped. A reliable receiver that falls behind ``send_buffer`` is closed with ``overflow``;
        a congested lossy one loses messages. Unknown transports are ignored.
        """
        ...

    def close_transport(self, transport: TransportId) -> None:
        """Flush what can be flushed at once, close, and forget. No event follows for it. Idempotent."""
        ...

    def stats(self) -> EngineStats:
        """Return counters without stopping anything."""
        ...
