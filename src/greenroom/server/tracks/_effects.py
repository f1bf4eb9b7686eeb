"""What the track core wants done. The manager of rooms does it, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from livekit.protocol import models, rtc

from greenroom._media import MediaEngine, TrackId, TransportId

if TYPE_CHECKING:
    from greenroom.server.room import Participant


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signalling message to these participants."""

    to: Sequence[Participant]
    message: rtc.SignalResponse


@dataclass(frozen=True, slots=True)
class Published:
    """A participant has published its first track; listeners are told."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class TrackChange:
    """One of a participant's tracks exists for the others from now on, or no longer; listeners are told."""

    participant: Participant
    info: models.TrackInfo
    published: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """Take what arrives on a section for a track."""

    track: TrackId
    transport: TransportId
    mid: str


@dataclass(frozen=True, slots=True)
class Unpublish:
    """End a track and every forward of it."""

    track: TrackId


@dataclass(frozen=True, slots=True)
class Forward:
    """Send a track on a section."""

    track: TrackId
    transport: TransportId
    mid: str


@dataclass(frozen=True, slots=True)
class Unforward:
    """Send nothing more on a section."""

    transport: TransportId
    mid: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold back one receiver's packets, or let them flow again."""

    transport: TransportId
    mid: str
    paused: bool


@dataclass(frozen=True, slots=True)
class Mute:
    """Hold back a track's packets from everybody, or let them flow again."""

    track: TrackId
    muted: bool


MediaCommand: TypeAlias = Publish | Unpublish | Forward | Unforward | Pause | Mute
TrackEffect: TypeAlias = Signal | Published | TrackChange | MediaCommand


def carry_out(engine: MediaEngine, command: MediaCommand) -> None:
    """Hand a command to the engine."""
    match command:
        case Publish(track, transport, mid):
            engine.publish(track, transport, mid)
        case Unpublish(track):
            engine.unpublish(track)
        case Forward(track, transport, mid):
            engine.forward(track, transport, mid)
        case Unforward(transport, mid):
            engine.unforward(transport, mid)
        case Pause(transport, mid, paused):
            engine.set_forward_paused(transport, mid, paused)
        case Mute(track, muted):
            engine.set_track_muted(track, muted)
