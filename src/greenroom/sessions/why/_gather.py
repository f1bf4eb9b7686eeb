"""Finding the events that an explanation of a room rests on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from greenroom.errors import GreenroomError
from greenroom.eventlog import Record
from greenroom.link import JobEvent, WorkerEvent
from greenroom.sessions._projection import Sessions
from greenroom.sessions._query import SessionQuery
from greenroom.sessions._room import ROOM
from greenroom.sessions._step import SESSION
from greenroom.sessions.why._explain import explain
from greenroom.sessions.why._words import Why

_WORKERS: Final = "system:workers"
_OF_ROOM: Final = (
    "room.started",
    "room.finished",
    "participant.joined",
    "participant.left",
    "participant.connection_aborted",
    "track.published",
    "track.unpublished",
)
_OF_SESSION: Final = (
    "job.assigned",
    "job.ended",
    "agent.state",
    "item.added",
    "session.observed",
    "session.error",
    "session.report",
    "control.mute",
    "control.end",
    "control.failed",
)
_OF_WORKERS: Final = ("dispatch.pending", "dispatch.ended", "job.assigned", "job.ended", "worker.gone")
_MOST: Final = 5_000
_SESSIONS: Final = 20
# A dispatch may stand in the log before its room does; and of a room that is in no webhook only this much is looked at.
_BEFORE: Final = 2_000
_LATELY: Final = 100_000


class RoomUnknownError(GreenroomError):
    """The log says nothing of a room."""

    code = "room_unknown"
    status = 404

    def __init__(self, room: str) -> None:
        super().__init__(
            f"Nothing is known of a room '{room[:80]}'",
            fix="Check its name (greenroom sessions lists those with calls); a server must send its webhooks here",
        )


class _Place(msgspec.Struct):
    """Which room: its sid where there is one, its name where it is known."""

    sid: str = ""
    name: str = ""


async def why(sessions: Sessions, room: str, *, now: float, tells_workers: bool = True) -> Why:
    """Say how it stands with the agents of a room, and why.

    :param room: its name, whose latest room it is then; its sid; or the id of a session in it.
    :param tells_workers: whether the LiveKit server tells of its dispatches.
    :raises RoomUnknownError: the log says nothing of it.
    """
    place = await _place(sessions, room)
    found: list[Record] = []
    if place.sid:
        found += await sessions.log.read(streams=[f"{ROOM}{place.sid}"], types=_OF_ROOM, limit=_MOST)
    page = await sessions.search(SessionQuery(room=place.sid or place.name, limit=_SESSIONS))
    if page.sessions:
        streams = [f"{SESSION}{each.id}" for each in page.sessions]
        found += await sessions.log.read(streams=streams, types=_OF_SESSION, limit=_MOST)
    first = min((record.position for record in found), default=None)
    start = await sessions.log.head() - _LATELY if first is None else first - _BEFORE
    found += _matching(
        await sessions.log.read(max(0, start), streams=[_WORKERS], types=_OF_WORKERS, limit=_MOST), place
    )
    if not found:
        raise RoomUnknownError(room)
    found.sort(key=lambda record: record.position)
    return explain(place.name or room, found, now=now, tells_workers=tells_workers)


async def _place(sessions: Sessions, room: str) -> _Place:
    rooms = await sessions.rooms(room)
    if rooms:
        latest = max(rooms, key=lambda each: (each.started_at or 0.0, each.sid))
        return _Place(latest.sid, latest.name)
    for query in (SessionQuery(room=room, limit=1), SessionQuery(id=room, limit=1)):
        page = await sessions.search(query)
        # The beginning of an id is none here: rooms' names may look like it.
        if page.sessions and (query.id is None or page.sessions[0].id == room):
            return _Place(page.sessions[0].room.sid, page.sessions[0].room.name)
    return _Place(name=room)


def _matching(records: Iterable[Record], place: _Place) -> list[Record]:
    """Return the events of jobs in the room, and of the workers that had them."""
    jobs = [record for record in records if isinstance(record.data, JobEvent) and _is_here(record.data, place)]
    if not place.sid and jobs:
        # Of several rooms with a name the latest counts.
        latest = jobs[-1].data
        assert isinstance(latest, JobEvent)
        place.sid = latest.job.room_sid
        jobs = [record for record in jobs if isinstance(record.data, JobEvent) and _is_here(record.data, place)]
    workers = {record.data.job.worker_id for record in jobs if isinstance(record.data, JobEvent)}
    gone = [record for record in records if isinstance(record.data, WorkerEvent) and record.data.worker.id in workers]
    return jobs + gone


def _is_here(data: JobEvent, place: _Place) -> bool:
    if place.sid and data.job.room_sid:
        return data.job.room_sid == place.sid
    return bool(place.name) and data.job.room == place.name
