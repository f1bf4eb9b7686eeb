"""The trace of a session: stored batches of spans, decoded for a waterfall."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from greenroom.sessions._values import attributes

_ERROR: Final = 2


class SpanEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened within a span."""

    at: float
    name: str
    attributes: dict[str, Any] = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the waterfall. Times are seconds since 1970; ``parent`` is empty at the root."""

    id: str
    parent: str = ""
    trace: str = ""
    name: str
    scope: str = ""
    started_at: float
    ended_at: float
    error: bool = False
    message: str = ""
    attributes: dict[str, Any] = {}
    events: tuple[SpanEvent, ...] = ()


def spans_of(batches: Iterable[bytes]) -> tuple[Span, ...]:
    """Decode stored batches; in order of time, each span once. What cannot be read is left out."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - only traces pay for it
        ExportTraceServiceRequest,
    )

    found: dict[str, Span] = {}
    for batch in batches:
        try:
            request = ExportTraceServiceRequest.FromString(gzip.decompress(batch))
        except (DecodeError, OSError, EOFError):
            continue
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for raw in scope.spans:
                    span = _span(raw, scope.scope.name)
                    found[span.id] = span
    return tuple(sorted(found.values(), key=lambda span: (span.started_at, -span.ended_at, span.id)))


def _span(raw: Any, scope: str) -> Span:
    return Span(
        id=raw.span_id.hex(),
        parent=raw.parent_span_id.hex(),
        trace=raw.trace_id.hex(),
        name=raw.name,
        scope=scope,
        started_at=raw.start_time_unix_nano / 1e9,
        ended_at=raw.end_time_unix_nano / 1e9,
        error=raw.status.code == _ERROR,
        message=raw.status.message,
        attributes=attributes(raw.attributes),
        events=tuple(
            SpanEvent(at=event.time_unix_nano / 1e9, name=event.name, attributes=attributes(event.attributes))
            for event in raw.events
        ),
    )
