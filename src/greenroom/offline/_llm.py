"""The offline LLM as ``livekit-agents`` sees it: an ``LLM`` and its ``LLMStream``."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr, llm, utils
from pydantic import BaseModel, ValidationError

from greenroom.offline._decide import CallTools, Plan, Request, Say, Script, ToolUse, decide
from greenroom.offline._dialogue import Called, Heard, Instructed, Item, Returned, Spoken
from greenroom.offline._latency import Latency
from greenroom.offline._rules import Rule, RuleError
from greenroom.offline._smalltalk import FALLBACK, GREETING
from greenroom.offline._templates import structured
from greenroom.offline._tools import Check, ToolSpec, check_schema

logger = logging.getLogger("greenroom.offline")

MODEL: Final = "offline-patterns"
PROVIDER: Final = "greenroom"
# livekit-agents keeps an agent's standing instructions under ids with this prefix, those for one reply do not.
_AGENT_INSTRUCTIONS: Final = "lk.agent_task."


class LLM(llm.LLM[Any]):
    """A stand-in for a language model that matches patterns and needs no network, key or model file.

    It understands nothing: it compares what was said with ``rules``, in order, and answers from templates or
    calls the agent's function tools. Asked what it is, it says so. It keeps no state: the chat context decides,
    so one instance can serve many sessions, and the same conversation gives the same words and waits again.

    :param rules: what it can do, first match wins.
    :param instructions: rules tried on ``session.generate_reply(instructions=…)`` before the forms it knows.
    :param greeting: said when a reply is asked for before anyone spoke, and when instructions say to greet.
    :param fallback: said when nothing matches; one is chosen by the seed.
    :param small_talk: whether it answers hello, thanks, goodbye, help and the like by itself.
    :param seed: chooses among replies and varies the latency.
    :param latency: waiting times; a number scales the default ones, 0 waits for nothing.
    :param parallel_tool_calls: whether one step may call several tools, when the session does not say.

    Usage counts words, not tokens of any model: ``prompt_tokens`` those of the conversation, ``completion_tokens``
    those of the reply or of the arguments.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        instructions: Sequence[Rule] = (),
        greeting: str = GREETING,
        fallback: str | Sequence[str] = FALLBACK,
        small_talk: bool = True,
        seed: int = 0,
        latency: Latency | float = 1.0,
        parallel_tool_calls: bool = True,
    ) -> None:
        super().__init__()
        wrong = next((rule for rule in (*rules, *instructions) if not isinstance(rule, Rule)), None)
        if wrong is not None:
            raise RuleError(
                f"The offline LLM was given a {type(wrong).__name__} as a rule",
                fix="Pass greenroom.offline.Rule",
            )
        self._script = Script(
            rules=tuple(rules),
            instructions=tuple(instructions),
            greeting=greeting,
            fallback=(fallback,) if isinstance(fallback, str) else tuple(fallback) or FALLBACK,
            small_talk=small_talk,
            seed=seed,
        )
        self._latency = latency if isinstance(latency, Latency) else Latency().scaled(latency)
        self._parallel_tool_calls = parallel_tool_calls
        logger.info(
            "the offline LLM is a stand-in that matches patterns, not a language model",
            extra={"rules": len(self._script.rules), "seed": seed},
        )

    @property
    def model(self) -> str:
        """``offline-patterns``."""
        return MODEL

    @property
    def provider(self) -> str:
        """``greenroom``."""
        return PROVIDER

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,  # noqa: ARG002
    ) -> LLMStream:
        """Answer the conversation as a stream of words or tool calls.

        ``tool_choice`` is honoured as far as patterns reach: ``"none"`` calls nothing, ``"required"`` and a named
        tool prefer rules that call it, but a missing slot is still asked for. ``extra_kwargs`` mean nothing here.
        The stream raises :class:`RuleError` for a rule that does not fit the tools.
        """
        use: ToolUse = "auto"
        only = ""
        if utils.is_given(tool_choice):
            if isinstance(tool_choice, str):
                use = tool_choice
            elif tool_choice:
                only = tool_choice["function"]["name"]
        parallel = parallel_tool_calls if utils.is_given(parallel_tool_calls) else self._parallel_tool_calls
        request = Request(list(_items(chat_ctx)), use=use, only=only, parallel=parallel)
        return LLMStream(
            self, request, self._script, self._latency, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options
        )


