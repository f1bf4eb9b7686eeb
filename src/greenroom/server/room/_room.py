"""The room: who is in it, what they are told, and when it ends.

Synchronous and pure: methods take the time and return what is to be done (``docs/protocol.md``,
"Rooms"). Times are seconds since the epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from livekit.protocol import agent_dispatch, models, rtc
from livekit.protocol import room as room_pb

from greenroom._media import TrackId, TransportId
from greenroom.config import Limits, RoomDefaults
from greenroom.ids import Prefix, new_id
from greenroom.server.data import DataRouter
from greenroom.server.room._announcements import Announcements
from greenroom.server.room._answers import Answers
from greenroom.server.room._effects import AgentsRequested, Drop, Effect, Happened, Signal, Tell
from greenroom.server.room._errors import RoomFullError
from greenroom.server.room._join import join_response
from greenroom.server.room._limits import check_attributes, check_metadata, check_name, merge_attributes
from greenroom.server.room._messages import DISCONNECT, RECONNECT, leave
from greenroom.server.room._participant import Info, Joining, Participant
from greenroom.server.tracks import Tracks

Reason = models.DisconnectReason

JOIN_TIMEOUT: Final = 60.0
MEDIA_GRACE: Final = 5.0
TOKEN_INTERVAL: Final = 300.0

# What a client may give as its reason to leave; anything else is CLIENT_INITIATED.
_CLIENT_REASONS: Final = frozenset({Reason.USER_UNAVAILABLE, Reason.USER_REJECTED, Reason.AGENT_ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What every room of one server shares.

    :param track_numbers: the engine's names for tracks.
    """

    info: models.ServerInfo
    limits: Limits
    defaults: RoomDefaults
    track_numbers: Iterator[TrackId] = field(default_factory=lambda: itertools.count(1))


