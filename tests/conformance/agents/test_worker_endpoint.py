"""``/agent`` as a worker meets it: who gets in, what it may send, how it is sent away."""

from __future__ import annotations

import logging

import httpx
import pytest
import websockets
from livekit.protocol import agent
from websockets.asyncio.client import connect

from greenroom.config import AgentDefaults, ApiKey, Limits
from greenroom.grants import VideoGrant, mint
from greenroom.server.agents import _link
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY, AgentWorker, worker_token

pytestmark = pytest.mark.conformance

FRONT = ApiKey(key="front", secret="front secret", agents=("front-*",), rooms=("eu-*",))


async def refused(url: str, token: str) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await AgentWorker.open(url, token=token)
    return caught.value.response.status_code, (caught.value.response.body or b"").decode()


async def test_a_worker_is_registered_by_the_first_message_it_gets(stage: AgentStage) -> None:
    worker = await stage.worker("front_desk")
    assert worker.kinds == ["register"]
    response = worker.log[0].register
    assert response.worker_id.startswith("AW_")
    assert response.server_info.agent_protocol == 1
    assert response.server_info.version
    (info,) = stage.server.agents.workers()
    assert (info.id, info.agent_name, info.job_type, info.status) == (worker.id, "front_desk", "room", "available")


async def test_a_worker_is_known_by_its_last_status(stage: AgentStage) -> None:
    worker = await stage.worker()
    await worker.status(full=True, load=0.5)
    await worker.barrier()
    (info,) = stage.server.agents.workers()
    assert (info.status, info.load) == ("full", 0.5)
    await worker.close()


async def test_a_worker_that_disconnects_is_forgotten(stage: AgentStage) -> None:
    first, second = await stage.worker(), await stage.worker()
    await first.close()
    await second.barrier()
    # The second connection was served after the first one's end was read.
    while len(stage.server.agents.workers()) > 1:
        await second.barrier()
    assert [info.id for info in stage.server.agents.workers()] == [second.id]


@pytest.mark.parametrize(
    ("token", "body"),
    [
        ("", "invalid authorization header. Must start with Bearer"),
        (mint(KEY, identity="ada", video=VideoGrant(room_join=True)), "permissions denied"),
        (mint(KEY), "permissions denied"),
        (worker_token(ApiKey(key="stranger", secret="x")), "invalid API key"),
        (mint(KEY, video=VideoGrant(agent=True), ttl=-3600), "it has expired"),
        ("garbage", "not a signed JWT"),
    ],
)
async def test_a_connection_without_an_agent_grant_is_refused_before_the_upgrade(
    stage: AgentStage, token: str, body: str
) -> None:
    status, text = await refused(stage.url, token)
    assert status == 401
    assert body in text


async def test_no_token_at_all_is_refused(stage: AgentStage) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await connect(f"{stage.url.replace('http', 'ws')}/agent")
    assert caught.value.response.status_code == 401


async def test_the_token_may_come_in_the_query(stage: AgentStage) -> None:
    url = f"{stage.url.replace('http', 'ws')}/agent?access_token={worker_token()}&protocol=1"
    async with connect(url) as socket:
        await socket.send(agent.WorkerMessage(register=agent.RegisterWorkerRequest()).SerializeToString())
        assert agent.ServerMessage.FromString(await socket.recv(decode=False)).HasField("register")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_that_is_no_upgrade_finds_nothing(stage: AgentStage, method: str) -> None:
    async with httpx.AsyncClient(base_url=stage.url) as http:
        headers = {"authorization": f"Bearer {worker_token()}"}
        assert (await http.request(method, "/agent", headers=headers)).status_code == 404


async def test_a_ping_is_answered_even_before_registration(stage: AgentStage) -> None:
    worker = await AgentWorker.open(stage.url)
    await worker.send(ping=agent.WorkerPing(timestamp=42))
    pong = (await worker.receive("pong")).pong
    assert pong.last_timestamp == 42
    assert pong.timestamp > 1_700_000_000_000
    await worker.close()


