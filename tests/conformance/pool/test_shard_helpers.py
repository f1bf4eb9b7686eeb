"""The processes beside the shards: the advisor that asks user code, and the one that runs shared models."""

from __future__ import annotations

from pathlib import Path

import pytest
from livekit.protocol import agent, models

from greenroom.pool import _wire as wire
from support.pool_jobs import ended, launch
from support.pool_nursery import nursery

pytestmark = pytest.mark.conformance

ASKED = """
import asyncio
from livekit.agents import AgentServer, JobRequest

server = AgentServer()


async def on_request(request: JobRequest):
    match request.room.name:
        case "yes":
            await request.accept(name="N", identity="I", metadata="M", attributes={"k": "v"})
            await asyncio.Event().wait()
        case "twice":
            await request.accept()
            await request.reject()
        case "no":
            await request.reject(terminate=False)
        case "never":
            await request.reject()
        case "broken":
            raise KeyError("request")
        case "slow":
            await asyncio.Event().wait()


@server.rtc_session(agent_name="asked", on_request=on_request)
async def entrypoint(ctx): ...
"""

POOL = """
from livekit.agents import Agent
from greenroom.pool import AgentPool


class Desk(Agent):
    def __init__(self):
        super().__init__(instructions="x")


def route(metadata):
    if metadata == {"fail": True}:
        raise ValueError("no route")
    return (metadata or {}).get("to")


async def tenants(tenant):
    if tenant == "fail":
        raise ValueError("no tenants")
    return {"llm": "openai/gpt"} if tenant == "acme" else None


pool = AgentPool(router=route, tenant_config=tenants)
pool.add("desk", Desk)
"""

MODELS = """
from livekit.agents import AgentServer, get_job_context
from livekit.agents.inference_runner import _InferenceRunner


class Doubles(_InferenceRunner):
    INFERENCE_METHOD = "doubles"

    def initialize(self):
        self.ready = True

    def run(self, data):
        if data == b"bad":
            raise ValueError("bad data")
        return data * 2


class Missing(_InferenceRunner):
    INFERENCE_METHOD = "missing"

    def initialize(self):
        raise RuntimeError("no files")

    def run(self, data): ...


_InferenceRunner.register_runner(Doubles)
if {broken}:
    _InferenceRunner.register_runner(Missing)
server = AgentServer()


@server.rtc_session(agent_name="tried")
async def entrypoint(ctx):
    try:
        ctx.shutdown((await ctx.inference_executor.do_inference("doubles", ctx.job.metadata.encode())).decode())
    except RuntimeError as error:
        ctx.shutdown(str(error))
"""


def job(room: str = "r", metadata: str = "") -> bytes:
    return agent.Job(id="J", room=models.Room(name=room), metadata=metadata).SerializeToString()


async def test_a_programs_own_filter_answers_and_a_slow_one_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "asked.py"
    file.write_text(ASKED)
    async with nursery(tmp_path, file) as made:
        assert made.manifest.agents[0].asks
        advisor = await made.fork(wire.Role.ADVISOR)
        rooms = ["slow", "yes", "twice", "no", "never", "broken", "silent"]
        for number, room in enumerate(rooms):
            advisor.say(wire.Ask(number=number, agent="asked", job=job(room)))
        advisor.say(wire.Ask(number=99, agent="nobody", job=job()))
        said = {}
        for _ in range(len(rooms)):
            told = await advisor.next(wire.Answer)
            said[rooms[told.number] if told.number < 99 else "nobody"] = told
    assert "slow" not in said
    yes = said["yes"]
    assert (yes.accepted, yes.identity, yes.name, yes.metadata, yes.attributes) == (True, "I", "N", "M", {"k": "v"})
    assert (said["twice"].accepted, said["twice"].identity) == (True, "agent-J")
    assert [(said[room].accepted, said[room].terminate) for room in ("no", "never", "broken", "silent")] == [
        (False, False),
        (False, True),
        (False, False),
        (False, False),
    ]
    assert "KeyError" in said["broken"].problem
    assert "no answer" in said["silent"].problem
    assert "nobody" in said["nobody"].problem


async def test_a_pools_router_and_resolver_are_asked(tmp_path: Path) -> None:
    file = tmp_path / "pool.py"
    file.write_text(POOL)
    async with nursery(tmp_path, file) as made:
        assert (made.manifest.options.routes, made.manifest.options.resolves) == (True, True)
        advisor = await made.fork(wire.Role.ADVISOR)
        for number, metadata in enumerate(('{"to": "desk"}', "", '{"fail": true}')):
            advisor.say(wire.AskRouter(number=number, job=job(metadata=metadata)))
        routed = [
            await advisor.next(wire.Routed, lambda told, number=number: told.number == number) for number in range(3)
        ]
        assert [told.agent for told in routed] == ["desk", None, None]
        assert "no route" in routed[2].problem
        for number, tenant in enumerate(("acme", "else", "fail")):
            advisor.say(wire.AskTenant(number=number, tenant=tenant))
        found = [
            await advisor.next(wire.TenantFound, lambda told, number=number: told.number == number)
            for number in range(3)
        ]
        assert [told.found for told in found] == [{"llm": "openai/gpt"}, None, None]
        assert "no tenants" in found[2].problem


async def test_a_shared_model_answers_sessions_of_any_shard(tmp_path: Path) -> None:
    file = tmp_path / "models.py"
    file.write_text(MODELS.replace("{broken}", "False"))
    async with nursery(tmp_path, file) as made:
        assert made.manifest.inference
        inference = await made.fork(wire.Role.INFERENCE)
        shard = await made.fork()
        for job_id, data, came in (("J1", "ab", "abab"), ("J2", "bad", "bad data")):
            launch(shard, job_id, data)
            asked = await shard.next(wire.Infer)
            inference.say(wire.Infer(number=asked.number, shard=shard.number, method=asked.method, data=asked.data))
            told = await inference.next(wire.Inferred)
            assert (told.number, told.shard) == (asked.number, shard.number)
            shard.say(told)
            assert came in (await ended(shard, job_id)).reason


async def test_a_shared_model_without_its_files_says_what_to_run(tmp_path: Path) -> None:
    file = tmp_path / "models.py"
    file.write_text(MODELS.replace("{broken}", "True"))
    async with nursery(tmp_path, file) as made:
        inference = await made.fork(wire.Role.INFERENCE, ready=False)
        problem = (await inference.next(wire.Ready)).problem
        assert problem == ("the model missing cannot be loaded: no files. Run: python -m livekit.agents download-files")
        inference.say(wire.Infer(number=1, method="doubles", data=b"x"))
        assert (await inference.next(wire.Inferred)).data == b"xx"
