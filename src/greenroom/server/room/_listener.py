"""How other parts of the server hear of rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from livekit.protocol import agent_dispatch, models

from greenroom.server.room._effects import AgentsRequested, Happened, Published, Tell, TrackChange
from greenroom.server.room._participant import Participant
from greenroom.server.room._room import Room


class RoomListener(Protocol):
    """Callbacks on the event loop, in the order of what happened. They must not block."""

    def room_started(self, room: Room) -> None:
        """A room exists now."""
        ...

    def participant_joined(self, room: Room, participant: Participant) -> None:
        """A participant has been let in; its join response is about to be sent."""
        ...

    def participant_active(self, room: Room, participant: Participant) -> None:
        """A participant's media transport is up."""
        ...

    def participant_published(self, room: Room, participant: Participant) -> None:
        """A participant has published its first track, or its first again."""
        ...

    def track_published(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """A track of a participant exists for the others. Its info goes on changing: copy what is kept."""
        ...

    def track_unpublished(self, room: Room, participant: Participant, track: models.TrackInfo) -> None:
        """A track of a participant has ended; those of one that leaves do so before it has left."""
        ...

    def agents_requested(self, room: Room, agents: Sequence[agent_dispatch.RoomAgentDispatch]) -> None:
        """A room that exists is to have these agents, too."""
        ...

    def participant_left(self, room: Room, participant: Participant, reason: models.DisconnectReason) -> None:
        """A participant is gone."""
        ...

    def room_finished(self, room: Room) -> None:
        """A room has ended; everybody left before."""
        ...


def notify(listener: RoomListener, room: Room, tell: Tell | Published | TrackChange | AgentsRequested) -> None:
    """Call the method of a listener that an effect is about."""
    if isinstance(tell, TrackChange):
        changed = listener.track_published if tell.published else listener.track_unpublished
        changed(room, tell.participant, tell.info)
        return
    if isinstance(tell, Published):
        listener.participant_published(room, tell.participant)
        return
    if isinstance(tell, AgentsRequested):
        listener.agents_requested(room, tell.agents)
        return
    participant = tell.participant
    if participant is None:
        if tell.what is Happened.ROOM_STARTED:
            listener.room_started(room)
        else:
            listener.room_finished(room)
    elif tell.what is Happened.JOINED:
        listener.participant_joined(room, participant)
    elif tell.what is Happened.ACTIVE:
        listener.participant_active(room, participant)
    else:
        listener.participant_left(room, participant, tell.reason)


def name_of(tell: Tell | Published | TrackChange | AgentsRequested) -> str:
    """Return what an effect is about, for a log line."""
    return tell.what.name if isinstance(tell, Tell) else type(tell).__name__
