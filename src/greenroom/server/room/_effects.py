"""What the room core wants done. The manager does it, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from livekit.protocol import agent_dispatch, models, rtc

from greenroom.server.data import Outbound
from greenroom.server.room._participant import Participant
from greenroom.server.tracks import Published, Signal, TrackChange, TrackEffect

__all__ = ["AgentsRequested", "Drop", "Effect", "Happened", "Published", "Signal", "Tell", "TrackChange"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Say ``leave`` (when there is something to say), then close a participant's signalling and its media."""

    participant: Participant
    leave: rtc.SignalResponse | None


class Happened(Enum):
    """What listeners are told."""

    ROOM_STARTED = auto()
    JOINED = auto()
    ACTIVE = auto()
    LEFT = auto()
    ROOM_FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the listeners. ``participant`` is ``None`` when it is about the room."""

    what: Happened
    participant: Participant | None = None
    reason: models.DisconnectReason = models.DisconnectReason.UNKNOWN_REASON


@dataclass(frozen=True, slots=True)
class AgentsRequested:
    """Tell the listeners that the room is to have these agents, too."""

    agents: Sequence[agent_dispatch.RoomAgentDispatch]


Effect: TypeAlias = TrackEffect | Outbound | Drop | Tell | AgentsRequested
