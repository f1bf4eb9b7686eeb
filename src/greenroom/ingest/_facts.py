"""What a session's record takes from a batch: the payloads of the events that go into the log beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from greenroom.eventlog import BlobRef
from greenroom.ingest._otlp import Entry, JobBatch
from greenroom.ingest._values import bounded, text, word
from greenroom.sessions import (
    ChatHistory,
    ChatItem,
    EvaluationRecorded,
    LogsStored,
    MetricsStored,
    OutcomeRecorded,
    SeenError,
    SeenJob,
    SeenParticipant,
    SeenTool,
    SessionReport,
    SpansStored,
    TagAdded,
    TurnMetrics,
    Usage,
    item_of,
    number,
    plain,
    seconds,
    without_content,
)

_KIND: Final = "PARTICIPANT_KIND_"
_LATENCY: Final = "lk.job."
_USAGE: Final = "lk.agents.usage."
_ERROR_SEVERITY: Final = 17
_STATUS_ERROR: Final = 2
# What a record shows; the batch holds them all.
_MAX_ERRORS: Final = 50
_MAX_TEXT: Final = 2000
_MAX_REASON: Final = 20_000
_MAX_MODELS: Final = 100
_MAX_TOLD: Final = 1000
_MAX_HEARD: Final = 384 * 1024
_MAX_HISTORY: Final = 256 * 1024
_MAX_ITEM: Final = 768 * 1024
_SCOPES: Final = frozenset({"chat_history", "evaluations"})


class Told(NamedTuple):
    """A payload, when it happened, and what tells it from the others of the upload."""

    data: msgspec.Struct
    at: float | None
    name: str


def spans_of(batch: JobBatch, blob: BlobRef) -> list[Told]:
    """Return what a batch of spans tells."""
    participants: dict[str, SeenParticipant] = {}
    errors: list[SeenError] = []
    tools: list[SeenTool] = []
    heard: list[ChatItem] = []
    room_name = ""
    size = 0
    job: SeenJob | None = None
    for entry in batch.entries:
        span, found = entry.item, entry.attributes()
        start, end = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
        who = _participant(found, redacted=batch.redacted)
        if who is not None and len(participants) < _MAX_TOLD:
            participants[who.sid] = _richer(participants.get(who.sid), who)
        if span.status.code == _STATUS_ERROR and len(errors) < _MAX_ERRORS:
            errors.append(_span_error(span, found, end, redacted=batch.redacted))
        if span.name == "function_tool" and text(found, "lk.function_tool.id"):
            tools.append(_tool(found, start, end))
        room_name = room_name or word(found, "lk.pii.room_name")
        said = _heard(span.name, found, start, end, redacted=batch.redacted)
        size += sum(len(msgspec.json.encode(item)) for item in said)
        # The rest is in the batch, and comes with the conversation itself.
        if size <= _MAX_HEARD:
            heard += said
        if span.name == "job_entrypoint":
            job = _job(found, start, end)
    first, last = _times(entry.item.start_time_unix_nano for entry in batch.entries)
    ends = max((entry.item.end_time_unix_nano for entry in batch.entries), default=0)
    stored = SpansStored(
        blob=blob,
        count=len(batch.entries),
        first_at=first,
        last_at=ends / 1e9 if ends else last,
        room_id=batch.room_id,
        agent_name=batch.agent_name,
        redacted=batch.redacted,
        room_name="" if batch.redacted else room_name,
        participants=tuple(participants[sid] for sid in sorted(participants)),
        errors=tuple(errors),
        tools=tuple(tools),
        job=job,
        heard=tuple(heard),
    )
    return [Told(stored, stored.last_at, "spans")]


def logs_of(batch: JobBatch, blob: BlobRef) -> list[Told]:
    """Return what a batch of log records tells: the batch, the report, the conversation, verdicts and tags."""
    errors: list[SeenError] = []
    items: list[ChatItem] = []
    told: list[Told] = []
    for number_of, entry in enumerate(batch.entries):
        record = entry.item
        at = (record.time_unix_nano or record.observed_time_unix_nano) / 1e9
        if entry.scope in _SCOPES:
            found = entry.attributes()
            item = _chat_item(found, redacted=batch.redacted)
            if item is not None:
                items.append(item)
            elif len(told) < _MAX_TOLD:
                told += _scoped(batch, entry, found, at, f"{number_of}")
        elif record.severity_number >= _ERROR_SEVERITY and len(errors) < _MAX_ERRORS:
            found = entry.attributes()
            message = plain(record.body)
            said = message[:_MAX_TEXT] if isinstance(message, str) else ""
            errors.append(SeenError(at=at, where=entry.scope, message=said, type=text(found, "exception.type")))
    times = (entry.item.time_unix_nano or entry.item.observed_time_unix_nano for entry in batch.entries)
    first, last = _times(times)
    stored = LogsStored(
        blob=blob,
        count=len(batch.entries),
        first_at=first,
        last_at=last,
        room_id=batch.room_id,
        agent_name=batch.agent_name,
        redacted=batch.redacted,
        errors=tuple(errors),
    )
    return [Told(stored, last, "logs"), *told, *history_of(items)]


def metrics_of(batch: JobBatch, blob: BlobRef) -> list[Told]:
    """Return what a batch of metrics tells."""
    used: dict[tuple[str, str, str], dict[str, float]] = {}
    for entry in batch.entries:
        name = entry.metric.name
        if not name.startswith(_USAGE) or entry.metric.WhichOneof("data") != "sum":
            continue
        kind, _, counter = name.removeprefix(_USAGE).partition("_")
        found = entry.attributes()
        key = (kind, text(found, "model_provider"), text(found, "model_name"))
        point = entry.item
        amount = point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)
        amounts = used.setdefault(key, {})
        counter = _COUNTERS.get(counter, counter)
        amounts[counter] = amounts.get(counter, 0.0) + amount
    first, last = _times(entry.item.time_unix_nano for entry in batch.entries)
    usage = tuple(
        Usage(kind=kind, provider=provider, model=model, amounts=amounts)
        for (kind, provider, model), amounts in sorted(used.items())
    )
    stored = MetricsStored(
        blob=blob,
        count=len(batch.entries),
        first_at=first,
        last_at=last,
        room_id=batch.room_id,
        agent_name=batch.agent_name,
        redacted=batch.redacted,
        usage=usage,
    )
    return [Told(stored, last, "metrics")]


# Where LiveKit's metrics and its report name the same counter differently.
_COUNTERS: Final = {"characters": "characters_count", "num_requests": "total_requests"}


def history_of(items: list[ChatItem]) -> list[Told]:
    """Return the conversation as events that each fit into the log."""
    told: list[Told] = []
    part: list[ChatItem] = []
    size = 0
    for item in items:
        length = len(msgspec.json.encode(item))
        if part and size + length > _MAX_HISTORY:
            told.append(_history(part, len(told)))
            part, size = [], 0
        # An item past what an event can hold keeps its place, without its words.
        part.append(item if length <= _MAX_ITEM else without_content(item))
        size += length
    return [*told, _history(part, len(told))] if part else told


def tags_of(raw: Any) -> tuple[str, ...]:
    """Read the names of tags."""
    return tuple(tag[:256] for tag in raw[:_MAX_TOLD] if isinstance(tag, str)) if isinstance(raw, list) else ()


def usage_of(raw: Any) -> tuple[Usage, ...] | None:
    """Read a report's usage; ``None`` when it has none."""
    if not isinstance(raw, list):
        return None
    found = []
    for entry in raw[:_MAX_MODELS]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            continue
        counted = {str(key)[:64]: number(value) for key, value in list(entry.items())[:_MAX_MODELS]}
        amounts = {key: value for key, value in counted.items() if value is not None}
        kind = entry["type"].removesuffix("_usage")
        found.append(Usage(kind=kind, provider=word(entry, "provider"), model=word(entry, "model"), amounts=amounts))
    return tuple(found)


