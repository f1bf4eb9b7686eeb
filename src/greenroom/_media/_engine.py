"""The seam between the control plane and whatever moves the media.

Python decides, the engine carries. Transports are named by integers that Python chooses. Commands
never block; events arrive in batches on the event loop that started the engine. RTP stays inside the
engine; data packets cross. Two engines keep this contract: ``Str0mEngine`` (the Rust core) and
``FakeEngine`` (virtual time, no sockets). ``tests/conformance/media`` runs one suite over both.

A track is named by an integer, too. Python reads an offer (:meth:`MediaEngine.inspect_offer`), decides what
each section is for (:class:`Plan`), and says which track comes in on which section and goes out on which
others. Payloads pass as they came; header numbers are rewritten for each receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

TransportId: TypeAlias = int
TrackId: TypeAlias = int


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
    """One media section of an offer: ``kind`` is audio, video or application, ``direction`` what the client
    offers (``inactive`` for a rejected section), ``cid`` the second token of its ``a=msid`` (empty without one).
    """

    mid: str
    kind: str
    direction: str
    cid: str = ""


@dataclass(frozen=True, slots=True)
class Receive:
    """Take in what the client sends on a section.

    :param dtx: ask an Opus sender to be silent when the speaker is (``usedtx=1``).
    :param stereo: ask an Opus sender for two channels (``stereo=1``).
    """

    dtx: bool = True
    stereo: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send on a section, under these two halves of ``a=msid:<stream> <track>``."""

    stream: str
    track: str


#: What the server does on each section, by mid. Media sections that are not in it are answered ``inactive``.
Plan: TypeAlias = Mapping[str, Receive | Send]
NO_PLAN: Final[Plan] = MappingProxyType({})


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
    cost this transport only; ``detail`` says which).
    """

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


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """The first RTP packet of a track is there. Sent once per track."""

    track: TrackId


@dataclass(frozen=True, slots=True)
class AudioLevels:
    """How loud the audio tracks were that sent anything in the last 400 ms.

    ``levels`` holds, per track, the mean level in dBov (0 is the loudest, -127 silence; from the
    ``ssrc-audio-level`` header extension) of the packets above -35 dBov, and the share of the window that they
    fill. Tracks that sent nothing are absent, and nothing is told while there are none.
    """

    levels: tuple[tuple[TrackId, float, float], ...]


TransportEvent: TypeAlias = TransportConnected | TransportClosed | ChannelOpened | ChannelClosed | DataReceived
TrackEvent: TypeAlias = TrackStarted | AudioLevels
Event: TypeAlias = TransportEvent | TrackEvent
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
    rtp_in: int = 0
    rtp_out: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)


class MediaEngine(Protocol):
    """Moves media and data for many transports. Commands that name an unknown track or section are ignored."""

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

    def inspect_offer(self, sdp: str) -> tuple[Section, ...]:
        """Return the sections of an offer, in its order, without applying it. Pure and quick.

        Raises :class:`greenroom.errors.MediaEngineError` for an unusable offer.
        """
        ...

    async def accept_offer(self, transport: TransportId, sdp: str, plan: Plan = NO_PLAN) -> Answer:
        """Apply the client's offer and return the answer, with media as ``plan`` says.

        The application section is accepted. :class:`Receive` is answered ``recvonly``, and is an error where the
        client does not send; :class:`Send` is answered ``sendonly`` with its msid and an SSRC that stays for as
        long as the section keeps that track and is another one for another track. Header extensions and payload
        types are accepted on all sections (those of congestion control on video only), RED is left out,
        candidates are inside.
        Raises :class:`greenroom.errors.MediaEngineError` for an unknown transport or an unusable offer or plan;
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

    def publish(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Take RTP that arrives on a section, answered as :class:`Receive`, for this track."""
        ...

    def unpublish(self, track: TrackId) -> None:
        """End a track and every forward of it. Idempotent."""
        ...

    def forward(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Send a track's packets on a section that was answered as :class:`Send`, instead of any other's.

        Its receiver sees one stream without a break, whatever is paused, muted or replaced; what was lost on
        the way in is missing on the way out.
        """
        ...

    def unforward(self, transport: TransportId, mid: str) -> None:
        """Send nothing more on a section. Idempotent."""
        ...

    def set_forward_paused(self, transport: TransportId, mid: str, paused: bool) -> None:
        """Hold back one receiver's packets, or let them flow again."""
        ...

    def set_track_muted(self, track: TrackId, muted: bool) -> None:
        """Hold back a track's packets from everybody, or let them flow again."""
        ...

    def close_transport(self, transport: TransportId) -> None:
        """Flush what can be flushed at once, close, and forget. No event follows for it. Idempotent.

        What it publishes and what is forwarded to it ends.
        """
        ...

    def stats(self) -> EngineStats:
        """Return counters without stopping anything."""
        ...
