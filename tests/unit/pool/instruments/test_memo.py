"""What of a conversation is kept, and how it is put back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.llm import (
    AgentConfigUpdate,
    AgentHandoff,
    ChatContext,
    ChatMessage,
    FunctionCall,
    FunctionCallOutput,
)

from greenroom.pool._model import Memo
from greenroom.pool.shard._memo import DEBOUNCE, Recorder, restore

pytestmark = pytest.mark.unit


class Clerk(Agent):
    def __init__(self, **parts: Any) -> None:
        super().__init__(instructions="You are a clerk.", **parts)

    @function_tool
    async def look_up(self) -> str:
        """Look something up."""
        return "42"


def message(number: int, role: Any = "user") -> ChatMessage:
    return ChatMessage(id=f"m{number}", role=role, content=[f"words {number}"], created_at=1000.0 + number)


def spoken(session: AgentSession[Any]) -> None:
    session.history.insert(
        [
            AgentHandoff(id="h0", old_agent_id=None, new_agent_id="clerk", created_at=999.0),
            AgentConfigUpdate(id="c0", instructions="You are a clerk.", created_at=999.5),
            message(1),
            FunctionCall(id="f1", call_id="x", name="look_up", arguments="{}", created_at=1002.0),
            FunctionCallOutput(id="f2", call_id="x", name="look_up", output="42", is_error=False, created_at=1003.0),
            FunctionCall(id="g1", call_id="y", name="of another agent", arguments="{}", created_at=1003.1),
            AgentHandoff(id="h1", old_agent_id="clerk", new_agent_id="boss", created_at=1003.5),
            message(4, "assistant"),
        ]
    )


async def test_a_memo_holds_what_was_said_and_done() -> None:
    session: AgentSession[Any] = AgentSession(vad=None)
    spoken(session)
    memo = Recorder(session, lambda _memo: None).memo()
    assert [item["id"] for item in json.loads(memo.chat)["items"]] == ["m1", "f1", "f2", "g1", "h1", "m4"]
    assert json.loads(memo.chat)["items"][0]["created_at"] == 1001.0


async def test_a_long_conversation_is_told_the_same_each_time_and_what_changed_is_told_anew() -> None:
    session: AgentSession[Any] = AgentSession(vad=None)
    session.history.insert([message(number) for number in range(50)])
    recorder = Recorder(session, lambda _memo: None)
    first = json.loads(recorder.memo().chat)
    session.history.items[-1].content = ["cut off"]
    session.history.insert(message(60))
    second = json.loads(recorder.memo().chat)
    assert second["items"][:49] == first["items"][:49]
    assert second["items"][49]["content"] == ["cut off"]
    assert len(second["items"]) == 51


async def test_many_changes_make_one_memo() -> None:
    told: asyncio.Queue[Memo] = asyncio.Queue()
    session: AgentSession[Any] = AgentSession(vad=None)
    recorder = Recorder(session, told.put_nowait)
    recorder.changed()
    await asyncio.sleep(2 * DEBOUNCE)
    assert told.empty(), "there is nothing to tell yet"
    for number in range(10):
        session.history.insert(message(number))
        recorder.changed()
    assert len(json.loads((await told.get()).chat)["items"]) == 10
    recorder.changed()
    recorder.close()
    await asyncio.sleep(2 * DEBOUNCE)
    assert told.empty()


async def test_what_is_put_back_follows_what_the_program_gave_the_agent() -> None:
    before: AgentSession[Any] = AgentSession(vad=None)
    spoken(before)
    memo = Recorder(before, lambda _memo: None).memo()

    session: AgentSession[Any] = AgentSession(vad=None)
    given = ChatContext([ChatMessage(id="given", role="system", content=["The caller is Ada."])])
    agent = Clerk(chat_ctx=given)
    assert await restore(memo, session, agent) == 6
    assert [item.id for item in session.history.items] == ["m1", "f1", "f2", "g1", "h1", "m4"]
    # The model sees neither the call of a tool that this agent has not, nor that agents handed over.
    assert [item.id for item in agent.chat_ctx.items] == ["given", "m1", "f1", "f2", "m4"]
    assert [item.created_at for item in agent.chat_ctx.items] == sorted(i.created_at for i in agent.chat_ctx.items)

    assert await restore(memo, session, agent) == 6
    assert len(session.history.items) == 6
    assert [item.id for item in agent.chat_ctx.items] == ["given", "m1", "f1", "f2", "m4"]


async def test_an_empty_memo_puts_nothing_back() -> None:
    session: AgentSession[Any] = AgentSession(vad=None)
    assert await restore(Memo(), session, Clerk()) == 0
    assert await restore(Memo(chat=b'{"items":[]}'), session, Clerk()) == 0
    assert not session.history.items
