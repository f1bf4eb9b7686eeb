"""OTLP attributes as plain values, and which of them carry what people said."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

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
_DEPTH: Final = 16


def plain(value: AnyValue, depth: int = 0) -> Any:
    """Return an attribute's value as JSON could hold it; ``None`` past 16 levels."""
    kind = value.WhichOneof("value")
    if kind is None or depth > _DEPTH:
        return None
    if kind == "array_value":
        return [plain(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value, depth + 1) for item in value.kvlist_value.values}
    found = getattr(value, kind)
    return base64.b64encode(found).decode() if isinstance(found, bytes) else found


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as a dict."""
    return {pair.key: plain(pair.value) for pair in pairs}


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
