"""An engine without sockets, threads or a clock, for tests of everything above the seam.

Time is what :meth:`FakeEngine.advance` says. Clients are :class:`FakePeer` objects. Whatever happens is
told through the event loop, in batches and in order, as the Rust engine tells it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from greenroom._media._engine import (
    NO_PLAN,
    Answer,
    Channel,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    EngineStats,
    Event,
    EventHandler,
    Plan,
    Section,
    Send,
    TrackId,
    TransportClosed,
    TransportConnected,
    TransportEvent,
    TransportId,
)
from greenroom._media._fake_media import WINDOW, FakePacket, FakeTracks
from greenroom._media._fake_sdp import answer, client_offer, parse_offer, ssrc
from greenroom.errors import MediaEngineError

ICE_TIMEOUT: Final = 15.0
# The discard port: a real client that is given a fake answer must not find a stranger there.
_CANDIDATE_PORT: Final = 9


@dataclass(slots=True)
class _Transport:
    """One client's connection, seen from both ends."""

    lite: bool
    mids: tuple[str, ...] = ()
    remote_ufrag: str = ""
    restarts: int = -1
    candidates: list[str] = field(default_factory=list)
    connected: bool = False
    channels: set[str] = field(default_factory=set)
    waiting: dict[str, deque[bytes]] = field(default_factory=dict)
    waiting_bytes: int = 0
    paused: bool = False
    silent_since: float | None = None
    # SSRCs of what the engine sends, by mid.
    ssrcs: dict[str, int] = field(default_factory=dict)


class _Wire:
    """What lies between the engine and its peers: transports, undelivered messages, events not yet told."""

    def __init__(self, send_buffer: int) -> None:
        self.now = 0.0
        self.handler: EventHandler | None = None
        self.transports: dict[TransportId, _Transport] = {}
        self.peers: dict[TransportId, FakePeer] = {}
        self.pending: list[Event] = []
        self.idle = asyncio.Event()
        self.stats = EngineStats()
        self.tracks = FakeTracks()
        self._send_buffer = send_buffer

    def count(self, **more: int) -> None:
        """Add to counters by name."""
        self.stats = replace(self.stats, **{name: getattr(self.stats, name) + by for name, by in more.items()})

    def emit(self, event: Event) -> None:
        """Tell an event with the loop's next turn, together with the others of this one."""
        if self.handler is None:
            return
        if not self.pending:
            self.idle.clear()
            asyncio.get_running_loop().call_soon(self._tell)
        self.pending.append(event)

    def _tell(self) -> None:
        batch, self.pending = self.pending, []
        self.idle.set()
        if self.handler is not None and batch:
            self.handler(batch)

    def to_peer(self, transport: TransportId, label: str, payload: bytes) -> None:
        """Carry a message towards the client, as far as its channel and its appetite allow."""
        state = self.transports[transport]
        if label in state.channels and not state.paused:
            self._deliver(transport, label, payload)
        elif label != Channel.RELIABLE:
            self.count(lossy_dropped=1)
        elif state.waiting_bytes + len(payload) > self._send_buffer:
            self.end(transport, "overflow")
        else:
            state.waiting.setdefault(label, deque()).append(payload)
            state.waiting_bytes += len(payload)

    def flush(self, transport: TransportId) -> None:
        """Deliver what waited, where there is a channel for it and the client takes it."""
        state = self.transports[transport]
        if state.paused:
            return
        for label in state.channels & state.waiting.keys():
            for payload in state.waiting.pop(label):
                state.waiting_bytes -= len(payload)
                self._deliver(transport, label, payload)

    def _deliver(self, transport: TransportId, label: str, payload: bytes) -> None:
        self.count(messages_out=1, packets_out=1, bytes_out=len(payload))
        self.peers[transport].received.setdefault(label, []).append(payload)

    def from_peer(self, transport: TransportId, label: str, payload: bytes) -> None:
        """Carry a message from the client to the engine's owner."""
        self.count(messages_in=1, packets_in=1, bytes_in=len(payload))
        self.emit(DataReceived(transport, label, payload))

    def rtp_from_peer(self, transport: TransportId, mid: str, packet: FakePacket) -> None:
        """Carry an RTP packet to everybody it is forwarded to."""
        self.count(rtp_in=1, packets_in=1, bytes_in=len(packet.payload))
        event, receivers = self.tracks.take(transport, mid, packet.sequence, packet.level)
        if event is not None:
            self.emit(event)
        for receiver, place, number in receivers:
            state = self.transports[receiver]
            if state.connected and not state.paused and place in state.ssrcs:
                self.count(rtp_out=1, packets_out=1, bytes_out=len(packet.payload))
                forwarded = FakePacket(state.ssrcs[place], number, packet.payload, packet.level)
                self.peers[receiver].rtp.setdefault(place, []).append(forwarded)

    def end(self, transport: TransportId, reason: str, detail: str = "") -> None:
        """Lose a transport other than by command."""
        if self.transports.pop(transport, None) is not None:
            self.tracks.close(transport)
            self.count(faults=int(reason == "fault"))
            self.emit(TransportClosed(transport, reason, detail))