class Room:
    """One room.

    :param agents: the explicit list of agents to dispatch; ``None`` when the creator gave none, which
        means one automatic dispatch.
    """

    def __init__(self, name: str, server: ServerFacts, now: float) -> None:
        self.sid = new_id(Prefix.ROOM)
        self.name = name
        self.server = server
        self.metadata = ""
        self.empty_timeout = server.defaults.empty_timeout
        self.departure_timeout = server.defaults.departure_timeout
        self.max_participants = server.defaults.max_participants
        self.agents: list[agent_dispatch.RoomAgentDispatch] | None = None
        self.created_at = now
        self.closed = False
        #: Why the room ended.
        self.end_reason: models.DisconnectReason = Reason.UNKNOWN_REASON
        self._participants: dict[str, Participant] = {}
        self._last_left: float | None = None
        self._announcements = Announcements(self._participants)
        self._answers = Answers()
        self._router = DataRouter(server.limits.data_packet, protect_sessions=server.defaults.protect_agent_sessions)
        #: Who publishes and receives what.
        self.tracks = Tracks(server.limits, server.track_numbers, self._announce_tracks)
        self._counts = self._count()

    def __repr__(self) -> str:
        return f"Room({self.sid}, participants={len(self._participants)}, closed={self.closed})"

    @property
    def participants(self) -> Mapping[str, Participant]:
        """Everybody in the room, hidden ones too, by identity."""
        return self._participants

    @property
    def flush_at(self) -> float | None:
        """When :meth:`flush` has something to do."""
        if self.tracks.is_behind:
            return 0.0
        return min((due for due in (self._announcements.due, self._answers.due) if due is not None), default=None)

    @property
    def dropped_packets(self) -> Mapping[str, int]:
        """Inbound data packets that were not forwarded, by reason."""
        return self._router.dropped

    def info(self) -> models.Room:
        """Return LiveKit's view of the room. Agents, recorders and hidden participants are not counted."""
        present, publishers, recording = self._count()
        return models.Room(
            sid=self.sid,
            name=self.name,
            empty_timeout=self.empty_timeout,
            departure_timeout=self.departure_timeout,
            max_participants=self.max_participants,
            creation_time=int(self.created_at),
            creation_time_ms=int(self.created_at * 1000),
            metadata=self.metadata,
            num_participants=present,
            num_publishers=publishers,
            active_recording=recording,
        )

    def _count(self) -> tuple[int, int, bool]:
        everybody = self._participants.values()
        return (
            sum(not (p.dependent or p.hidden) for p in everybody),
            sum(p.is_publisher for p in everybody),
            any(p.recording for p in everybody),
        )

    # Creation and settings

    def configure(self, settings: room_pb.CreateRoomRequest | room_pb.RoomConfiguration) -> None:
        """Take over the fields that are set. Raises :class:`LimitError` before anything has changed."""
        check_metadata(settings.metadata, self.server.limits)
        self.empty_timeout = settings.empty_timeout or self.empty_timeout
        self.departure_timeout = settings.departure_timeout or self.departure_timeout
        self.max_participants = settings.max_participants or self.max_participants
        self.metadata = settings.metadata or self.metadata
        known = {agent.agent_name for agent in self.agents or ()}
        if new := [agent for agent in settings.agents if agent.agent_name not in known]:
            self.agents = [*(self.agents or ()), *new]

    def reconfigure(self, settings: room_pb.CreateRoomRequest) -> list[Effect]:
        """Change a room that exists already, and tell whom it concerns. Raises :class:`LimitError`."""
        metadata, agents = self.metadata, len(self.agents or ())
        self.configure(settings)
        new = (self.agents or [])[agents:]
        effects = self.announce_room() if self.metadata != metadata else []
        return [*effects, AgentsRequested(new)] if new else effects

    def update_metadata(self, metadata: str) -> list[Effect]:
        """Replace the room's metadata and tell everybody. Raises :class:`LimitError`."""
        check_metadata(metadata, self.server.limits)
        self.metadata = metadata
        return self.announce_room()

    def announce_room(self) -> list[Effect]:
        """Tell everybody about the room itself."""
        self._counts = self._count()
        update = rtc.SignalResponse(room_update=rtc.RoomUpdate(room=self.info()))
        return [Signal(self._present(), update)]

    # Joining

    def check_join(self, joining: Joining) -> None:
        """Raise :class:`RoomFullError` when the room has no place for this participant."""
        if not self.max_participants or joining.dependent:
            return
        others = sum(not p.dependent for p in self._participants.values() if p.identity != joining.identity)
        if others >= self.max_participants:
            raise RoomFullError(self.name, self.max_participants)

    def join(self, transport: TransportId, joining: Joining, now: float) -> tuple[Participant, list[Effect]]:
        """Let somebody in; whoever has the same identity has to go. Raises :class:`RoomFullError`."""
        self.check_join(joining)
        effects: list[Effect] = []
        earlier = self._participants.get(joining.identity)
        if earlier is not None:
            effects += self.remove(earlier, Reason.DUPLICATE_IDENTITY, now)
        # Clients match by identity: a newcomer must not hear of a departure from before its time.
        if self._announcements.has_departures:
            effects += self._announcements.flush()
        participant = Participant(self, transport, joining, now)
        self._participants[participant.identity] = participant
        participant.advance(Info.JOINED)
        tracks = self.tracks.enter(participant, auto_subscribe=joining.auto_subscribe)
        others = [p for p in self._participants.values() if p is not participant and not p.hidden]
        return participant, [
            *effects,
            Tell(Happened.JOINED, participant),
            Signal([participant], join_response(self.server.info, self.info(), participant, others)),
            *tracks,
            *self._announcements.add(participant, now, also_self=False),
        ]

    def media_connected(self, participant: Participant, now: float) -> list[Effect]:
        """The participant's transport is up."""
        if not participant.advance(Info.ACTIVE):
            return []
        return [
            *self._announcements.add(participant, now),
            *self._refresh_token(participant, now),
            Tell(Happened.ACTIVE, participant),
        ]

    # Leaving

    def client_left(self, participant: Participant, reason: models.DisconnectReason, now: float) -> list[Effect]:
        """The participant says goodbye."""
        accepted = reason if reason in _CLIENT_REASONS else Reason.CLIENT_INITIATED
        return self.remove(participant, accepted, now, action=None)

    def signal_lost(self, participant: Participant, now: float) -> list[Effect]:
        """The signalling connection is gone. While media is up the participant stays."""
        participant.signal = None
        if participant.state != Info.ACTIVE:
            return self.remove(participant, Reason.SIGNAL_CLOSE, now, action=None)
        if participant.media_lost_at is not None:
            return self.remove(participant, Reason.CONNECTION_TIMEOUT, now, action=None)
        return []

    def media_lost(self, participant: Participant, why: str, now: float) -> list[Effect]:
        """The engine lost the participant's transport; ``why`` is the engine's reason.

        There is no resume, so a client that is still there is sent into a full reconnect.
        """
        if why == "overflow":
            return self.remove(participant, Reason.STATE_MISMATCH, now, action=RECONNECT)
        if why == "fault":
            return self.remove(participant, Reason.MEDIA_FAILURE, now, action=RECONNECT)
        if participant.state != Info.ACTIVE:
            return self.remove(participant, Reason.JOIN_FAILURE, now)
        if why == "dtls" and participant.signal is not None:
            # Clients close their peer connection first and say goodbye a moment later.
            participant.media_lost_at = now
            return []
        return self.remove(participant, Reason.CONNECTION_TIMEOUT, now, action=RECONNECT)

    def remove(
        self,
        participant: Participant,
        reason: models.DisconnectReason,
        now: float,
        *,
        action: rtc.LeaveRequest.Action | None = DISCONNECT,
    ) -> list[Effect]:
        """Take a participant out and tell the others.

        :param action: what its client should do next. ``None`` tells it nothing, and a client that is
            told nothing tries to resume.
        """
        if self._participants.get(participant.identity) is not participant:
            return []
        message = None if action is None else leave(reason, action)
        gone = self._take_out(participant, reason, message, now)
        # The next joiner may have the same identity; everyone must know of the departure before that.
        urgent = reason == Reason.DUPLICATE_IDENTITY
        return [*self._announcements.add(participant, now, urgent=urgent), *gone]

    def close(self, reason: models.DisconnectReason, now: float) -> list[Effect]:
        """End the room: everybody is sent away."""
        if self.closed:
            return []
        self.closed = True
        self.end_reason = reason
        message = leave(reason, DISCONNECT)
        effects: list[Effect] = [*self.tracks.close()]
        for participant in list(self._participants.values()):
            effects += self._take_out(participant, reason, message, now)
        return [*effects, Tell(Happened.ROOM_FINISHED)]

    def _take_out(
        self,
        participant: Participant,
        reason: models.DisconnectReason,
        message: rtc.SignalResponse | None,
        now: float,
    ) -> list[Effect]:
        del self._participants[participant.identity]
        participant.disconnect_reason = reason
        participant.advance(Info.DISCONNECTED)
        if not participant.dependent:
            self._last_left = now
        tracks = self.tracks.leave(participant, now)
        return [*tracks, Drop(participant, message), Tell(Happened.LEFT, participant, reason)]

    # Changes

    def update_participant(
        self,
        participant: Participant,
        now: float,
        *,
        metadata: str = "",
        name: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: models.ParticipantPermission | None = None,
    ) -> list[Effect]:
        """Change what is given: an empty text changes nothing, attributes are merged, permission is replaced.

        Everybody is told at once, the participant included. Raises :class:`LimitError`.
        """
        limits = self.server.limits
        check_name(name, limits)
        check_metadata(metadata, limits)
        merged = merge_attributes(participant.attributes, attributes or {})
        check_attributes(merged, limits)
        new = (name or participant.name, metadata or participant.metadata, merged)
        changed = new != (participant.name, participant.metadata, participant.attributes)
        participant.name, participant.metadata, participant.attributes = new
        permitted = permission is not None and permission != participant.permission
        was_hidden = participant.hidden
        effects: list[Effect] = []
        if permission is not None and permitted:
            participant.permission = models.ParticipantPermission()
            participant.permission.CopyFrom(permission)
            effects += self.tracks.revoke(participant, now)
        if not (changed or permitted):
            return []
        participant.touch()
        if participant.hidden and not was_hidden:
            effects += self._announcements.vanish(participant)
        effects += self._announcements.add(participant, now, urgent=True)
        if permitted:
            effects += self.tracks.permission_changed(participant, now)
            effects += self._refresh_token(participant, now)
        return effects

    def _announce_tracks(self, participant: Participant, now: float) -> list[Signal]:
        # Its client is ahead of us: an update of its own tracks would set back what it has just changed.
        return self._announcements.add(participant, now, urgent=True, also_self=False)

    def answer(self, participant: Participant, response: rtc.RequestResponse, now: float) -> list[Effect]:
        """Answer a request that the participant waits for."""
        return self._answers.add(participant, response, now)

    def _refresh_token(self, participant: Participant, now: float) -> list[Effect]:
        participant.token_due = now + TOKEN_INTERVAL
        return [Signal([participant], rtc.SignalResponse(refresh_token=participant.fresh_token(now)))]

    # Data

    def data(self, sender: Participant, label: str, payload: bytes, now: float) -> list[Effect]:
        """Forward a data-channel message of ``sender``."""
        outbound = self._router.route(sender, self._participants, label, payload, now)
        if outbound is None:
            return []
        if self._announcements.due is not None and sender in self._announcements:
            # Receivers should know who is speaking.
            return [*self._announcements.flush(), outbound]
        return [outbound]

    def server_data(self, packet: models.DataPacket) -> list[Effect]:
        """Send a packet that comes from an API call."""
        outbound = self._router.server_packet(self._participants, packet)
        return [] if outbound is None else [outbound]

    # Time

    def flush(self, now: float) -> list[Effect]:
        """Tell what was put off until now; due at :attr:`flush_at`."""
        due = self._announcements.due
        gathered = self._announcements.flush() if due is not None and due <= now else []
        return [*gathered, *self._answers.flush(now), *(self.tracks.catch_up(now) if self.tracks.is_behind else ())]

    def tick(self, now: float) -> list[Effect]:
        """Do what time brings: timeouts, fresh tokens, counts, the end of an empty room. Call every second."""
        effects: list[Effect] = []
        for participant in list(self._participants.values()):
            effects += self._tick_participant(participant, now)
        if self._expired(now):
            return effects + self.close(Reason.ROOM_CLOSED, now)
        effects += [*self.tracks.tick(now), *self._router.tick(self._participants, now)]
        if self._counts != self._count():
            effects += self.announce_room()
        return effects

    def _tick_participant(self, participant: Participant, now: float) -> list[Effect]:
        if participant.state != Info.ACTIVE and now - participant.joined_at >= JOIN_TIMEOUT:
            return self.remove(participant, Reason.JOIN_FAILURE, now)
        if participant.media_lost_at is not None and now - participant.media_lost_at >= MEDIA_GRACE:
            return self.remove(participant, Reason.CONNECTION_TIMEOUT, now, action=RECONNECT)
        if participant.token_due is not None and now >= participant.token_due:
            return self._refresh_token(participant, now)
        return []

    def _expired(self, now: float) -> bool:
        """Agents and recorders alone do not keep a room open; hidden people do."""
        if any(not participant.dependent for participant in self._participants.values()):
            return False
        if self._last_left is not None:
            return now - self._last_left >= self.departure_timeout
        return now - self.created_at >= self.empty_timeout

    def _present(self) -> list[Participant]:
        return [participant for participant in self._participants.values() if participant.present]
