"""Whose span is this: the tenant, agent and session on everything that OpenTelemetry is told, whoever set it up."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk import trace as trace_sdk

from greenroom.pool.context import SCOPE
from greenroom.pool.shard._scope import scope_fields

_MARK: Final = "_greenroom_scoped"


class ScopeSpanProcessor(trace_sdk.SpanProcessor):
    """Puts the scope on each span as it starts.

    Code that runs in no session, but under a span of one, belongs to that session.
    """

    def on_start(self, span: trace_sdk.Span, parent_context: otel_context.Context | None = None) -> None:
        """Stamp a span."""
        fields = scope_fields(SCOPE.get())
        if not fields:
            parent = trace.get_current_span(parent_context)
            known = (parent.attributes or {}) if isinstance(parent, trace_sdk.ReadableSpan) else {}
            fields = {key: str(value) for key, value in known.items() if key.startswith("greenroom.")}
        if fields:
            span.set_attributes(fields)


def install_spans() -> None:
    """Stamp the spans of every provider there is and will be, LiveKit's and the user's own. Again does no harm."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace_sdk.TracerProvider):
        _stamp(provider)
    made = trace_sdk.TracerProvider.__init__
    if hasattr(made, _MARK):
        return

    def __init__(self: trace_sdk.TracerProvider, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        made(self, *args, **kwargs)
        _stamp(self)

    setattr(__init__, _MARK, True)
    setattr(trace_sdk.TracerProvider, "__init__", __init__)  # noqa: B010 - mypy takes no assignment to a method


def _stamp(provider: trace_sdk.TracerProvider) -> None:
    if not hasattr(provider, _MARK):
        setattr(provider, _MARK, True)
        provider.add_span_processor(ScopeSpanProcessor())
