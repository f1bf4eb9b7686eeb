"""LiveKit's messages about jobs, dispatches and workers, made from what the dispatcher knows.

Source: ``livekit_agent.proto``, ``livekit_agent_dispatch.proto`` and ``protocol/agent/token.go``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from livekit.protocol import agent, models
from livekit.protocol import agent_dispatch as dispatch_pb

from greenroom.config import ApiKey
from greenroom.grants import VideoGrant, mint
from greenroom.server.agents._model import Answer, Dispatch, Job
from greenroom.server.agents._pool import Why

AGENT_PROTOCOL: Final = 1
TOKEN_TTL: Final = 3600.0
_NANOSECONDS: Final = 1_000_000_000


def job_message(
    job: Job,
    room: models.Room | None,
    participant: models.ParticipantInfo | None,
    *,
    state: agent.JobState,
    enable_recording: bool = False,
) -> agent.Job:
    """Return the job as workers and API callers see it."""
    dispatch = job.dispatch
    message = agent.Job(
        id=job.id,
        type=job.key.job_type,
        room=room,
        participant=participant,
        namespace=job.key.namespace,
        agent_name=job.key.agent_name,
        deployment=job.key.deployment,
        enable_recording=enable_recording,
        state=state,
    )
    if dispatch is not None:
        message.dispatch_id = dispatch.id
        message.metadata = dispatch.metadata
        message.attributes.update(dispatch.attributes)
    return message


def offered_state(worker_id: str, now: float) -> agent.JobState:
    """Return the state a job is offered with: LiveKit writes it as if the worker had it already."""
    at = nanoseconds(now)
    return agent.JobState(status=agent.JS_RUNNING, worker_id=worker_id, started_at=at, updated_at=at)


def job_state(job: Job, why: Why | None = None) -> agent.JobState:
    """Return the state of a job as ``ListDispatch`` tells it.

    :param why: for a job that waits, what for; it stands where a job that failed has its error.
    """
    state = agent.JobState(
        status=job.status,
        error=job.error,
        reason=job.reason,
        started_at=nanoseconds(job.started_at),
        ended_at=nanoseconds(job.ended_at),
        updated_at=nanoseconds(job.updated_at),
        participant_identity=job.identity,
        worker_id=job.worker_id,
    )
    if why is not None:
        state.error = f"waits for a worker: {why.reason}. {why.fix}"
        state.reason = agent.JSR_RETRYING if job.asked else agent.JSR_NO_CAPACITY
    return state


def dispatch_message(dispatch: Dispatch, jobs: Iterable[agent.Job]) -> dispatch_pb.AgentDispatch:
    """Return a dispatch with its jobs."""
    return dispatch_pb.AgentDispatch(
        id=dispatch.id,
        agent_name=dispatch.agent_name,
        room=dispatch.room.name,
        metadata=dispatch.metadata,
        attributes=dict(dispatch.attributes),
        deployment=dispatch.deployment,
        restart_policy=dispatch.restart_policy,
        state=dispatch_pb.AgentDispatchState(
            jobs=jobs,
            created_at=nanoseconds(dispatch.created_at),
            deleted_at=nanoseconds(dispatch.deleted_at or 0.0),
        ),
    )


def default_permission() -> models.ParticipantPermission:
    """Return what an agent may do when its worker does not say."""
    return models.ParticipantPermission(
        can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True
    )


def agent_token(
    key: ApiKey,
    *,
    room: str,
    agent_name: str,
    answer: Answer,
    permission: models.ParticipantPermission,
    now: float,
) -> str:
    """Return the token a job's agent joins with, valid for an hour."""
    grants = models.ParticipantPermission()
    grants.CopyFrom(permission)
    grants.agent = True
    grants.recorder = False
    return mint(
        key,
        identity=answer.identity,
        name=answer.name,
        metadata=answer.metadata,
        attributes={**answer.attributes, "lk.agent_name": agent_name},
        kind="agent",
        video=VideoGrant(room_join=True, room=room).with_permission(grants),
        ttl=TOKEN_TTL,
        now=now,
    )


def nanoseconds(at: float) -> int:
    """Return a time in seconds as LiveKit writes times of jobs; 0 for never."""
    return int(at * _NANOSECONDS)
