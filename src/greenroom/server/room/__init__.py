"""Rooms and who is in them: a synchronous core, and the manager that applies what it decides."""

from __future__ import annotations

from greenroom.server.room._effects import Effect, Signal
from greenroom.server.room._errors import (
    CapacityError,
    LimitError,
    ParticipantNotFoundError,
    RemoteUnmuteError,
    RoomError,
    RoomFullError,
    RoomNotFoundError,
)
from greenroom.server.room._limits import (
    check_attributes,
    check_metadata,
    check_name,
    check_room_name,
    merge_attributes,
)
from greenroom.server.room._listener import RoomListener
from greenroom.server.room._manager import RoomManager
from greenroom.server.room._messages import Outgoing, SignalPort, leave
from greenroom.server.room._participant import Joining, Participant
from greenroom.server.room._room import Room

__all__ = [
    "CapacityError",
    "Effect",
    "Joining",
    "LimitError",
    "Outgoing",
    "Participant",
    "ParticipantNotFoundError",
    "RemoteUnmuteError",
    "Room",
    "RoomError",
    "RoomFullError",
    "RoomListener",
    "RoomManager",
    "RoomNotFoundError",
    "Signal",
    "SignalPort",
    "check_attributes",
    "check_metadata",
    "check_name",
    "check_room_name",
    "leave",
    "merge_attributes",
]
