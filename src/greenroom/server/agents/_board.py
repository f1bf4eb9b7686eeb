"""The life of a job between a dispatch that wants it and a worker that runs it. No I/O, no clock.

Every call takes ``now`` (seconds) and leaves effects in :attr:`JobBoard.outbox`. A job that no worker takes
waits until its deadline. Source: ``pkg/agent/worker.go`` and ``pkg/service/agentservice.go`` of LiveKit, from
which this departs where a call would go without its agent: see ``docs/protocol.md``, "Dispatch".
"""

from __future__ import annotations

import logging
from typing import Final

from livekit.protocol import agent

from greenroom.config import AgentDefaults
from greenroom.server.agents._alarms import Alarms
from greenroom.server.agents._effects import Assign, Disconnect, Effect, Log, Offer, Terminate
from greenroom.server.agents._model import ENDED_JOBS, HELD, Answer, Job, Orphan, Phase, Transition, Worker, WorkerKey
from greenroom.server.agents._pool import WorkerPool, is_able

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 8.0

RECONNECT_GRACE: Final = 5.0
"""How long a worker that lost its connection may take to come back for a job whose agent has not joined."""

REJOIN_GRACE: Final = 5.0
"""How long an agent that was replaced by its own second connection may take to arrive."""

LAST_WORD: Final = 10.0
"""How long a worker may take to say how a job ended after its agent left the room."""

SLOW_START: Final = 30.0
"""When it is worth a line in the log that an agent has not joined."""

EVICTION: Final = 60.0
"""How long an agent whose job has been ended meanwhile is turned away; a cold start is over by then."""

_ENDINGS: Final = frozenset({agent.JS_SUCCESS, agent.JS_FAILED, agent.JS_CANCELLED})


