"""Whatever workers, rooms and time do: no job has two workers, none is forgotten, every one ends."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from livekit.protocol import agent, models

from greenroom.config import ApiKey
from greenroom.ids import Prefix
from greenroom.server.agents._effects import Assign, Effect, Offer, Terminate
from greenroom.server.agents._model import HELD, Job, Phase, Worker
from greenroom.server.agents._pool import MAX_OFFERS, is_able
from support.dispatcher_stage import Stage

pytestmark = pytest.mark.unit

# The plain ones first and often: most of what can go wrong needs two workers that want the same job.
NAMES = ("", "", "", "a")
KEYS = (*[ApiKey(key="all", secret="s")] * 3, ApiKey(key="some", secret="s", rooms=("eu-*",)))
TYPES = (agent.JT_ROOM, agent.JT_ROOM, agent.JT_ROOM, agent.JT_PARTICIPANT)
ENDINGS = (agent.JS_SUCCESS, agent.JS_FAILED)


class DispatcherMachine(RuleBasedStateMachine):
    """Plays every peer of the dispatcher at once. ``held`` is who may be running a job, told from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.workers: set[str] = set()
        self.rooms: dict[str, str] = {}
        self.people: dict[tuple[str, str], str] = {}
        self.agents: dict[str, tuple[str, str]] = {}
        self.asked: set[tuple[str, str]] = set()
        self.held: dict[str, set[str]] = {}

    # What the effects do to the world outside

    def watch(self) -> None:
        for effect in self.stage.effects:
            self.check(effect)
        self.stage.effects.clear()

    def check(self, effect: Effect) -> None:
        match effect:
            case Offer(worker, job):
                assert worker.id in self.workers
                assert worker.available
                assert not worker.draining
                self.asked.add((worker.id, job.id))
            case Assign(worker, job):
                assert worker.id in self.workers
                assert (worker.id, job.id) in self.asked
                assert not self.held.get(job.id), "two workers have one job"
                self.held[job.id] = {worker.id}
            case Terminate(worker_id, job_id):
                assert worker_id in self.workers
                self.held.get(job_id, set()).discard(worker_id)
            case _:
                pass

    def pick(self, data: st.DataObject, things: object) -> object:
        return data.draw(st.sampled_from(sorted(things)))  # type: ignore[call-overload]

    # Workers

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from(KEYS), job_type=st.sampled_from(TYPES))
    def worker_registers(self, name: str, key: ApiKey, job_type: agent.JobType) -> None:
        if len(self.workers) < 6:
            worker_id = self.stage.mint(Prefix.WORKER)
            self.workers.add(worker_id)
            self.stage.worker(name, key=key, job_type=job_type, worker_id=worker_id)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_disconnects(self, data: st.DataObject) -> None:
        worker_id = self.pick(data, self.workers)
        self.workers.discard(worker_id)
        for holders in self.held.values():
            holders.discard(worker_id)
        self.stage.lose(worker_id)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), full=st.booleans(), draining=st.booleans(), load=st.floats(0, 1))
    def worker_updates(self, data: st.DataObject, full: bool, draining: bool, load: float) -> None:
        self.stage.status(self.pick(data, self.workers), full=full, draining=draining, load=load)

    @initialize()
    def two_workers_and_a_room(self) -> None:
        for _ in range(2):
            self.worker_registers("", KEYS[0], agent.JT_ROOM)
        self.room_opens("eu-1", implicit=True)

    def answerable(self) -> set[tuple[str, str]]:
        """Who was once asked about a job that still exists."""
        known = {job.id for job in self.stage.dispatcher.jobs()}
        return {pair for pair in self.asked if pair[1] in known}

    @precondition(lambda self: self.answerable())
    @rule(data=st.data(), how=st.sampled_from(["accept", "accept", "accept same name", "decline", "terminate"]))
    def worker_answers_now_late_or_again(self, data: st.DataObject, how: str) -> None:
        worker_id, job_id = self.pick(data, self.answerable())
        match how:
            case "accept":
                self.stage.accept(worker_id, job_id)
            case "accept same name":
                self.stage.accept(worker_id, job_id, "assistant")
            case _:
                self.stage.decline(worker_id, job_id, terminate=how == "terminate")

    @precondition(lambda self: self.answerable())
    @rule(data=st.data(), status=st.sampled_from([agent.JS_RUNNING, *ENDINGS]))
    def worker_reports(self, data: st.DataObject, status: agent.JobStatus) -> None:
        worker_id, job_id = self.pick(data, self.answerable())
        if worker_id in self.held.get(job_id, set()) and status in ENDINGS:
            self.held[job_id].discard(worker_id)
        self.stage.report(worker_id, job_id, status)
        job = self.job(job_id)
        if status == agent.JS_RUNNING and job is not None and job.worker_id == worker_id and job.phase in HELD:
            # It may have taken over from an equal one, which then has nothing to do with the job any more.
            self.held[job_id] = {worker_id}

    def job(self, job_id: str) -> Job | None:
        return next((job for job in self.stage.dispatcher.jobs() if job.id == job_id), None)

    @precondition(lambda self: self.workers and self.answerable())
    @rule(data=st.data())
    def worker_claims(self, data: st.DataObject) -> None:
        worker_id = self.pick(data, self.workers)
        _, job_id = self.pick(data, self.answerable())
        self.stage.migrate(worker_id, job_id)
        job = self.job(job_id)
        if job is not None and job.worker_id == worker_id and job.phase in HELD:
            assert self.held.get(job_id, set()) <= {worker_id}
            self.held[job_id] = {worker_id}

    # Rooms

    @rule(name=st.sampled_from(["eu-1", "us-1", "eu-2"]), implicit=st.booleans())
    def room_opens(self, name: str, implicit: bool) -> None:
        if name not in self.rooms.values():
            self.rooms[self.stage.room(name, implicit=implicit)] = name

    @precondition(lambda self: self.rooms)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def dispatch_is_created(self, data: st.DataObject, name: str) -> None:
        self.stage.dispatch(self.pick(data, self.rooms), name)

    @precondition(lambda self: any(self.stage.dispatches(room) for room in self.rooms))
    @rule(data=st.data())
    def dispatch_is_deleted(self, data: st.DataObject) -> None:
        room = self.pick(data, [room for room in self.rooms if self.stage.dispatches(room)])
        dispatch_id = self.pick(data, self.stage.dispatches(room))
        self.stage.did(self.stage.dispatcher.delete_dispatch(room, dispatch_id, self.stage.now))

    @precondition(lambda self: self.rooms)
    @rule(data=st.data(), identity=st.sampled_from(["ada", "bob"]))
    def person_comes_or_goes(self, data: st.DataObject, identity: str) -> None:
        room = self.pick(data, self.rooms)
        seat = self.people.pop((room, identity), None)
        if seat is None:
            self.people[room, identity] = self.stage.join(room, identity)
        else:
            self.stage.leave(room, identity, seat)

    @precondition(lambda self: any(self.stage.dispatcher.room(room).agents for room in self.rooms))
    @rule(data=st.data())
    def agent_joins(self, data: st.DataObject) -> None:
        room = self.pick(data, [room for room in self.rooms if self.stage.dispatcher.room(room).agents])
        identity = self.pick(data, self.stage.dispatcher.room(room).agents)
        for seat, place in list(self.agents.items()):
            if place == (room, identity):
                del self.agents[seat]
                self.stage.leave(room, identity, seat, models.DUPLICATE_IDENTITY)
        if identity in self.stage.dispatcher.room(room).agents:
            self.agents[self.stage.join(room, identity, dependent=True)] = (room, identity)

    @precondition(lambda self: self.agents)
    @rule(data=st.data())
    def agent_leaves(self, data: st.DataObject) -> None:
        seat = self.pick(data, self.agents)
        room, identity = self.agents.pop(seat)
        self.stage.leave(room, identity, seat)

    @precondition(lambda self: self.rooms)
    @rule(data=st.data())
    def room_closes(self, data: st.DataObject) -> None:
        room = self.pick(data, self.rooms)
        self.stage.close(room)
        del self.rooms[room]
        self.people = {place: seat for place, seat in self.people.items() if place[0] != room}
        self.agents = {seat: place for seat, place in self.agents.items() if place[0] != room}

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 10.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.pass_time(seconds)

    # What must hold

    @invariant()
    def effects_are_sound(self) -> None:
        self.watch()

    @invariant()
    def each_job_has_at_most_one_worker_and_they_agree(self) -> None:
        workers = {worker.id: worker for worker in self.stage.dispatcher.workers()}
        jobs = {job.id: job for job in self.stage.dispatcher.jobs()}
        for worker in workers.values():
            assert len(worker.offers) <= MAX_OFFERS
            for job_id in worker.offers:
                assert (jobs[job_id].phase, jobs[job_id].worker_id) == (Phase.OFFERED, worker.id)
            for job_id in worker.jobs:
                assert jobs[job_id].phase in HELD
                assert jobs[job_id].worker_id == worker.id
        for job in jobs.values():
            if job.phase is Phase.OFFERED:
                assert job.id in workers[job.worker_id].offers
            if job.phase in HELD and job.worker_id in workers:
                assert job.id in workers[job.worker_id].jobs

    @invariant()
    def no_job_waits_while_a_worker_could_take_it(self) -> None:
        for job in self.stage.dispatcher.jobs():
            if job.phase is Phase.PENDING:
                assert job.wake is not None
                assert job.wake <= job.deadline
                assert not [worker.id for worker in self.stage.dispatcher.workers() if could_take(worker, job)]
            if job.phase in {Phase.OFFERED, Phase.LEAVING}:
                assert job.wake is not None

    def teardown(self) -> None:
        """Nobody does anything any more: what has not started ends, and closed rooms leave nothing behind."""
        self.stage.pass_time(self.stage.settings.dispatch_deadline + 20)
        assert not [job for job in self.stage.dispatcher.jobs() if job.phase in {Phase.PENDING, Phase.OFFERED}]
        for room in self.rooms:
            self.stage.close(room)
        assert list(self.stage.dispatcher.jobs()) == []
        self.watch()


def could_take(worker: Worker, job: Job) -> bool:
    return (
        worker.key == job.key
        and is_able(worker)
        and worker.grant.allows_room(job.room.name)
        and worker.id not in job.tried
    )


DispatcherMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestDispatcher = DispatcherMachine.TestCase
