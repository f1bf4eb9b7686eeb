"""OTLP attributes as plain values."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

_DEPTH: Final = 16


def plain(value: Any, depth: int = 0) -> Any:
    """Return an OTLP ``AnyValue`` as JSON could hold it; ``None`` past 16 levels."""
    kind = value.WhichOneof("value")
    if kind is None or depth > _DEPTH:
        return None
    if kind == "array_value":
        return [plain(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value, depth + 1) for item in value.kvlist_value.values}
    found = getattr(value, kind)
    return base64.b64encode(found).decode() if isinstance(found, bytes) else found


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return OTLP ``KeyValue`` messages as a dict."""
    return {pair.key: plain(pair.value) for pair in pairs}
