"""From the wish for an agent to a worker that has the job."""

from __future__ import annotations

import pytest
from livekit.protocol import agent

from greenroom.config import AgentDefaults
from greenroom.server.agents._model import Phase
from greenroom.server.agents._pool import MAX_OFFERS
from support.dispatcher_stage import Stage

pytestmark = pytest.mark.unit


def test_a_room_that_starts_offers_its_job_to_a_worker_in_the_same_step(stage: Stage) -> None:
    worker = stage.worker()
    room = stage.room()
    assert stage.offers() == [worker]
    assert stage.room_job(room).phase is Phase.OFFERED


def test_a_worker_that_accepts_is_assigned_the_job(stage: Stage) -> None:
    worker = stage.worker()
    job = stage.room_job(stage.room())
    stage.accept(worker, job.id)
    assert stage.assigned() == [(worker, job.id)]
    assert job.identity == f"agent-{job.id}"
    assert job.status == agent.JS_RUNNING


def test_the_next_worker_is_asked_at_once_when_one_declines(stage: Stage) -> None:
    workers = {stage.worker(), stage.worker()}
    job = stage.room_job(stage.room())
    (first,) = stage.offers()
    stage.decline(first, job.id)
    (second,) = workers - {first}
    assert stage.offers() == [first, second]
    stage.accept(second, job.id)
    assert stage.assigned() == [(second, job.id)]


def test_a_silent_worker_costs_the_availability_timeout_and_no_more(stage: Stage) -> None:
    stage.worker()
    stage.worker()
    stage.room()
    assert len(stage.offers()) == 1
    stage.pass_time(stage.settings.availability_timeout - 0.001)
    assert len(stage.offers()) == 1
    stage.pass_time(0.001)
    assert len(set(stage.offers())) == 2


def test_a_worker_that_stayed_silent_is_asked_after_the_others(stage: Stage) -> None:
    silent, lively = stage.worker(), stage.worker(load=0.99)
    stage.status(lively, full=True)
    stage.room("first")
    stage.pass_time(stage.settings.availability_timeout)
    stage.status(lively, load=0.99)
    stage.effects.clear()
    for number in range(10):
        stage.room(f"room {number}")
    assert set(stage.offers()) == {lively}
    assert silent not in stage.offers()


def test_a_late_yes_is_taken_while_nobody_else_is_asked(stage: Stage) -> None:
    worker = stage.worker()
    job = stage.room_job(stage.room())
    stage.pass_time(stage.settings.availability_timeout)
    assert job.phase is Phase.PENDING
    stage.accept(worker, job.id)
    assert stage.assigned() == [(worker, job.id)]
    assert job.phase is Phase.ASSIGNED


def test_a_late_yes_does_not_take_the_job_from_the_worker_asked_meanwhile(stage: Stage) -> None:
    stage.worker()
    stage.worker()
    job = stage.room_job(stage.room())
    stage.pass_time(stage.settings.availability_timeout)
    first, second = stage.offers()
    stage.accept(first, job.id)
    assert stage.assigned() == []
    stage.accept(second, job.id)
    stage.accept(first, job.id)
    stage.accept(second, job.id)
    assert stage.assigned() == [(second, job.id)]


def test_a_late_no_changes_nothing(stage: Stage) -> None:
    stage.worker()
    stage.worker()
    job = stage.room_job(stage.room())
    stage.pass_time(stage.settings.availability_timeout)
    first, second = stage.offers()
    stage.decline(first, job.id)
    assert job.worker_id == second
    assert stage.offers() == [first, second]


def test_a_worker_that_was_never_asked_cannot_take_a_job(stage: Stage) -> None:
    stage.worker("other")
    stage.worker()
    job = stage.room_job(stage.room())
    stranger = stage.worker()
    stage.accept(stranger, job.id)
    assert stage.assigned() == []


def test_terminate_ends_the_job_as_a_success_and_asks_nobody_else(stage: Stage) -> None:
    stage.worker()
    stage.worker()
    job = stage.room_job(stage.room())
    (asked,) = stage.offers()
    stage.decline(asked, job.id, terminate=True)
    assert (job.phase, job.status) == (Phase.ENDED, agent.JS_SUCCESS)
    stage.pass_time(120)
    assert stage.offers() == [asked]


def test_a_job_without_a_worker_waits_and_starts_when_one_registers(stage: Stage) -> None:
    room = stage.room()
    job = stage.room_job(room)
    stage.pass_time(stage.settings.dispatch_deadline - 1)
    assert job.phase is Phase.PENDING
    worker = stage.worker()
    assert stage.offers() == [worker]


def test_a_job_waits_for_a_full_worker_to_be_available_again(stage: Stage) -> None:
    worker = stage.worker()
    stage.status(worker, full=True)
    stage.room()
    assert stage.offers() == []
    stage.status(worker)
    assert stage.offers() == [worker]


