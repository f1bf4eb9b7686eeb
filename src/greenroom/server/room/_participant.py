"""Somebody in a room: an agent, a person, a recorder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from livekit.protocol import models

from greenroom._media import TransportId
from greenroom.grants import Grant, VideoGrant, mint
from greenroom.ids import Prefix, new_id

if TYPE_CHECKING:
    from greenroom.server.room._messages import SignalPort
    from greenroom.server.room._room import Room

Info = models.ParticipantInfo

MIN_TOKEN_TTL: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """Who asks to join: what the token says, with what the join request may override already applied."""

    grant: Grant
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    client: models.ClientInfo = field(default_factory=models.ClientInfo)
    auto_subscribe: bool = True

    @property
    def kind(self) -> models.ParticipantInfo.Kind:
        """The kind the token names."""
        return self.grant.claims.participant_kind

    @property
    def permission(self) -> models.ParticipantPermission:
        """What the token permits."""
        return (self.grant.claims.video or VideoGrant()).permission()

    @property
    def dependent(self) -> bool:
        """Whether the participant will only be there for others."""
        return _is_dependent(self.kind, self.permission)


class Participant:
    """A participant as the room knows it. Only the room changes it.

    Its state goes JOINING, JOINED, ACTIVE, DISCONNECTED and never back. ``version`` grows with every
    change, so that a client can tell an old update from a new one.
    """

    def __init__(self, room: Room, transport: TransportId, joining: Joining, now: float) -> None:
        self.room = room
        self.transport = transport
        self.sid = new_id(Prefix.PARTICIPANT)
        self.identity = joining.identity
        self.name = joining.name
        self.metadata = joining.metadata
        self.attributes = dict(joining.attributes)
        self.kind = joining.kind
        self.kind_details = joining.grant.claims.participant_kind_details
        self.permission = joining.permission
        self.client = joining.client
        self.grant = joining.grant
        self.joined_at = now
        self.state: models.ParticipantInfo.State = Info.JOINING
        self.version = 1
        self.disconnect_reason: models.DisconnectReason = models.DisconnectReason.UNKNOWN_REASON
        #: What the participant publishes. Every update carries the whole list: Rust clients drop what it omits.
        self.tracks: list[models.TrackInfo] = []
        #: The last reliable sequence number seen, against repeats after a resume.
        self.last_sequence = 0
        self.signal: SignalPort | None = None
        self.media_lost_at: float | None = None
        self.token_due: float | None = None
        self._info: models.ParticipantInfo | None = None

    def __repr__(self) -> str:
        return f"Participant({self.sid}, state={Info.State.Name(self.state)})"

    @property
    def hidden(self) -> bool:
        """Whether the others are not told of this participant."""
        return self.permission.hidden

    @property
    def is_agent(self) -> bool:
        """Whether this is an agent, by kind or by permission."""
        return self.kind == Info.AGENT or self.permission.agent

    @property
    def recording(self) -> bool:
        """Whether this participant records the room."""
        return self.kind == Info.EGRESS or self.permission.recorder

    @property
    def dependent(self) -> bool:
        """Whether the participant is only there for others, and so neither keeps a room open nor fills it."""
        return _is_dependent(self.kind, self.permission)

    @property
    def is_publisher(self) -> bool:
        """Whether the participant publishes a track."""
        return bool(self.tracks)

    @property
    def present(self) -> bool:
        """Whether the participant has its join response and is still there."""
        return self.state in {Info.JOINED, Info.ACTIVE}

    def advance(self, state: models.ParticipantInfo.State) -> bool:
        """Move to a later state; an earlier one is refused."""
        if state <= self.state:
            return False
        self.state = state
        self.touch()
        return True

    def touch(self) -> None:
        """Note a change: the next info has a higher version."""
        self.version += 1
        self._info = None

    def info(self) -> models.ParticipantInfo:
        """Return LiveKit's view of this participant. Shared until the next change: do not modify."""
        if self._info is None:
            self._info = self._build_info()
        return self._info

    def _build_info(self) -> models.ParticipantInfo:
        return models.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            state=self.state,
            metadata=self.metadata,
            attributes=self.attributes,
            tracks=self.tracks,
            joined_at=int(self.joined_at),
            joined_at_ms=int(self.joined_at * 1000),
            version=self.version,
            permission=self.permission,
            is_publisher=self.is_publisher,
            kind=self.kind,
            kind_details=self.kind_details,
            disconnect_reason=self.disconnect_reason,
            # Other clients choose RPC and stream versions by these (docs/protocol.md, "Mirrored fields").
            client_protocol=self.client.client_protocol,
            capabilities=self.client.capabilities,
        )

    def fresh_token(self, now: float) -> str:
        """Mint a token that says what is true of the participant now, for its next full reconnect."""
        claims = self.grant.claims
        return mint(
            self.grant.key,
            msgspec.structs.replace(
                claims,
                identity=self.identity,
                name=self.name,
                metadata=self.metadata,
                attributes=dict(self.attributes),
                video=(claims.video or VideoGrant()).with_permission(self.permission),
            ),
            ttl=max(MIN_TOKEN_TTL, (claims.expires_at or now) - now),
            now=now,
        )


def _is_dependent(kind: models.ParticipantInfo.Kind, permission: models.ParticipantPermission) -> bool:
    return kind in {Info.AGENT, Info.EGRESS} or permission.recorder
