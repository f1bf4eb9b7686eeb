"""Attributes of telemetry: which of them carry what people said."""

from __future__ import annotations

from typing import Any, Final

# As LiveKit's SDK names them: attributes of OpenTelemetry's GenAI conventions that hold content but cannot be marked.
_CONTENT: Final = frozenset(
    {
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.tool.description",
        "gen_ai.tool.definitions",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "gen_ai.memory.query.text",
        "gen_ai.memory.records",
        "gen_ai.evaluation.explanation",
        "exception.message",
        "exception.stacktrace",
    }
)
_CONTENT_PREFIX: Final = "gen_ai.prompt.variable"
_CONTENT_EVENTS: Final = frozenset(
    {
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
        "gen_ai.choice",
        "gen_ai.client.inference.operation.details",
    }
)


def text(found: dict[str, Any], key: str) -> str:
    """Return an attribute that is a string, or an empty one."""
    value = found.get(key)
    return value if isinstance(value, str) else ""


def has_content(key: str) -> bool:
    """Tell whether an attribute of this name is withheld when a session is redacted."""
    return "pii" in key.split(".") or key in _CONTENT or key.startswith(_CONTENT_PREFIX)


def is_content_event(name: str) -> bool:
    """Tell whether a span's event of this name is withheld when a session is redacted."""
    return name in _CONTENT_EVENTS
