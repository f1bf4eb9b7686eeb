"""The streams of agents' sessions: who may take part, and how long one may stall.

A stock agent does whatever anybody in its room asks on the topic ``lk.agent.session``: show its instructions and
the whole conversation, say something, fall silent. It answers everybody. Where a room protects its sessions, only
agents and those with ``canManageAgentSession`` send such streams or receive them. And it reads one stream after the
other: one that is never closed would keep it from hearing anything else. ``docs/protocol.md``, "Agents' sessions".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from livekit.protocol import models

TOPIC: Final = "lk.agent.session"
STALLED: Final = 10.0
"""How long a stream may be open with nothing coming. Messages are short, and written at once."""

OPEN: Final = 64
"""How many streams one participant may have open. SDKs have one."""


class Member(Protocol):
    """Somebody who sends or receives."""

    sid: str
    permission: models.ParticipantPermission

    @property
    def is_agent(self) -> bool:
        """Whether this is an agent."""
        ...


class Part(Enum):
    """What a packet is to agents' sessions."""

    NONE = auto()
    TAKEN = auto()
    REFUSED = auto()


@dataclass(slots=True)
class _Stream:
    """An open stream, and the packet that would end it."""

    end: models.DataPacket
    allowed: bool
    heard: float


class SessionStreams:
    """The streams on the topic that are open. A header names the topic; what follows names the stream only.

    :param protect: only those who may manage sessions take part.
    """

    def __init__(self, *, protect: bool) -> None:
        self._protect = protect
        self._open: dict[str, dict[str, _Stream]] = {}

    def may_take_part(self, member: Member) -> bool:
        """Whether somebody may send to agents' sessions and receive what they tell."""
        return not self._protect or member.is_agent or member.permission.can_manage_agent_session

    def judge(self, sender: Member, packet: models.DataPacket, kind: str | None, now: float) -> Part:
        """Decide about a packet, whose sender the server has filled in."""
        if kind == "stream_header" and packet.stream_header.topic == TOPIC:
            return self._begin(sender, packet, now)
        if kind not in {"stream_chunk", "stream_trailer"} or sender.sid not in self._open:
            return Part.NONE
        streams = self._open[sender.sid]
        ends = kind == "stream_trailer"
        stream = streams.get(packet.stream_trailer.stream_id if ends else packet.stream_chunk.stream_id)
        if stream is None:
            return Part.NONE
        stream.heard = now
        if ends:
            self._forget(sender.sid, packet.stream_trailer.stream_id)
        return Part.TAKEN if stream.allowed else Part.REFUSED

    def stalled(self, now: float) -> Iterator[models.DataPacket]:
        """Yield what ends the streams that nothing has come of for too long, and forget these."""
        for sid, streams in list(self._open.items()):
            for stream_id, stream in list(streams.items()):
                if now - stream.heard >= STALLED:
                    self._forget(sid, stream_id)
                    if stream.allowed:
                        yield stream.end

    def _begin(self, sender: Member, packet: models.DataPacket, now: float) -> Part:
        streams = self._open.setdefault(sender.sid, {})
        if len(streams) >= OPEN:
            return Part.REFUSED
        stream_id = packet.stream_header.stream_id
        end = models.DataPacket(
            kind=models.DataPacket.RELIABLE,
            participant_sid=packet.participant_sid,
            participant_identity=packet.participant_identity,
            destination_identities=packet.destination_identities,
            stream_trailer=models.DataStream.Trailer(stream_id=stream_id, reason="nothing came for too long"),
        )
        allowed = self.may_take_part(sender)
        streams[stream_id] = _Stream(end, allowed, now)
        return Part.TAKEN if allowed else Part.REFUSED

    def _forget(self, sid: str, stream_id: str) -> None:
        streams = self._open[sid]
        del streams[stream_id]
        if not streams:
            del self._open[sid]
