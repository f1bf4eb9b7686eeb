"""Chat items: what was said, called and handed over, in one shape whatever source told of it.

LiveKit sends the same item as JSON of its SDK (recordings), as JSON of its protocol message (logs) and as that
message itself (observed sessions). All three become a :class:`ChatItem` with the item's own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

TOOL_KINDS: Final = ("function_call", "function_call_output")
_KINDS: Final = ("message", "function_call", "function_call_output", "agent_handoff", "agent_config_update")


# Beyond it calendars end: the year 5138.
_LATEST: Final = 1e11


class TurnMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What LiveKit measured of one message. Delays are seconds, times seconds since 1970; unmeasured is ``None``."""

    started_speaking_at: float | None = None
    stopped_speaking_at: float | None = None
    transcription_delay: float | None = None
    end_of_turn_delay: float | None = None
    on_user_turn_completed_delay: float | None = None
    llm_node_ttft: float | None = None
    llm_node_tps: float | None = None
    tts_node_ttfb: float | None = None
    playback_latency: float | None = None
    e2e_latency: float | None = None


class ChatItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a conversation; only the fields of its ``kind`` are set.

    :param kind: ``message``, ``function_call``, ``function_call_output``, ``agent_handoff`` or ``agent_config_update``.
    :param at: when it was created, seconds since 1970.
    :param role: ``user``, ``assistant``, ``system`` or ``developer``.
    """

    id: str
    kind: str
    at: float | None = None
    role: str | None = None
    text: str | None = None
    interrupted: bool | None = None
    transcript_confidence: float | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None
    is_error: bool | None = None
    old_agent: str | None = None
    new_agent: str | None = None
    instructions: str | None = None
    tools_added: tuple[str, ...] = ()
    tools_removed: tuple[str, ...] = ()
    metrics: TurnMetrics | None = None


CONTENT: Final = ("text", "arguments", "output", "instructions")


def item_of(raw: Mapping[str, Any]) -> ChatItem | None:
    """Read an item, in the SDK's JSON or the protocol's; ``None`` for what is no item or cannot be told apart."""
    kind = raw.get("type")
    body: Any = raw
    if kind is None:
        kind = next((name for name in _KINDS if name in raw), None)
        body = raw.get(kind or "")
    if kind not in _KINDS or not isinstance(body, Mapping):
        return None
    # Events of live sessions tell of tool calls without their items' ids.
    named = _text(body.get("id")) or (_text(body.get("call_id")) if kind in TOOL_KINDS else None)
    if not named:
        return None
    return ChatItem(
        id=named,
        kind=kind,
        at=seconds(body.get("created_at")),
        # Protobuf's JSON leaves out a role that is the first of its enumeration.
        role=(_text(body.get("role")) or "developer").lower() if kind == "message" else None,
        text=_content(body.get("content")) if kind == "message" else None,
        interrupted=bool(body.get("interrupted", False)) if kind == "message" else None,
        transcript_confidence=number(body.get("transcript_confidence")),
        call_id=_text(body.get("call_id")),
        name=_text(body.get("name")),
        arguments=_text(body.get("arguments")),
        output=_text(body.get("output", "")) if kind == "function_call_output" else None,
        is_error=bool(body.get("is_error", False)) if kind == "function_call_output" else None,
        old_agent=_text(body.get("old_agent_id")),
        new_agent=_text(body.get("new_agent_id")),
        instructions=_text(body.get("instructions")),
        tools_added=_names(body.get("tools_added")),
        tools_removed=_names(body.get("tools_removed")),
        metrics=_metrics(body.get("metrics")),
    )


def key_of(item: ChatItem) -> str:
    """Return what an item is known by, whoever tells of it: its id, or that of the tool call it belongs to."""
    return f"{item.kind} {item.call_id}" if item.kind in TOOL_KINDS and item.call_id else item.id


def without_content(item: ChatItem) -> ChatItem:
    """Return the item with what was said, and what tools were told and answered, taken out."""
    return msgspec.structs.replace(item, **dict.fromkeys(CONTENT))


def seconds(value: Any) -> float | None:
    """Read a time: seconds since 1970, or RFC 3339 as protobuf's JSON writes it."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return moment.timestamp() if moment.tzinfo else None
    found = number(value)
    return found if found is not None and 0 <= found < _LATEST else None


def number(value: Any) -> float | None:
    """Return a finite number as a float, anything else as ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def amount(value: Any) -> float | None:
    """Read a count; protobuf's JSON writes 64-bit ones as strings."""
    return number(int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value)


def _metrics(raw: Any) -> TurnMetrics | None:
    if not isinstance(raw, Mapping) or not raw:
        return None
    found: dict[str, float | None] = {
        name: seconds(raw.get(name)) if name.endswith("_at") else number(raw.get(name))
        for name in TurnMetrics.__struct_fields__
    }
    return TurnMetrics(**found) if any(value is not None for value in found.values()) else None


def _content(raw: Any) -> str | None:
    if not isinstance(raw, list):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in raw]
    return "\n".join(part for part in parts if isinstance(part, str))


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(name for name in raw if isinstance(name, str)) if isinstance(raw, list | tuple) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
