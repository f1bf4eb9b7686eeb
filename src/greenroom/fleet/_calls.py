"""One call as agent, task and actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from greenroom.fleet._shapes import AgentStatusWord, FleetAction, FleetAgent, FleetTask, TaskStatus
from greenroom.fleet._state import CallPart, Done, RoomPart, Used
from greenroom.link import JobInfo

Pricing: TypeAlias = Callable[[Iterable[Used]], float | None]
"""What usage cost in US dollars; ``None`` when a price is not known."""

_ACTIVE: Final = frozenset({"speaking", "thinking", "initializing"})
_DOES: Final = {
    "initializing": "Starting",
    "idle": "Idle",
    "listening": "Listening",
    "thinking": "Thinking",
    "speaking": "Speaking",
}
_ENDINGS: Final[dict[str, TaskStatus]] = {"success": "completed", "failed": "failed"}
_CONTROLS: Final = {
    "listen": "listens to the call",
    "type": "typed to the agent",
    "mute": "muted the agent",
    "unmute": "unmuted the agent",
    "end": "ended the call",
}
UNNAMED: Final = "agent"


class CallSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What one call comes to."""

    agent: FleetAgent
    task: FleetTask
    actions: tuple[FleetAction, ...]


def agent_id(part: CallPart) -> str:
    """Return ``agent:<identity>``; of a job whose agent has not joined, LiveKit's usual identity for it."""
    return f"agent:{part.identity or 'agent-' + part.id}"


def ended_at(part: CallPart, room: RoomPart | None) -> float | None:
    """Return when a call ended: with its job, or with its room."""
    return part.ended_at if part.ended_at is not None or room is None else room.finished_at


def seen(part: CallPart, room: RoomPart | None, peers: tuple[str, ...], pricing: Pricing) -> CallSeen:
    """Return what a call comes to. ``peers`` are the other agents that are in its room now, by id."""
    job = part.job or JobInfo(id=part.id)
    who = agent_id(part)
    name = job.agent_name or UNNAMED
    end = ended_at(part, room)
    status = _task_status(part, end)
    cost = pricing(part.used) if part.used is not None else None
    stated = part.stated
    if part.redacted:
        # No names of people or rooms, nor words of anybody, as in the session's record.
        stated = msgspec.structs.replace(stated, title=None, description=None)
        job, room = msgspec.structs.replace(job, room="", participant="", error=""), None
    ended = end is not None
    task = FleetTask(
        id=f"task:{part.id}",
        session=part.id,
        agent=who,
        agent_name=name,
        title=stated.title or _title(name, job, room),
        description=stated.description,
        status=status,
        priority=stated.priority,
        progress=100.0 if status == "completed" else stated.progress,
        started_at=part.started_at,
        ended_at=end,
        domain=stated.domain,
        integrations=stated.integrations,
        collaborators=peers,
        cost_usd=cost,
        why=job.error or None,
    )
    agent = FleetAgent(
        id=who,
        name=name,
        status=_status(part, ended),
        state=None if ended else part.state,
        state_since=None if ended else part.state_at,
        user_state=None if ended else part.user_state,
        action=None if ended else _doing(part),
        session=part.id,
        room=job.room or (room.name if room is not None else "") or None,
        task=None if ended else task.id,
        machine=f"machine:{job.worker_id}" if job.worker_id else None,
        domain=stated.domain,
        integrations=stated.integrations,
        collaborators=peers,
        tasks_completed=int(status == "completed"),
        started_at=part.started_at,
        ended_at=end,
        cost_usd=cost,
    )
    return CallSeen(agent=agent, task=task, actions=tuple(_action(part.id, who, each) for each in part.done))


def waiting_task(job: JobInfo) -> FleetTask:
    """Return the task that a job is while no worker has it."""
    name = job.agent_name or UNNAMED
    return FleetTask(
        id=f"task:{job.id}",
        session=job.id,
        agent=None,
        agent_name=name,
        title=_title(name, job, None),
        status="pending",
        progress=0.0,
        started_at=job.created_at,
        why=job.why or None,
    )


def _status(part: CallPart, ended: bool) -> AgentStatusWord | None:
    if ended:
        return "offline"
    if part.calling or part.state in _ACTIVE:
        return "active"
    return "waiting" if part.state is not None else None


def _task_status(part: CallPart, end: float | None) -> TaskStatus:
    if end is None:
        return "in_progress"
    return _ENDINGS.get(part.ended_status, "ended")


def _doing(part: CallPart) -> str | None:
    if part.calling:
        return f"Calling {', '.join(sorted({name or 'a tool' for name in part.calling.values()}))}"
    return _DOES.get(part.state or "", part.state)


def _title(name: str, job: JobInfo, room: RoomPart | None) -> str:
    guest = room.guests[0] if room is not None and room.guests else None
    caller = (guest.name or guest.identity) if guest is not None else job.participant
    if caller:
        return f"{name}: call with {caller}"
    return f"{name}: call in {job.room}" if job.room else f"{name}: call"


def _action(session: str, agent: str, done: Done) -> FleetAction:
    return FleetAction(
        id=f"action:{session}:{done.key}",
        agent=agent,
        session=session,
        at=done.at,
        kind=done.kind,
        description=_described(done),
        outcome=done.outcome,
    )


def _described(done: Done) -> str:
    match done.kind:
        case "tool":
            return f"Called {done.name or 'a tool'}"
        case "message":
            return "Spoke to the caller"
        case "handoff":
            return f"Handed over to {done.name or 'another agent'}"
        case "control":
            return f"{done.by or 'Somebody'} {_CONTROLS.get(done.name, done.name)}"
    return "Reported an error"