def _history(items: list[ChatItem], part: int) -> Told:
    return Told(ChatHistory(items=tuple(items)), items[-1].at, f"history:{part}")


def _chat_item(found: Mapping[str, Any], *, redacted: bool) -> ChatItem | None:
    raw = found.get("chat.item")
    item = item_of(raw) if isinstance(raw, Mapping) else None
    return without_content(item) if item is not None and redacted else item


def _scoped(batch: JobBatch, entry: Entry, found: Mapping[str, Any], at: float, name: str) -> list[Told]:
    match plain(entry.item.body):
        case "session report":
            return [Told(_report(batch, entry, found, at), at, f"report:{name}")]
        case "evaluation" if isinstance(raw := found.get("evaluation"), Mapping):
            reasoning = "" if batch.redacted else word(raw, "reasoning", _MAX_REASON)
            verdict = EvaluationRecorded(
                name=word(raw, "name"), verdict=word(raw, "verdict"), reasoning=reasoning, tag=word(raw, "tag")
            )
            return [Told(verdict, at, f"evaluation:{name}")]
        case "tag" if isinstance(raw := found.get("tag"), Mapping) and word(raw, "name"):
            kept = {} if batch.redacted else bounded(raw.get("metadata"))
            return [Told(TagAdded(name=word(raw, "name"), metadata=kept), at, f"tag:{name}")]
        case "outcome" if isinstance(raw := found.get("outcome"), Mapping):
            reason = "" if batch.redacted else word(raw, "reason")
            return [Told(OutcomeRecorded(outcome=word(raw, "outcome"), reason=reason), at, f"outcome:{name}")]
    return []


