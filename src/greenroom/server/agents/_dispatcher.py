"""The dispatcher: rooms, dispatches, participants and workers go in, effects come out. No I/O, no clock.

Every method takes ``now`` in seconds and returns the effects to carry out, in order.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from livekit.protocol import agent, models
from livekit.protocol import agent_dispatch as dispatch_pb

from greenroom.config import AgentDefaults
from greenroom.grants import Grant
from greenroom.ids import Prefix, new_id
from greenroom.server.agents._board import JobBoard
from greenroom.server.agents._custody import Custody
from greenroom.server.agents._effects import Disconnect, Effect, Evict, Log, Welcome
from greenroom.server.agents._model import HELD, Dispatch, Job, Person, Phase, Room, Worker, WorkerKey
from greenroom.server.agents._pool import Why, WorkerPool, is_able

POLICY_VIOLATION: Final = 1008
MAX_EVICTED: Final = 200
MAX_PROMISED: Final = 100


class Dispatcher:
    """Brings agents into rooms.

    :param settings: time-outs.
    :param rng: chooses among workers.
    :param mint_id: makes job and dispatch ids.
    """

    def __init__(
        self,
        settings: AgentDefaults,
        *,
        rng: random.Random | None = None,
        mint_id: Callable[[Prefix], str] = new_id,
    ) -> None:
        self._settings = settings
        self._mint_id = mint_id
        self._pool = WorkerPool(rng or random.Random())  # noqa: S311 - spreads load, guards nothing
        self._board = JobBoard(settings, self._pool)
        self._custody = Custody(settings, self._board)
        self._rooms: dict[str, Room] = {}
        self._sids: dict[str, str] = {}
        # Rooms that a simulated job names and that its agent is about to create.
        self._promised: dict[str, Room] = {}

    # what is known

    def room(self, sid: str) -> Room | None:
        """Return an open room."""
        return self._rooms.get(sid)

    def workers(self) -> list[Worker]:
        """Return the registered workers."""
        return self._pool.all()

    def jobs(self) -> Iterable[Job]:
        """Return every job that is remembered, ended ones included."""
        return self._board.jobs.values()

    def listed_jobs(self, dispatch: Dispatch) -> list[Job]:
        """Return the jobs of a dispatch that its owner would recognise."""
        return [job for job in dispatch.jobs.values() if self._board.is_visible(job)]

    def visible_jobs(self) -> list[Job]:
        """Return the jobs that wait or run and that their owners would recognise."""
        return [job for job in self.jobs() if job.phase is not Phase.ENDED and self._board.is_visible(job)]

    def ended_jobs(self) -> list[Job]:
        """Return the latest jobs that have ended, oldest first."""
        return list(self._board.ended)

    def waits_for(self, job: Job) -> Why | None:
        """Return why the job waits; ``None`` when it does not."""
        return self._pool.explain(job) if job.phase is Phase.PENDING else None

    def next_wake(self) -> float | None:
        """Return when :meth:`wake` has something to do."""
        return self._board.alarms.next()

    # rooms

    def open_room(self, sid: str, name: str) -> None:
        """Remember a room that has started."""
        room = self._promised.pop(name, None) or Room(sid, name)
        room.sid = sid
        self._rooms[sid] = room
        self._sids[name] = sid

    def close_room(self, sid: str, now: float) -> list[Effect]:
        """End every job of the room and forget it."""
        room = self._rooms.pop(sid, None)
        if room is None:
            return []
        if self._sids.get(room.name) == sid:
            del self._sids[room.name]
        for dispatch in list(room.dispatches.values()):
            self._drop(dispatch, agent.JSR_ROOM_CLOSED, now)
        for job in list(room.agents.values()):
            self._custody.cancel(job, agent.JSR_ROOM_CLOSED, now)
        return self._take()

    def add_dispatch(
        self,
        room_sid: str,
        *,
        now: float,
        dispatch_id: str = "",
        agent_name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        deployment: str = "",
        restart_policy: dispatch_pb.JobRestartPolicy = dispatch_pb.JRP_ON_FAILURE,
        implicit: bool = False,
    ) -> list[Effect]:
        """Ask for an agent in the room: one for the room, one for each participant, one for each publisher,
        as far as workers of those types exist. A dispatch id that is known changes nothing.
        """
        room = self._rooms[room_sid]
        if dispatch_id in room.dispatches:
            return []
        dispatch = Dispatch(
            id=dispatch_id or self._mint_id(Prefix.DISPATCH),
            room=room,
            agent_name=agent_name,
            metadata=metadata,
            attributes=dict(attributes or {}),
            deployment=deployment,
            restart_policy=restart_policy,
            implicit=implicit,
            created_at=now,
        )
        room.dispatches[dispatch.id] = dispatch
        self._launch(dispatch, agent.JT_ROOM, now)
        for identity, person in list(room.people.items()):
            if person.published:
                self._launch(dispatch, agent.JT_PUBLISHER, now, identity)
            self._launch(dispatch, agent.JT_PARTICIPANT, now, identity)
        return self._take()

    def delete_dispatch(self, room_sid: str, dispatch_id: str, now: float) -> list[Effect]:
        """End the jobs of a dispatch and forget it."""
        room = self._rooms.get(room_sid)
        dispatch = room.dispatches.get(dispatch_id) if room is not None else None
        if dispatch is not None:
            self._drop(dispatch, agent.JSR_DISPATCH_DELETED, now)
        return self._take()

    # participants

    def participant_joined(
        self, room_sid: str, identity: str, seat: str, *, dependent: bool, now: float
    ) -> list[Effect]:
        """A participant with the sid ``seat`` was let in. ``dependent``: an agent, an egress or a recorder."""
        room = self._rooms.get(room_sid)
        if room is None:
            return []
        if dependent:
            self._agent_joined(room, identity, seat, now)
            return self._take()
        room.people[identity] = Person(seat)
        for dispatch in list(room.dispatches.values()):
            self._launch(dispatch, agent.JT_PARTICIPANT, now, identity)
            if self._is_unserved(dispatch):
                # Its time ran out before anyone was there to be served; now somebody is.
                self._launch(dispatch, agent.JT_ROOM, now)
        return self._take()

    def participant_published(self, room_sid: str, identity: str, now: float) -> list[Effect]:
        """A participant published a track; only its first one asks for agents."""
        room = self._rooms.get(room_sid)
        person = room.people.get(identity) if room is not None else None
        if room is None or person is None or person.published:
            return []
        person.published = True
        for dispatch in list(room.dispatches.values()):
            self._launch(dispatch, agent.JT_PUBLISHER, now, identity)
        return self._take()

    def participant_left(
        self, room_sid: str, identity: str, seat: str, reason: models.DisconnectReason, now: float
    ) -> list[Effect]:
        """A participant is gone. An agent's job ends; what waits for a person's agent is dropped."""
        room = self._rooms.get(room_sid)
        if room is None:
            return []
        job = room.seats.pop(seat, None)
        if job is not None:
            if job.seat == seat:
                self._custody.agent_left(job, now, replaced=reason == models.DUPLICATE_IDENTITY)
            return self._take()
        person = room.people.get(identity)
        if person is not None and person.seat == seat:
            del room.people[identity]
            for dispatch in room.dispatches.values():
                self._cancel_unstarted(dispatch, identity, now)
        return self._take()

    # workers

    def connect(self, worker_id: str, grant: Grant, now: float) -> list[Effect]:
        """A worker connected. It has :attr:`AgentDefaults.register_timeout` to register."""
        worker = Worker(id=worker_id, grant=grant, connected_at=now, updated_at=now)
        self._pool.add(worker)
        self._board.alarms.set(worker, now + self._settings.register_timeout)
        return self._take()

    def register(
        self,
        worker_id: str,
        key: WorkerKey,
        permission: models.ParticipantPermission,
        version: str,
        now: float,
    ) -> list[Effect]:
        """A worker says what it takes. Its key's policy decides whether it may run that agent."""
        worker = self._pool.get(worker_id)
        if worker is None or worker.key is not None or worker.refused:
            return []
        names: dict[str, object] = {
            "worker": worker_id,
            "agent_name": key.agent_name,
            "key": worker.grant.key.key,
            "version": version,
        }
        if not worker.grant.allows_agent(key.agent_name):
            who = f"the agent '{key.agent_name}'" if key.agent_name else "an agent without a name"
            why = f"API key '{worker.grant.key.key}' may not run {who}"
            self._refuse(worker, why, "Add the agent to the key's agents, or use another key", names)
            return self._take()
        self._board.alarms.set(worker, None)
        worker.permission = permission
        worker.version = version
        worker.updated_at = now
        self._pool.register(worker, key)
        names["type"] = agent.JobType.Name(key.job_type)
        self._board.outbox += [Welcome(worker), Log("worker registered", names)]
        self._board.worker_ready(worker, now)
        return self._take()

    def refuse(self, worker_id: str, why: str, fix: str) -> list[Effect]:
        """A worker asked to register as something that cannot be."""
        worker = self._pool.get(worker_id)
        if worker is not None and worker.key is None and not worker.refused:
            self._refuse(worker, why, fix, {"worker": worker_id})
        return self._take()

    def disconnect(self, worker_id: str, now: float) -> list[Effect]:
        """A worker's connection is gone."""
        worker = self._pool.remove(worker_id)
        if worker is not None:
            self._board.alarms.set(worker, None)
            if worker.key is not None:
                fields = {"worker": worker_id, "agent_name": worker.key.agent_name, "jobs": len(worker.jobs)}
                self._board.outbox.append(Log("worker disconnected", fields))
            self._custody.worker_lost(worker, now)
            self._board.worker_lost(worker, now)
        return self._take()

    def update_worker(self, worker_id: str, update: agent.UpdateWorkerStatus, now: float) -> list[Effect]:
        """A worker says how busy it is. Its load overwrites the last one even when it is left out."""
        worker = self._registered(worker_id)
        if worker is None:
            return []
        was_able = is_able(worker)
        if update.HasField("status"):
            worker.available = update.status == agent.WS_AVAILABLE
        worker.draining = update.draining
        worker.load = max(0.0, update.load) if math.isfinite(update.load) else 1.0
        worker.job_count = update.job_count
        worker.updated_at = now
        if is_able(worker) and not was_able:
            self._board.worker_ready(worker, now, anew=True)
        return self._take()

    def answer(self, worker_id: str, response: agent.AvailabilityResponse, now: float) -> list[Effect]:
        """A worker says whether it takes a job."""
        worker = self._registered(worker_id)
        if worker is not None:
            self._board.answered(worker, response, now)
        return self._take()

    def update_job(self, worker_id: str, update: agent.UpdateJobStatus, now: float) -> list[Effect]:
        """A worker says how a job is doing."""
        worker = self._registered(worker_id)
        if worker is not None:
            self._custody.reported(worker, update, now)
        return self._take()

    def migrate(self, worker_id: str, job_ids: Iterable[str], now: float) -> list[Effect]:
        """A worker that reconnected says which jobs it still runs. What has been given to others it is told to end."""
        worker = self._registered(worker_id)
        if worker is not None:
            for job_id in job_ids:
                self._custody.claimed(worker, job_id, now)
        return self._take()

    def simulate(self, worker_id: str, request: agent.SimulateJobRequest, now: float) -> list[Effect]:
        """A worker asks to be given a job in a room of its choice."""
        worker = self._registered(worker_id)
        name = request.room.name
        if worker is None or worker.key is None or not is_able(worker):
            return []
        if not name or not worker.grant.allows_room(name):
            fields = {"worker": worker_id, "key": worker.grant.key.key}
            self._board.outbox.append(Log("worker may not simulate a job in the room it asked for", fields))
            return self._take()
        job_type = agent.JT_PUBLISHER if request.HasField("participant") else agent.JT_ROOM
        job = Job(
            id=self._mint_id(Prefix.JOB),
            key=WorkerKey(worker.key.agent_name, worker.key.namespace, job_type, worker.key.deployment),
            room=self._room_called(name),
            created_at=now,
            deadline=now,
            sample=request,
        )
        self._board.offer_to(job, worker, now)
        return self._take()

    # time

    def wake(self, now: float) -> list[Effect]:
        """Do what is due."""
        while (due := self._board.alarms.pop_due(now)) is not None:
            if isinstance(due, Worker):
                if not due.refused:
                    why, fix = "it did not register in time", "Connect with an agent worker"
                    self._refuse(due, why, fix, {"worker": due.id})
                self._board.outbox.append(Disconnect(due.id, POLICY_VIOLATION, due.refused))
            elif due.phase in HELD:
                self._custody.woken(due, now)
            else:
                self._board.woken(due, now)
        return self._take()

    # helpers

    def _take(self) -> list[Effect]:
        effects, self._board.outbox = self._board.outbox, []
        return effects

    def _registered(self, worker_id: str) -> Worker | None:
        worker = self._pool.get(worker_id)
        return worker if worker is not None and worker.key is not None else None

    def _refuse(self, worker: Worker, why: str, fix: str, fields: dict[str, object]) -> None:
        # It is sent away when its time to register is over. A stock worker that is closed right after it has
        # connected is back at once, and again, a hundred times a second.
        worker.refused = why
        self._board.outbox.append(Log("worker refused", {**fields, "why": why, "fix": fix}, logging.WARNING))

    def _launch(self, dispatch: Dispatch, job_type: agent.JobType, now: float, participant: str = "") -> None:
        job = Job(
            id=self._mint_id(Prefix.JOB),
            key=WorkerKey(dispatch.agent_name, "", job_type, dispatch.deployment),
            room=dispatch.room,
            created_at=now,
            deadline=now + self._settings.dispatch_deadline,
            dispatch=dispatch,
            participant=participant,
        )
        self._board.launch(job, now)

    def _agent_joined(self, room: Room, identity: str, seat: str, now: float) -> None:
        job = room.agents.get(identity)
        if job is not None:
            self._custody.agent_joined(job, seat, now)
        elif room.evicted.get(identity, now) > now:
            self._board.outbox.append(Evict(room, identity))

    def _room_called(self, name: str) -> Room:
        room = self._rooms.get(self._sids.get(name, ""))
        if room is not None:
            return room
        while len(self._promised) >= MAX_PROMISED:
            del self._promised[next(iter(self._promised))]
        return self._promised.setdefault(name, Room("", name))

    def _is_unserved(self, dispatch: Dispatch) -> bool:
        room_jobs = [job for job in dispatch.jobs.values() if job.key.job_type == agent.JT_ROOM]
        return bool(room_jobs) and room_jobs[-1].reason == agent.JSR_NO_CAPACITY

    def _cancel_unstarted(self, dispatch: Dispatch, identity: str, now: float) -> None:
        for job in list(dispatch.jobs.values()):
            if job.participant == identity and job.phase in {Phase.PENDING, Phase.OFFERED}:
                self._custody.cancel(job, agent.JSR_UNSPECIFIED, now)
                if not job.asked:
                    self._board.forget(job)

    def _drop(self, dispatch: Dispatch, reason: agent.JobStateReason, now: float) -> None:
        dispatch.deleted_at = now
        dispatch.room.dispatches.pop(dispatch.id, None)
        for job in list(dispatch.jobs.values()):
            self._custody.cancel(job, reason, now)
            self._board.jobs.pop(job.id, None)
        evicted = dispatch.room.evicted
        while len(evicted) > MAX_EVICTED:
            del evicted[next(iter(evicted))]
