"""Who may take part in agents' sessions (``docs/protocol.md``, "Agents' sessions").

A stock agent does whatever anybody in its room asks on the topic ``lk.agent.session``: show its instructions and
the whole conversation, say something, fall silent. It answers everybody. Where a room protects its sessions, only
agents and those with ``canManageAgentSession`` send such streams or receive them.
"""

from __future__ import annotations

from typing import Final, Protocol

from livekit.protocol import models

TOPIC: Final = "lk.agent.session"
_OPEN: Final = 1024


class Member(Protocol):
    """Somebody who sends or receives."""

    sid: str
    permission: models.ParticipantPermission

    @property
    def is_agent(self) -> bool:
        """Whether this is an agent."""
        ...


class SessionStreams:
    """The streams on the topic that are under way. A header names the topic; what follows names the stream only."""

    def __init__(self) -> None:
        # Apart, so that whoever may not take part cannot push out the streams of those who may.
        self._allowed: dict[tuple[str, str], None] = {}
        self._refused: dict[tuple[str, str], None] = {}

    def holds(self, sender: Member, packet: models.DataPacket, kind: str | None) -> bool:
        """Whether a packet is part of an agent's session."""
        under_way = self._allowed if may_take_part(sender) else self._refused
        if kind == "stream_header":
            if packet.stream_header.topic != TOPIC:
                return False
            while len(under_way) >= _OPEN:
                del under_way[next(iter(under_way))]
            under_way[sender.sid, packet.stream_header.stream_id] = None
            return True
        if kind == "stream_chunk":
            return (sender.sid, packet.stream_chunk.stream_id) in under_way
        if kind == "stream_trailer":
            return under_way.pop((sender.sid, packet.stream_trailer.stream_id), 0) is None
        return False


def may_take_part(member: Member) -> bool:
    """Whether somebody may send to agents' sessions and receive what they tell."""
    return member.is_agent or member.permission.can_manage_agent_session
