"""What changed between one worker list and the next, as events. No I/O, no clock.

What can be true only once has a key, so a program that starts anew may tell it again: only what the log does
not hold is added.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from greenroom.eventlog import NewEvent, Record
from greenroom.link import (
    DispatchEnded,
    DispatchPending,
    JobAssigned,
    JobEnded,
    JobEvent,
    JobInfo,
    WorkerChanged,
    WorkerEvent,
    WorkerGone,
    WorkerInfo,
    WorkerList,
    WorkerSeen,
)

WORKERS: Final = "system:workers"
LOAD_STEP: Final = 0.1
_MAX_TOLD: Final = 4096

Told: TypeAlias = tuple[str, NewEvent]
"""A stream and an event for it."""


class WorkerBook:
    """The workers and jobs as the log was last told of them."""

    def __init__(self) -> None:
        self._workers: dict[str, WorkerInfo] = {}
        self._jobs: dict[str, JobInfo] = {}
        # Lists repeat what has ended for a while.
        self._over: dict[str, None] = {}

    def restore(self, records: Iterable[Record]) -> None:
        """Take in what the log holds of workers already."""
        for record in records:
            data = record.data
            if isinstance(data, WorkerGone):
                self._workers.pop(data.worker.id, None)
            elif isinstance(data, WorkerEvent):
                self._workers[data.worker.id] = data.worker
            elif isinstance(data, JobEnded | DispatchEnded):
                self._jobs.pop(data.job.id, None)
                self._end(data.job.id)
            elif isinstance(data, JobEvent):
                self._jobs[data.job.id] = data.job

    @property
    def running(self) -> list[JobInfo]:
        """The jobs that workers have."""
        return [job for job in self._jobs.values() if not job.waits]

    def compare(self, found: WorkerList, now: float) -> list[Told]:
        """Return what to append for a list."""
        told = self._compare_workers(found, now)
        for job in found.jobs:
            told += self._compare_job(job, now)
        for job in found.ended:
            told += self._compare_ended(job, now)
        listed = {job.id for job in found.jobs}
        for job_id, job in list(self._jobs.items()):
            if job_id not in listed:
                # Nobody says how it ended: its server has forgotten, or is another one now.
                told += self._finish(_unknown(job), now)
        return told

    def _compare_workers(self, found: WorkerList, now: float) -> list[Told]:
        told: list[Told] = []
        listed = {worker.id: worker for worker in found.workers}
        for worker_id in self._workers.keys() - listed.keys():
            gone = self._workers.pop(worker_id)
            told.append((WORKERS, NewEvent(WorkerGone(worker=gone), now, f"worker.gone:{worker_id}")))
        for worker_id, worker in listed.items():
            known = self._workers.get(worker_id)
            if known is None:
                at = worker.connected_at or now
                told.append((WORKERS, NewEvent(WorkerSeen(worker=worker), at, f"worker.seen:{worker_id}")))
            elif _differs(known, worker):
                told.append((WORKERS, NewEvent(WorkerChanged(worker=worker), worker.updated_at or now)))
            else:
                continue
            self._workers[worker_id] = worker
        return told

    def _compare_job(self, job: JobInfo, now: float) -> list[Told]:
        known = self._jobs.get(job.id)
        self._jobs[job.id] = job
        if job.waits:
            if known is not None and known.waits and known.why == job.why:
                return []
            at = now if known is not None else job.created_at or now
            key = f"dispatch.pending:{job.id}:{job.assignments}:{zlib.crc32(job.why.encode())}"
            return [(WORKERS, NewEvent(DispatchPending(job=job), at, key))]
        if known is None or known.waits or _place(known) != _place(job):
            return self._assigned(job, now)
        return []

    def _compare_ended(self, job: JobInfo, now: float) -> list[Told]:
        if job.id in self._over:
            return []
        known = self._jobs.get(job.id)
        missed = job.assignments > 0 and (known is None or known.waits or _place(known) != _place(job))
        return [*(self._assigned(job, now) if missed else []), *self._finish(job, now)]

    def _assigned(self, job: JobInfo, now: float) -> list[Told]:
        key = f"job.assigned:{job.id}:{job.assignments}:{job.worker_id}"
        return _both(JobAssigned(job=job), job, job.started_at or now, key)

    def _finish(self, job: JobInfo, now: float) -> list[Told]:
        self._jobs.pop(job.id, None)
        self._end(job.id)
        at = job.ended_at or now
        if job.assignments:
            return _both(JobEnded(job=job), job, at, f"job.ended:{job.id}")
        return [(WORKERS, NewEvent(DispatchEnded(job=job), at, f"dispatch.ended:{job.id}"))]

    def _end(self, job_id: str) -> None:
        self._over[job_id] = None
        while len(self._over) > _MAX_TOLD:
            del self._over[next(iter(self._over))]


def _both(data: JobEvent, job: JobInfo, at: float, key: str) -> list[Told]:
    """Tell the workers' stream and the session's."""
    return [(WORKERS, NewEvent(data, at, key)), (f"session:{job.id}", NewEvent(data, at, f"session:{key}"))]


def _place(job: JobInfo) -> tuple[str, str]:
    return job.worker_id, job.agent_identity


def _unknown(job: JobInfo) -> JobInfo:
    return msgspec.structs.replace(job, status="", present=False)


def _differs(known: WorkerInfo, worker: WorkerInfo) -> bool:
    if (known.status, known.version, known.jobs) != (worker.status, worker.version, worker.jobs):
        return True
    return abs((known.load or 0.0) - (worker.load or 0.0)) >= LOAD_STEP
