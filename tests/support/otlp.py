"""Uploads as LiveKit's SDK makes them, built from the official messages."""

from __future__ import annotations

import gzip
import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from livekit.agents._proto import encode_chat_item
from livekit.agents.llm import ChatContext
from livekit.protocol import metrics as metrics_pb
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from greenroom.config import ApiKey
from greenroom.grants import ObservabilityGrant, mint
from support.serving import KEY

JOB = "AJ_abcdefghijkl"
ROOM = "RM_abcdefghijkl"
START = 1_795_000_000.0
BOUNDARY = "greenroom"


def any_value(value: Any) -> AnyValue:
    """Return a plain value as OTLP writes it."""
    found = AnyValue()
    if isinstance(value, bool):
        found.bool_value = value
    elif isinstance(value, int):
        found.int_value = value
    elif isinstance(value, float):
        found.double_value = value
    elif isinstance(value, str):
        found.string_value = value
    elif isinstance(value, list):
        found.array_value.values.extend(any_value(each) for each in value)
    elif isinstance(value, dict):
        found.kvlist_value.values.extend(pairs(value))
    return found


def pairs(values: dict[str, Any]) -> list[KeyValue]:
    """Return attributes as OTLP writes them."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def about(job: str = JOB, **more: Any) -> dict[str, Any]:
    """Return what the SDK puts on every span and record."""
    return {"job_id": job, "room_id": ROOM, "lk.agent_name": "front-desk", **more}


class Spans:
    """A batch of spans being made."""

    def __init__(self) -> None:
        self.request = ExportTraceServiceRequest()
        resource = self.request.resource_spans.add()
        resource.resource.attributes.extend(pairs({"service.name": "livekit-agents"}))
        self._scope = resource.scope_spans.add()
        self._scope.scope.name = "livekit-agents"

    def add(
        self, name: str, start: float = 0.0, end: float = 1.0, *, job: str = JOB, error: str = "", **extra: Any
    ) -> Spans:
        """Add a span; times are seconds after ``START``."""
        span = self._scope.spans.add(name=name)
        count = len(self._scope.spans)
        span.span_id, span.trace_id = count.to_bytes(8, "big"), bytes(15) + b"\1"
        span.start_time_unix_nano = int((START + start) * 1e9)
        span.end_time_unix_nano = int((START + end) * 1e9)
        span.attributes.extend(pairs({**about(job), **extra.get("attributes", {})}))
        if error:
            span.status.code, span.status.message = 2, error
        return self

    def encode(self) -> bytes:
        """Return the upload."""
        return gzip.compress(self.request.SerializeToString())


class Logs:
    """A batch of log records being made."""

    def __init__(self) -> None:
        self.request = ExportLogsServiceRequest()
        self._resource = self.request.resource_logs.add()
        self._scopes: dict[str, Any] = {}

    def add(
        self, body: str, at: float = 0.0, *, scope: str = "app", severity: int = 9, job: str = JOB, **extra: Any
    ) -> Logs:
        """Add a record; the time is in seconds after ``START``."""
        if scope not in self._scopes:
            self._scopes[scope] = self._resource.scope_logs.add()
            self._scopes[scope].scope.name = scope
            self._scopes[scope].scope.attributes.extend(pairs({"room": "lobby"}))
        record = self._scopes[scope].log_records.add(severity_number=severity)
        record.time_unix_nano = int((START + at) * 1e9)
        record.body.CopyFrom(any_value(body))
        record.attributes.extend(pairs({**about(job), **extra.get("attributes", {})}))
        return self

    def item(self, item: dict[str, Any], **extra: Any) -> Logs:
        """Add a chat item, in the protocol's JSON."""
        attributes = {"chat.item": item, **extra}
        return self.add("chat item", scope="chat_history", attributes=attributes)

    def encode(self) -> bytes:
        """Return the upload."""
        return gzip.compress(self.request.SerializeToString())


