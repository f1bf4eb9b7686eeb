"""Jobs that a worker has been given: agents come and go, and so do the connections of workers.

A worker's connection and its agent's are two different ones, and either may be lost without the other. A
job is its worker's until the worker says that it ended, its agent has left for good, or nobody wants it.
"""

from __future__ import annotations

import logging
from typing import Final

from livekit.protocol import agent

from greenroom.config import AgentDefaults
from greenroom.server.agents._board import EVICTION, JobBoard
from greenroom.server.agents._model import HELD, Job, Orphan, Phase, Worker

RECONNECT_GRACE: Final = 5.0
"""How long a worker that lost its connection may take to come back for a job whose agent has not joined."""

REJOIN_GRACE: Final = 5.0
"""How long an agent that was replaced by its own second connection may take to arrive."""

TAKEOVER: Final = 30.0
"""How long a restarted worker may take to put the agent back that left with the worker before it."""

LAST_WORD: Final = 10.0
"""How long a worker may take to say how a job ended after its agent left the room."""

_ENDINGS: Final = frozenset({agent.JS_SUCCESS, agent.JS_FAILED, agent.JS_CANCELLED})


class Custody:
    """Follows the jobs on ``board`` from their assignment to their end."""

    def __init__(self, settings: AgentDefaults, board: JobBoard) -> None:
        self._settings = settings
        self._board = board

    # Agents

    def agent_joined(self, job: Job, seat: str, now: float) -> None:
        """The job's agent is in the room, under the participant sid ``seat``."""
        if job.phase in {Phase.PENDING, Phase.OFFERED}:
            # Its worker was given up, but the agent made it: nobody else is needed.
            self._board.withdraw(job, now)
            job.phase = Phase.RUNNING
        job.seat = seat
        job.joined = True
        job.room.seats[seat] = job
        if job.phase is not Phase.LEAVING or job.orphan is not None:
            job.phase = Phase.RUNNING
            self._board.alarms.set(job, None)
        self._board.record(job, "joined", now)

    def agent_left(self, job: Job, now: float, *, replaced: bool) -> None:
        """The job's agent left the room. ``replaced``: by a second connection with its identity."""
        job.seat = ""
        if job.phase is Phase.LEAVING:
            return
        if replaced and job.room.agents.get(job.identity) is job:
            self._board.alarms.set(job, now + REJOIN_GRACE)
            return
        self._board.record(job, "left", now)
        job.phase = Phase.LEAVING
        self._board.terminate(job)
        self._board.alarms.set(job, now + (LAST_WORD if job.orphan is None else TAKEOVER))

    # Workers

    def worker_lost(self, worker: Worker, now: float) -> None:
        """Give the worker time to come back for what it runs."""
        if worker.key is None:
            return
        for job_id in sorted(worker.jobs):
            job = self._board.jobs[job_id]
            job.orphan = Orphan(worker.grant.key.key, worker.key)
            self._board.record(job, "worker_lost", now, worker_id=worker.id)
            if job.phase is Phase.LEAVING:
                self._board.alarms.set(job, now + TAKEOVER)
            elif not job.joined:
                self._board.alarms.set(job, now + RECONNECT_GRACE)

    def reported(self, worker: Worker, update: agent.UpdateJobStatus, now: float) -> None:
        """The worker said how its job is doing.

        A worker that runs the job of an equal one takes it over: so does a new version of a program from
        the one it replaces, before the old one is gone. One whose agent has left goes on with the job by saying
        that it runs, if the agent comes back in time.
        """
        job = self._board.jobs.get(update.job_id)
        if job is None:
            return
        running = update.status == agent.JS_RUNNING
        if not self._holds(worker, job) and not self._recover(worker, job, now, over_connected=running):
            return
        job.updated_at = now
        if update.status in _ENDINGS:
            self._board.end(job, update.status, now, error=update.error, reported=True)
        elif running and job.phase is Phase.ASSIGNED:
            job.phase = Phase.RUNNING
            self._board.record(job, "running", now, worker_id=worker.id)
        elif running and job.phase is Phase.LEAVING:
            # A pool moves its agents between processes: one leaves, another comes as the same.
            job.phase = Phase.RUNNING
            self._board.alarms.set(job, None if job.seat else now + TAKEOVER)
            self._board.record(job, "resumed", now, worker_id=worker.id)

    def claimed(self, worker: Worker, job_id: str, now: float) -> None:
        """A worker that reconnected says that it runs the job; it is told to end one that is not its any more."""
        job = self._board.jobs.get(job_id)
        if job is None or self._holds(worker, job) or self._recover(worker, job, now):
            return
        ended = job.phase is Phase.ENDED
        elsewhere = job.phase in HELD and self._board.pool.get(job.worker_id) is not None
        if ended or elsewhere:
            self._board.terminate(job, worker.id)

    def _holds(self, worker: Worker, job: Job) -> bool:
        return job.phase in HELD and job.worker_id == worker.id

    def _recover(self, worker: Worker, job: Job, now: float, *, over_connected: bool = False) -> bool:
        """Give the worker a job that an equal one had, whose connection was lost or need not be asked."""
        if job.phase is Phase.ENDED or worker.key is None:
            return False
        former = self._board.pool.get(job.worker_id) if job.phase in HELD else None
        owner = job.orphan
        if owner is None and over_connected and former is not None and former.key is not None:
            owner = Orphan(former.grant.key.key, former.key)
        if owner != Orphan(worker.grant.key.key, worker.key):
            return False
        if former is not None:
            former.jobs.discard(job.id)
            # From here on the agent that counts is the newcomer's, which has yet to come.
            job.seat = ""
        elif job.phase in {Phase.PENDING, Phase.OFFERED}:
            self._board.withdraw(job, now)
            job.phase = Phase.ASSIGNED
        elif job.phase is Phase.LEAVING:
            job.phase = Phase.RUNNING
        job.orphan = None
        job.worker_id = worker.id
        worker.jobs.add(job.id)
        self._board.alarms.set(job, now + TAKEOVER if job.joined and not job.seat else None)
        self._board.record(job, "worker_returned" if former is None else "taken_over", now, worker_id=worker.id)
        return True

    # Ends

    def cancel(self, job: Job, reason: agent.JobStateReason, now: float) -> None:
        """End the job because nobody wants it any more. A worker that has it is told."""
        if job.phase is Phase.ENDED:
            return
        held = job.phase in HELD
        if held:
            if job.phase is not Phase.LEAVING:
                self._board.terminate(job)
            job.room.evicted[job.identity] = now + EVICTION
        self._board.end(job, agent.JS_SUCCESS if held else agent.JS_CANCELLED, now, reason=reason)

    def woken(self, job: Job, now: float) -> None:
        """The time that a held job was waiting for has come."""
        if job.phase is Phase.LEAVING:
            self._board.end(job, agent.JS_FAILED, now, error="agent worker left the room")
        elif job.joined:
            job.seat = next((seat for seat, owner in job.room.seats.items() if owner is job), "")
            if not job.seat:
                self.agent_left(job, now, replaced=False)
        elif job.orphan is not None:
            self._give_up_on_worker(job, now)
        else:
            self._board.record(job, "not_joined", now, worker_id=job.worker_id)
            self._board.log("agent has not joined the room of its job", job, level=logging.WARNING)

    def _give_up_on_worker(self, job: Job, now: float) -> None:
        self._board.record(job, "worker_given_up", now, worker_id=job.worker_id)
        if job.dispatch is None:
            self._board.end(job, agent.JS_FAILED, now, error="the worker disconnected")
            return
        job.tried.clear()
        job.backoff = 0.0
        job.deadline = now + self._settings.dispatch_deadline
        self._board.seek(job, now)
