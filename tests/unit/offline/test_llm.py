"""The stream contract of a livekit-agents LLM."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from livekit.agents import Plugin, function_tool, llm
from livekit.agents.metrics import LLMMetrics

from greenroom import __version__, offline
from greenroom.offline import Latency, Rule

pytestmark = pytest.mark.unit


@function_tool
async def paint(colour: Literal["Red", "Blue"], coats: int = 1) -> str:
    """Paint the room."""
    return f"{coats} of {colour}"


ORDER = function_tool(
    lambda raw_arguments: None,  # type: ignore[arg-type,return-value]
    raw_schema={
        "name": "order",
        "parameters": {"type": "object", "properties": {"pieces": {"type": "integer"}}, "required": ["pieces"]},
    },
)
RULES = (
    Rule("tell me", "One two three, four five."),
    Rule("paint it", tool="paint"),
    Rule("order {pieces}", tool="order"),
)


def context(*said: str) -> llm.ChatContext:
    ctx = llm.ChatContext.empty()
    for text in said:
        ctx.add_message(role="user", content=text)
    return ctx


@pytest.fixture
async def model() -> AsyncIterator[offline.LLM]:
    async with offline.LLM(RULES, latency=0) as model:
        assert isinstance(model, offline.LLM)
        yield model


async def read(stream: llm.LLMStream) -> list[llm.ChatChunk]:
    async with stream:
        return [chunk async for chunk in stream]


async def test_words_are_streamed_one_by_one_and_usage_comes_last(model: offline.LLM) -> None:
    chunks = await read(model.chat(chat_ctx=context("tell me")))
    *words, last = chunks
    assert [chunk.delta.content for chunk in words if chunk.delta] == ["One ", "two ", "three, ", "four ", "five."]
    assert {chunk.delta.role for chunk in words if chunk.delta} == {"assistant"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert last.delta is None
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (2, 5, 7)


async def test_a_reply_can_be_collected_like_any_models(model: offline.LLM) -> None:
    response = await model.chat(chat_ctx=context("tell me")).collect()
    assert response.text == "One two three, four five."
    assert "".join([text async for text in model.chat(chat_ctx=context("tell me")).to_str_iterable()]) == response.text


async def test_tool_calls_come_whole_with_an_id_of_their_own(model: offline.LLM) -> None:
    ids = set()
    for _ in range(2):
        chunks = await read(model.chat(chat_ctx=context("paint it", "blue"), tools=[paint]))
        (call,) = [call for chunk in chunks if chunk.delta for call in chunk.delta.tool_calls]
        assert (call.type, call.name, json.loads(call.arguments)) == ("function", "paint", {"colour": "Blue"})
        ids.add(call.call_id)
    assert len(ids) == 2


async def test_the_result_in_the_context_is_answered(model: offline.LLM) -> None:
    ctx = context("paint it", "Red")
    call = (await model.chat(chat_ctx=ctx, tools=[paint]).collect()).tool_calls[0]
    result = await llm.execute_function_call(call, llm.ToolContext([paint]))
    ctx.insert([result.fnc_call, result.fnc_call_out])
    assert (await model.chat(chat_ctx=ctx, tools=[paint]).collect()).text == "1 of Red"


async def test_a_literal_parameter_is_asked_for_with_its_choices(model: offline.LLM) -> None:
    response = await model.chat(chat_ctx=context("paint it"), tools=[paint]).collect()
    assert response.text == "Which colour: Red or Blue?"
    assert response.tool_calls == []


async def test_a_raw_tool_is_checked_against_its_schema(model: offline.LLM) -> None:
    asked = await model.chat(chat_ctx=context("order many"), tools=[ORDER]).collect()
    assert asked.text == "How many pieces?"
    called = await model.chat(chat_ctx=context("order many", "twelve"), tools=[ORDER]).collect()
    assert json.loads(called.tool_calls[0].arguments) == {"pieces": 12}


@pytest.mark.parametrize("choice", ["none", {"type": "function", "function": {"name": "missing"}}])
async def test_a_tool_choice_that_allows_nothing_calls_nothing(model: offline.LLM, choice: Any) -> None:
    response = await model.chat(chat_ctx=context("tell me"), tools=[paint], tool_choice=choice).collect()
    assert response.text == "One two three, four five."


async def test_an_unknown_tool_is_an_error_that_names_the_rule(model: offline.LLM) -> None:
    errors: list[llm.LLMError] = []
    model.on("error", errors.append)
    with pytest.raises(offline.RuleError, match="Rule 'paint it' calls the tool 'paint'"):
        await model.chat(chat_ctx=context("paint it"), tools=[]).collect()
    assert [(type(error.error), error.recoverable) for error in errors] == [(offline.RuleError, False)]


async def test_a_stream_that_is_closed_stops_at_once() -> None:
    slow = offline.LLM(RULES, latency=Latency(first_token=0, per_token=3600))
    before = asyncio.all_tasks()
    stream = slow.chat(chat_ctx=context("tell me"))
    first = await anext(stream)
    assert first.delta is not None
    assert first.delta.content == "One "
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert asyncio.all_tasks() == before


async def test_without_latency_the_listener_can_still_stop_between_two_words(model: offline.LLM) -> None:
    metrics: list[LLMMetrics] = []
    model.on("metrics_collected", metrics.append)
    stream = model.chat(chat_ctx=context("tell me"))
    await anext(stream)
    await stream.aclose()
    assert [(entry.cancelled, entry.completion_tokens) for entry in metrics] == [(True, 0)]


async def test_metrics_name_the_model_and_count_words(model: offline.LLM) -> None:
    metrics: list[LLMMetrics] = []
    model.on("metrics_collected", metrics.append)
    await read(model.chat(chat_ctx=context("tell me")))
    (entry,) = metrics
    assert entry.metadata is not None
    assert (entry.metadata.model_name, entry.metadata.model_provider) == ("offline-patterns", "greenroom")
    assert (entry.prompt_tokens, entry.completion_tokens, entry.cancelled) == (2, 5, False)
    assert entry.ttft >= 0


async def test_usage_counts_the_words_of_the_whole_conversation(model: offline.LLM) -> None:
    ctx = context("paint it", "blue")
    ctx.add_message(role="system", content="be brief")
    ctx.items.append(llm.FunctionCall(call_id="1", name="paint", arguments='{"colour": "Blue"}'))
    ctx.items.append(llm.FunctionCallOutput(call_id="1", name="paint", output="all done", is_error=False))
    response = await model.chat(chat_ctx=ctx, tools=[paint]).collect()
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (2 + 1 + 2 + 3 + 2, 2)


async def test_many_conversations_can_share_one_model(model: offline.LLM) -> None:
    async def ask(colour: str) -> str:
        response = await model.chat(chat_ctx=context("paint it", colour), tools=[paint]).collect()
        return str(json.loads(response.tool_calls[0].arguments)["colour"])

    assert await asyncio.gather(*(ask(colour) for colour in ("red", "blue") * 10)) == ["Red", "Blue"] * 10


async def test_the_same_seed_waits_the_same_and_another_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("greenroom.offline._llm.asyncio.sleep", sleep)
    runs = []
    for seed in (1, 1, 2):
        waited.clear()
        await offline.LLM(RULES, seed=seed).chat(chat_ctx=context("tell me")).collect()
        runs.append(list(waited))
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 5
    assert runs[0][0] > max(runs[0][1:])


async def test_it_says_in_the_log_that_it_is_a_stand_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "greenroom.offline"):
        offline.LLM(RULES, seed=3)
    (record,) = caplog.records
    assert record.message == "the offline LLM is a stand-in that matches patterns, not a language model"
    assert (record.__dict__["rules"], record.__dict__["seed"]) == (3, 3)


async def test_no_word_of_the_caller_reaches_the_log(model: offline.LLM, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "greenroom.offline"):
        await read(model.chat(chat_ctx=context("my secret is 4711")))
    assert [record.message for record in caplog.records] == ["the offline LLM has no rule for this"]
    assert "4711" not in "".join(str(record.__dict__) for record in caplog.records)


def test_it_is_registered_as_a_livekit_plugin() -> None:
    (plugin,) = [plugin for plugin in Plugin.registered_plugins if plugin.package == "greenroom.offline"]
    assert (plugin.title, plugin.version) == ("greenroom.offline", __version__)
    assert plugin.logger is logging.getLogger("greenroom.offline")


def test_something_else_than_a_rule_is_refused() -> None:
    with pytest.raises(offline.RuleError, match="was given a str as a rule"):
        offline.LLM(["hello"])  # type: ignore[list-item]