def metrics_upload(*, job: str = JOB, tokens: int = 100) -> bytes:
    """Return a batch with one counter of tokens; as the SDK does, only the point names the job."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="lk.agents.usage.llm_input_tokens")
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    metric.sum.is_monotonic = True
    point = metric.sum.data_points.add(as_int=tokens, time_unix_nano=int(START * 1e9))
    point.attributes.extend(pairs({**about(job), "model_provider": "openai", "model_name": "gpt-4.1-mini"}))
    return gzip.compress(request.SerializeToString())


def conversation() -> list[dict[str, Any]]:
    """Return a spoken conversation with a tool call, in the SDK's JSON."""
    return [
        {"id": "h1", "type": "agent_handoff", "new_agent_id": "desk", "created_at": START},
        _said("a1", "assistant", "Hello, how can I help?", 1.0, {"tts_node_ttfb": 0.1, "llm_node_ttft": 0.3}),
        _said(
            "u1",
            "user",
            "is Friday free",
            5.0,
            {"stopped_speaking_at": START + 4.4, "transcription_delay": 0.2, "end_of_turn_delay": 0.6},
        ),
        {
            "id": "c1/fnc_0",
            "type": "function_call",
            "call_id": "call_1",
            "name": "check",
            "arguments": '{"day": "Friday"}',
            "created_at": START + 5.4,
        },
        {
            "id": "o1",
            "type": "function_call_output",
            "call_id": "call_1",
            "name": "check",
            "output": "yes",
            "is_error": False,
            "created_at": START + 5.5,
        },
        _said(
            "a2",
            "assistant",
            "Friday is free.",
            5.6,
            {"llm_node_ttft": 0.4, "tts_node_ttfb": 0.15, "e2e_latency": 1.4},
            interrupted=True,
        ),
    ]


def _said(
    item: str, role: str, text: str, at: float, metrics: dict[str, float], *, interrupted: bool = False
) -> dict[str, Any]:
    return {
        "id": item,
        "type": "message",
        "role": role,
        "content": [text],
        "interrupted": interrupted,
        "metrics": metrics,
        "created_at": START + at,
    }


def as_protocol(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item of :func:`conversation` as the SDK logs it: the protocol's message in JSON."""
    (parsed,) = ChatContext.from_dict({"items": [item]}).items
    return MessageToDict(encode_chat_item(parsed), preserving_proto_field_name=True)


def recording_upload(
    *,
    job: str = JOB,
    items: list[dict[str, Any]] | None = None,
    audio: bytes | None = b"OggS audio",
    redacted: bool = False,
    boundary: str = BOUNDARY,
    **summary: Any,
) -> tuple[bytes, dict[str, str]]:
    """Return the upload at a session's end: body and headers."""
    told = {
        "job_id": job,
        "room": "lobby",
        "agent_name": "front-desk",
        "sdk_version": "1.8.9",
        "timestamp": START + 60,
        "duration_ms": 60_000,
        "usage": [{"type": "llm_usage", "provider": "openai", "model": "gpt-4.1-mini", "input_tokens": 1000}],
        "tags": ["vip"],
        "errors": {"llm": 0, "tts": 1},
        "close_reason": "CR_PARTICIPANT_DISCONNECTED",
        **summary,
    }
    header = metrics_pb.MetricsRecordingHeader(
        room_id=ROOM, job_id=job, duration=60_000, redaction_enabled=redacted, session_summary=json.dumps(told)
    )
    header.start_time.FromMilliseconds(int(START * 1000))
    parts = [
        ("header", "application/protobuf", header.SerializeToString()),
        (
            "chat_history",
            "application/json",
            json.dumps({"items": conversation() if items is None else items}).encode(),
        ),
    ]
    if audio is not None:
        parts.append(("audio", "audio/ogg", audio))
    return form(parts, boundary), {"content-type": f"multipart/form-data; boundary={boundary}"}


def form(parts: list[tuple[str, str, bytes]], boundary: str = BOUNDARY) -> bytes:
    """Return a multipart body."""
    body = b""
    for name, kind, content in parts:
        body += (
            f"--{boundary}\r\nContent-Type: {kind}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode()
        body += content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def authorization(key: ApiKey = KEY, *, write: bool = True) -> dict[str, str]:
    """Return the header of an agent that may upload."""
    return {"authorization": f"Bearer {mint(key, observability=ObservabilityGrant(write=write))}"}
