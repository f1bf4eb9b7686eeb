"""The embedded server's worker list as a client sees it (``docs/protocol.md``, "Worker list")."""

from __future__ import annotations

import msgspec


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A registered worker. ``status`` is ``available``, ``full`` or ``draining``; ``jobs`` are job ids."""

    id: str
    agent_name: str = ""
    job_type: str = ""
    deployment: str = ""
    namespace: str = ""
    version: str = ""
    api_key: str = ""
    status: str = ""
    load: float | None = None
    job_count: int | None = None
    jobs: tuple[str, ...] = ()
    connected_at: float | None = None
    updated_at: float | None = None


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job. ``why`` and ``fix`` stand beside one that waits for a worker, ``error`` beside one that failed."""

    id: str
    dispatch_id: str = ""
    room: str = ""
    room_sid: str = ""
    agent_name: str = ""
    job_type: str = ""
    deployment: str = ""
    participant: str = ""
    implicit: bool = False
    phase: str = ""
    status: str = ""
    worker_id: str = ""
    agent_identity: str = ""
    present: bool = False
    created_at: float | None = None
    deadline: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    declined: int = 0
    unanswered: int = 0
    assignments: int = 0
    why: str = ""
    fix: str = ""
    reason: str = ""
    error: str = ""

    @property
    def waits(self) -> bool:
        """Whether no worker has it yet."""
        return self.phase in {"pending", "offered"}


class WorkerList(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment. ``ended`` are the latest jobs that have ended, oldest first.

    :param version: changes with what the list says.
    :param server: the server's node id; a new one after a restart.
    """

    version: str
    server: str = ""
    now: float | None = None
    workers: tuple[WorkerInfo, ...] = ()
    jobs: tuple[JobInfo, ...] = ()
    ended: tuple[JobInfo, ...] = ()