async def test_a_worker_that_does_not_register_is_closed() -> None:
    async with agent_stage(agent=AgentDefaults(register_timeout=0.05)) as stage:
        worker = await AgentWorker.open(stage.url)
        assert await worker.wait_closed() == (1008, "it did not register in time")


async def test_a_key_limited_to_agents_registers_only_those(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "greenroom")
    async with agent_stage(keys=(KEY, FRONT), agent=AgentDefaults(register_timeout=0.5)) as stage:
        await stage.worker("front-desk", key=FRONT)
        other = await AgentWorker.open(stage.url, key=FRONT)
        with pytest.raises(ConnectionError):
            await other.register("back-office")
        assert await other.wait_closed() == (1008, "API key 'front' may not run the agent 'back-office'")
    (line,) = [record for record in caplog.records if record.message == "worker refused"]
    assert line.__dict__["fix"] == "Add the agent to the key's agents, or use another key"


@pytest.mark.parametrize("deployment", ["a b", "a_b", "d" * 65])
async def test_a_deployment_that_cannot_be_is_refused(deployment: str) -> None:
    async with agent_stage(agent=AgentDefaults(register_timeout=0.05)) as stage:
        worker = await AgentWorker.open(stage.url)
        await worker.send(register=agent.RegisterWorkerRequest(deployment=deployment))
        code, reason = await worker.wait_closed()
    assert code == 1008
    assert reason
    assert reason.startswith("deployment is")


async def test_text_and_messages_from_the_future_are_ignored(stage: AgentStage) -> None:
    worker = await stage.worker()
    for _ in range(100):
        await worker.socket.send("hello")
        await worker.socket.send(b"\xfa\x3f\x02\x08\x01")
    await worker.barrier()
    assert len(stage.server.agents.workers()) == 1


async def test_a_few_frames_that_cannot_be_read_do_no_harm(stage: AgentStage) -> None:
    worker = await stage.worker()
    for _ in range(_link.MAX_BAD_FRAMES - 1):
        await worker.socket.send(b"\x0a\xff\xff\xff")
    await worker.barrier()


async def test_many_frames_that_cannot_be_read_end_the_connection(stage: AgentStage) -> None:
    bystander, worker = await stage.worker(), await stage.worker()
    for _ in range(_link.MAX_BAD_FRAMES):
        await worker.socket.send(b"\x0a\xff\xff\xff")
    assert await worker.wait_closed() == (1007, "not a WorkerMessage")
    await bystander.barrier()


async def test_frames_that_are_too_big_are_not_read() -> None:
    async with agent_stage(limits=Limits(agent_message=1000)) as stage:
        worker = await stage.worker()
        big = agent.WorkerMessage(update_worker=agent.UpdateWorkerStatus(load=0.5), ping=agent.WorkerPing())
        payload = big.SerializeToString() + b"\xfa\x3f\xe8\x07" + b"x" * 1000
        for _ in range(_link.MAX_BAD_FRAMES):
            await worker.socket.send(payload)
        assert await worker.wait_closed() == (1009, "message too big")
        assert "pong" not in worker.kinds


async def test_no_more_workers_than_allowed_are_let_in() -> None:
    async with agent_stage(limits=Limits(workers=1)) as stage:
        await stage.worker()
        assert await refused(stage.url, worker_token()) == (503, "too many workers are connected")


async def test_a_worker_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch, stage: AgentStage) -> None:
    monkeypatch.setattr(_link, "MAX_QUEUED_MESSAGES", 3)
    bystander, worker = await stage.worker("other"), await stage.worker()
    # The queue fills within one turn of the loop, as it does when the socket takes nothing.
    for number in range(5):
        stage.server.rooms.create(f"room {number}")
    assert await worker.wait_closed() == (1013, "too many messages are waiting")
    await bystander.barrier()


async def test_workers_are_told_to_go_when_the_server_stops(stage: AgentStage) -> None:
    worker = await stage.worker()
    await stage.server.stop()
    assert await worker.wait_closed() == (1001, "the server stops")
