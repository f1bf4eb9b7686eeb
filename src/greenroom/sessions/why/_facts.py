"""What the log says of one room and its jobs, folded for an explanation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from greenroom.eventlog import Record
from greenroom.link import (
    AgentStateChanged,
    ControlEnd,
    ControlFailed,
    ControlMute,
    DispatchEnded,
    DispatchPending,
    ItemAdded,
    JobAssigned,
    JobEnded,
    JobEvent,
    JobInfo,
    RoomEvent,
    SessionError,
    SessionObserved,
    WorkerGone,
)
from greenroom.sessions._events import SessionReport
from greenroom.sessions._step import SESSION

_LEFT: Final = frozenset({"participant.left", "participant.connection_aborted"})


class Person(msgspec.Struct):
    """A participant. ``reason`` is LiveKit's for leaving; ``microphone``, whether audio of theirs can be heard."""

    sid: str
    identity: str = ""
    is_agent: bool = False
    joined: Record | None = None
    left: Record | None = None
    reason: str = ""
    audio: set[str] = msgspec.field(default_factory=set)

    @property
    def present(self) -> bool:
        """Whether they are there, as far as the log knows."""
        return self.left is None


class Run(msgspec.Struct):
    """A job: one run of an agent in the room, or the wait for one."""

    id: str
    first: int
    info: JobInfo | None = None
    pending: Record | None = None
    why: str = ""
    fix: str = ""
    assigned: Record | None = None
    over: Record | None = None
    state: Record | None = None
    said: Record | None = None
    error: Record | None = None
    report: Record | None = None
    muted: Record | None = None
    ended_by: Record | None = None
    worker_gone: Record | None = None


class Facts(msgspec.Struct):
    """All of it. ``heard`` is whether anybody said something, which only an ``observed`` session tells."""

    name: str = ""
    sid: str = ""
    started: Record | None = None
    finished: Record | None = None
    people: dict[str, Person] = msgspec.field(default_factory=dict)
    runs: dict[str, Run] = msgspec.field(default_factory=dict)
    observed: bool = False
    heard: bool = False

    @property
    def users(self) -> list[Person]:
        """Everybody but agents, in the order they came."""
        return [person for person in self.people.values() if not person.is_agent]


def fold(records: Iterable[Record]) -> Facts:
    """Return what the events say, given in the order of the log. Erased ones say nothing."""
    facts = Facts()
    for record in records:
        data = record.data
        if isinstance(data, RoomEvent):
            _room(facts, record, data.message)
        elif isinstance(data, JobEvent):
            _job(facts, record, data)
        elif isinstance(data, WorkerGone):
            for run in facts.runs.values():
                if run.over is None and run.info is not None and run.info.worker_id == data.worker.id:
                    run.worker_gone = record
        elif record.stream.startswith(SESSION) and data is not None:
            _session(facts, _run(facts, record.stream.removeprefix(SESSION), record), record)
    return facts


def _room(facts: Facts, record: Record, message: Mapping[str, Any]) -> None:
    room = _part(message, "room")
    facts.name = facts.name or _word(room, "name")
    facts.sid = facts.sid or _word(room, "sid")
    if record.type == "room.started":
        facts.started = record
    elif record.type == "room.finished":
        facts.finished = record
    who = _part(message, "participant")
    sid = _word(who, "sid")
    if not sid or _part(who, "permission").get("hidden"):
        return
    person = facts.people.setdefault(sid, Person(sid))
    person.identity = person.identity or _word(who, "identity")
    person.is_agent = person.is_agent or _word(who, "kind").upper() == "AGENT"
    if record.type == "participant.joined":
        person.joined = record
    elif record.type in _LEFT:
        person.left = record
        person.reason = _word(who, "disconnectReason")
    track = _part(message, "track")
    if record.type == "track.published" and _word(track, "type").upper() in {"", "AUDIO"}:
        person.audio.add(_word(track, "sid"))
    elif record.type == "track.unpublished":
        person.audio.discard(_word(track, "sid"))


def _job(facts: Facts, record: Record, data: JobEvent) -> None:
    run = _run(facts, data.job.id, record)
    run.info = data.job
    facts.name = facts.name or data.job.room
    facts.sid = facts.sid or data.job.room_sid
    if isinstance(data, DispatchPending):
        run.pending = record
        run.why, run.fix = data.job.why, data.job.fix
    elif isinstance(data, JobAssigned):
        # A job that another worker has now goes on.
        run.assigned, run.over, run.worker_gone = record, None, None
    elif isinstance(data, JobEnded | DispatchEnded):
        run.over = record


def _session(facts: Facts, run: Run, record: Record) -> None:
    data = record.data
    if isinstance(data, AgentStateChanged):
        run.state = record
    elif isinstance(data, SessionError):
        run.error = record
    elif isinstance(data, SessionReport):
        # The first report, when a session begins, closes nothing.
        run.report = record if data.close_reason else run.report
    elif isinstance(data, ControlMute):
        run.muted = record if data.muted else None
    elif isinstance(data, ControlEnd):
        run.ended_by = record
    elif isinstance(data, ControlFailed):
        run.muted = None if data.verb == "mute" else run.muted
        run.ended_by = None if data.verb == "end" else run.ended_by
    elif isinstance(data, SessionObserved):
        facts.observed = True
    elif isinstance(data, ItemAdded):
        role = _word(_part(data.message, "message"), "role").upper()
        if role.endswith("ASSISTANT"):
            run.said = record
        facts.heard = facts.heard or role.endswith("USER")


def _run(facts: Facts, job: str, record: Record) -> Run:
    return facts.runs.setdefault(job, Run(job, record.position))


def _part(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _word(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""
