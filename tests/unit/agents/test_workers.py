"""Registration, policy, and jobs that a worker asks for itself."""

from __future__ import annotations

import pytest
from livekit.protocol import agent, models

from greenroom.config import ApiKey
from greenroom.server.agents._effects import Disconnect, Offer, Welcome
from greenroom.server.agents._info import worker_info
from greenroom.server.agents._model import Phase, WorkerKey
from support.dispatcher_stage import Stage, grant

pytestmark = pytest.mark.unit


def closed(stage: Stage) -> list[str]:
    return [effect.reason for effect in stage.effects if isinstance(effect, Disconnect)]


def register(stage: Stage, worker_id: str, name: str = "") -> None:
    permission = models.ParticipantPermission()
    stage.did(stage.dispatcher.register(worker_id, WorkerKey(name), permission, "1", stage.now))


def simulate(stage: Stage, worker_id: str, room: str, **fields: object) -> None:
    request = agent.SimulateJobRequest(room=models.Room(name=room), **fields)
    stage.did(stage.dispatcher.simulate(worker_id, request, stage.now))


def simulated(stage: Stage) -> list[Offer]:
    return [effect for effect in stage.effects if isinstance(effect, Offer) and effect.job.sample is not None]


def test_the_welcome_comes_before_any_offer(stage: Stage) -> None:
    stage.room()
    stage.worker()
    kinds = [type(effect) for effect in stage.effects if isinstance(effect, Welcome | Offer)]
    assert kinds == [Welcome, Offer]


def test_a_connection_that_does_not_register_in_time_is_closed(stage: Stage) -> None:
    stage.did(stage.dispatcher.connect("AW_1", grant(), stage.now))
    stage.pass_time(stage.settings.register_timeout - 0.1)
    assert closed(stage) == []
    stage.pass_time(0.1)
    assert closed(stage) == ["it did not register in time"]


def test_a_registered_worker_is_not_closed_by_the_timeout(stage: Stage) -> None:
    stage.worker()
    stage.pass_time(60)
    assert closed(stage) == []


def test_before_it_has_registered_a_worker_has_no_say(stage: Stage) -> None:
    stage.did(stage.dispatcher.connect("AW_1", grant(), stage.now))
    job = stage.room_job(stage.room())
    stage.accept("AW_1", job.id)
    stage.report("AW_1", job.id, agent.JS_FAILED)
    stage.status("AW_1")
    simulate(stage, "AW_1", "room")
    assert stage.dispatcher.workers() == []
    assert job.phase is Phase.PENDING


def test_a_second_registration_is_ignored(stage: Stage) -> None:
    worker = stage.worker("a")
    register(stage, worker, "b")
    (known,) = stage.dispatcher.workers()
    assert known.key is not None
    assert known.key.agent_name == "a"


@pytest.mark.parametrize(("name", "allowed"), [("front-desk", True), ("back", False), ("", False)])
def test_a_key_limited_to_agents_registers_no_other(stage: Stage, name: str, allowed: bool) -> None:
    stage.worker(name, key=ApiKey(key="k", secret="s", agents=("front-*",)))
    assert bool(stage.dispatcher.workers()) is allowed
    if not allowed:
        assert "fix" in stage.logged("worker refused")[0].fields
        stage.pass_time(stage.settings.register_timeout)
        assert closed(stage)[0].startswith("API key 'k' may not run")


def test_a_refused_worker_is_held_because_it_would_be_back_at_once(stage: Stage) -> None:
    worker = stage.worker("back", key=ApiKey(key="k", secret="s", agents=("front-*",)))
    register(stage, worker, "front-desk")
    stage.pass_time(stage.settings.register_timeout - 1)
    assert stage.dispatcher.workers() == []
    assert closed(stage) == []
    stage.pass_time(1)
    assert len(closed(stage)) == 1
    assert len(stage.logged("worker refused")) == 1


def test_a_simulated_job_goes_to_the_worker_that_asked_and_no_other(stage: Stage) -> None:
    asking = stage.worker(load=0.99)
    stage.worker()
    simulate(stage, asking, "rehearsal")
    (offer,) = simulated(stage)
    assert (offer.worker.id, offer.job.key.job_type) == (asking, agent.JT_ROOM)
    stage.decline(asking, offer.job.id)
    stage.pass_time(100)
    assert len(simulated(stage)) == 1
    assert offer.job.status == agent.JS_FAILED
    assert list(stage.dispatcher.jobs()) == []


def test_a_simulated_job_for_a_participant_is_a_publisher_job(stage: Stage) -> None:
    simulate(stage, stage.worker(), "rehearsal", participant=models.ParticipantInfo(identity="ada"))
    assert simulated(stage)[0].job.key.job_type == agent.JT_PUBLISHER


def test_a_simulated_job_is_known_again_when_its_room_starts(stage: Stage) -> None:
    worker = stage.worker()
    simulate(stage, worker, "rehearsal")
    job = simulated(stage)[0].job
    stage.accept(worker, job.id)
    room = stage.room("rehearsal", implicit=False)
    stage.join(room, job.identity, dependent=True)
    assert job.phase is Phase.RUNNING
    stage.close(room)
    assert stage.terminated() == [(worker, job.id)]


def test_a_worker_cannot_simulate_a_job_in_a_room_its_key_may_not_touch(stage: Stage) -> None:
    simulate(stage, stage.worker(key=ApiKey(key="k", secret="s", rooms=("eu-*",))), "us-1")
    assert simulated(stage) == []


def test_worker_info_tells_what_the_worker_said(stage: Stage) -> None:
    worker_id = stage.worker("a", deployment="blue", load=0.5)
    job = stage.job_of(stage.dispatch(stage.room(implicit=False), "a", deployment="blue"))
    stage.accept(worker_id, job.id)
    (worker,) = stage.dispatcher.workers()
    info = worker_info(worker)
    assert (info.agent_name, info.deployment, info.job_type, info.load) == ("a", "blue", "room", 0.5)
    assert (info.status, info.jobs, info.api_key) == ("available", (job.id,), "k")
    stage.status(worker_id, full=True)
    assert worker_info(worker).status == "full"
    stage.status(worker_id, draining=True)
    assert worker_info(worker).status == "draining"
