"""What lies between a fake engine and its peers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace

from greenroom._media._engine import (
    Channel,
    DataReceived,
    EngineStats,
    Event,
    EventHandler,
    TransportClosed,
    TransportId,
)
from greenroom._media._fake_media import FakePacket, FakeTracks


@dataclass(slots=True)
class Transport:
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


@dataclass(slots=True)
class Inbox:
    """What a client was sent; it outlives the transport."""

    received: dict[str, list[bytes]] = field(default_factory=dict)
    rtp: dict[str, list[FakePacket]] = field(default_factory=dict)


class Wire:
    """What lies between the engine and its peers: transports, undelivered messages, events not yet told."""

    def __init__(self, send_buffer: int) -> None:
        self.now = 0.0
        self.handler: EventHandler | None = None
        self.transports: dict[TransportId, Transport] = {}
        self.inboxes: dict[TransportId, Inbox] = {}
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
        self.inboxes[transport].received.setdefault(label, []).append(payload)

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
                self.inboxes[receiver].rtp.setdefault(place, []).append(forwarded)

    def end(self, transport: TransportId, reason: str, detail: str = "") -> None:
        """Lose a transport other than by command."""
        if self.transports.pop(transport, None) is not None:
            self.tracks.close(transport)
            self.count(faults=int(reason == "fault"))
            self.emit(TransportClosed(transport, reason, detail))
