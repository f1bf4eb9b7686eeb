"""The projection: an event of the log and what was known, to what is known then. Pure; time comes with the events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from greenroom.eventlog import Raw, Record, StreamErased
from greenroom.sessions._events import (
    ChatHistory,
    EvaluationRecorded,
    LogsStored,
    MetricsStored,
    OutcomeRecorded,
    RecordingStored,
    SeenError,
    SessionReport,
    SpansStored,
    TagAdded,
    Usage,
)
from greenroom.sessions._items import CONTENT, ChatItem, amount, item_of, key_of, without_content
from greenroom.sessions._join import greatest, join, join_structs, joined, least
from greenroom.sessions._state import Batch, Control, SessionState

SESSION: Final = "session:"
MAX_ERRORS: Final = 200
_CONTROL: Final = "control."


def step(state: SessionState | None, record: Record) -> SessionState | None:
    """Return what is known of a session after an event of its stream; ``None`` of one that is erased or unheard of."""
    if isinstance(record.data, StreamErased):
        return None
    if record.data is None:
        return state
    known = state or SessionState(id=record.stream.removeprefix(SESSION), born=record.position)
    found = _told(known, record)
    return _redacted(found) if found.redacted else found


def _told(known: SessionState, record: Record) -> SessionState:
    data = record.data
    match data:
        case SpansStored() | LogsStored() | MetricsStored():
            return _batch(known, data)
        case ChatHistory():
            return items_added(known, data.items)
        case SessionReport():
            return _report(known, data)
        case RecordingStored():
            return msgspec.structs.replace(known, recordings=joined(known.recordings, {data.blob.hash: data}))
        case EvaluationRecorded():
            named = {f"{data.name}\0{data.tag}": data}
            return msgspec.structs.replace(known, evaluations=joined(known.evaluations, named))
        case TagAdded():
            return msgspec.structs.replace(known, tags=joined(known.tags, {data.name: data.metadata}))
        case OutcomeRecorded():
            return msgspec.structs.replace(known, outcome=join(known.outcome, data))
    return _observed(known, record)


def _batch(known: SessionState, data: SpansStored | LogsStored | MetricsStored) -> SessionState:
    signal = "spans" if isinstance(data, SpansStored) else "logs" if isinstance(data, LogsStored) else "metrics"
    batch = Batch(signal=signal, size=data.blob.size, count=data.count, first_at=data.first_at, last_at=data.last_at)
    known = msgspec.structs.replace(
        known,
        room_id=join(known.room_id, data.room_id),
        agent_name=join(known.agent_name, data.agent_name),
        redacted=known.redacted or data.redacted,
        batches=joined(known.batches, {data.blob.hash: batch}),
    )
    match data:
        case MetricsStored():
            if data.usage:
                metered = joined(known.usage_metered, {data.blob.hash: data.usage})
                return msgspec.structs.replace(known, usage_metered=metered)
            return known
        case LogsStored():
            return errors_added(_between(known, data.first_at, data.last_at), data.errors)
    return _spans(_between(known, data.first_at, data.last_at), data)


def _spans(known: SessionState, data: SpansStored) -> SessionState:
    known = msgspec.structs.replace(
        errors_added(known, data.errors),
        room_name=join(known.room_name, data.room_name),
        participants=joined(known.participants, {each.sid: each for each in data.participants}),
        tools=joined(known.tools, {each.call_id: each for each in data.tools}),
        job=join(known.job, data.job),
        heard=joined(known.heard, {each.id: each for each in data.heard}),
    )
    if data.job is None:
        return known
    return msgspec.structs.replace(
        known,
        worker_id=join(known.worker_id, data.job.worker_id),
        ended_at=greatest(known.ended_at, data.job.ended_at),
    )


def _report(known: SessionState, data: SessionReport) -> SessionState:
    return msgspec.structs.replace(
        known,
        room_id=join(known.room_id, data.room_id),
        room_name=join(known.room_name, data.room_name),
        agent_name=join(known.agent_name, data.agent_name),
        sdk_version=join(known.sdk_version, data.sdk_version),
        started_at=least(known.started_at, data.started_at),
        reported_at=greatest(known.reported_at, data.reported_at),
        duration=greatest(known.duration, data.duration),
        options=join(known.options, data.options),
        usage_reported=join(known.usage_reported, data.usage),
        tags=joined(known.tags, {tag: {} for tag in data.tags}),
        user_turns=join(known.user_turns, data.user_turns),
        error_counts=joined(known.error_counts, data.errors),
        close_reason=join(known.close_reason, data.close_reason),
        simulated=known.simulated or data.simulated,
        redacted=known.redacted or data.redacted,
    )


def items_added(known: SessionState, items: Iterable[ChatItem]) -> SessionState:
    """Return the state with more accounts of chat items."""
    found = dict(known.items)
    first, last = known.first_at, known.last_at
    for item in items:
        key = key_of(item)
        before = found.get(key)
        if before is None:
            found[key] = item
        else:
            # Who tells of an item without its time gives the time of telling, which is later.
            found[key] = msgspec.structs.replace(join_structs(before, item), at=least(before.at, item.at))
        first, last = least(first, item.at), greatest(last, item.at)
    return msgspec.structs.replace(known, items=found, first_at=first, last_at=last)


def errors_added(known: SessionState, errors: Iterable[SeenError]) -> SessionState:
    """Return the state with more errors; the earliest 200 are kept."""
    found = joined(known.errors, {f"{each.at:.6f} {each.where} {each.message}": each for each in errors})
    if len(found) == len(known.errors):
        return known
    kept = sorted(found.items(), key=lambda entry: (entry[1].at, entry[0]))[:MAX_ERRORS]
    return msgspec.structs.replace(known, errors=dict(kept))


def _between(known: SessionState, first: float | None, last: float | None) -> SessionState:
    return msgspec.structs.replace(known, first_at=least(known.first_at, first), last_at=greatest(known.last_at, last))


def _redacted(state: SessionState) -> SessionState:
    """Take out what was said, whichever source told it and in whichever order."""
    told = [*state.items.values(), *state.heard.values()]
    if not any(getattr(item, name) is not None for item in told for name in CONTENT):
        return state
    items = {key: without_content(item) for key, item in state.items.items()}
    heard = {key: without_content(item) for key, item in state.heard.items()}
    return msgspec.structs.replace(state, items=items, heard=heard)


def _observed(known: SessionState, record: Record) -> SessionState:
    if record.type.startswith(_CONTROL):
        verb = record.type.removeprefix(_CONTROL)
        by = fields_of(record).get("by")
        control = Control(at=record.at, verb=verb, by=by if isinstance(by, str) else "")
        return msgspec.structs.replace(known, controls=joined(known.controls, {f"{record.seq}": control}))
    handler = _HANDLERS.get(record.type)
    return handler(known, record.at, fields_of(record)) if handler is not None else known


def fields_of(record: Record) -> dict[str, Any]:
    """Return an event's payload as plain values, whoever declared its shape."""
    data = record.data
    found = data.json() if isinstance(data, Raw) else msgspec.to_builtins(data)
    return found if isinstance(found, dict) else {}