class JobBoard:
    """Jobs, the workers they are offered to, and the time each is looked at again."""

    def __init__(self, settings: AgentDefaults, pool: WorkerPool) -> None:
        self.pool = pool
        self.jobs: dict[str, Job] = {}
        self.outbox: list[Effect] = []
        self.alarms: Alarms[Job | Worker] = Alarms()
        self._settings = settings
        self._waiting: dict[WorkerKey, dict[str, Job]] = {}

    # ------------------------------------------------------------------ from rooms and dispatches

    def launch(self, job: Job, now: float) -> None:
        """Take a new job and offer it at once if a worker can take it."""
        self._admit(job, now)
        self._seek(job, now)

    def offer_to(self, job: Job, worker: Worker, now: float) -> None:
        """Take a new job that only this worker may run."""
        self._admit(job, now)
        self._offer(job, worker, now)

    def agent_joined(self, job: Job, seat: str, now: float) -> None:
        """The job's agent is in the room, under the participant sid ``seat``."""
        if job.phase in {Phase.PENDING, Phase.OFFERED}:
            # Its worker was given up, but the agent made it: nobody else is needed.
            self._withdraw(job, now)
        job.seat = seat
        job.joined = True
        job.room.seats[seat] = job
        if job.phase is not Phase.LEAVING:
            job.phase = Phase.RUNNING
            self.alarms.set(job, None)
        self._record(job, "joined", now)

    def agent_left(self, job: Job, now: float, *, replaced: bool) -> None:
        """The job's agent left the room. ``replaced``: by a second connection with its identity."""
        job.seat = ""
        if job.phase is Phase.LEAVING:
            return
        if replaced and job.room.agents.get(job.identity) is job:
            self.alarms.set(job, now + REJOIN_GRACE)
            return
        self._record(job, "left", now)
        job.phase = Phase.LEAVING
        self._terminate(job)
        self.alarms.set(job, now + LAST_WORD)

    def cancel(self, job: Job, reason: agent.JobStateReason, now: float) -> None:
        """End the job because nobody wants it any more. A worker that has it is told."""
        if job.phase is Phase.ENDED:
            return
        held = job.phase in HELD
        if held:
            if job.phase is not Phase.LEAVING:
                self._terminate(job)
            job.room.evicted[job.identity] = now + EVICTION
        self._end(job, agent.JS_SUCCESS if held else agent.JS_CANCELLED, now, reason=reason)

    def forget(self, job: Job) -> None:
        """Drop a job that has ended."""
        self.jobs.pop(job.id, None)
        if job.dispatch is not None:
            job.dispatch.jobs.pop(job.id, None)

    # ------------------------------------------------------------------ from workers

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
                self._seek(job, now)

    def worker_lost(self, worker: Worker, now: float) -> None:
        """Take back what was offered; give the worker time to come back for what it runs."""
        if worker.key is None:
            return
        orphan = Orphan(worker.grant.key.key, worker.key)
        for job_id in sorted(worker.jobs):
            job = self.jobs[job_id]
            job.orphan = orphan
            self._record(job, "worker_lost", now, worker_id=worker.id)
            if not job.joined and job.phase is not Phase.LEAVING:
                self.alarms.set(job, now + RECONNECT_GRACE)
        for job_id in sorted(worker.offers):
            job = self.jobs[job_id]
            self._record(job, "worker_lost", now, worker_id=worker.id)
            self._seek(job, now)

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
            self._record(job, "finished_by_worker", now, worker_id=worker.id)
            self._end(job, agent.JS_SUCCESS, now)
        elif response.available:
            if current or job.phase is Phase.PENDING:
                self._assign(job, worker, response, now)
            else:
                self._record(job, "answered_late", now, worker_id=worker.id)
        elif current:
            job.declined += 1
            worker.offers.discard(job.id)
            self._record(job, "declined", now, worker_id=worker.id)
            self._seek(job, now)
        self.worker_ready(worker, now)

    def reported(self, worker: Worker, update: agent.UpdateJobStatus, now: float) -> None:
        """The worker said how its job is doing."""
        job = self.jobs.get(update.job_id)
        if job is None or not self._holds(worker, job, now):
            return
        job.updated_at = now
        if update.status in _ENDINGS:
            self._end(job, update.status, now, error=update.error)
        elif update.status == agent.JS_RUNNING and job.phase is Phase.ASSIGNED:
            job.phase = Phase.RUNNING
            self._record(job, "running", now, worker_id=worker.id)

    def claimed(self, worker: Worker, job_id: str, now: float) -> None:
        """A worker that reconnected says that it runs the job."""
        job = self.jobs.get(job_id)
        if job is not None and not self._holds(worker, job, now) and self._is_elsewhere(worker, job):
            self.outbox.append(Terminate(worker.id, job_id))

    # ------------------------------------------------------------------ from time

    def woken(self, job: Job, now: float) -> None:
        """The time the job was waiting for has come."""
        match job.phase:
            case Phase.PENDING:
                job.tried.clear()
                self._seek(job, now)
            case Phase.OFFERED:
                self._unanswered(job, now)
            case Phase.LEAVING:
                self._end(job, agent.JS_FAILED, now, error="agent worker left the room")
            case Phase.ASSIGNED | Phase.RUNNING if job.joined:
                self.agent_left(job, now, replaced=False)
            case Phase.ASSIGNED | Phase.RUNNING if job.orphan is not None:
                self._give_up_on_worker(job, now)
            case Phase.ASSIGNED | Phase.RUNNING:
                self._record(job, "not_joined", now, worker_id=job.worker_id)
                fields = {**self._names(job), "worker": job.worker_id, "after": f"{SLOW_START:g} s"}
                self._log("agent has not joined the room of its job", fields, logging.WARNING)
            case _:
                pass

    def _unanswered(self, job: Job, now: float) -> None:
        job.unanswered += 1
        worker = self.pool.get(job.worker_id)
        self._record(job, "unanswered", now, worker_id=job.worker_id)
        if worker is not None:
            worker.silent = True
            worker.offers.discard(job.id)
            fields: dict[str, object] = {**self._names(job), "worker": worker.id}
            self._log("worker did not answer a job offer in time", fields, logging.WARNING)
        self._seek(job, now)
        if worker is not None:
            self.worker_ready(worker, now)

    def _give_up_on_worker(self, job: Job, now: float) -> None:
        self._record(job, "worker_given_up", now, worker_id=job.worker_id)
        if job.dispatch is None:
            self._end(job, agent.JS_FAILED, now, error="the worker disconnected")
            return
        job.tried.clear()
        job.backoff = 0.0
        job.deadline = now + self._settings.dispatch_deadline
        self._seek(job, now)

    # ------------------------------------------------------------------ steps of a job

    def _admit(self, job: Job, now: float) -> None:
        self.jobs[job.id] = job
        if job.dispatch is not None:
            job.dispatch.jobs[job.id] = job
        self._record(job, "created", now)

    def _seek(self, job: Job, now: float) -> None:
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
        self._record(job, "offered", now, worker_id=worker.id)
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
        self._record(job, "waiting", now, detail=why.reason)
        if self.is_visible(job):
            level = logging.INFO if self._matters(job) else logging.DEBUG
            self._log("job waits for a worker", {**self._names(job), "why": why.reason, "fix": why.fix}, level)

    def _fail(self, job: Job, now: float) -> None:
        if job.dispatch is None:
            self._end(job, agent.JS_FAILED, now, error="the worker that asked for the job did not take it")
            return
        why = self.pool.explain(job)
        if not self.is_visible(job):
            self._end(job, agent.JS_CANCELLED, now, error=why.reason)
            self.forget(job)
            return
        waited = f"{self._settings.dispatch_deadline:g} s"
        self._log(
            "no worker took the job",
            {**self._names(job), "why": why.reason, "fix": why.fix, "waited": waited},
            logging.WARNING if self._matters(job) else logging.DEBUG,
        )
        error = f"no worker took the job within {waited}: {why.reason}. {why.fix}"
        self._end(job, agent.JS_FAILED, now, error=error, reason=agent.JSR_NO_CAPACITY)

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
        self._record(job, "assigned", now, worker_id=worker.id)
        answer = Answer(
            identity=job.identity,
            name=response.participant_name,
            metadata=response.participant_metadata,
            attributes=dict(response.participant_attributes),
        )
        self.outbox.append(Assign(worker, job, answer))
        self._log("job assigned", {**self._names(job), "worker": worker.id})

    def _end(
        self,
        job: Job,
        status: agent.JobStatus,
        now: float,
        *,
        error: str = "",
        reason: agent.JobStateReason = agent.JSR_UNSPECIFIED,
    ) -> None:
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
        self._record(job, "ended", now, worker_id=job.worker_id, detail=error)
        if self.is_visible(job):
            name = agent.JobStatus.Name(status).removeprefix("JS_").lower()
            self._log("job ended", {**self._names(job), "status": name, "error": error})
        if job.dispatch is None:
            self.forget(job)
        elif len(job.dispatch.jobs) > ENDED_JOBS:
            self._forget_oldest(job)
        if worker is not None:
            worker.jobs.discard(job.id)
            worker.offers.discard(job.id)
            self.worker_ready(worker, now)

    # ------------------------------------------------------------------ helpers

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

    def _matters(self, job: Job) -> bool:
        """Whether nobody serves the call if this job does not start: the implicit dispatch is often not meant."""
        others = job.room.dispatches.values()
        return job.dispatch is None or not job.dispatch.implicit or not any(each.served for each in others)

    def _unwait(self, job: Job) -> None:
        waiting = self._waiting.get(job.key)
        if waiting is not None and waiting.pop(job.id, None) is not None and not waiting:
            del self._waiting[job.key]

    def _name_agent(self, job: Job, identity: str, now: float) -> None:
        room = job.room
        if job.identity and job.identity != identity and room.agents.get(job.identity) is job:
            # The worker before this one was given up; should its agent come after all, there would be two.
            del room.agents[job.identity]
            room.evicted[job.identity] = now + EVICTION
        job.identity = identity
        room.agents[identity] = job
        room.evicted.pop(identity, None)

    def _withdraw(self, job: Job, now: float) -> None:
        self._unwait(job)
        worker = self.pool.get(job.worker_id)
        job.worker_id = ""
        job.status = agent.JS_RUNNING
        if worker is not None:
            worker.offers.discard(job.id)
            self.worker_ready(worker, now)

    def _terminate(self, job: Job) -> None:
        if self.pool.get(job.worker_id) is not None:
            self.outbox.append(Terminate(job.worker_id, job.id))

    def _holds(self, worker: Worker, job: Job, now: float) -> bool:
        """Whether the job is the worker's, which includes one it had before its connection was lost."""
        if job.phase in HELD and job.worker_id == worker.id:
            return True
        if job.orphan is None or job.orphan != Orphan(worker.grant.key.key, worker.key or WorkerKey()):
            return False
        if job.phase is Phase.ENDED:
            return False
        if job.phase in {Phase.PENDING, Phase.OFFERED}:
            self._withdraw(job, now)
            job.phase = Phase.ASSIGNED
        job.orphan = None
        job.worker_id = worker.id
        worker.jobs.add(job.id)
        self._record(job, "worker_returned", now, worker_id=worker.id)
        if job.phase is Phase.LEAVING:
            # The agent left with its worker, and the worker that took over is about to bring it back.
            job.phase = Phase.RUNNING
            self.alarms.set(job, now + REJOIN_GRACE)
        elif job.seat or not job.joined:
            self.alarms.set(job, None)
        return True

    def _is_elsewhere(self, worker: Worker, job: Job) -> bool:
        if job.phase is Phase.ENDED:
            return worker.id in job.asked or job.orphan is not None
        return job.phase in HELD and job.worker_id != worker.id and self.pool.get(job.worker_id) is not None

    def _forget_oldest(self, job: Job) -> None:
        if job.dispatch is not None:
            oldest = next((each for each in job.dispatch.jobs.values() if each.phase is Phase.ENDED), None)
            if oldest is not None:
                self.forget(oldest)

    def _record(self, job: Job, event: str, now: float, *, worker_id: str = "", detail: str = "") -> None:
        if job.dispatch is not None:
            job.dispatch.history.append(Transition(now, job.id, event, worker_id, detail))

    def _names(self, job: Job) -> dict[str, object]:
        return {
            "job": job.id,
            "dispatch": job.dispatch.id if job.dispatch is not None else "",
            "room": job.room.sid,
            "agent_name": job.key.agent_name,
        }

    def _log(self, message: str, fields: dict[str, object], level: int = logging.INFO) -> None:
        self.outbox.append(Log(message, fields, level))

    def disconnect(self, worker_id: str, code: int, reason: str) -> None:
        """Close the worker's connection."""
        self.outbox.append(Disconnect(worker_id, code, reason))
