"""The timeline: items of a conversation, grouped into turns with their latency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from greenroom.sessions._events import SeenTool
from greenroom.sessions._items import ChatItem


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the answer; what is unknown is ``null``."""


class Said(_Part, frozen=True):
    """Something one side said."""

    id: str
    at: float | None = None
    text: str | None = None
    interrupted: bool = False
    started_speaking_at: float | None = None
    stopped_speaking_at: float | None = None


class ToolCall(_Part, frozen=True):
    """A tool call and what came of it. ``arguments`` is JSON as the model wrote it; ``duration`` in seconds."""

    call_id: str
    name: str = ""
    at: float | None = None
    arguments: str | None = None
    result: str | None = None
    is_error: bool | None = None
    duration: float | None = None


class Handoff(_Part, frozen=True):
    """One agent of the program gave the call to another."""

    at: float | None = None
    old_agent: str | None = None
    new_agent: str | None = None


class Latency(_Part, frozen=True):
    """Delays in one turn, in seconds; what was not measured is ``None``.

    :param stt: from the end of speech to the final transcript.
    :param end_of_turn: from the end of speech to the decision that the user is done.
    :param llm_first_token: from the request to the model's first token.
    :param tts_first_byte: from the text to the first audio.
    :param e2e: from the end of the user's turn to the beginning of the answer.
    :param e2e_derived: ``e2e`` is from the times of a text turn; LiveKit measures it in speech only.
    """

    stt: float | None = None
    end_of_turn: float | None = None
    user_turn_hook: float | None = None
    llm_first_token: float | None = None
    tts_first_byte: float | None = None
    e2e: float | None = None
    e2e_derived: bool = False


class Turn(_Part, frozen=True):
    """What the user said, up to what the user said next. The greeting is a turn without a user."""

    index: int
    at: float | None = None
    user: Said | None = None
    agent: tuple[Said, ...] = ()
    tools: tuple[ToolCall, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    latency: Latency = Latency()


def timeline(items: Iterable[ChatItem], tools: Mapping[str, SeenTool]) -> tuple[Turn, ...]:
    """Group items into turns, in order of time."""
    groups: list[list[ChatItem]] = []
    for item in sorted(items, key=_order):
        if item.kind == "agent_config_update" or item.role in {"system", "developer"}:
            continue
        if not groups or (item.kind == "message" and item.role == "user"):
            groups.append([])
        groups[-1].append(item)
    return tuple(_turn(index, group, tools) for index, group in enumerate(groups))


def _order(item: ChatItem) -> tuple[bool, float, str]:
    return item.at is None, item.at or 0.0, item.id


def _turn(index: int, group: list[ChatItem], seen: Mapping[str, SeenTool]) -> Turn:
    user = next((item for item in group if item.kind == "message" and item.role == "user"), None)
    replies = [item for item in group if item.kind == "message" and item.role == "assistant"]
    return Turn(
        index=index,
        at=group[0].at,
        user=None if user is None else _said(user),
        agent=tuple(_said(item) for item in replies),
        tools=_tools(group, seen),
        handoffs=tuple(
            Handoff(at=item.at, old_agent=item.old_agent, new_agent=item.new_agent)
            for item in group
            if item.kind == "agent_handoff"
        ),
        latency=_latency(user, replies[0] if replies else None),
    )


def _said(item: ChatItem) -> Said:
    metrics = item.metrics
    return Said(
        id=item.id,
        at=item.at,
        text=item.text,
        interrupted=bool(item.interrupted),
        started_speaking_at=metrics.started_speaking_at if metrics else None,
        stopped_speaking_at=metrics.stopped_speaking_at if metrics else None,
    )


def _tools(group: list[ChatItem], seen: Mapping[str, SeenTool]) -> tuple[ToolCall, ...]:
    outputs = {item.call_id: item for item in group if item.kind == "function_call_output"}
    calls = []
    for item in group:
        if item.kind != "function_call" or item.call_id is None:
            continue
        output, timed = outputs.get(item.call_id), seen.get(item.call_id)
        calls.append(
            ToolCall(
                call_id=item.call_id,
                name=item.name or "",
                at=item.at,
                arguments=item.arguments,
                result=output.output if output else None,
                is_error=output.is_error if output else timed.is_error if timed else None,
                duration=timed.duration if timed else None,
            )
        )
    return tuple(calls)


def _latency(user: ChatItem | None, reply: ChatItem | None) -> Latency:
    asked = user.metrics if user else None
    given = reply.metrics if reply else None
    e2e = given.e2e_latency if given else None
    derived = None
    if e2e is None and user and user.at and given and given.started_speaking_at and not _spoken(user):
        derived = max(0.0, round(given.started_speaking_at - user.at, 6))
    return Latency(
        stt=asked.transcription_delay if asked else None,
        end_of_turn=asked.end_of_turn_delay if asked else None,
        user_turn_hook=asked.on_user_turn_completed_delay if asked else None,
        llm_first_token=given.llm_node_ttft if given else None,
        tts_first_byte=given.tts_node_ttfb if given else None,
        e2e=derived if e2e is None else e2e,
        e2e_derived=derived is not None,
    )


def _spoken(item: ChatItem) -> bool:
    return item.metrics is not None and item.metrics.stopped_speaking_at is not None
