"""What consoles are told of workers."""

from __future__ import annotations

from dataclasses import dataclass

from livekit.protocol import agent

from greenroom.server.agents._model import Worker, WorkerKey


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A registered worker.

    ``job_type`` is ``room``, ``participant`` or ``publisher``, ``status`` is ``available``, ``full`` or
    ``draining``. ``job_count`` is the worker's own count, ``jobs`` are those this server gave it. Times are
    seconds since the epoch.
    """

    id: str
    agent_name: str
    job_type: str
    deployment: str
    namespace: str
    version: str
    api_key: str
    status: str
    load: float
    job_count: int
    jobs: tuple[str, ...]
    connected_at: float
    updated_at: float


def worker_info(worker: Worker) -> WorkerInfo:
    """Return a worker as others may see it."""
    key = worker.key or WorkerKey()
    return WorkerInfo(
        id=worker.id,
        agent_name=key.agent_name,
        job_type=agent.JobType.Name(key.job_type).removeprefix("JT_").lower(),
        deployment=key.deployment,
        namespace=key.namespace,
        version=worker.version,
        api_key=worker.grant.key.key,
        status="draining" if worker.draining else "available" if worker.available else "full",
        load=worker.load,
        job_count=worker.job_count,
        jobs=tuple(sorted(worker.jobs)),
        connected_at=worker.connected_at,
        updated_at=worker.updated_at,
    )
