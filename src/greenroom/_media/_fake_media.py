"""Tracks of the fake engine: who sends what where, in packets that tests can read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from greenroom._media._engine import AudioLevels, Event, TrackId, TrackStarted, TransportId

ACTIVE_LEVEL: Final = -35.0
WINDOW: Final = 0.4
# What a full window holds: a packet of Opus is 20 ms.
_WINDOW_PACKETS: Final = 20
_SAMPLES: Final = 960

_Place: TypeAlias = tuple[TransportId, str]


@dataclass(frozen=True, slots=True)
class FakePacket:
    """One RTP packet as a peer sees it. ``level`` is in dBov."""

    ssrc: int
    sequence: int
    payload: bytes
    level: float = -20.0

    @property
    def timestamp(self) -> int:
        """The time of its first sample, in samples."""
        return self.sequence * _SAMPLES


@dataclass(slots=True)
class _Track:
    started: bool = False
    muted: bool = False
    levels: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Forward:
    track: TrackId
    paused: bool = False
    # Added to the publisher's numbers; None while nothing is let through.
    offset: int | None = None
    next: int = 1

    def number(self, sequence: int) -> int:
        """Return the receiver's number of a packet."""
        if self.offset is None:
            self.offset = self.next - sequence
        number = sequence + self.offset
        self.next = max(self.next, number + 1)
        return number


class FakeTracks:
    """The tracks of one engine and where they go."""

    def __init__(self) -> None:
        self._tracks: dict[TrackId, _Track] = {}
        self._sources: dict[_Place, TrackId] = {}
        self._forwards: dict[_Place, _Forward] = {}

    def publish(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """See :meth:`~greenroom._media.MediaEngine.publish`."""
        self._tracks[track] = _Track()
        self._sources[transport, mid] = track

    def unpublish(self, track: TrackId) -> None:
        """See :meth:`~greenroom._media.MediaEngine.unpublish`."""
        self._tracks.pop(track, None)
        self._sources = {place: source for place, source in self._sources.items() if source != track}
        self._forwards = {place: forward for place, forward in self._forwards.items() if forward.track != track}

    def forward(self, track: TrackId, transport: TransportId, mid: str) -> None:
        """See :meth:`~greenroom._media.MediaEngine.forward`."""
        if track in self._tracks:
            earlier = self._forwards.get((transport, mid))
            self._forwards[transport, mid] = _Forward(track, next=earlier.next if earlier else 1)

    def unforward(self, transport: TransportId, mid: str) -> None:
        """See :meth:`~greenroom._media.MediaEngine.unforward`."""
        self._forwards.pop((transport, mid), None)

    def pause(self, transport: TransportId, mid: str, *, paused: bool) -> None:
        """See :meth:`~greenroom._media.MediaEngine.set_forward_paused`."""
        forward = self._forwards.get((transport, mid))
        if forward is not None:
            forward.paused = paused

    def mute(self, track: TrackId, *, muted: bool) -> None:
        """See :meth:`~greenroom._media.MediaEngine.set_track_muted`."""
        if track in self._tracks:
            self._tracks[track].muted = muted

    def close(self, transport: TransportId) -> None:
        """Forget what a transport sent and received."""
        for place, track in list(self._sources.items()):
            if place[0] == transport:
                self.unpublish(track)
        self._forwards = {place: forward for place, forward in self._forwards.items() if place[0] != transport}

    def take(
        self, transport: TransportId, mid: str, sequence: int, level: float
    ) -> tuple[Event | None, list[tuple[TransportId, str, int]]]:
        """Take in a packet; return what to tell and where it goes under which number."""
        number = self._sources.get((transport, mid))
        if number is None:
            return None, []
        track = self._tracks[number]
        event = None if track.started else TrackStarted(number)
        track.started = True
        track.levels.append(level)
        out: list[tuple[TransportId, str, int]] = []
        for place, forward in self._forwards.items():
            if forward.track != number:
                continue
            if forward.paused or track.muted:
                forward.offset = None
            else:
                out.append((*place, forward.number(sequence)))
        return event, out

    def levels(self) -> AudioLevels | None:
        """Return how loud everybody was since the last call; ``None`` when nobody sent anything."""
        found: list[tuple[TrackId, float, float]] = []
        for number, track in self._tracks.items():
            active = [level for level in track.levels if level > ACTIVE_LEVEL]
            if track.levels:
                heard = active or track.levels
                found.append((number, sum(heard) / len(heard), min(1.0, len(active) / _WINDOW_PACKETS)))
            track.levels.clear()
        return AudioLevels(tuple(found)) if found else None
