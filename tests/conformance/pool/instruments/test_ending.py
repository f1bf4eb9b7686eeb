"""Each way in which a call can end, with real agent sessions on a real server, all of them in one shard."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from livekit.protocol import agent, models

from greenroom.pool import _wire as wire
from greenroom.pool._model import EndKind, Memo
from support.agent_worker import KEY
from support.pool_stage import ShardStage, shard_stage
from support.sdk import Caller
from support.signal_client import token

pytestmark = [pytest.mark.conformance, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("endings")]

PROGRAM = Path(__file__).parents[3] / "support" / "pool_matrix.py"
LABEL = "program."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ShardStage]:
    async with shard_stage(tmp_path_factory.mktemp("shard"), PROGRAM.read_text()) as running:
        yield running


async def begun(stage: ShardStage, mode: str) -> tuple[Caller, agent.Job]:
    return await stage.call("matrix", f"room-{mode}", metadata=mode, identity=f"caller-{mode}")


async def end_of(stage: ShardStage, job: agent.Job) -> wire.Ended:
    ended: wire.Ended = await stage.until(
        lambda: next(
            (each for each in stage.shard.said if isinstance(each, wire.Ended) and each.job_id == job.id), None
        )
    )
    return ended


@pytest.mark.parametrize(
    ("mode", "kind", "ok", "detail"),
    [
        ("setup", EndKind.SETUP, False, "ValueError: no such table"),
        ("constructor", EndKind.CODE, False, "ValueError: nothing to go on with"),
        ("shutdown", EndKind.AGENT, True, "the program is through"),
        ("close", EndKind.AGENT, True, "the program is through"),
        ("stop_job", EndKind.TOOL, True, "stop_job: the tool is through"),
        ("close_room", EndKind.TOOL, True, "close_room: the program deleted the room"),
        ("end_call", EndKind.TOOL, True, "end_call: the program closed the session"),
    ],
)
async def test_what_the_program_does_is_told(
    stage: ShardStage, mode: str, kind: EndKind, ok: bool, detail: str
) -> None:
    _, job = await begun(stage, mode)
    ended = await end_of(stage, job)
    assert (ended.kind, ended.ok) == (kind, ok), ended
    assert detail in (ended.reason, ended.error, ended.provider), ended


@pytest.mark.parametrize(
    ("mode", "kind", "provider"),
    [
        ("llm", EndKind.PROVIDER, f"{LABEL}BrokenLLM"),
        ("stt", EndKind.PROVIDER, f"{LABEL}BrokenSTT"),
        ("tts", EndKind.PROVIDER, f"{LABEL}BrokenTTS"),
        ("hang_up", EndKind.TOOL, ""),
    ],
)
async def test_what_closed_the_session_counts_and_not_who_left_the_room_after_it(
    stage: ShardStage, mode: str, kind: EndKind, provider: str
) -> None:
    caller, job = await begun(stage, mode)
    await stage.seen(caller, job, ready="yes")
    await stage.server.rooms.delete(f"room-{mode}")
    ended = await end_of(stage, job)
    assert (ended.kind, ended.provider, ended.ok) == (kind, provider, kind is EndKind.TOOL), ended
    failed = [each.value for each in facts(stage, job) if each.kind == "provider_error" and not each.recoverable]
    assert set(failed) == ({provider} if provider else set())


def facts(stage: ShardStage, job: agent.Job) -> list[wire.Fact]:
    return [each for each in stage.shard.said if isinstance(each, wire.Fact) and each.job_id == job.id]


async def leaves(_stage: ShardStage, caller: Caller, _job: agent.Job) -> None:
    await caller.close()


async def deletes_the_room(stage: ShardStage, _caller: Caller, job: agent.Job) -> None:
    await stage.server.rooms.delete(job.room.name)


async def removes_the_agent(stage: ShardStage, _caller: Caller, job: agent.Job) -> None:
    room = stage.server.rooms.get(job.room.name)
    assert room is not None
    removed = models.DisconnectReason.PARTICIPANT_REMOVED
    assert stage.server.rooms.remove_participant(room, job.state.participant_identity, removed)


async def takes_the_job_away(stage: ShardStage, _caller: Caller, job: agent.Job) -> None:
    await stage.take_away(job.room.name, "matrix")


def ends_it(kind: EndKind) -> Callable[[ShardStage, Caller, agent.Job], Awaitable[None]]:
    async def act(stage: ShardStage, _caller: Caller, job: agent.Job) -> None:
        stage.shard.say(wire.End(job_id=job.id, kind=kind, reason="as asked"))

    return act


async def moves_it(stage: ShardStage, _caller: Caller, job: agent.Job) -> None:
    stage.shard.say(wire.Move(job_id=job.id))


@pytest.mark.parametrize(
    ("mode", "act", "kind"),
    [
        ("fail-then-leave", leaves, EndKind.USER),
        ("talk-then-delete", deletes_the_room, EndKind.USER),
        ("talk-then-remove", removes_the_agent, EndKind.TERMINATED),
        ("talk-then-terminate", takes_the_job_away, EndKind.TERMINATED),
        ("talk-then-policy", ends_it(EndKind.POLICY), EndKind.POLICY),
        ("talk-then-drain", ends_it(EndKind.DRAINED), EndKind.DRAINED),
        ("talk-then-move", moves_it, EndKind.MOVED),
    ],
)
async def test_what_others_do_is_told(
    stage: ShardStage, mode: str, act: Callable[[ShardStage, Caller, agent.Job], Awaitable[None]], kind: EndKind
) -> None:
    caller, job = await begun(stage, mode)
    await stage.seen(caller, job, ready="yes")
    await act(stage, caller, job)
    ended = await end_of(stage, job)
    assert (ended.kind, ended.ok) == (kind, True), ended
    assert (ended.memo is not None) == (kind is EndKind.MOVED)


async def test_facts_tell_who_is_there_and_what_is_done(stage: ShardStage) -> None:
    caller, job = await begun(stage, "fail")
    await stage.seen(caller, job, ready="yes")
    await stage.until(lambda: [each for each in facts(stage, job) if each.kind == "usage"])
    told = [(each.kind, each.value) for each in facts(stage, job)]
    assert told[:2] == [("connected", 1), ("participants", 1)]
    assert ("agent_state", "listening") in told
    assert ("agent_state", "thinking") in told
    assert {value for kind, value in told if kind == "provider_ok"} == {f"{LABEL}Scripted"}
    await caller.close()
    await end_of(stage, job)
    assert [
        value for kind, value in [(each.kind, each.value) for each in facts(stage, job)] if kind == "participants"
    ] == [
        1,
        0,
    ]


def memo_of(stage: ShardStage, job: agent.Job, *, items: int) -> Memo | None:
    told = [each.memo for each in stage.shard.said if isinstance(each, wire.Checkpoint) and each.job_id == job.id]
    return told[-1] if told and len(json.loads(told[-1].chat)["items"]) == items else None


async def test_a_call_goes_on_elsewhere_with_what_was_said(stage: ShardStage) -> None:
    caller, job = await stage.call("matrix", "room-again", metadata="chat", identity="caller-again")
    first = await stage.seen(caller, job, ready="yes")
    before = json.loads(first.attributes["known"])
    assert not before["resumed"]
    memo = await stage.until(lambda: memo_of(stage, job, items=6))
    items = json.loads(memo.chat)["items"]
    assert [item["type"] for item in items] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
        "message",
        "message",
    ]
    assert memo.agent == f"{LABEL.rstrip('.')}:Clerk"

    again = agent.Job(id="AJ_again", room=models.Room(name="room-again"), metadata="chat", agent_name="matrix")
    stage.launch(
        again,
        token("agent-again", "room-again", key=KEY, video={"can_update_own_metadata": True, "agent": True}),
        memo=memo,
    )
    second = await caller.sees("agent-again", lambda there: "known" in there.attributes)
    known = json.loads(second.attributes["known"])
    assert known["resumed"]
    assert known["history"] == [item["id"] for item in items if item["type"] == "message"]
    # What the model was given: the two questions with their answers, the tool's, and the new question.
    assert known["now"][-1] == "I know 7 things"


async def test_an_ordinary_call_is_nothing_to_warn_of(stage: ShardStage) -> None:
    before = len(stage.shard.printed.splitlines())
    caller, job = await begun(stage, "chat")
    await stage.seen(caller, job, ready="yes")
    await caller.close()
    await end_of(stage, job)
    lines = [json.loads(line) for line in stage.shard.printed.splitlines()[before:]]
    assert [line for line in lines if line.get("session") == job.id]
    serious = [line for line in lines if line["level"] not in {"DEBUG", "INFO"}]
    assert [line for line in serious if "event loop blocked" not in line["message"]] == []
