"""How other parts of the server hear of rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from livekit.protocol import agent_dispatch, models

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

    def agents_requested(self, room: Room, agents: Sequence[agent_dispatch.RoomAgentDispatch]) -> None:
        """A room that exists is to have these agents, too."""
        ...

    def participant_left(self, room: Room, participant: Participant, reason: models.DisconnectReason) -> None:
        """A participant is gone."""
        ...

    def room_finished(self, room: Room) -> None:
        """A room has ended; everybody left before."""
        ...
