"""The data path: one packet in, one packet out to many (``docs/protocol.md``, "Data packets").

Pure: it is given the sender and the room's participants and returns what to send. A packet is decoded
once, corrected in place and encoded once, whatever the number of receivers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from google.protobuf.message import DecodeError
from livekit.protocol import models

from greenroom._media import Channel, TransportId
from greenroom.server.data._metrics import normalize
from greenroom.server.data._sessions import Part, SessionStreams

_NONCES: Final = 100
# Dropped like an empty packet: `speaker` was replaced by a signalling message years ago.
_DEAD_KINDS: Final = frozenset({None, "speaker"})


class Peer(Protocol):
    """What routing needs to know of a participant."""

    sid: str
    identity: str
    transport: TransportId
    permission: models.ParticipantPermission
    last_sequence: int

    @property
    def hidden(self) -> bool:
        """Whether the others are not told who this is."""
        ...

    @property
    def is_agent(self) -> bool:
        """Whether it may speak on behalf of others."""
        ...


class Outbound(NamedTuple):
    """One message for many transports."""

    to: list[TransportId]
    label: str
    payload: bytes


class DataRouter:
    """Routes the data packets of one room.

    :param limit: largest inbound packet in bytes; larger ones are dropped.
    :param protect_sessions: agents' sessions are for those only who may manage them.
    """

    def __init__(self, limit: int, *, protect_sessions: bool = False) -> None:
        self._limit = limit
        self._sessions = SessionStreams(protect=protect_sessions)
        self._nonces: deque[bytes] = deque(maxlen=_NONCES)
        #: Packets not forwarded, by reason.
        self.dropped: Counter[str] = Counter()

    def route(self, sender: Peer, peers: Mapping[str, Peer], label: str, payload: bytes, now: float) -> Outbound | None:
        """Decide about a message that ``sender`` wrote on the channel ``label``.

        :param peers: everyone who may receive, the sender included, by identity.
        :param now: seconds since the epoch.
        """
        if not sender.permission.can_publish_data:
            return self._drop("not_allowed")
        if len(payload) > self._limit:
            return self._drop("too_large")
        if label == Channel.RELIABLE:
            return self._packet(sender, peers, payload, now, lossy=False)
        if label == Channel.LOSSY:
            return self._packet(sender, peers, payload, now, lossy=True)
        if label == Channel.DATA_TRACK:
            return self._drop("data_track")
        return self._opaque(sender, peers, payload)

    def server_packet(self, peers: Mapping[str, Peer], packet: models.DataPacket) -> Outbound | None:
        """Decide about a packet that an API call sends into the room. Repeated nonces are dropped."""
        nonce = packet.user.nonce
        if nonce:
            if nonce in self._nonces:
                return self._drop("repeated")
            self._nonces.append(nonce)
        lossy = packet.kind == models.DataPacket.LOSSY
        return _outbound(_receivers(packet, peers, ""), packet, lossy=lossy)

    def tick(self, peers: Mapping[str, Peer], now: float) -> list[Outbound]:
        """End the streams of agents' sessions that stall. Call every second."""
        ends: list[Outbound] = []
        for packet in self._sessions.stalled(now):
            self.dropped["stalled"] += 1
            outbound = _outbound(_receivers(packet, self._members(peers), ""), packet, lossy=False)
            ends += [] if outbound is None else [outbound]
        return ends

    def _packet(
        self, sender: Peer, peers: Mapping[str, Peer], payload: bytes, now: float, *, lossy: bool
    ) -> Outbound | None:
        try:
            packet = models.DataPacket.FromString(payload)
        except DecodeError:
            return self._drop("malformed")
        kind = packet.WhichOneof("value")
        if kind in _DEAD_KINDS:
            return self._drop("unsupported")
        # Lossy packets carry no sequence. A client that resumes repeats reliable ones it is not sure of.
        sequence = packet.sequence
        if sequence and not lossy:
            if sequence <= sender.last_sequence:
                return self._drop("repeated")
            sender.last_sequence = sequence
        packet.kind = models.DataPacket.LOSSY if lossy else models.DataPacket.RELIABLE
        packet.participant_sid = sender.sid
        if kind == "metrics":
            return self._metrics(sender, peers, packet, now, lossy=lossy)
        if kind == "transcription" and not sender.is_agent:
            return self._drop("not_agent")
        return self._forward(sender, peers, packet, now, lossy=lossy)

    def _forward(
        self, sender: Peer, peers: Mapping[str, Peer], packet: models.DataPacket, now: float, *, lossy: bool
    ) -> Outbound | None:
        kind = packet.WhichOneof("value")
        if kind == "user":
            _correct_user(packet, sender)
        if not _speaks_for_another(packet, kind, sender):
            packet.participant_identity = "" if sender.hidden else sender.identity
        part = self._sessions.judge(sender, packet, kind, now)
        if part is Part.REFUSED:
            return self._drop("agent_session")
        if part is Part.TAKEN:
            peers = self._members(peers)
        return _outbound(_receivers(packet, peers, sender.identity), packet, lossy=lossy)

    def _members(self, peers: Mapping[str, Peer]) -> Mapping[str, Peer]:
        return {identity: peer for identity, peer in peers.items() if self._sessions.may_take_part(peer)}

    def _metrics(
        self, sender: Peer, peers: Mapping[str, Peer], packet: models.DataPacket, now: float, *, lossy: bool
    ) -> Outbound | None:
        packet.participant_identity = "" if sender.hidden else sender.identity
        normalize(packet.metrics, now)
        receivers = [peer.transport for peer in peers.values() if peer.permission.can_subscribe_metrics]
        return _outbound(receivers, packet, lossy=lossy)

    def _opaque(self, sender: Peer, peers: Mapping[str, Peer], payload: bytes) -> Outbound | None:
        packet = models.DataPacket(
            kind=models.DataPacket.RELIABLE, participant_sid=sender.sid, user=models.UserPacket(payload=payload)
        )
        _correct_user(packet, sender)
        packet.participant_identity = packet.user.participant_identity
        return _outbound(_receivers(packet, peers, sender.identity), packet, lossy=False)

    def _drop(self, reason: str) -> Outbound | None:
        self.dropped[reason] += 1
        return None