class LLMStream(llm.LLMStream):
    """The words or tool calls of one reply, in ``ChatChunk`` objects, and their usage in the last."""

    def __init__(
        self,
        model: LLM,
        request: Request,
        script: Script,
        latency: Latency,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(model, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)
        self._request = request
        self._script = script
        self._latency = latency

    async def _run(self) -> None:
        request = replace(self._request, tools=describe_tools(self._tools))
        plan = decide(self._script, request)
        if isinstance(plan, Say) and not plan.understood:
            logger.info("the offline LLM has no rule for this", extra={"items": len(request.items)})
        elif request.only and request.use != "none" and not _calls(plan, request.only):
            logger.warning("the offline LLM could not call the tool that was asked for", extra={"tool": request.only})
        chunk_id = utils.shortuuid("offline_")
        deltas = _deltas(plan)
        rng = random.Random(repr((self._script.seed, len(request.items), [d.content for d in deltas])))  # noqa: S311
        for delta, wait in zip(deltas, self._latency.waits(rng), strict=False):
            # Without a wait this still lets the listener take a word, or hang up, before the next one.
            await asyncio.sleep(wait)
            self._event_ch.send_nowait(llm.ChatChunk(id=chunk_id, delta=delta))
        self._event_ch.send_nowait(llm.ChatChunk(id=chunk_id, usage=_usage(request.items, plan)))


def describe_tools(tools: Sequence[llm.Tool]) -> dict[str, ToolSpec]:
    """Read names and parameters of an agent's function tools; provider tools are passed over."""
    specs: dict[str, ToolSpec] = {}
    for name, tool in llm.ToolContext(tools).function_tools.items():
        if isinstance(tool, llm.FunctionTool):
            model = llm.utils.function_arguments_to_pydantic_model(tool)
            specs[name] = _spec(name, model.model_json_schema(), _checker(model))
        else:
            specs[name] = _spec(name, tool.info.raw_schema.get("parameters") or {}, None)
    return specs


def _spec(name: str, schema: Mapping[str, Any], check: Check | None) -> ToolSpec:
    definitions = schema.get("$defs", {})
    parameters = {parameter: _plain(entry, definitions) for parameter, entry in schema.get("properties", {}).items()}
    return ToolSpec(name, parameters, frozenset(schema.get("required", ())), check or partial(check_schema, parameters))


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and look through "this or null"."""
    schema = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    variants = [variant for variant in schema.get("anyOf", ()) if variant.get("type") != "null"]
    return _plain(variants[0], definitions) if len(variants) == 1 else schema


def _checker(model: type[BaseModel]) -> Check:
    def check(arguments: Mapping[str, object]) -> tuple[str, str] | None:
        try:
            model.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return str(first["loc"][0]) if first["loc"] else "", first["msg"]
        return None

    return check


def _items(chat_ctx: llm.ChatContext) -> Iterator[Item]:
    for item in chat_ctx.items:
        if item.type == "message":
            text = item.text_content or ""
            if item.role == "user":
                yield Heard(text)
            elif item.role == "assistant":
                yield Spoken(text)
            elif not item.id.startswith(_AGENT_INSTRUCTIONS):
                yield Instructed(text)
        elif item.type == "function_call":
            arguments = structured(item.arguments or "{}")
            yield Called(item.call_id, item.name, arguments if isinstance(arguments, dict) else {})
        elif item.type == "function_call_output":
            yield Returned(item.call_id, item.output, item.is_error)


def _deltas(plan: Plan) -> list[llm.ChoiceDelta]:
    """Cut a plan into deltas: one per word with the space after it, or one with all tool calls."""
    if isinstance(plan, Say):
        return [llm.ChoiceDelta(role="assistant", content=word) for word in re.findall(r"\s*\S+\s*", plan.text)]
    calls = [
        llm.FunctionToolCall(name=name, arguments=json.dumps(arguments), call_id=utils.shortuuid("call_"))
        for name, arguments in plan.calls
    ]
    return [llm.ChoiceDelta(role="assistant", tool_calls=calls)]


def _calls(plan: Plan, tool: str) -> bool:
    return isinstance(plan, CallTools) and any(name == tool for name, _ in plan.calls)


def _usage(items: Sequence[Item], plan: Plan) -> llm.CompletionUsage:
    prompt = sum(_words(item) for item in items)
    completion = (
        len(plan.text.split()) if isinstance(plan, Say) else sum(1 + _count(arguments) for _, arguments in plan.calls)
    )
    return llm.CompletionUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _words(item: Item) -> int:
    if isinstance(item, Called):
        return 1 + _count(item.arguments)
    return len((item.output if isinstance(item, Returned) else item.text).split())


def _count(arguments: Mapping[str, object]) -> int:
    return sum(len(f"{name} {value}".split()) for name, value in arguments.items())