@pytest.mark.parametrize("status", [{"full": True}, {"draining": True}])
def test_a_full_or_draining_worker_gets_no_offer(stage: Stage, status: dict[str, bool]) -> None:
    worker = stage.worker()
    stage.status(worker, **status)
    stage.room()
    stage.pass_time(30)
    assert stage.offers() == []


def test_a_worker_that_declined_because_it_is_full_is_asked_again_when_it_is_not(stage: Stage) -> None:
    worker = stage.worker()
    job = stage.room_job(stage.room())
    stage.status(worker, full=True)
    stage.decline(worker, job.id)
    stage.status(worker)
    assert stage.offers() == [worker, worker]


def test_declines_by_all_are_retried_with_a_growing_pause_until_the_deadline(stage: Stage) -> None:
    worker = stage.worker()
    job = stage.room_job(stage.room())
    start, asked_at, seen = stage.now, [], 0
    while job.phase is not Phase.ENDED:
        if len(stage.offers()) > seen:
            seen = len(stage.offers())
            asked_at.append(stage.now - start)
            stage.decline(worker, job.id)
        due = stage.dispatcher.next_wake()
        assert due is not None
        stage.pass_time(due - stage.now)
    assert asked_at == [0, 1, 3, 7, 15, 23, 31, 39, 47, 55]
    assert stage.now - start == stage.settings.dispatch_deadline
    assert job.status == agent.JS_FAILED
    assert job.reason == agent.JSR_NO_CAPACITY
    assert "declined it 10 times" in job.error


def test_a_newcomer_need_not_wait_for_the_pause_to_end(stage: Stage) -> None:
    first = stage.worker()
    job = stage.room_job(stage.room())
    stage.decline(first, job.id)
    second = stage.worker()
    assert stage.offers() == [first, second]


def test_at_the_deadline_the_job_fails_with_a_reason_and_a_log_line_that_says_what_to_do(stage: Stage) -> None:
    room = stage.room(implicit=False)
    job = stage.job_of(stage.dispatch(room, "front_desk"))
    stage.worker("back_office")
    stage.pass_time(stage.settings.dispatch_deadline)
    assert (job.phase, job.status, job.reason) == (Phase.ENDED, agent.JS_FAILED, agent.JSR_NO_CAPACITY)
    assert "no worker for the agent 'front_desk' is connected, only 'back_office'" in job.error
    (line,) = stage.logged("no worker took the job")
    assert line.fields["fix"] == "Start that agent, or ask for one that is connected"


def test_an_offer_under_way_at_the_deadline_may_still_be_accepted() -> None:
    stage = Stage(settings=AgentDefaults(dispatch_deadline=10.0, availability_timeout=4.0))
    job = stage.room_job(stage.room())
    stage.pass_time(9)
    worker = stage.worker()
    stage.pass_time(3)
    stage.accept(worker, job.id)
    assert stage.assigned() == [(worker, job.id)]


def test_no_worker_gets_more_offers_than_it_can_answer_and_none_is_lost(stage: Stage) -> None:
    rooms = [stage.room(f"room {number}") for number in range(MAX_OFFERS + 5)]
    worker = stage.worker()
    assert len(stage.offers()) == MAX_OFFERS
    for room in rooms:
        stage.accept(worker, stage.room_job(room).id)
    assert len(stage.assigned()) == MAX_OFFERS + 5


def test_a_person_who_joins_after_the_deadline_gets_another_try(stage: Stage) -> None:
    room = stage.room()
    stage.pass_time(stage.settings.dispatch_deadline)
    worker = stage.worker()
    assert stage.offers() == []
    stage.join(room, "ada")
    assert stage.offers() == [worker]


def test_after_the_deadline_nobody_else_is_asked() -> None:
    stage = Stage(settings=AgentDefaults(dispatch_deadline=10.0, availability_timeout=4.0))
    job = stage.room_job(stage.room())
    stage.pass_time(9)
    worker = stage.worker()
    stage.worker()
    stage.pass_time(2)
    stage.decline(worker, job.id)
    assert stage.offers() == [worker]
    assert job.status == agent.JS_FAILED


def test_a_worker_that_did_not_get_the_job_cannot_end_it(stage: Stage) -> None:
    stage.worker()
    stage.worker()
    job = stage.room_job(stage.room())
    stage.pass_time(stage.settings.availability_timeout)
    first, second = stage.offers()
    stage.accept(second, job.id)
    stage.decline(first, job.id, terminate=True)
    assert job.phase is Phase.ASSIGNED


def test_a_worker_that_answers_again_is_asked_like_the_others(stage: Stage) -> None:
    first = stage.worker()
    job = stage.room_job(stage.room("first"))
    stage.pass_time(stage.settings.availability_timeout)
    stage.accept(first, job.id)
    second = stage.worker()
    for number in range(30):
        stage.room(f"room {number}")
    assert {first, second} == set(stage.offers()[-30:])
