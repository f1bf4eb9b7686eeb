"""The offline LLM in a real AgentSession, in text, without a room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, RunResult, ToolError, function_tool, llm, mock_tools

from greenroom import offline
from greenroom.offline import Call, Latency, Rule, Slot

pytestmark = pytest.mark.unit


class Waiter(Agent):
    """An agent with tools, whose conversation the rules drive."""

    def __init__(self) -> None:
        super().__init__(instructions="You are a waiter.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions='Greet the guest: "Good evening!"')

    @function_tool
    async def find_table(self, people: int, time: str) -> dict[str, object]:
        """Find a free table."""
        if people > 8:
            raise ToolError("we only seat eight")
        return {"table": people + 10, "time": time}

    @function_tool
    async def book_table(self, table: int, name: str) -> str:
        """Book a table."""
        return f"table {table} for {name}"


RULES = [
    Rule(
        "book a table [for {people:int}] [at {time}]",
        "Done: {book_table}, at {find_table.time}.",
        tool=["find_table", Call("book_table", {"table": "{find_table.table}"})],
        slots={"people": Slot(ask="For how many?"), "name": Slot(ask="Under which name?")},
        on_error="Sorry, {error}.",
    ),
    Rule("call the chef", tool="call_chef"),
    Rule("tell me a story", "Once upon a time there was a very long story without an end."),
]


@asynccontextmanager
async def session(
    model: llm.LLM[Any] | None = None, agent: Agent | None = None
) -> AsyncIterator[tuple[AgentSession[None], RunResult[Any]]]:
    model = model or offline.LLM(RULES, latency=0)
    async with AgentSession[None](llm=model, vad=None, turn_handling={"turn_detection": None}) as session:
        greeting = await session.start(agent or Waiter(), capture_run=True)
        yield session, greeting


def heard(result: RunResult[Any]) -> list[str]:
    return [event.item.text_content or "" for event in result.events if event.type == "message"]


async def test_it_greets_as_instructed() -> None:
    async with session() as (_, greeting):
        greeting.expect.contains_message(role="assistant")
        assert heard(greeting) == ["Good evening!"]


async def test_it_calls_tools_in_sequence_and_answers_from_their_results() -> None:
    async with session() as (talk, _):
        asked = await talk.run(user_input="I'd like to book a table for four at 7pm")
        assert heard(asked) == ["Under which name?"]
        done = await talk.run(user_input="My name is Ada Lovelace")
        done.expect.next_event().is_function_call(name="find_table", arguments={"people": 4, "time": "19:00"})
        done.expect.next_event().is_function_call_output(is_error=False)
        done.expect.next_event().is_function_call(name="book_table", arguments={"table": 14, "name": "Ada Lovelace"})
        done.expect.next_event().is_function_call_output(output="table 14 for Ada Lovelace")
        done.expect.next_event().is_message(role="assistant")
        done.expect.no_more_events()
        assert heard(done) == ["Done: table 14 for Ada Lovelace, at 19:00."]


async def test_a_tool_that_fails_is_reported() -> None:
    async with session() as (talk, _):
        await talk.run(user_input="book a table for twelve at 7pm")
        failed = await talk.run(user_input="Ada")
        failed.expect.contains_function_call_output(is_error=True)
        assert heard(failed) == ["Sorry, we only seat eight."]


async def test_tools_can_be_mocked_as_livekits_own_test_helpers_do() -> None:
    async with session() as (talk, _):
        await talk.run(user_input="book a table for two at 7pm")
        with mock_tools(Waiter, {"find_table": lambda: {"table": 1, "time": "late"}}):
            done = await talk.run(user_input="Ada")
        assert heard(done) == ["Done: table 1 for Ada, at late."]


async def test_an_unknown_tool_fails_the_run_with_the_rules_name() -> None:
    async with session() as (talk, _):
        with pytest.raises(offline.RuleError, match="Rule 'call the chef' calls the tool 'call_chef'"):
            await talk.run(user_input="call the chef")
        assert heard(await talk.run(user_input="hello")) != []


async def test_words_reach_the_transcript_one_by_one() -> None:
    class Listener(Waiter):
        def __init__(self) -> None:
            super().__init__()
            self.chunks: list[str] = []

        async def llm_node(
            self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: Any
        ) -> AsyncIterator[llm.ChatChunk]:
            async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
                if isinstance(chunk, llm.ChatChunk) and chunk.delta and chunk.delta.content:
                    self.chunks.append(chunk.delta.content)
                yield chunk  # type: ignore[misc]

    agent = Listener()
    async with session(agent=agent) as (talk, _):
        agent.chunks.clear()
        await talk.run(user_input="tell me a story")
    assert agent.chunks == [word + " " for word in RULES[-1].replies[0].split()[:-1]] + ["end."]


async def test_an_interruption_ends_the_reply_and_the_conversation_goes_on() -> None:
    model = offline.LLM(RULES, latency=Latency(first_token=0, per_token=3600))
    async with session(model, Agent(instructions="You tell stories.")) as (talk, _):
        before = asyncio.all_tasks()
        thinking = asyncio.Event()
        talk.on("agent_state_changed", lambda event: thinking.set() if event.new_state == "thinking" else None)
        speech = talk.generate_reply(user_input="tell me a story")
        await thinking.wait()
        await talk.interrupt()
        await speech.wait_for_playout()
        assert speech.interrupted
        assert [task for task in asyncio.all_tasks() - before if task.get_name().startswith("LLM")] == []
        assert talk.history.messages()[-1].role == "user"


async def test_usage_reaches_the_session() -> None:
    async with session() as (talk, _):
        await talk.run(user_input="tell me a story")
        usage = [entry for entry in talk.usage.model_usage if entry.provider == "greenroom"]
        assert [(entry.model, entry.type) for entry in usage] == [("offline-patterns", "llm_usage")]


async def test_an_agent_that_takes_over_reads_the_conversation_so_far() -> None:
    class Host(Agent):
        @function_tool
        async def hand_over(self) -> tuple[Agent, str]:
            """Hand over to the waiter."""
            return Quiet(chat_ctx=self.chat_ctx), "One moment."

    class Quiet(Waiter):
        def __init__(self, chat_ctx: llm.ChatContext) -> None:
            super().__init__()
            self._chat_ctx = chat_ctx.copy(exclude_instructions=True)

        async def on_enter(self) -> None:
            """Wait for the guest."""

    rules: Sequence[Rule] = [
        Rule("I am {name}", "Welcome {name}."),
        Rule("the waiter please", tool="hand_over"),
        Rule("what is my name", "You are {name}.", slots={"name": Slot(recall=True)}),
    ]
    async with session(offline.LLM(rules, latency=0), Host(instructions="You are the host.")) as (talk, _):
        await talk.run(user_input="I am Ada")
        handed = await talk.run(user_input="the waiter please")
        handed.expect.contains_agent_handoff(new_agent_type=Quiet)
        assert heard(await talk.run(user_input="what is my name?")) == ["You are Ada."]