def _correct_user(packet: models.DataPacket, sender: Peer) -> None:
    """Fill in the sender, and unify the destinations of the packet and of the deprecated inner list."""
    user = packet.user
    user.participant_sid = "" if sender.hidden else sender.sid
    user.participant_identity = "" if sender.hidden else sender.identity
    if packet.destination_identities:
        user.ClearField("destination_identities")
        user.destination_identities.extend(packet.destination_identities)
    elif user.destination_identities:
        packet.destination_identities.extend(user.destination_identities)


def _speaks_for_another(packet: models.DataPacket, kind: str | None, sender: Peer) -> bool:
    """Let an agent put somebody else's name on a chat message or a text stream, and mark it as generated."""
    if kind not in {"chat_message", "stream_header"} or not sender.is_agent:
        return False
    if packet.participant_identity in {"", sender.identity}:
        return False
    if kind == "chat_message":
        packet.chat_message.generated = True
        return True
    if not packet.stream_header.HasField("text_header"):
        return False
    packet.stream_header.text_header.generated = True
    return True


def _receivers(packet: models.DataPacket, peers: Mapping[str, Peer], sender: str) -> list[TransportId]:
    """Return the transports a packet is for: everyone but the sender, or those it names."""
    named = packet.destination_identities
    sids = packet.user.destination_sids if packet.HasField("user") else ()
    if not named and not sids:
        return [peer.transport for identity, peer in peers.items() if identity != sender]
    chosen = [peers[identity] for identity in dict.fromkeys(named) if identity in peers and identity != sender]
    if sids:
        chosen += _by_sid(peers, sids, {sender, *named})
    return [peer.transport for peer in chosen]


def _by_sid(peers: Mapping[str, Peer], sids: Iterable[str], without: set[str]) -> list[Peer]:
    wanted = set(sids)
    return [peer for identity, peer in peers.items() if peer.sid in wanted and identity not in without]


def _outbound(receivers: list[TransportId], packet: models.DataPacket, *, lossy: bool) -> Outbound | None:
    if not receivers:
        return None
    return Outbound(receivers, Channel.LOSSY if lossy else Channel.RELIABLE, packet.SerializeToString())
