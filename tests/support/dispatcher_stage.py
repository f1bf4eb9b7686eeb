"""A dispatcher in virtual time, with workers and rooms that exist only as calls."""

from __future__ import annotations

import itertools
import random

from livekit.protocol import agent, models

from greenroom.config import AgentDefaults, ApiKey
from greenroom.grants import Claims, Grant
from greenroom.ids import Prefix
from greenroom.server.agents._dispatcher import Dispatcher
from greenroom.server.agents._effects import Assign, Effect, Log, Offer, Terminate
from greenroom.server.agents._model import Dispatch, Job, Phase, WorkerKey


def grant(key: ApiKey | None = None) -> Grant:
    return Grant(Claims(), key or ApiKey(key="k", secret="s"))


class Stage:
    """Drives a :class:`Dispatcher` and remembers every effect. ``now`` only moves when told to."""

    def __init__(self, *, seed: int = 1, settings: AgentDefaults | None = None) -> None:
        self.now = 1000.0
        self.settings = settings or AgentDefaults()
        self._ids = itertools.count(1)
        self.dispatcher = Dispatcher(self.settings, rng=random.Random(seed), mint_id=self.mint)
        self.effects: list[Effect] = []

    def mint(self, prefix: Prefix) -> str:
        return f"{prefix}{next(self._ids)}"

    def did(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        return effects

    # Workers

    def worker(
        self,
        name: str = "",
        *,
        job_type: agent.JobType = agent.JT_ROOM,
        deployment: str = "",
        key: ApiKey | None = None,
        load: float | None = None,
        worker_id: str = "",
    ) -> str:
        worker_id = worker_id or self.mint(Prefix.WORKER)
        self.did(self.dispatcher.connect(worker_id, grant(key), self.now))
        permission = models.ParticipantPermission(can_publish=True)
        self.did(
            self.dispatcher.register(worker_id, WorkerKey(name, "", job_type, deployment), permission, "1", self.now)
        )
        if load is not None:
            self.status(worker_id, load=load)
        return worker_id

    def lose(self, worker_id: str) -> None:
        self.did(self.dispatcher.disconnect(worker_id, self.now))

    def status(self, worker_id: str, *, full: bool = False, load: float = 0.0, draining: bool = False) -> None:
        status = agent.WS_FULL if full else agent.WS_AVAILABLE
        update = agent.UpdateWorkerStatus(status=status, load=load, draining=draining)
        self.did(self.dispatcher.update_worker(worker_id, update, self.now))

    def accept(self, worker_id: str, job_id: str, identity: str = "") -> None:
        self._answer(
            worker_id, agent.AvailabilityResponse(job_id=job_id, available=True, participant_identity=identity)
        )

    def decline(self, worker_id: str, job_id: str, *, terminate: bool = False) -> None:
        self._answer(worker_id, agent.AvailabilityResponse(job_id=job_id, terminate=terminate))

    def _answer(self, worker_id: str, response: agent.AvailabilityResponse) -> None:
        self.did(self.dispatcher.answer(worker_id, response, self.now))

    def report(self, worker_id: str, job_id: str, status: agent.JobStatus, error: str = "") -> None:
        update = agent.UpdateJobStatus(job_id=job_id, status=status, error=error)
        self.did(self.dispatcher.update_job(worker_id, update, self.now))

    def migrate(self, worker_id: str, *job_ids: str) -> None:
        self.did(self.dispatcher.migrate(worker_id, job_ids, self.now))

    # Rooms

    def room(self, name: str = "room", *, implicit: bool = True) -> str:
        sid = self.mint(Prefix.ROOM)
        self.dispatcher.open_room(sid, name)
        if implicit:
            self.did(self.dispatcher.add_dispatch(sid, now=self.now, implicit=True))
        return sid

    def dispatch(self, room: str, agent_name: str = "", **fields: str) -> Dispatch:
        dispatch_id = self.mint(Prefix.DISPATCH)
        self.did(
            self.dispatcher.add_dispatch(room, now=self.now, dispatch_id=dispatch_id, agent_name=agent_name, **fields)
        )
        return self.dispatches(room)[dispatch_id]

    def dispatches(self, room: str) -> dict[str, Dispatch]:
        known = self.dispatcher.room(room)
        assert known is not None
        return known.dispatches

    def join(self, room: str, identity: str, *, dependent: bool = False) -> str:
        seat = self.mint(Prefix.PARTICIPANT)
        self.did(self.dispatcher.participant_joined(room, identity, seat, dependent=dependent, now=self.now))
        return seat

    def leave(
        self, room: str, identity: str, seat: str, reason: models.DisconnectReason = models.CLIENT_INITIATED
    ) -> None:
        self.did(self.dispatcher.participant_left(room, identity, seat, reason, self.now))

    def close(self, room: str) -> None:
        self.did(self.dispatcher.close_room(room, self.now))

    # Time

    def pass_time(self, seconds: float) -> None:
        """Let time pass, waking the dispatcher exactly when it asked to be."""
        end = self.now + seconds
        while (due := self.dispatcher.next_wake()) is not None and due <= end:
            self.now = max(self.now, due)
            self.did(self.dispatcher.wake(self.now))
        self.now = end

    # What came of it

    def offers(self, job_id: str = "") -> list[str]:
        """Return the workers that were asked, in order."""
        return [e.worker.id for e in self.effects if isinstance(e, Offer) and job_id in {"", e.job.id}]

    def assigned(self) -> list[tuple[str, str]]:
        return [(e.worker.id, e.job.id) for e in self.effects if isinstance(e, Assign)]

    def terminated(self) -> list[tuple[str, str]]:
        return [(e.worker_id, e.job_id) for e in self.effects if isinstance(e, Terminate)]

    def logged(self, message: str) -> list[Log]:
        return [e for e in self.effects if isinstance(e, Log) and e.message == message]

    def room_job(self, room: str) -> Job:
        """Return the only room job of the room's only dispatch."""
        (dispatch,) = self.dispatches(room).values()
        return self.job_of(dispatch)

    def job_of(self, dispatch: Dispatch) -> Job:
        (job,) = [job for job in dispatch.jobs.values() if job.key.job_type == agent.JT_ROOM]
        return job

    def running(self, room: str, worker_id: str) -> tuple[Job, str]:
        """Bring the room's job to where its agent is in the room; return it and the agent's seat."""
        job = self.room_job(room)
        self.accept(worker_id, job.id)
        seat = self.join(room, job.identity, dependent=True)
        assert job.phase is Phase.RUNNING
        return job, seat