class FakeEngine:
    """A :class:`~greenroom._media.MediaEngine` in virtual time.

    :param auto_connect: bring a transport up and open LiveKit's three channels as soon as an offer with an
        application section is answered, for tests whose signalling client has no media of its own.
    """

    def __init__(self, config: EngineConfig | None = None, *, auto_connect: bool = False) -> None:
        self.config = config or EngineConfig()
        self.wire = _Wire(self.config.send_buffer)
        self._auto_connect = auto_connect

    @property
    def port(self) -> int:
        """Always 0: there is no socket."""
        return 0

    async def start(self, on_events: EventHandler) -> None:
        """Begin to deliver events on this event loop."""
        if self.wire.handler is not None:
            raise MediaEngineError("The media engine is already running")
        self.wire.handler = on_events

    async def stop(self) -> None:
        """Forget every transport and every event not yet told."""
        self.wire.handler = None
        self.wire.transports.clear()
        self.wire.pending.clear()

    def create_transport(self, transport: TransportId, *, lite: bool = True) -> None:
        """Prepare a transport. Raises :class:`MediaEngineError` when stopped or when the number is taken."""
        if self.wire.handler is None:
            raise MediaEngineError("The media engine is not running")
        if transport in self.wire.transports:
            raise MediaEngineError("The transport exists already", context={"transport": transport})
        self.wire.transports[transport] = _Transport(lite=lite)
        self.wire.peers[transport] = FakePeer(self, transport)

    def inspect_offer(self, sdp: str) -> tuple[Section, ...]:
        """Return the sections of an offer."""
        return tuple(part.section() for part in parse_offer(sdp).sections)

    async def accept_offer(self, transport: TransportId, sdp: str, plan: Plan = NO_PLAN) -> Answer:
        """Answer from a template: the application section accepted, media as planned, RED left out."""
        state = self.wire.transports.get(transport)
        if state is None:
            raise MediaEngineError("The transport is unknown", context={"transport": transport})
        offer = parse_offer(sdp)
        sections = tuple(part.section() for part in offer.sections)
        mids = tuple(section.mid for section in sections)
        if mids[: len(state.mids)] != state.mids:
            raise MediaEngineError(
                "The offer cannot be used: it drops or reorders sections of an earlier one",
                fix="Keep every section and append new ones",
            )
        restarts = state.restarts + (offer.ufrag != state.remote_ufrag)
        text = answer(
            offer,
            seed=f"{transport}/{restarts}",
            lite=state.lite,
            candidates=self._host_candidates(),
            max_message=self.config.max_message,
            plan=plan,
        )
        state.mids, state.remote_ufrag, state.restarts = mids, offer.ufrag, restarts
        state.ssrcs = {s.mid: ssrc(s.mid, act) for s in sections if isinstance(act := plan.get(s.mid), Send)}
        if self._auto_connect and any(part.kind == "application" for part in sections):
            peer = self.peer(transport)
            peer.connect()
            for label in Channel:
                peer.open_channel(label)
        return Answer(text, sections)

    def _host_candidates(self) -> list[str]:
        addresses = self.config.addresses or (self.config.bind,)
        return [f"candidate:{i} 1 udp 2130706431 {a} {_CANDIDATE_PORT} typ host" for i, a in enumerate(addresses, 1)]

    def add_candidate(self, transport: TransportId, candidate: str) -> None:
        """Remember a remote candidate, which :attr:`FakePeer.candidates` shows."""
        state = self.wire.transports.get(transport)
        if state is not None and candidate.startswith("candidate:") and len(candidate.split()) >= 8:
            state.candidates.append(candidate)

    def send(self, transports: Sequence[TransportId], label: str, payload: bytes) -> None:
        """Hand one message to many peers at once, or keep it for those that are not ready."""
        for transport in transports:
            if transport in self.wire.transports:
                self.wire.to_peer(transport, str(label), bytes(payload))

    def close_transport(self, transport: TransportId) -> None:
        """Forget a transport and what was still to be told about it."""
        if self.wire.transports.pop(transport, None) is not None:
            self.wire.tracks.close(transport)
            self.wire.pending[:] = [
                event
                for event in self.wire.pending
                if not isinstance(event, TransportEvent) or event.transport != transport
            ]

    def publish(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Take RTP that arrives on a section for this track."""
        if mid in self._mids(transport):
            self.wire.tracks.publish(track, transport, mid)

    def unpublish(self, track: TrackId) -> None:
        """End a track and every forward of it. Idempotent."""
        self.wire.tracks.unpublish(track)

    def forward(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """Send a track's packets on a section, instead of any other's."""
        if mid in self._mids(transport):
            self.wire.tracks.forward(track, transport, mid)

    def unforward(self, transport: TransportId, mid: str) -> None:
        """Send nothing more on a section. Idempotent."""
        self.wire.tracks.unforward(transport, mid)

    def set_forward_paused(self, transport: TransportId, mid: str, paused: bool) -> None:
        """Hold back one receiver's packets, or let them flow again."""
        self.wire.tracks.pause(transport, mid, paused=paused)

    def set_track_muted(self, track: TrackId, muted: bool) -> None:
        """Hold back a track's packets from everybody, or let them flow again."""
        self.wire.tracks.mute(track, muted=muted)

    def _mids(self, transport: TransportId) -> tuple[str, ...]:
        state = self.wire.transports.get(transport)
        return state.mids if state is not None else ()

    def stats(self) -> EngineStats:
        """Return counters; one message counts as one packet."""
        return replace(self.wire.stats, transports=len(self.wire.transports), events_pending=len(self.wire.pending))

    def peer(self, transport: TransportId) -> FakePeer:
        """Return the client at the other end; it outlives its transport. Raises :class:`KeyError`."""
        return self.wire.peers[transport]

    @property
    def now(self) -> float:
        """Virtual seconds since the engine was made."""
        return self.wire.now

    def advance(self, seconds: float) -> None:
        """Let virtual time pass.

        A peer that has been silent for 15 s is given up with ``ice_timeout``. Audio levels are told at every
        full 0.4 s; packets sent between two calls count for the first one passed.
        """
        windows = int(self.wire.now / WINDOW + 1e-6)
        self.wire.now += seconds
        if int(self.wire.now / WINDOW + 1e-6) > windows and (levels := self.wire.tracks.levels()) is not None:
            self.wire.emit(levels)
        for transport, state in list(self.wire.transports.items()):
            if state.silent_since is not None and self.now - state.silent_since >= ICE_TIMEOUT:
                self.wire.end(transport, "ice_timeout")

    async def settle(self) -> None:
        """Return once every event so far, and what its handling caused, has been delivered."""
        while self.wire.pending:
            await self.wire.idle.wait()


class FakePeer:
    """The client at the other end of one fake transport.

    Methods act at once; the engine's events about them come through the event loop. Acting on a transport
    that is gone does nothing, as a packet to a closed connection does nothing.
    """

    def __init__(self, engine: FakeEngine, transport: TransportId) -> None:
        self.transport = transport
        #: Messages from the engine by label, oldest first.
        self.received: dict[str, list[bytes]] = {}
        #: RTP packets from the engine by mid, oldest first.
        self.rtp: dict[str, list[FakePacket]] = {}
        self._wire = engine.wire
        self._sequences: dict[str, int] = {}

    @property
    def _state(self) -> _Transport | None:
        return self._wire.transports.get(self.transport)

    @property
    def alive(self) -> bool:
        """Whether the engine still knows this transport."""
        return self._state is not None

    @property
    def candidates(self) -> tuple[str, ...]:
        """The remote candidates that the engine was given."""
        state = self._state
        return tuple(state.candidates) if state else ()

    def offer(
        self, *, audio: int = 3, video: int = 3, generation: int = 0, more: Sequence[tuple[str, str, str]] = ()
    ) -> str:
        """Return an offer of a single-peer-connection LiveKit client; the sections of its first only receive.

        :param generation: another number is an ICE restart.
        :param more: kind, direction and cid of the sections that later offers append.
        """
        return client_offer(audio=audio, video=video, generation=generation, more=more)

    def connect(self) -> None:
        """Bring ICE and DTLS up. Raises :class:`RuntimeError` when no offer has been answered."""
        state = self._state
        if state is None or state.connected:
            return
        if not state.mids:
            raise RuntimeError("A peer cannot connect before its offer is answered")
        state.connected = True
        self._wire.emit(TransportConnected(self.transport))

    def open_channel(self, label: str) -> None:
        """Open a data channel; what the engine kept for it arrives."""
        state = self._state
        if state is None or not state.connected or label in state.channels:
            return
        state.channels.add(str(label))
        self._wire.emit(ChannelOpened(self.transport, str(label)))
        self._wire.flush(self.transport)

    def close_channel(self, label: str) -> None:
        """End a data channel; the transport lives on."""
        state = self._state
        if state is not None and label in state.channels:
            state.channels.discard(str(label))
            self._wire.emit(ChannelClosed(self.transport, str(label)))

    def send(self, label: str, payload: bytes) -> None:
        """Send one message on an open channel."""
        state = self._state
        if state is not None and label in state.channels and state.silent_since is None:
            self._wire.from_peer(self.transport, str(label), bytes(payload))

    def send_rtp(self, mid: str, payload: bytes, *, sequence: int | None = None, level: float = -20.0) -> None:
        """Send one RTP packet on a section.

        :param sequence: its number, by default the next one; a higher one means that some were lost.
        :param level: what its header says of its loudness, in dBov.
        """
        state = self._state
        if state is None or not state.connected or state.silent_since is not None:
            return
        number = self._sequences.get(mid, 1000) + 1 if sequence is None else sequence
        self._sequences[mid] = number
        self._wire.rtp_from_peer(self.transport, mid, FakePacket(1, number, payload, level))

    def pause(self) -> None:
        """Stop acknowledging: reliable messages pile up in the engine, lossy ones are lost."""
        state = self._state
        if state is not None:
            state.paused = True

    def resume(self) -> None:
        """Take what piled up, and everything after it."""
        state = self._state
        if state is not None:
            state.paused = False
            self._wire.flush(self.transport)

    def go_silent(self) -> None:
        """Vanish from the network; :meth:`FakeEngine.advance` makes the engine notice."""
        state = self._state
        if state is not None and state.connected and state.silent_since is None:
            state.silent_since = self._wire.now
            state.paused = True

    def return_from_silence(self) -> None:
        """Come back before the engine gave up."""
        state = self._state
        if state is not None and state.silent_since is not None:
            state.silent_since = None
            self.resume()

    def close(self) -> None:
        """Send a DTLS close alert."""
        self._wire.end(self.transport, "dtls", "close_notify")

    def fault(self, detail: str = "injected") -> None:
        """Make the engine fail at this transport, as a panic in its core would."""
        self._wire.end(self.transport, "fault", detail)
