"""Attributes of telemetry: which of them carry what people said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

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


def text(found: Mapping[str, Any], key: str) -> str:
    """Return an attribute that is a short string, or an empty one."""
    return word(found, key)


def word(raw: Mapping[str, Any], key: str, limit: int = 2000) -> str:
    """Return a string, its beginning when it is long, or an empty one."""
    value = raw.get(key)
    return value[:limit] if isinstance(value, str) else ""


def bounded(raw: Any, limit: int = 128 * 1024) -> dict[str, Any]:
    """Return a free-form object as JSON can hold it; an empty one for anything else, and past ``limit`` bytes."""
    if not isinstance(raw, dict):
        return {}
    try:
        encoded = msgspec.json.encode(raw)
    except (OverflowError, RecursionError, TypeError, ValueError, UnicodeError):
        return {}
    found: Any = msgspec.json.decode(encoded) if len(encoded) <= limit else {}
    return found if isinstance(found, dict) else {}


def has_content(key: str) -> bool:
    """Tell whether an attribute of this name is withheld when a session is redacted."""
    return "pii" in key.split(".") or key in _CONTENT or key.startswith(_CONTENT_PREFIX)


def is_content_event(name: str) -> bool:
    """Tell whether a span's event of this name is withheld when a session is redacted."""
    return name in _CONTENT_EVENTS
