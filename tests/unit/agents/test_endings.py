"""How jobs end, and what a lost connection does to them."""

from __future__ import annotations

import pytest
from livekit.protocol import agent, models

from greenroom.config import ApiKey
from greenroom.server.agents._board import EVICTION, SLOW_START
from greenroom.server.agents._custody import LAST_WORD, RECONNECT_GRACE, REJOIN_GRACE, TAKEOVER
from greenroom.server.agents._effects import Evict
from greenroom.server.agents._model import Phase
from support.dispatcher_stage import Stage

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("status", [agent.JS_SUCCESS, agent.JS_FAILED])
def test_the_worker_says_how_its_job_ended(stage: Stage, status: agent.JobStatus) -> None:
    worker = stage.worker()
    job, _ = stage.running(stage.room(), worker)
    stage.report(worker, job.id, status, "what happened")
    assert (job.phase, job.status, job.error) == (Phase.ENDED, status, "what happened")
    assert stage.terminated() == []
    (line,) = stage.logged("job ended")
    assert "what happened" not in line.fields.values()


def test_only_the_worker_that_has_the_job_can_end_it(stage: Stage) -> None:
    worker = stage.worker()
    job, _ = stage.running(stage.room(), worker)
    stage.report(stage.worker(), job.id, agent.JS_FAILED)
    assert job.phase is Phase.RUNNING


def test_an_agent_that_leaves_ends_its_job_and_the_worker_is_told(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat)
    assert stage.terminated() == [(worker, job.id)]
    stage.pass_time(LAST_WORD)
    assert (job.phase, job.status, job.error) == (Phase.ENDED, agent.JS_FAILED, "agent worker left the room")


def test_the_worker_has_the_last_word_on_an_agent_that_left(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat)
    stage.report(worker, job.id, agent.JS_SUCCESS)
    assert (job.phase, job.status) == (Phase.ENDED, agent.JS_SUCCESS)


def test_an_agent_replaced_by_its_own_second_connection_keeps_its_job(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat, models.DUPLICATE_IDENTITY)
    second = stage.join(room, job.identity, dependent=True)
    stage.pass_time(100)
    assert (job.phase, job.seat) == (Phase.RUNNING, second)
    assert stage.terminated() == []


def test_an_agent_that_was_replaced_but_did_not_arrive_ends_its_job(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat, models.DUPLICATE_IDENTITY)
    stage.pass_time(REJOIN_GRACE)
    assert stage.terminated() == [(worker, job.id)]