def _report(batch: JobBatch, entry: Entry, found: Mapping[str, Any], at: float) -> SessionReport:
    return SessionReport(
        room_id=batch.room_id,
        room_name="" if batch.redacted else text(entry.shared, "room"),
        agent_name=word(found, "agent_name"),
        sdk_version=word(found, "sdk_version"),
        started_at=at or None,
        reported_at=seconds(found.get("session.report_timestamp")),
        options={} if batch.redacted else bounded(found.get("session.options")),
        usage=usage_of(found.get("usage")),
        tags=tags_of(found.get("session.tags")),
        redacted=batch.redacted,
    )


def _participant(found: Mapping[str, Any], *, redacted: bool) -> SeenParticipant | None:
    sid = found.get("lk.participant_id")
    if not isinstance(sid, str) or not sid:
        return None
    kind = word(found, "lk.participant_kind").removeprefix(_KIND).lower()
    if redacted:
        return SeenParticipant(sid=sid, kind=kind)
    identity = word(found, "lk.pii.participant_identity")
    return SeenParticipant(sid=sid, identity=identity, kind=kind, phone=word(found, "lk.pii.sip.phoneNumber"))


def _richer(before: SeenParticipant | None, now: SeenParticipant) -> SeenParticipant:
    if before is None:
        return now
    return SeenParticipant(
        sid=now.sid,
        identity=now.identity or before.identity,
        kind=now.kind or before.kind,
        phone=now.phone or before.phone,
    )


def _span_error(span: Any, found: Mapping[str, Any], at: float, *, redacted: bool) -> SeenError:
    message = "" if redacted else span.status.message[:_MAX_TEXT]
    return SeenError(at=at, where=span.name, message=message, type=word(found, "error.type"))


def _tool(found: Mapping[str, Any], start: float, end: float) -> SeenTool:
    return SeenTool(
        call_id=word(found, "lk.function_tool.id"),
        name=word(found, "lk.function_tool.name"),
        started_at=start,
        duration=max(0.0, end - start),
        is_error=found.get("lk.function_tool.is_error") is True,
    )


def _heard(name: str, found: Mapping[str, Any], start: float, end: float, *, redacted: bool) -> list[ChatItem]:
    """Return what a span tells of the conversation: who said what in a turn, or a tool call and its result."""
    if name == "function_tool" and (call := word(found, "lk.function_tool.id")):
        keys = ("lk.pii.function_tool.arguments", "lk.pii.function_tool.output")
        arguments, output = (None if redacted else word(found, key)[:_MAX_TEXT] for key in keys)
        failed = found.get("lk.function_tool.is_error") is True
        tool = word(found, "lk.function_tool.name")
        return [
            ChatItem(id=f"{call}/call", kind="function_call", at=start, call_id=call, name=tool, arguments=arguments),
            ChatItem(
                id=f"{call}/output", kind="function_call_output", at=end, call_id=call, output=output, is_error=failed
            ),
        ]
    speech = word(found, "lk.speech_id")
    if name != "agent_turn" or not speech:
        return []
    said: list[ChatItem] = []
    asked, answered = word(found, "lk.pii.user_input")[:_MAX_TEXT], word(found, "lk.pii.response.text")[:_MAX_TEXT]
    if asked and not redacted:
        delays = TurnMetrics(
            transcription_delay=number(found.get("lk.transcription_delay")),
            end_of_turn_delay=number(found.get("lk.end_of_turn_delay")),
        )
        said.append(ChatItem(id=f"{speech}/user", kind="message", role="user", at=start, text=asked, metrics=delays))
    if answered and not redacted:
        said.append(
            ChatItem(
                id=f"{speech}/agent",
                kind="message",
                role="assistant",
                at=end,
                text=answered,
                interrupted=found.get("lk.interrupted") is True,
                metrics=TurnMetrics(e2e_latency=number(found.get("lk.e2e_latency"))),
            )
        )
    return said


def _job(found: Mapping[str, Any], start: float, end: float) -> SeenJob:
    latencies = {
        key.removeprefix(_LATENCY).removesuffix("_latency"): value
        for key, raw in found.items()
        if key.startswith(_LATENCY) and key.endswith("_latency") and (value := number(raw)) is not None
    }
    return SeenJob(
        started_at=start,
        ended_at=end,
        dispatch_id=word(found, "lk.dispatch_id"),
        worker_id=word(found, "lk.job.worker_id"),
        latencies=latencies,
    )


def _times(nanoseconds: Iterable[int]) -> tuple[float | None, float | None]:
    found = [value for value in nanoseconds if value]
    return (min(found) / 1e9, max(found) / 1e9) if found else (None, None)
