"""The shape of an explanation, and LiveKit's words in plain ones."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from greenroom.eventlog import Record
from greenroom.link import (
    AgentStateChanged,
    ControlEnd,
    ControlEvent,
    ControlFailed,
    ControlMute,
    DispatchPending,
    JobEvent,
    RoomEvent,
    SessionError,
    WorkerEvent,
)
from greenroom.sessions._events import SessionReport

Verdict: TypeAlias = Literal[
    "not_asked", "no_worker", "waiting", "failed", "starting", "silent", "agent_left", "ended", "alone", "running"
]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log that an explanation rests on. ``what`` is it in words."""

    position: int
    at: float
    stream: str
    type: str
    what: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with the agents of a room, and why.

    :param status: of the room: ``live``, ``ended``, or ``unknown`` where nobody tells of rooms.
    :param verdict: of its agents, the worst: ``not_asked`` (no dispatch), ``no_worker`` (nobody took the job),
        ``waiting``, ``failed``, ``starting``, ``silent``, ``agent_left`` (while people stayed), ``ended``,
        ``alone`` (it waits for people), ``running``.
    :param answer: sentences.
    :param fix: what to do about it; empty where nothing is wrong or nothing is known.
    :param sessions: the ids of the jobs, oldest first.
    """

    room: str
    room_sid: str
    status: Literal["live", "ended", "unknown"]
    verdict: Verdict
    answer: tuple[str, ...]
    fix: str = ""
    sessions: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


# The agents SDK's CloseReason.
CLOSED: Final = {
    "participant_disconnected": "its user had left",
    "user_initiated": "its own program closed the session",
    "task_completed": "its task was done",
    "job_shutdown": "its job was shut down",
    "error": "an error closed the session",
}
# LiveKit's DisconnectReason.
LEFT: Final = {
    "CLIENT_INITIATED": "by its own doing",
    "DUPLICATE_IDENTITY": "because somebody joined with the same identity",
    "SERVER_SHUTDOWN": "because the server shut down",
    "PARTICIPANT_REMOVED": "because it was removed through the API",
    "ROOM_DELETED": "because the room was deleted",
    "ROOM_CLOSED": "because the room was closed",
    "STATE_MISMATCH": "because its client and the server disagreed",
    "JOIN_FAILURE": "because it could not join",
    "MIGRATION": "to go on elsewhere",
    "SIGNAL_CLOSE": "because its connection broke",
    "CONNECTION_TIMEOUT": "because its connection was lost",
    "MEDIA_FAILURE": "because no media came through",
    "AGENT_ERROR": "because of an error of the agent",
}


def told(record: Record) -> str:
    """Return an event in words; nothing for one that explains nothing."""
    data = record.data
    if isinstance(data, RoomEvent):
        return _room(record.type, data)
    if isinstance(data, DispatchPending):
        return f"{agent_of(data.job.agent_name)} waits for a worker: {data.job.why}"
    if isinstance(data, JobEvent):
        verb = record.type.replace(".", " ")
        rest = (data.job.status, data.job.error, data.job.worker_id if record.type == "job.assigned" else "")
        return ", ".join(part for part in (f"{verb}: {agent_of(data.job.agent_name)}", *rest) if part)
    if isinstance(data, WorkerEvent):
        return f"worker {data.worker.id} is gone"
    if isinstance(data, AgentStateChanged):
        return f"the agent is {data.state}"
    if isinstance(data, SessionError):
        return f"error: {data.text}"
    if isinstance(data, SessionReport):
        return f"the session closed: {data.close_reason.replace('_', ' ')}" if data.close_reason else ""
    return _control(data) if isinstance(data, ControlEvent) else ""


def agent_of(name: str) -> str:
    """Return an agent as it is called in a sentence."""
    return f"'{name}'" if name else "the agent without a name"


def _control(data: ControlEvent) -> str:
    if isinstance(data, ControlMute):
        return f"{data.by} {'muted the agent' if data.muted else 'gave the agent its voice back'}"
    if isinstance(data, ControlEnd):
        return f"{data.by} ended {'the call' if data.scope == 'room' else 'the agent'}"
    if isinstance(data, ControlFailed):
        return f"what {data.by} did ({data.verb}) failed: {data.error}"
    return ""


def _room(kind: str, data: RoomEvent) -> str:
    who: Any = data.message.get("participant")
    if not isinstance(who, dict):
        return {"room.started": "the room began", "room.finished": "the room ended"}.get(kind, "")
    permission = who.get("permission")
    if isinstance(permission, dict) and permission.get("hidden"):
        return ""
    reason = who.get("disconnectReason")
    words = {
        "participant.joined": "joined",
        "participant.left": "left" + (f" ({reason})" if isinstance(reason, str) else ""),
        "participant.connection_aborted": "never got through",
    }
    return f"{who.get('identity') or who.get('sid')} {words[kind]}" if kind in words else ""
