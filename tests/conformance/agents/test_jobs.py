"""From a join to an agent in the room and out again, with a worker that speaks the bare protocol."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit.protocol import agent, models, rtc
from livekit.protocol import agent_dispatch as dispatch_pb
from livekit.protocol import room as room_pb

from greenroom.config import AgentDefaults, ApiKey
from greenroom.grants import verify
from greenroom.server.agents import _manager
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY, accept, decline, refuse_for_good, stay_silent

pytestmark = pytest.mark.conformance


def wants(*names: str, **fields: object) -> room_pb.RoomConfiguration:
    agents = [dispatch_pb.RoomAgentDispatch(agent_name=name, **fields) for name in names]
    return room_pb.RoomConfiguration(agents=agents)


async def test_a_join_gives_the_unnamed_worker_a_job_with_everything_it_needs(stage: AgentStage) -> None:
    worker = await stage.worker()
    await stage.join("ada")
    assignment = await worker.assignment()
    assert worker.kinds == ["register", "availability", "assignment"]

    offered = worker.log[1].availability.job
    room = stage.server.rooms.get("lobby")
    assert room is not None
    assert offered.id.startswith("AJ_")
    assert offered.dispatch_id.startswith("AD_")
    assert (offered.type, offered.room.sid, offered.room.name) == (agent.JT_ROOM, room.sid, "lobby")
    assert not offered.HasField("participant")
    assert not offered.enable_recording
    assert (offered.state.status, offered.state.worker_id) == (agent.JS_RUNNING, worker.id)
    assert abs(offered.state.started_at / 1e9 - time.time()) < 60

    assert assignment.job.id == offered.id
    assert not assignment.HasField("url")
    grant = verify(assignment.token, [KEY])
    claims, video = grant.claims, grant.claims.video
    assert video is not None
    assert (claims.identity, claims.kind) == (f"agent-{offered.id}", "agent")
    assert claims.attributes == {"lk.agent.name": "", "lk.agent_name": ""}
    assert (video.room_join, video.room, video.agent, video.hidden) == (True, "lobby", True, False)
    assert (video.can_publish, video.can_subscribe, video.can_publish_data) == (True, True, True)
    assert video.can_update_own_metadata
    assert claims.expires_at is not None
    assert 3590 < claims.expires_at - time.time() <= 3600


async def test_an_agent_s_permissions_are_those_its_worker_registered(stage: AgentStage) -> None:
    narrow = models.ParticipantPermission(can_subscribe=True, hidden=True)
    worker = await stage.worker(allowed_permissions=narrow)
    await stage.join("ada")
    video = verify((await worker.assignment()).token, [KEY]).claims.video
    assert video is not None
    assert (video.agent, video.hidden, video.can_subscribe) == (True, True, True)
    assert (video.can_publish, video.can_publish_data, video.can_update_own_metadata) == (False, False, False)


async def test_an_agent_joins_with_its_token_and_is_seen_as_one(stage: AgentStage) -> None:
    worker = await stage.worker()
    ada = await stage.join("ada")
    assignment = await worker.assignment()
    await stage.start(assignment)
    info = await ada.participant(f"agent-{assignment.job.id}")
    assert info.kind == models.ParticipantInfo.AGENT
    assert info.permission.agent
    assert info.attributes["lk.agent_name"] == ""
    state = stage.only_job().state
    assert (state.status, state.participant_identity, state.worker_id) == (agent.JS_RUNNING, info.identity, worker.id)


async def test_a_named_worker_waits_to_be_asked_for(stage: AgentStage) -> None:
    named, unnamed = await stage.worker("front_desk"), await stage.worker()
    await stage.join("ada")
    await unnamed.assignment()
    await named.barrier()
    assert "availability" not in named.kinds


async def test_agents_in_the_token_are_dispatched_when_the_join_makes_the_room(stage: AgentStage) -> None:
    named, unnamed = await stage.worker("front_desk"), await stage.worker()
    await stage.join("ada", room_config=wants("front_desk", metadata="m", attributes={"a": "1"}))
    job = (await named.assignment()).job
    assert (job.agent_name, job.metadata, dict(job.attributes)) == ("front_desk", "m", {"a": "1"})
    await stage.join("bob", room_config=wants("front_desk"))
    await named.barrier()
    await unnamed.barrier()
    assert named.kinds.count("availability") == 1
    assert "availability" not in unnamed.kinds


async def test_a_dispatch_made_over_the_api_reaches_the_worker(stage: AgentStage) -> None:
    worker = await stage.worker("front_desk", deployment="blue")
    created = stage.server.agents.create_dispatch("lobby", agent_name="front_desk", metadata="m", deployment="blue")
    job = (await worker.assignment()).job
    assert (job.dispatch_id, job.metadata, job.deployment) == (created.id, "m", "blue")


async def test_agents_that_create_room_adds_to_a_room_are_dispatched(stage: AgentStage) -> None:
    named = await stage.worker("front_desk")
    await stage.join("ada")
    request = room_pb.CreateRoomRequest(name="lobby", agents=wants("front_desk", metadata="m").agents)
    for _ in range(2):
        stage.server.rooms.create("lobby", request=request)
    job = (await named.assignment()).job
    assert (job.agent_name, job.metadata) == ("front_desk", "m")
    await named.barrier()
    assert named.kinds.count("availability") == 1


async def test_a_participant_worker_gets_a_job_for_each_person(stage: AgentStage) -> None:
    worker = await stage.worker(type=agent.JT_PARTICIPANT)
    for identity in ("ada", "bob"):
        await stage.join(identity)
        job = (await worker.assignment()).job
        assert (job.type, job.participant.identity) == (agent.JT_PARTICIPANT, identity)
        assert job.participant.sid.startswith("PA_")
    assert [job.participant.identity for job in stage.jobs()] == ["ada", "bob"]


async def test_a_publisher_worker_gets_its_job_at_the_first_track(stage: AgentStage) -> None:
    worker = await stage.worker(type=agent.JT_PUBLISHER)
    ada = await stage.join("ada")
    for sections in (["mic"], ["mic", "other"]):
        await ada.send(add_track=rtc.AddTrackRequest(cid=sections[-1]))
        offer = ada.peer.offer(more=[("audio", "sendonly", cid) for cid in sections])
        await ada.send(offer=rtc.SessionDescription(type="offer", sdp=offer, id=2))
        await ada.receive("answer")
    assert (await worker.assignment()).job.participant.identity == "ada"
    await worker.barrier()
    assert worker.kinds.count("availability") == 1


async def test_recording_is_asked_for_when_there_is_somewhere_to_send_it() -> None:
    async with agent_stage(observability_url="http://127.0.0.1:1") as stage:
        worker = await stage.worker()
        await stage.join("ada")
        job = (await worker.assignment()).job
        assert job.enable_recording
        (dispatch,) = stage.server.agents.list_dispatch(job.room.name)
        assert [each.enable_recording for each in dispatch.state.jobs] == [True]


async def test_the_job_goes_on_to_the_next_worker_when_one_declines(stage: AgentStage) -> None:
    unwilling = [await stage.worker(answer=decline) for _ in range(3)]
    willing = await stage.worker()
    await stage.join("ada")
    await willing.assignment()
    for worker in unwilling:
        await worker.barrier()
        assert "assignment" not in worker.kinds


async def test_a_silent_worker_costs_its_timeout_and_a_late_answer_does_no_harm() -> None:
    async with agent_stage(agent=AgentDefaults(availability_timeout=0.1)) as stage:
        silent = await stage.worker(answer=stay_silent)
        await stage.join("ada")
        late = await silent.offer()
        willing = await stage.worker()
        given = await willing.assignment()
        await silent.send(availability=accept(late))
        await silent.barrier()
        assert "assignment" not in silent.kinds
        assert stage.only_job().state.worker_id == willing.id
        assert given.job.id == late.id


async def test_a_job_may_be_ended_by_the_worker_that_is_asked(stage: AgentStage) -> None:
    worker = await stage.worker(answer=refuse_for_good)
    other = await stage.worker(answer=refuse_for_good)
    await stage.join("ada")
    for each in (worker, other):
        await each.barrier()
    assert sum(each.kinds.count("availability") for each in (worker, other)) == 1
    assert stage.only_job().state.status == agent.JS_SUCCESS


async def test_a_job_waits_for_its_worker_and_says_why(stage: AgentStage) -> None:
    await stage.join("ada", room_config=wants("front_desk"))
    (dispatch,) = stage.server.agents.list_dispatch("lobby")
    (waiting,) = [job.state for job in dispatch.state.jobs]
    assert (waiting.status, waiting.reason) == (agent.JS_PENDING, agent.JSR_NO_CAPACITY)
    assert waiting.error.startswith("waits for a worker: no agent worker is connected. Start one")
    assert stage.server.agents.history("lobby", dispatch.id)[-1].detail == "no agent worker is connected"
    worker = await stage.worker("front_desk")
    assert (await worker.assignment()).job.dispatch_id == dispatch.id
    assert stage.only_job(agent_name="front_desk").state.error == ""


async def test_at_the_deadline_the_job_fails_and_says_what_to_do() -> None:
    async with agent_stage(agent=AgentDefaults(dispatch_deadline=0.05)) as stage:
        worker = await stage.worker("back_office")
        await stage.join("ada", room_config=wants("front_desk"))
        while stage.only_job(agent_name="front_desk").state.status == agent.JS_PENDING:
            await worker.barrier()
        state = stage.only_job(agent_name="front_desk").state
        assert (state.status, state.reason) == (agent.JS_FAILED, agent.JSR_NO_CAPACITY)
        assert "Start that agent" in state.error


async def test_what_was_offered_to_a_worker_that_vanishes_goes_to_another(stage: AgentStage) -> None:
    vanishing = await stage.worker(answer=stay_silent)
    await stage.join("ada")
    await vanishing.offer()
    other = await stage.worker()
    await vanishing.close()
    await other.assignment()


async def test_a_running_agent_stays_while_its_worker_reconnects(stage: AgentStage) -> None:
    first = await stage.worker()
    ada = await stage.join("ada")
    assignment = await first.assignment()
    bot = await stage.start(assignment)
    await first.close()
    again = await stage.worker()
    await again.send(migrate_job=agent.MigrateJobRequest(job_ids=[assignment.job.id, "AJ_unknown"]))
    await again.barrier()
    assert stage.only_job().state.worker_id == again.id
    assert "availability" not in again.kinds
    await bot.leave()
    await ada.participant(bot.join.participant.identity, lambda info: info.state == models.ParticipantInfo.DISCONNECTED)
    assert (await again.receive("termination")).termination.job_id == assignment.job.id


async def test_a_worker_is_told_when_its_agent_has_left_and_has_the_last_word(stage: AgentStage) -> None:
    worker = await stage.worker()
    await stage.join("ada")
    assignment = await worker.assignment()
    bot = await stage.start(assignment)
    await bot.leave()
    assert (await worker.receive("termination")).termination.job_id == assignment.job.id
    await worker.report(assignment.job.id, agent.JS_SUCCESS)
    await worker.barrier()
    state = stage.only_job().state
    assert state.status == agent.JS_SUCCESS
    assert state.ended_at >= state.started_at > 0


async def test_a_worker_reports_that_its_job_failed(stage: AgentStage) -> None:
    worker = await stage.worker()
    await stage.join("ada")
    job_id = (await worker.assignment()).job.id
    await worker.report(job_id, agent.JS_FAILED, "it broke")
    await worker.barrier()
    state = stage.only_job().state
    assert (state.status, state.error) == (agent.JS_FAILED, "it broke")


async def test_deleting_the_room_terminates_its_jobs(stage: AgentStage) -> None:
    worker = await stage.worker()
    await stage.join("ada")
    job_id = (await worker.assignment()).job.id
    await stage.server.rooms.delete("lobby")
    assert (await worker.receive("termination")).termination.job_id == job_id
    await worker.barrier()
    assert worker.kinds.count("termination") == 1


async def test_deleting_a_dispatch_waits_for_the_agent_to_leave(stage: AgentStage) -> None:
    worker = await stage.worker("front_desk")
    created = stage.server.agents.create_dispatch("lobby", agent_name="front_desk")
    bot = await stage.start(await worker.assignment())

    async def leave_when_told() -> None:
        await worker.receive("termination")
        await bot.leave()

    leaving = asyncio.create_task(leave_when_told())
    deleted = await stage.server.agents.delete_dispatch("lobby", created.id)
    await leaving
    assert deleted is not None
    assert deleted.state.deleted_at > 0
    assert [(job.state.status, job.state.reason) for job in deleted.state.jobs] == [
        (agent.JS_SUCCESS, agent.JSR_DISPATCH_DELETED)
    ]
    room = stage.server.rooms.get("lobby")
    assert room is not None
    assert not room.participants


async def test_an_agent_that_does_not_leave_is_removed(stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_manager, "LEAVE_TIMEOUT", 0.05)
    worker = await stage.worker("front_desk")
    created = stage.server.agents.create_dispatch("lobby", agent_name="front_desk")
    bot = await stage.start(await worker.assignment())
    await stage.server.agents.delete_dispatch("lobby", created.id)
    assert (await bot.receive("leave")).leave.reason == models.PARTICIPANT_REMOVED
    assert await stage.server.agents.delete_dispatch("lobby", created.id) is None


async def test_an_agent_that_comes_after_its_dispatch_was_deleted_is_removed(stage: AgentStage) -> None:
    worker = await stage.worker("front_desk")
    created = stage.server.agents.create_dispatch("lobby", agent_name="front_desk")
    assignment = await worker.assignment()
    await stage.server.agents.delete_dispatch("lobby", created.id)
    bot = await stage.knock(assignment.token)
    assert (await bot.receive("leave")).leave.reason == models.PARTICIPANT_REMOVED


async def test_a_worker_whose_key_is_limited_to_rooms_only_gets_those() -> None:
    limited = ApiKey(key="eu", secret="eu secret", rooms=("eu-*",))
    async with agent_stage(keys=(KEY, limited)) as stage:
        worker = await stage.worker(key=limited)
        await stage.join("ada", "us-1")
        await stage.join("bob", "eu-1")
        assignment = await worker.assignment()
        assert assignment.job.room.name == "eu-1"
        assert verify(assignment.token, [KEY, limited]).key == limited
        await worker.barrier()
        assert worker.kinds.count("availability") == 1


async def test_a_simulated_job_runs_on_the_worker_that_asked(stage: AgentStage) -> None:
    worker = await stage.worker()
    await worker.send(simulate_job=agent.SimulateJobRequest(room=models.Room(name="rehearsal")))
    assignment = await worker.assignment()
    assert (assignment.job.room.name, assignment.job.dispatch_id) == ("rehearsal", "")
    await worker.send(
        simulate_job=agent.SimulateJobRequest(
            room=models.Room(name="rehearsal"), participant=models.ParticipantInfo(identity="ada")
        )
    )
    job = (await worker.assignment()).job
    assert (job.type, job.participant.identity) == (agent.JT_PUBLISHER, "ada")
