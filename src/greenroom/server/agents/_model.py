"""Workers, dispatches and jobs as the dispatcher knows them: data, no decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from livekit.protocol import agent, models
from livekit.protocol import agent_dispatch as dispatch_pb

from greenroom.grants import Grant

HISTORY: Final = 64
ENDED_JOBS: Final = 200


class Phase(StrEnum):
    """Where a job is. It is in exactly one of these, and at most one worker has it."""

    PENDING = "pending"
    OFFERED = "offered"
    ASSIGNED = "assigned"
    RUNNING = "running"
    LEAVING = "leaving"
    ENDED = "ended"


HELD: Final = frozenset({Phase.ASSIGNED, Phase.RUNNING, Phase.LEAVING})


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """What a worker takes and a job asks for; a job goes only to workers with an equal key."""

    agent_name: str = ""
    namespace: str = ""
    job_type: agent.JobType = agent.JT_ROOM
    deployment: str = ""


@dataclass(slots=True, eq=False)
class Worker:
    """A connected worker.

    ``key`` is ``None`` until it has registered; ``wake`` is when it must have; ``refused`` is why it may not.
    """

    id: str
    grant: Grant
    connected_at: float
    wake: float | None = None
    key: WorkerKey | None = None
    refused: str = ""
    permission: models.ParticipantPermission = field(default_factory=models.ParticipantPermission)
    version: str = ""
    available: bool = True
    draining: bool = False
    load: float = 0.0
    job_count: int = 0
    silent: bool = False
    updated_at: float = 0.0
    offers: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a worker that takes a job wants its agent to appear in the room."""

    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a dispatch, kept to say later why a call got, or did not get, its agent."""

    at: float
    job_id: str
    event: str
    worker_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Orphan:
    """Whose job it was when the worker's connection was lost: only an equal worker may claim it back."""

    api_key: str
    key: WorkerKey


@dataclass(slots=True, eq=False)
class Dispatch:
    """The wish for an agent in a room. ``implicit`` is the one every room without an explicit list has."""

    id: str
    room: Room
    agent_name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    deployment: str = ""
    restart_policy: dispatch_pb.JobRestartPolicy = dispatch_pb.JRP_ON_FAILURE
    implicit: bool = False
    created_at: float = 0.0
    deleted_at: float | None = None
    served: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    history: deque[Transition] = field(default_factory=lambda: deque(maxlen=HISTORY))


@dataclass(slots=True, eq=False)
class Job:
    """One run of an agent that was asked for.

    ``wake`` is when the dispatcher looks at the job again, whatever the reason. ``sample`` is what a worker
    that simulates a job asked for; such a job has no dispatch and goes to that worker only.
    """

    id: str
    key: WorkerKey
    room: Room
    created_at: float
    deadline: float
    dispatch: Dispatch | None = None
    participant: str = ""
    sample: agent.SimulateJobRequest | None = None
    phase: Phase = Phase.PENDING
    wake: float | None = None
    backoff: float = 0.0
    worker_id: str = ""
    tried: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    declined: int = 0
    unanswered: int = 0
    assignments: int = 0
    orphan: Orphan | None = None
    identity: str = ""
    seat: str = ""
    joined: bool = False
    status: agent.JobStatus = agent.JS_PENDING
    reason: agent.JobStateReason = agent.JSR_UNSPECIFIED
    error: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    updated_at: float = 0.0


@dataclass(slots=True)
class Person:
    """A participant that counts: not an agent, an egress or a recorder."""

    seat: str
    published: bool = False


@dataclass(slots=True, eq=False)
class Room:
    """What the dispatcher remembers of a room.

    ``agents`` maps the identity an agent joins with to its job, ``seats`` the sid of an agent that is in the
    room; ``evicted`` are identities whose job ended before they came, and until when they are turned away.
    """

    sid: str
    name: str
    dispatches: dict[str, Dispatch] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    agents: dict[str, Job] = field(default_factory=dict)
    seats: dict[str, Job] = field(default_factory=dict)
    evicted: dict[str, float] = field(default_factory=dict)
