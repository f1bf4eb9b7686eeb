"""What the server tells of its workers and jobs (``docs/protocol.md``, "Worker list")."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from livekit.protocol import agent

from greenroom.grants import Grant
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._info import worker_info
from greenroom.server.agents._model import Job
from greenroom.server.agents._pool import Why

_ENCODER: Final = msgspec.json.Encoder()


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job somebody asked for.

    ``phase`` is ``pending``, ``offered``, ``assigned``, ``running``, ``leaving`` or ``ended``; ``status`` is
    LiveKit's, in lower case without its prefix, and so is ``reason``. ``why`` and ``fix`` stand beside a job that
    waits for a worker. ``present``: its agent is in the room. Times are seconds since the epoch.
    """

    id: str
    dispatch_id: str
    room: str
    room_sid: str
    agent_name: str
    job_type: str
    deployment: str
    participant: str
    implicit: bool
    phase: str
    status: str
    worker_id: str
    agent_identity: str
    present: bool
    created_at: float
    deadline: float | None
    started_at: float | None
    ended_at: float | None
    declined: int
    unanswered: int
    assignments: int
    why: str
    fix: str
    reason: str
    error: str


class Listing(msgspec.Struct, frozen=True):
    """Everything at one moment; ``version`` changes with what it says.

    ``jobs`` are those that wait or run, ``ended`` the latest that have ended, oldest first. Each list is JSON
    already: of many workers it is worth making once.
    """

    version: str
    server: str
    now: float
    workers: msgspec.Raw
    jobs: msgspec.Raw
    ended: msgspec.Raw


def job_info(job: Job, why: Why | None = None) -> JobInfo:
    """Return a job as others may see it."""
    dispatch = job.dispatch
    waits = why is not None
    return JobInfo(
        id=job.id,
        dispatch_id=dispatch.id if dispatch is not None else "",
        room=job.room.name,
        room_sid=job.room.sid,
        agent_name=job.key.agent_name,
        job_type=agent.JobType.Name(job.key.job_type).removeprefix("JT_").lower(),
        deployment=job.key.deployment,
        participant=job.participant,
        implicit=dispatch is not None and dispatch.implicit,
        phase=job.phase,
        status=agent.JobStatus.Name(job.status).removeprefix("JS_").lower(),
        worker_id=job.worker_id,
        agent_identity=job.identity,
        present=bool(job.seat),
        created_at=job.created_at,
        deadline=job.deadline if waits else None,
        started_at=job.started_at or None,
        ended_at=job.ended_at or None,
        declined=job.declined,
        unanswered=job.unanswered,
        assignments=job.assignments,
        why=why.reason if why is not None else "",
        fix=why.fix if why is not None else "",
        reason=agent.JobStateReason.Name(job.reason).removeprefix("JSR_").lower() if job.reason else "",
        error=job.error,
    )


def listing(dispatcher: Dispatcher, server: str, grant: Grant, now: float) -> Listing:
    """Return what a token may see: an API key with a policy sees its own agents and rooms."""
    workers = [
        worker_info(worker)
        for worker in dispatcher.workers()
        if worker.key is not None and grant.allows_agent(worker.key.agent_name)
    ]
    explain = _Explanations(dispatcher)
    jobs = _encode([job_info(job, explain(job)) for job in dispatcher.visible_jobs() if _allows(grant, job)])
    ended = _encode([job_info(job) for job in dispatcher.ended_jobs() if _allows(grant, job)])
    # That a worker has said the same again is no news.
    said = _encode([(worker.id, worker.status, worker.load, worker.job_count, worker.jobs) for worker in workers])
    version = hashlib.sha256(b"".join((said, jobs, ended))).hexdigest()[:16]
    return Listing(version, server, now, _encode(workers), jobs, ended)


def encode(found: Listing) -> bytes:
    """Return the list as JSON."""
    return _ENCODER.encode(found)


class _Explanations:
    """Why jobs wait. Finding out means looking at every worker, and many jobs wait for the same reason."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._known: dict[tuple[object, ...], Why | None] = {}
        self._by_room = any(worker.grant.key.rooms is not None for worker in dispatcher.workers())

    def __call__(self, job: Job) -> Why | None:
        key = (job.key, job.phase, job.declined, job.unanswered, job.room.name if self._by_room else "")
        if key not in self._known:
            self._known[key] = self._dispatcher.waits_for(job)
        return self._known[key]


def _allows(grant: Grant, job: Job) -> bool:
    return grant.allows_agent(job.key.agent_name) and grant.allows_room(job.room.name)


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode(value))