def _item_added(known: SessionState, _at: float, fields: Mapping[str, Any]) -> SessionState:
    raw = fields.get("message")
    item = item_of(raw) if isinstance(raw, Mapping) else None
    return msgspec.structs.replace(known if item is None else items_added(known, [item]), observed=True)


def _tools_executed(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    # Told as one event; in the conversation they are items of their own.
    message = fields.get("message")
    found: list[Any] = []
    for listed, kind in (("function_calls", "function_call"), ("function_call_outputs", "function_call_output")):
        raw = message.get(listed) if isinstance(message, Mapping) else None
        found += [{kind: each} for each in raw] if isinstance(raw, list) else []
    return _tools_told(known, at, found)


def _tool_updated(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    message = fields.get("message")
    if not isinstance(message, Mapping):
        return known
    started, ended = message.get("started"), message.get("ended")
    found: list[Any] = []
    if isinstance(started, Mapping):
        found.append({"function_call": started.get("function_call")})
    if isinstance(ended, Mapping):
        output = {"call_id": ended.get("call_id"), "output": ended.get("message", "")}
        found.append({"function_call_output": {**output, "is_error": ended.get("status") == "TC_ERROR"}})
    return _tools_told(known, at, found)


def _tools_told(known: SessionState, at: float, raw: list[Any]) -> SessionState:
    items = [item for each in raw if (item := item_of(each)) is not None]
    timed = [msgspec.structs.replace(item, at=at) if item.at is None else item for item in items]
    return msgspec.structs.replace(items_added(known, timed), observed=True)


def _error_observed(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    text = fields.get("text")
    return errors_added(known, [SeenError(at=at, where="session", message=text if isinstance(text, str) else "")])


def _usage_observed(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    usage = _usage(fields.get("message"))
    before = known.usage_observed_at
    if before is not None and at < before:
        return known
    if at == before:
        usage = join(known.usage_observed, usage)
    return msgspec.structs.replace(known, usage_observed=usage, usage_observed_at=at)


def _usage(raw: Any) -> tuple[Usage, ...]:
    """Read LiveKit's ``AgentSessionUsage`` as protobuf's JSON, where 64-bit numbers are strings."""
    listed = raw.get("model_usage", raw.get("modelUsage")) if isinstance(raw, Mapping) else None
    found = []
    for entry in listed if isinstance(listed, list) else ():
        for kind, body in entry.items() if isinstance(entry, Mapping) else ():
            if isinstance(body, Mapping):
                counted = {key: amount(value) for key, value in body.items() if key not in {"provider", "model"}}
                amounts = {key: value for key, value in counted.items() if value is not None}
                provider, model = str(body.get("provider", "")), str(body.get("model", ""))
                found.append(Usage(kind=kind, provider=provider, model=model, amounts=amounts))
    return tuple(found)


def _agent_state(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    named = fields.get("state")
    before = known.agent_state_at
    if not isinstance(named, str) or (before is not None and at < before):
        return msgspec.structs.replace(known, observed=True)
    word = named
    if at == before:
        word = join(known.agent_state, word)
    return msgspec.structs.replace(known, agent_state=word, agent_state_at=at, observed=True)


def _false_interruption(known: SessionState, at: float, _fields: Mapping[str, Any]) -> SessionState:
    times = tuple(sorted({*known.false_interruptions, at}))
    return msgspec.structs.replace(known, false_interruptions=times)


def _attached(known: SessionState, _at: float, fields: Mapping[str, Any]) -> SessionState:
    return msgspec.structs.replace(
        known,
        observed=True,
        agent_identity=join(known.agent_identity, _word(fields, "agent_identity")),
        sdk_version=join(known.sdk_version, _word(fields, "framework_version")),
    )


def _job_told(known: SessionState, _at: float, fields: Mapping[str, Any]) -> SessionState:
    job = fields.get("job")
    if not isinstance(job, Mapping):
        return known
    return msgspec.structs.replace(
        known,
        room_id=join(known.room_id, _word(job, "room_sid")),
        room_name=join(known.room_name, _word(job, "room")),
        agent_name=join(known.agent_name, _word(job, "agent_name")),
        agent_identity=join(known.agent_identity, _word(job, "agent_identity")),
        worker_id=join(known.worker_id, _word(job, "worker_id")),
    )


def _job_assigned(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    return _between(_job_told(known, at, fields), at, at)


def _job_ended(known: SessionState, at: float, fields: Mapping[str, Any]) -> SessionState:
    return msgspec.structs.replace(_job_told(known, at, fields), ended_at=greatest(known.ended_at, at))


def _word(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


_HANDLERS: Final[dict[str, Callable[[SessionState, float, Mapping[str, Any]], SessionState]]] = {
    "session.observed": _attached,
    "agent.state": _agent_state,
    "item.added": _item_added,
    "tools.executed": _tools_executed,
    "tool.updated": _tool_updated,
    "session.error": _error_observed,
    "usage.updated": _usage_observed,
    "false_interruption": _false_interruption,
    "job.assigned": _job_assigned,
    "job.ended": _job_ended,
}
