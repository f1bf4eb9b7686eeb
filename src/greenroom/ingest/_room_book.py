"""What is known of one room, and what each thing that is told of it adds. No I/O, no clock.

Webhooks come late, twice, or not at all. The log gets every fact once and after those it follows from: a
participant that leaves has joined before, and a room that somebody joins has begun. What nobody told of is
added and marked as inferred. Facts that can be true only once have a key, so that telling them again, in
whatever order, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import json_format
from livekit.protocol import models, webhook

from greenroom.eventlog import NewEvent, Record
from greenroom.link import (
    ParticipantConnectionAborted,
    ParticipantJoined,
    ParticipantLeft,
    RoomEvent,
    RoomFinished,
    RoomStarted,
    TrackPublished,
    TrackUnpublished,
)

_NAMES: Final[dict[type[RoomEvent], str]] = {
    RoomStarted: "room_started",
    RoomFinished: "room_finished",
    ParticipantJoined: "participant_joined",
    ParticipantLeft: "participant_left",
    ParticipantConnectionAborted: "participant_connection_aborted",
    TrackPublished: "track_published",
    TrackUnpublished: "track_unpublished",
}
_SHAPES: Final = {name: shape for shape, name in _NAMES.items()}

#: The events that a book keeps.
KEPT: Final = frozenset(_SHAPES)


@dataclass(slots=True)
class _Person:
    """A participant that is there, as it was last told of, and since when this is known."""

    info: models.ParticipantInfo
    seen: float
    tracks: dict[str, models.TrackInfo] = field(default_factory=dict)


class RoomBook:
    """One room, from the first that is heard of it to its end.

    Times called ``now`` and ``since`` are of this program's clock, seconds since 1970.
    """

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.name = ""
        self.started = False
        self.finished = False
        self._seen = 0.0
        self._people: dict[str, _Person] = {}
        self._gone: set[str] = set()
        self._ended: set[str] = set()

    def restore(self, records: Iterable[Record]) -> None:
        """Take in what the log holds of the room already."""
        for record in records:
            if isinstance(record.data, RoomEvent) and type(record.data) in _NAMES:
                told = json_format.ParseDict(record.data.message, webhook.WebhookEvent(), ignore_unknown_fields=True)
                told.event = _NAMES[type(record.data)]
                self.take(told, record.recorded_at)

    def take(self, told: webhook.WebhookEvent, now: float) -> list[NewEvent]:
        """Return what to append for an event of this room. What it was already told adds nothing."""
        facts = self._begin(told.room, now)
        known = len(facts)
        person, track = told.participant, told.track
        match told.event:
            case "participant_joined":
                facts += self._join(person, now, told)
            case "participant_left":
                facts += self._join(person, now) + self._leave(person, _at(told), told)
            case "participant_connection_aborted" if person.sid not in self._gone:
                self._gone.add(person.sid)
                facts.append(self._fact(ParticipantConnectionAborted, person.sid, _at(told), told))
            case "track_published":
                facts += self._join(person, now) + self._publish(person, track, _at(told), told)
            case "track_unpublished":
                facts += self._join(person, now)
                facts += self._publish(person, track, _at(told)) + self._unpublish(person, track, _at(told), told)
            case "room_finished":
                return facts + self._finish(_at(told), told)
        if told.event == "room_started" and facts:
            # Nobody had told of the room before, so this is not inferred.
            facts[0] = self._fact(RoomStarted, self.sid, facts[0].at, told)
        if self.finished and len(facts) > known:
            # It came after the end of the room, so it has ended, too.
            facts += self._empty(_at(told))
        return facts

    def compare(
        self, room: models.Room | None, people: Iterable[models.ParticipantInfo], *, since: float, now: float
    ) -> list[NewEvent]:
        """Return what to append given what the API says of the room.

        :param room: ``None``: there is no such room any more.
        :param since: when the API was asked; what was heard of later than that is left alone.
        """
        if room is None:
            return self._finish(now) if self.started and not self.finished and self._seen < since else []
        facts = self._begin(room, now)
        listed = {person.sid: person for person in people if person.state == models.ParticipantInfo.ACTIVE}
        for sid, known in list(self._people.items()):
            if sid not in listed and known.seen < since:
                facts += self._leave(known.info, now)
        for sid, person in listed.items():
            facts += self._join(person, now)
            if sid in self._people:
                facts += self._compare_tracks(person, now)
        return facts

    def _compare_tracks(self, person: models.ParticipantInfo, now: float) -> list[NewEvent]:
        facts: list[NewEvent] = []
        live = {track.sid for track in person.tracks}
        for track in list(self._people[person.sid].tracks.values()):
            if track.sid not in live:
                facts += self._unpublish(person, track, now)
        for track in person.tracks:
            facts += self._publish(person, track, now)
        return facts

    # Facts

    def _begin(self, room: models.Room, now: float) -> list[NewEvent]:
        self.name = self.name or room.name
        if self.started:
            return []
        self.started = True
        self._seen = now
        at = room.creation_time_ms / 1000 or float(room.creation_time) or now
        return [self._fact(RoomStarted, self.sid, at, room=room)]

    def _join(
        self, person: models.ParticipantInfo, now: float, told: webhook.WebhookEvent | None = None
    ) -> list[NewEvent]:
        if not person.sid or person.sid in self._people or person.sid in self._gone:
            return []
        self._people[person.sid] = _Person(_copy(person), now)
        at = person.joined_at_ms / 1000 or float(person.joined_at) or (_at(told) if told is not None else now)
        return [self._fact(ParticipantJoined, person.sid, at, told, participant=person)]

    def _leave(
        self, person: models.ParticipantInfo, at: float, told: webhook.WebhookEvent | None = None
    ) -> list[NewEvent]:
        known = self._people.pop(person.sid, None)
        if known is None:
            return []
        self._gone.add(person.sid)
        facts: list[NewEvent] = []
        for track in known.tracks.values():
            self._ended.add(track.sid)
            facts.append(self._fact(TrackUnpublished, track.sid, at, participant=person, track=track))
        return [*facts, self._fact(ParticipantLeft, person.sid, at, told, participant=person)]

    def _publish(
        self,
        person: models.ParticipantInfo,
        track: models.TrackInfo,
        at: float,
        told: webhook.WebhookEvent | None = None,
    ) -> list[NewEvent]:
        known = self._people.get(person.sid)
        if not track.sid or track.sid in self._ended or (known is not None and track.sid in known.tracks):
            return []
        if known is None:
            # Its participant has left, and so it has ended.
            self._ended.add(track.sid)
            return [
                self._fact(TrackPublished, track.sid, at, told, participant=person, track=track),
                self._fact(TrackUnpublished, track.sid, at, participant=person, track=track),
            ]
        kept = models.TrackInfo()
        kept.CopyFrom(track)
        known.tracks[track.sid] = kept
        return [self._fact(TrackPublished, track.sid, at, told, participant=person, track=track)]

    def _unpublish(
        self,
        person: models.ParticipantInfo,
        track: models.TrackInfo,
        at: float,
        told: webhook.WebhookEvent | None = None,
    ) -> list[NewEvent]:
        known = self._people.get(person.sid)
        if known is None or known.tracks.pop(track.sid, None) is None:
            return []
        self._ended.add(track.sid)
        return [self._fact(TrackUnpublished, track.sid, at, told, participant=person, track=track)]

    def _finish(self, at: float, told: webhook.WebhookEvent | None = None) -> list[NewEvent]:
        if self.finished:
            return []
        self.finished = True
        return [*self._empty(at), self._fact(RoomFinished, self.sid, at, told)]

    def _empty(self, at: float) -> list[NewEvent]:
        return [fact for known in list(self._people.values()) for fact in self._leave(known.info, at)]

    def _fact(
        self,
        shape: type[RoomEvent],
        sid: str,
        at: float | None,
        told: webhook.WebhookEvent | None = None,
        **known: Any,
    ) -> NewEvent:
        message = told
        if message is None:
            known.setdefault("room", models.Room(sid=self.sid, name=self.name))
            message = webhook.WebhookEvent(event=_NAMES[shape], **known)
        data = shape(message=json_format.MessageToDict(message), inferred=told is None)
        return NewEvent(data, at, f"{_NAMES[shape]}:{sid}")


def _at(told: webhook.WebhookEvent) -> float:
    return float(told.created_at)


def _copy(person: models.ParticipantInfo) -> models.ParticipantInfo:
    kept = models.ParticipantInfo()
    kept.CopyFrom(person)
    return kept
