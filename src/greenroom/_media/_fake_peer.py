"""The client at the other end of a fake engine's transport."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom._media._engine import ChannelClosed, ChannelOpened, TransportConnected, TransportId
from greenroom._media._fake_media import FakePacket
from greenroom._media._fake_sdp import client_offer
from greenroom._media._fake_wire import Transport, Wire


class FakePeer:
    """The client at the other end of one fake transport.

    Methods act at once; the engine's events about them come through the event loop. Acting on a transport
    that is gone does nothing, as a packet to a closed connection does nothing.
    """

    def __init__(self, wire: Wire, transport: TransportId) -> None:
        self.transport = transport
        #: Messages from the engine by label, oldest first.
        self.received = wire.inboxes[transport].received
        #: RTP packets from the engine by mid, oldest first.
        self.rtp = wire.inboxes[transport].rtp
        self._wire = wire
        self._sequences: dict[str, int] = {}

    @property
    def _state(self) -> Transport | None:
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
