"""An engine without sockets, threads or a clock, for tests of everything above the seam.

Time is what :meth:`FakeEngine.advance` says. Clients are :class:`FakePeer` objects. Whatever happens is
told through the event loop, in batches and in order, as the Rust engine tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from greenroom._media._engine import (
    NO_PLAN,
    Answer,
    Channel,
    EngineConfig,
    EngineStats,
    EventHandler,
    Plan,
    Section,
    Send,
    TrackId,
    TransportEvent,
    TransportId,
)
from greenroom._media._fake_media import WINDOW
from greenroom._media._fake_peer import FakePeer
from greenroom._media._fake_sdp import answer, parse_offer, ssrc
from greenroom._media._fake_wire import Inbox, Transport, Wire
from greenroom.errors import MediaEngineError

ICE_TIMEOUT: Final = 15.0
# The discard port: a real client that is given a fake answer must not find a stranger there.
_CANDIDATE_PORT: Final = 9


class FakeEngine:
    """A :class:`~greenroom._media.MediaEngine` in virtual time.

    :param auto_connect: bring a transport up and open LiveKit's three channels as soon as an offer with an
        application section is answered, for tests whose signalling client has no media of its own.
    """

    def __init__(self, config: EngineConfig | None = None, *, auto_connect: bool = False) -> None:
        self.config = config or EngineConfig()
        self.wire = Wire(self.config.send_buffer)
        self._peers: dict[TransportId, FakePeer] = {}
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
        self.wire.transports[transport] = Transport(lite=lite)
        self.wire.inboxes[transport] = Inbox()
        self._peers[transport] = FakePeer(self.wire, transport)

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
        return self._peers[transport]

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
