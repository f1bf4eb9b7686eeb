"""What a dispatch launches, when, and what of it is shown."""

from __future__ import annotations

import pytest
from livekit.protocol import agent

from greenroom.server.agents._model import ENDED_JOBS, HISTORY, Dispatch
from support.dispatcher_stage import Stage

pytestmark = pytest.mark.unit


def shown(stage: Stage, dispatch: Dispatch) -> list[tuple[int, str]]:
    return [(job.key.job_type, job.participant) for job in stage.dispatcher.listed_jobs(dispatch)]


def publish(stage: Stage, room: str, identity: str) -> None:
    stage.did(stage.dispatcher.participant_published(room, identity, stage.now))


def test_each_participant_gets_a_job_of_a_participant_worker(stage: Stage) -> None:
    worker, room = stage.worker(job_type=agent.JT_PARTICIPANT), stage.room()
    stage.join(room, "ada")
    stage.join(room, "bob")
    stage.join(room, "recorder", dependent=True)
    assert stage.offers() == [worker, worker]
    (dispatch,) = stage.dispatches(room).values()
    assert shown(stage, dispatch) == [(agent.JT_PARTICIPANT, "ada"), (agent.JT_PARTICIPANT, "bob")]


def test_a_publisher_worker_gets_one_job_per_participant_at_its_first_track(stage: Stage) -> None:
    worker, room = stage.worker(job_type=agent.JT_PUBLISHER), stage.room()
    stage.join(room, "ada")
    assert stage.offers() == []
    publish(stage, room, "ada")
    publish(stage, room, "ada")
    publish(stage, room, "nobody")
    assert stage.offers() == [worker]


def test_a_dispatch_made_later_covers_whoever_is_there(stage: Stage) -> None:
    room = stage.room(implicit=False)
    for identity in ("ada", "bob"):
        stage.join(room, identity)
    publish(stage, room, "ada")
    rooms, people, publishers = (stage.worker("a", job_type=kind) for kind in (0, 2, 1))
    stage.dispatch(room, "a")
    assert sorted(stage.offers()) == sorted([rooms, people, people, publishers])


def test_a_dispatch_that_nobody_serves_shows_its_room_job_only(stage: Stage) -> None:
    room = stage.room(implicit=False)
    stage.join(room, "ada")
    dispatch = stage.dispatch(room, "a")
    assert shown(stage, dispatch) == [(agent.JT_ROOM, "")]
    stage.pass_time(stage.settings.dispatch_deadline)
    assert shown(stage, dispatch) == [(agent.JT_ROOM, "")]
    assert len(dispatch.jobs) == 1
    assert len(stage.logged("no worker took the job")) == 1


def test_a_job_that_no_worker_type_asks_for_ends_quietly(stage: Stage) -> None:
    stage.worker("a", job_type=agent.JT_PARTICIPANT)
    room = stage.room(implicit=False)
    stage.join(room, "ada")
    dispatch = stage.dispatch(room, "a")
    stage.pass_time(stage.settings.dispatch_deadline)
    assert [job.key.job_type for job in dispatch.jobs.values()] == [agent.JT_PARTICIPANT]


def test_the_automatic_dispatch_does_not_warn_where_another_one_is_served(stage: Stage) -> None:
    stage.worker("a")
    room = stage.room()
    stage.dispatch(room, "a")
    stage.pass_time(stage.settings.dispatch_deadline)
    assert {line.level for line in stage.logged("no worker took the job")} <= {10, 30}
    implicit = [line for line in stage.logged("no worker took the job") if line.fields["agent_name"] == ""]
    assert [line.level for line in implicit] == [10]


def test_a_participant_s_waiting_job_goes_when_it_leaves(stage: Stage) -> None:
    room = stage.room()
    seat = stage.join(room, "ada")
    stage.leave(room, "ada", seat)
    stage.worker(job_type=agent.JT_PARTICIPANT)
    assert stage.offers() == []


def test_the_same_dispatch_id_again_changes_nothing(stage: Stage) -> None:
    worker, room = stage.worker("a"), stage.room(implicit=False)
    for _ in range(2):
        stage.did(stage.dispatcher.add_dispatch(room, now=stage.now, dispatch_id="AD_1", agent_name="a"))
    assert stage.offers() == [worker]


def test_the_history_says_step_by_step_what_happened(stage: Stage) -> None:
    room = stage.room()
    (dispatch,) = stage.dispatches(room).values()
    job = stage.room_job(room)
    worker = stage.worker()
    stage.decline(worker, job.id)
    stage.pass_time(1)
    stage.accept(worker, job.id)
    steps = [step.event for step in dispatch.history]
    assert steps == ["created", "waiting", "offered", "declined", "waiting", "offered", "assigned"]
    assert dispatch.history[1].detail == "no agent worker is connected"


def test_a_long_life_is_remembered_in_bounded_space(stage: Stage) -> None:
    worker, room = stage.worker(job_type=agent.JT_PARTICIPANT), stage.room()
    (dispatch,) = stage.dispatches(room).values()
    for number in range(ENDED_JOBS + 50):
        seat = stage.join(room, f"p{number}")
        job_id = list(dispatch.jobs)[-1]
        stage.accept(worker, job_id)
        stage.report(worker, job_id, agent.JS_SUCCESS)
        stage.leave(room, f"p{number}", seat)
    assert len(dispatch.jobs) <= ENDED_JOBS + 1
    assert len(dispatch.history) == HISTORY
    assert len(list(stage.dispatcher.jobs())) <= ENDED_JOBS + 1


def test_the_end_of_a_replaced_connection_is_not_the_end_of_the_person(stage: Stage) -> None:
    room = stage.room()
    old = stage.join(room, "ada")
    stage.join(room, "ada")
    stage.leave(room, "ada", old)
    worker = stage.worker("a", job_type=agent.JT_PARTICIPANT)
    stage.dispatch(room, "a")
    assert stage.offers() == [worker]
