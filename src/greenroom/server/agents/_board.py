"""The life of a job from the dispatch that wants it to the worker that takes it. No I/O, no clock.

Every call takes ``now`` (seconds) and leaves effects in :attr:`JobBoard.outbox`. A job that no worker takes
waits until its deadline. Source: ``pkg/agent/worker.go`` and ``pkg/service/agentservice.go`` of LiveKit, from
which this departs where a call would go without its agent: see ``docs/protocol.md``, "Dispatch".
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from livekit.protocol import agent

from greenroom.config import AgentDefaults
from greenroom.server.agents._alarms import Alarms
from greenroom.server.agents._effects import Assign, Effect, Log, Offer, Terminate
from greenroom.server.agents._model import ENDED_JOBS, Answer, Job, Phase, Transition, Worker, WorkerKey
from greenroom.server.agents._pool import WorkerPool, is_able

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 8.0

SLOW_START: Final = 30.0
"""When it is worth a line in the log that an agent has not joined."""

REMEMBERED: Final = 256
"""How many jobs that have ended are still told of."""

EVICTION: Final = 60.0
"""How long an agent is turned away whose job is not its any more; a cold start is over by then."""


class JobBoard:
    """Jobs, the workers they are offered to, and the time each is looked at again."""

    def __init__(self, settings: AgentDefaults, pool: WorkerPool) -> None:
        self.pool = pool
        self.jobs: dict[str, Job] = {}
        #: The latest jobs that have ended, oldest first; they outlive their rooms.
        self.ended: deque[Job] = deque(maxlen=REMEMBERED)
        self.outbox: list[Effect] = []
        self.alarms: Alarms[Job | Worker] = Alarms()
        self._settings = settings
        self._waiting: dict[WorkerKey, dict[str, Job]] = {}

    # Jobs in and out

    def launch(self, job: Job, now: float) -> None:
        """Take a new job and offer it at once if a worker can take it."""
        self._admit(job, now)
        self.seek(job, now)

    def offer_to(self, job: Job, worker: Worker, now: float) -> None:
        """Take a new job that only this worker may run."""
        self._admit(job, now)
        self._offer(job, worker, now)

    def forget(self, job: Job) -> None:
        """Drop a job that has ended."""
        self.jobs.pop(job.id, None)
        if job.dispatch is not None:
            job.dispatch.jobs.pop(job.id, None)

    def _admit(self, job: Job, now: float) -> None:
        self.jobs[job.id] = job
        if job.dispatch is not None:
            job.dispatch.jobs[job.id] = job
        self.record(job, "created", now)

    # Workers

    def worker_ready(self, worker: Worker, now: float, *, anew: bool = False) -> None:
        """Offer the worker what waits for one like it; ``anew`` also what it declined before."""
        if worker.key is None:
            return
        for job in list(self._waiting.get(worker.key, {}).values()):
            if not is_able(worker):
                return
            if anew:
                job.tried.discard(worker.id)
            if worker.id not in job.tried and worker.grant.allows_room(job.room.name):
                self.seek(job, now)

    def worker_lost(self, worker: Worker, now: float) -> None:
        """Offer to others what the worker was asked about."""
        for job_id in sorted(worker.offers):
            job = self.jobs[job_id]
            self.record(job, "worker_lost", now, worker_id=worker.id)
            self.seek(job, now)

    def answered(self, worker: Worker, response: agent.AvailabilityResponse, now: float) -> None:
        """The worker said whether it takes the job.

        An answer after the time-out still counts while nobody else has been asked; after that the job is not
        its to take.
        """
        job = self.jobs.get(response.job_id)
        worker.silent = False
        if job is None or worker.id not in job.asked or job.phase not in {Phase.PENDING, Phase.OFFERED}:
            return
        current = job.phase is Phase.OFFERED and job.worker_id == worker.id
        if response.terminate:
            self.record(job, "finished_by_worker", now, worker_id=worker.id)
            self.end(job, agent.JS_SUCCESS, now)
        elif response.available:
            if current or job.phase is Phase.PENDING:
                self._assign(job, worker, response, now)
            else:
                self.record(job, "answered_late", now, worker_id=worker.id)
        elif current:
            job.declined += 1
            worker.offers.discard(job.id)
            self.record(job, "declined", now, worker_id=worker.id)
            self.seek(job, now)
        self.worker_ready(worker, now)

    def woken(self, job: Job, now: float) -> None:
        """The time that a job without a worker was waiting for has come."""
        if job.phase is Phase.PENDING:
            job.tried.clear()
            self.seek(job, now)
            return
        job.unanswered += 1
        worker = self.pool.get(job.worker_id)
        self.record(job, "unanswered", now, worker_id=job.worker_id)
        if worker is not None:
            worker.silent = True
            worker.offers.discard(job.id)
            self.log("worker did not answer a job offer in time", job, level=logging.WARNING)
        self.seek(job, now)
        if worker is not None:
            self.worker_ready(worker, now)

    # Steps of a job

    def seek(self, job: Job, now: float) -> None:
        """Offer the job to the next worker, or wait, or fail it when its time is over."""
        job.phase = Phase.PENDING
        job.status = agent.JS_PENDING
        job.worker_id = ""
        late = now >= job.deadline or job.dispatch is None
        worker = None if late else self.pool.choose(job)
        if worker is not None:
            self._offer(job, worker, now)
        elif late:
            self._fail(job, now)
        else:
            self._wait(job, now)

    def withdraw(self, job: Job, now: float) -> None:
        """Stop looking for a worker: the job has one after all."""
        self._unwait(job)
        worker = self.pool.get(job.worker_id)
        job.worker_id = ""
        job.status = agent.JS_RUNNING
        if worker is not None:
            worker.offers.discard(job.id)
            self.worker_ready(worker, now)

    def terminate(self, job: Job, worker_id: str = "") -> None:
        """Tell the job's worker, or another, to end it."""
        worker_id = worker_id or job.worker_id
        if self.pool.get(worker_id) is not None:
            self.outbox.append(Terminate(worker_id, job.id))

    def end(
        self,
        job: Job,
        status: agent.JobStatus,
        now: float,
        *,
        error: str = "",
        reason: agent.JobStateReason = agent.JSR_UNSPECIFIED,
        reported: bool = False,
    ) -> None:
        """End the job, whatever it is doing.

        :param reported: the error is in the worker's words. Those may repeat what a caller said, so they are
            shown to who lists the dispatch but not written to the log.
        """
        self._unwait(job)
        self.alarms.set(job, None)
        worker = self.pool.get(job.worker_id)
        job.phase = Phase.ENDED
        job.status = status
        job.error = error
        job.reason = reason
        job.ended_at = job.updated_at = now
        if job.room.agents.get(job.identity) is job:
            del job.room.agents[job.identity]
        job.room.seats.pop(job.seat, None)
        self.record(job, "ended", now, worker_id=job.worker_id, detail=error)
        if self.is_visible(job):
            self.ended.append(job)
            name = agent.JobStatus.Name(status).removeprefix("JS_").lower()
            self.log("job ended", job, status=name, error="" if reported else error)
        if job.dispatch is None:
            self.forget(job)
        elif len(job.dispatch.jobs) > ENDED_JOBS:
            self.forget(next(each for each in job.dispatch.jobs.values() if each.phase is Phase.ENDED))
        if worker is not None:
            worker.jobs.discard(job.id)
            worker.offers.discard(job.id)
            self.worker_ready(worker, now)

    def _offer(self, job: Job, worker: Worker, now: float) -> None:
        self._unwait(job)
        job.phase = Phase.OFFERED
        job.worker_id = worker.id
        job.tried.add(worker.id)
        job.asked.add(worker.id)
        job.updated_at = now
        worker.offers.add(job.id)
        if job.dispatch is not None:
            job.dispatch.served = True
        self.alarms.set(job, now + self._settings.availability_timeout)
        self.record(job, "offered", now, worker_id=worker.id)
        self.outbox.append(Offer(worker, job))

    def _wait(self, job: Job, now: float) -> None:
        wake = job.deadline
        if self.pool.is_declined(job):
            job.backoff = min(job.backoff * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
            wake = min(wake, now + job.backoff)
        self.alarms.set(job, wake)
        if job.id in self._waiting.setdefault(job.key, {}):
            return
        self._waiting[job.key][job.id] = job
        why = self.pool.explain(job)
        self.record(job, "waiting", now, detail=why.reason)
        if self.is_visible(job):
            level = logging.INFO if self._matters(job) else logging.DEBUG
            self.log("job waits for a worker", job, level=level, why=why.reason, fix=why.fix)

    def _unwait(self, job: Job) -> None:
        waiting = self._waiting.get(job.key)
        if waiting is not None and waiting.pop(job.id, None) is not None and not waiting:
            del self._waiting[job.key]

    def _fail(self, job: Job, now: float) -> None:
        if job.dispatch is None:
            self.end(job, agent.JS_FAILED, now, error="the worker that asked for the job did not take it")
            return
        why = self.pool.explain(job)
        if not self.is_visible(job):
            self.end(job, agent.JS_CANCELLED, now, error=why.reason)
            self.forget(job)
            return
        waited = f"{self._settings.dispatch_deadline:g} s"
        level = logging.WARNING if self._matters(job) else logging.DEBUG
        self.log("no worker took the job", job, level=level, waited=waited, why=why.reason, fix=why.fix)
        error = f"no worker took the job within {waited}: {why.reason}. {why.fix}"
        self.end(job, agent.JS_FAILED, now, error=error, reason=agent.JSR_NO_CAPACITY)

    def _assign(self, job: Job, worker: Worker, response: agent.AvailabilityResponse, now: float) -> None:
        self._unwait(job)
        worker.offers.discard(job.id)
        worker.jobs.add(job.id)
        job.phase = Phase.ASSIGNED
        job.worker_id = worker.id
        self._name_agent(job, response.participant_identity or f"agent-{job.id}", now)
        job.status = agent.JS_RUNNING
        job.started_at = job.updated_at = now
        job.assignments += 1
        job.orphan = None
        self.alarms.set(job, now + SLOW_START)
        self.record(job, "assigned", now, worker_id=worker.id)
        answer = Answer(
            identity=job.identity,
            name=response.participant_name,
            metadata=response.participant_metadata,
            attributes=dict(response.participant_attributes),
        )
        self.outbox.append(Assign(worker, job, answer))
        self.log("job assigned", job)

    def _name_agent(self, job: Job, identity: str, now: float) -> None:
        room = job.room
        if job.identity and job.identity != identity and room.agents.get(job.identity) is job:
            # The worker before this one was given up; should its agent come after all, there would be two.
            del room.agents[job.identity]
            room.evicted[job.identity] = now + EVICTION
        job.identity = identity
        room.agents[identity] = job
        room.evicted.pop(identity, None)

    # What is shown

    def is_visible(self, job: Job) -> bool:
        """Whether the job is one a person asked for.

        Every dispatch launches for its room, its participants and its publishers, and usually only one of
        these has workers. What was never offered is not shown beside what was, and a dispatch that nobody
        serves shows its room job.
        """
        if job.asked or job.dispatch is None:
            return True
        if self.pool.serves(job.key):
            return True
        return job.key.job_type == agent.JT_ROOM and not job.dispatch.served

    def record(self, job: Job, event: str, now: float, *, worker_id: str = "", detail: str = "") -> None:
        """Keep a step in the history of the job's dispatch."""
        if job.dispatch is not None:
            job.dispatch.history.append(Transition(now, job.id, event, worker_id, detail))

    def log(self, message: str, job: Job, *, level: int = logging.INFO, **fields: str) -> None:
        """Write a log line about the job."""
        names = {
            "job": job.id,
            "dispatch": job.dispatch.id if job.dispatch is not None else "",
            "room": job.room.sid,
            "agent_name": job.key.agent_name,
            "worker": job.worker_id,
        }
        self.outbox.append(Log(message, {**names, **fields}, level))

    def _matters(self, job: Job) -> bool:
        """Whether nobody serves the call if this job does not start: the implicit dispatch is often not meant."""
        others = job.room.dispatches.values()
        return job.dispatch is None or not job.dispatch.implicit or not any(each.served for each in others)