def test_an_agent_thrown_out_by_another_with_its_identity_ends_its_job(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room(implicit=False)
    first, second = (stage.job_of(stage.dispatch(room)) for _ in range(2))
    stage.accept(worker, first.id, "assistant")
    seat = stage.join(room, "assistant", dependent=True)
    stage.accept(worker, second.id, "assistant")
    stage.leave(room, "assistant", seat, models.DUPLICATE_IDENTITY)
    stage.join(room, "assistant", dependent=True)
    assert stage.terminated() == [(worker, first.id)]
    assert second.phase is Phase.RUNNING


def test_a_person_with_the_identity_of_an_agent_is_not_the_agent(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job = stage.room_job(room)
    stage.accept(worker, job.id)
    stage.join(room, job.identity)
    assert job.phase is Phase.ASSIGNED


def test_closing_the_room_ends_running_and_waiting_jobs(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    running, _ = stage.running(room, worker)
    waiting = stage.job_of(stage.dispatch(room, "nobody"))
    stage.close(room)
    assert (running.status, running.reason) == (agent.JS_SUCCESS, agent.JSR_ROOM_CLOSED)
    assert (waiting.status, waiting.reason) == (agent.JS_CANCELLED, agent.JSR_ROOM_CLOSED)
    assert stage.terminated() == [(worker, running.id)]
    assert list(stage.dispatcher.jobs()) == []


def test_a_room_that_closes_after_its_agent_left_terminates_the_job_once(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat, models.ROOM_DELETED)
    stage.close(room)
    assert stage.terminated() == [(worker, job.id)]


def test_deleting_a_dispatch_ends_its_jobs_and_no_other(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room(implicit=False)
    kept, deleted = stage.dispatch(room), stage.dispatch(room)
    for dispatch in (kept, deleted):
        stage.accept(worker, stage.job_of(dispatch).id)
    job = stage.job_of(deleted)
    stage.did(stage.dispatcher.delete_dispatch(room, deleted.id, stage.now))
    assert stage.terminated() == [(worker, job.id)]
    assert (job.status, job.reason) == (agent.JS_SUCCESS, agent.JSR_DISPATCH_DELETED)
    assert stage.job_of(kept).phase is Phase.ASSIGNED
    assert deleted.deleted_at == stage.now


def test_a_worker_that_accepts_a_job_whose_dispatch_is_gone_is_not_assigned(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room(implicit=False)
    dispatch = stage.dispatch(room)
    job = stage.job_of(dispatch)
    stage.did(stage.dispatcher.delete_dispatch(room, dispatch.id, stage.now))
    stage.accept(worker, job.id)
    assert stage.assigned() == []
    assert job.status == agent.JS_CANCELLED


def test_an_agent_that_comes_after_its_dispatch_was_deleted_is_sent_away(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room(implicit=False)
    dispatch = stage.dispatch(room)
    job = stage.job_of(dispatch)
    stage.accept(worker, job.id)
    stage.did(stage.dispatcher.delete_dispatch(room, dispatch.id, stage.now))
    stage.join(room, job.identity, dependent=True)
    assert [e.identity for e in stage.effects if isinstance(e, Evict)] == [job.identity]
    stage.effects.clear()
    stage.pass_time(EVICTION)
    stage.join(room, job.identity, dependent=True)
    assert stage.effects == []


def test_a_lost_worker_s_offers_go_to_another_at_once(stage: Stage) -> None:
    first = stage.worker()
    job = stage.room_job(stage.room())
    second = stage.worker()
    stage.lose(first)
    assert stage.offers() == [first, second]
    assert job.worker_id == second


def test_a_running_agent_stays_when_its_worker_s_connection_is_lost(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    stage.worker()
    job, seat = stage.running(room, worker)
    stage.lose(worker)
    stage.pass_time(600)
    assert job.phase is Phase.RUNNING
    assert len(stage.offers()) == 1
    stage.leave(room, job.identity, seat)
    stage.pass_time(TAKEOVER)
    assert (job.phase, job.status) == (Phase.ENDED, agent.JS_FAILED)


def test_a_job_goes_to_another_worker_when_the_first_is_lost_before_its_agent_joined(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job = stage.room_job(room)
    stage.accept(first, job.id)
    second = stage.worker()
    stage.lose(first)
    stage.pass_time(RECONNECT_GRACE - 0.1)
    assert stage.offers() == [first]
    stage.pass_time(0.1)
    assert stage.offers() == [first, second]
    stage.accept(second, job.id)
    assert stage.assigned() == [(first, job.id), (second, job.id)]


def test_an_agent_whose_worker_was_given_up_keeps_the_job_if_it_makes_it_first(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job = stage.room_job(room)
    stage.accept(first, job.id)
    stage.lose(first)
    second = stage.worker()
    stage.pass_time(RECONNECT_GRACE)
    stage.join(room, job.identity, dependent=True)
    assert not next(worker for worker in stage.dispatcher.workers() if worker.id == second).offers
    stage.accept(second, job.id)
    assert stage.assigned() == [(first, job.id)]
    assert job.phase is Phase.RUNNING


def test_of_two_agents_for_one_job_the_one_given_up_is_sent_away(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job = stage.room_job(room)
    stage.accept(first, job.id, "one")
    stage.lose(first)
    second = stage.worker()
    stage.pass_time(RECONNECT_GRACE)
    stage.accept(second, job.id, "two")
    stage.join(room, "one", dependent=True)
    assert [e.identity for e in stage.effects if isinstance(e, Evict)] == ["one"]
    stage.join(room, "two", dependent=True)
    assert job.phase is Phase.RUNNING


def test_a_worker_that_returns_in_time_keeps_its_job(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job = stage.room_job(room)
    stage.accept(first, job.id)
    stage.lose(first)
    again = stage.worker()
    stage.migrate(again, job.id)
    stage.pass_time(RECONNECT_GRACE * 2)
    assert (job.phase, job.worker_id) == (Phase.ASSIGNED, again)
    stage.close(room)
    assert stage.terminated() == [(again, job.id)]


def test_a_worker_that_returns_too_late_is_told_to_end_the_job(stage: Stage) -> None:
    first = stage.worker()
    job = stage.room_job(stage.room())
    stage.accept(first, job.id)
    stage.lose(first)
    second = stage.worker()
    stage.pass_time(RECONNECT_GRACE)
    stage.accept(second, job.id)
    again = stage.worker()
    stage.migrate(again, job.id, "AJ_unknown")
    assert stage.terminated() == [(again, job.id)]
    assert job.worker_id == second


def test_a_worker_with_another_key_cannot_claim_the_job(stage: Stage) -> None:
    first = stage.worker()
    job = stage.room_job(stage.room())
    stage.accept(first, job.id)
    stage.lose(first)
    thief = stage.worker(key=ApiKey(key="other", secret="s"))
    stage.migrate(thief, job.id)
    stage.report(thief, job.id, agent.JS_SUCCESS)
    assert job.worker_id == first
    assert job.phase is Phase.ASSIGNED


def test_what_a_worker_reports_after_it_returned_counts(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, seat = stage.running(room, first)
    stage.lose(first)
    stage.leave(room, job.identity, seat)
    again = stage.worker()
    stage.report(again, job.id, agent.JS_SUCCESS)
    assert (job.phase, job.status) == (Phase.ENDED, agent.JS_SUCCESS)


def test_a_worker_that_takes_over_brings_the_agent_back(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, seat = stage.running(room, first)
    stage.lose(first)
    stage.leave(room, job.identity, seat)
    second = stage.worker()
    stage.report(second, job.id, agent.JS_RUNNING)
    again = stage.join(room, job.identity, dependent=True)
    stage.pass_time(600)
    assert (job.phase, job.worker_id, job.seat) == (Phase.RUNNING, second, again)
    assert stage.terminated() == []


def test_a_worker_that_takes_over_without_its_agent_is_told_to_end_the_job(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, seat = stage.running(room, first)
    stage.lose(first)
    stage.leave(room, job.identity, seat)
    second = stage.worker()
    stage.report(second, job.id, agent.JS_RUNNING)
    stage.pass_time(TAKEOVER)
    assert stage.terminated() == [(second, job.id)]


def test_an_agent_that_left_with_its_worker_may_come_back_before_the_worker(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, seat = stage.running(room, first)
    stage.lose(first)
    stage.leave(room, job.identity, seat)
    stage.pass_time(TAKEOVER - 1)
    stage.join(room, job.identity, dependent=True)
    stage.pass_time(600)
    assert job.phase is Phase.RUNNING


@pytest.mark.parametrize("old_leaves", ["replaced", "first"])
def test_a_new_version_takes_over_from_the_one_it_replaces(stage: Stage, old_leaves: str) -> None:
    old, room = stage.worker(), stage.room()
    job, seat = stage.running(room, old)
    new = stage.worker()
    stage.report(new, job.id, agent.JS_RUNNING)
    assert [worker.jobs for worker in stage.dispatcher.workers()] == [set(), {job.id}]
    if old_leaves == "first":
        stage.leave(room, job.identity, seat)
        stage.pass_time(TAKEOVER - 1)
    else:
        stage.leave(room, job.identity, seat, models.DUPLICATE_IDENTITY)
    again = stage.join(room, job.identity, dependent=True)
    stage.report(old, job.id, agent.JS_FAILED)
    stage.lose(old)
    stage.pass_time(600)
    assert (job.phase, job.worker_id, job.seat) == (Phase.RUNNING, new, again)
    assert stage.terminated() == []


def test_the_agent_of_a_new_version_may_be_there_before_its_report(stage: Stage) -> None:
    old, room = stage.worker(), stage.room()
    job, seat = stage.running(room, old)
    new = stage.worker()
    stage.leave(room, job.identity, seat, models.DUPLICATE_IDENTITY)
    again = stage.join(room, job.identity, dependent=True)
    stage.report(new, job.id, agent.JS_RUNNING)
    stage.pass_time(TAKEOVER * 2)
    assert (job.phase, job.worker_id, job.seat) == (Phase.RUNNING, new, again)
    stage.leave(room, job.identity, again)
    assert stage.terminated() == [(new, job.id)]


def test_a_worker_cannot_take_over_the_job_of_another_agent(stage: Stage) -> None:
    holder = stage.worker()
    job, _ = stage.running(stage.room(), holder)
    for other in (stage.worker("other"), stage.worker(key=ApiKey(key="other", secret="s"))):
        stage.report(other, job.id, agent.JS_RUNNING)
        assert job.worker_id == holder


def test_an_agent_that_is_slow_to_join_is_worth_one_log_line(stage: Stage) -> None:
    worker = stage.worker()
    job = stage.room_job(stage.room())
    stage.accept(worker, job.id)
    stage.report(worker, job.id, agent.JS_RUNNING)
    stage.pass_time(SLOW_START * 3)
    assert len(stage.logged("agent has not joined the room of its job")) == 1
    assert job.phase is Phase.RUNNING


def test_an_agent_that_comes_back_after_its_worker_was_told_to_end_does_not_revive_the_job(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat)
    stage.join(room, job.identity, dependent=True)
    stage.pass_time(LAST_WORD)
    assert job.phase is Phase.ENDED


@pytest.mark.parametrize("told", ["before it is back", "after it is back"])
def test_a_worker_may_go_on_with_a_job_whose_agent_left_to_come_back(stage: Stage, told: str) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat)
    if told == "before it is back":
        stage.report(worker, job.id, agent.JS_RUNNING)
    again = stage.join(room, job.identity, dependent=True)
    if told == "after it is back":
        stage.report(worker, job.id, agent.JS_RUNNING)
    stage.pass_time(LAST_WORD + TAKEOVER)
    assert (job.phase, job.seat) == (Phase.RUNNING, again)


def test_a_job_that_goes_on_without_its_agent_ends(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room()
    job, seat = stage.running(room, worker)
    stage.leave(room, job.identity, seat)
    stage.report(worker, job.id, agent.JS_RUNNING)
    stage.pass_time(TAKEOVER + LAST_WORD)
    assert (job.phase, job.error) == (Phase.ENDED, "agent worker left the room")


def test_a_worker_that_returned_has_its_job_as_before(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, seat = stage.running(room, first)
    stage.lose(first)
    again = stage.worker()
    stage.migrate(again, job.id)
    stage.leave(room, job.identity, seat)
    stage.pass_time(LAST_WORD)
    assert job.phase is Phase.ENDED


def test_a_worker_that_claims_a_job_that_has_ended_is_told_so(stage: Stage) -> None:
    first, room = stage.worker(), stage.room()
    job, _ = stage.running(room, first)
    stage.report(first, job.id, agent.JS_SUCCESS)
    again = stage.worker()
    stage.migrate(again, job.id)
    assert stage.terminated() == [(again, job.id)]


def test_a_worker_that_claims_a_job_nobody_has_is_told_nothing(stage: Stage) -> None:
    job = stage.job_of(stage.dispatch(stage.room(implicit=False), "a"))
    stage.migrate(stage.worker("b"), job.id)
    assert stage.terminated() == []
    assert job.phase is Phase.PENDING


def test_when_a_worker_is_given_up_those_that_declined_are_asked_again_until_a_new_deadline(stage: Stage) -> None:
    room = stage.room()
    job = stage.room_job(room)
    stage.pass_time(stage.settings.dispatch_deadline - 1)
    unwilling = stage.worker()
    stage.decline(unwilling, job.id)
    holder = stage.worker()
    stage.accept(holder, job.id)
    stage.lose(holder)
    stage.pass_time(RECONNECT_GRACE)
    assert stage.offers() == [unwilling, holder, unwilling]
    stage.decline(unwilling, job.id)
    assert job.phase is Phase.PENDING
    stage.lose(unwilling)
    stage.pass_time(stage.settings.dispatch_deadline)
    assert job.reason == agent.JSR_NO_CAPACITY


def test_an_identity_is_welcome_again_once_another_job_has_it(stage: Stage) -> None:
    worker, room = stage.worker(), stage.room(implicit=False)
    old = stage.dispatch(room)
    stage.accept(worker, stage.job_of(old).id, "assistant")
    stage.did(stage.dispatcher.delete_dispatch(room, old.id, stage.now))
    job = stage.job_of(stage.dispatch(room))
    stage.accept(worker, job.id, "assistant")
    stage.report(worker, job.id, agent.JS_SUCCESS)
    stage.join(room, "assistant", dependent=True)
    assert not [effect for effect in stage.effects if isinstance(effect, Evict)]
