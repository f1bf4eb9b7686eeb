"""What a worker tells LiveKit. Source: ``livekit_agent.proto``; upstream's ``AgentServer``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from livekit.protocol import agent, models

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import VideoGrant, mint, renew
from greenroom.pool._model import Permissions

#: As long as LiveKit's own tokens for agents last.
TOKEN_TTL: Final = 3600.0
#: What our own attribute of an agent says, as upstream's workers write it.
NAME_ATTRIBUTE: Final = "lk.agent.name"
_MAX_ERROR: Final = 256


class Post(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What a registration is for: the name that LiveKit dispatches to, and the type of jobs."""

    dispatch: str
    job_type: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What else LiveKit is told of a worker once and for all.

    :param version: of livekit-agents, since that is what runs the jobs.
    """

    permissions: Permissions
    version: str
    deployment: str = ""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a registration is. ``share`` of what it can take, 0 to 1."""

    share: float = 0.0
    jobs: int = 0
    full: bool = False
    draining: bool = False


def agent_url(url: str) -> str:
    """Return where workers connect to, for a server's URL."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/agent", "", ""))


def worker_token(key: ApiKey) -> str:
    """Return what a worker connects with: no identity, no room."""
    return mint(key, video=VideoGrant(agent=True), ttl=TOKEN_TTL)


def renewed(token: str, key: ApiKey, now: float) -> str:
    """Return an agent's token with another hour to live; as it is when somebody else's key signed it."""
    try:
        return renew(token, key, ttl=TOKEN_TTL, now=now)
    except TokenError:
        return token


def registration(post: Post, terms: Terms) -> agent.WorkerMessage:
    """Return the first message of a worker."""
    permissions = terms.permissions
    allowed = models.ParticipantPermission(
        can_publish=permissions.can_publish,
        can_subscribe=permissions.can_subscribe,
        can_publish_data=permissions.can_publish_data,
        can_update_metadata=permissions.can_update_metadata,
        can_publish_sources=[models.TrackSource.Name(each) for each in permissions.can_publish_sources],
        hidden=permissions.hidden,
        agent=True,
    )
    request = agent.RegisterWorkerRequest(
        type=agent.JobType.Name(post.job_type),
        agent_name=post.dispatch,
        version=terms.version,
        deployment=terms.deployment,
        allowed_permissions=allowed,
    )
    return agent.WorkerMessage(register=request)


def worker_status(load: Load) -> agent.WorkerMessage:
    """Return how busy a worker is, as it tells LiveKit."""
    full = load.full or load.draining
    update = agent.UpdateWorkerStatus(
        status=agent.WS_FULL if full else agent.WS_AVAILABLE,
        load=load.share,
        job_count=load.jobs,
        draining=load.draining,
    )
    return agent.WorkerMessage(update_worker=update)


def job_status(job_id: str, status: agent.JobStatus, error: str = "") -> agent.WorkerMessage:
    """Return how a job is doing, as a worker tells LiveKit."""
    update = agent.UpdateJobStatus(job_id=job_id, status=status, error=error[:_MAX_ERROR])
    return agent.WorkerMessage(update_job=update)


def migration(job_ids: Iterable[str]) -> agent.WorkerMessage:
    """Return which jobs a worker still runs that has connected again."""
    return agent.WorkerMessage(migrate_job=agent.MigrateJobRequest(job_ids=job_ids))


def participant_attributes(dispatch: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return an agent's attributes in its room."""
    return {NAME_ATTRIBUTE: dispatch, **given}
