"""The projection: an event of the log and what was known, to what is known then. Pure; time comes with the events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from greenroom.eventlog import Raw, Record, StreamErased
from greenroom.fleet._state import (
    CallPart,
    Done,
    FleetState,
    GoneWorker,
    Guest,
    RoomPart,
    Stated,
    Used,
    WorkersPart,
)
from greenroom.link import (
    AgentStatus,
    DispatchEnded,
    DispatchPending,
    JobAssigned,
    JobEnded,
    RoomEvent,
    WorkerEvent,
    WorkerGone,
)

_Part = TypeVar("_Part", CallPart, RoomPart)

WORKERS: Final = "system:workers"
KEPT_DONE: Final = 20
KEPT_GUESTS: Final = 8
KEPT_GONE: Final = 100

#: The types of events that the projection looks at; all others change nothing.
TYPES: Final = (
    *("worker.seen", "worker.changed", "worker.gone", "dispatch.pending", "dispatch.ended"),
    *("job.assigned", "job.ended", "agent.state", "user.state", "agent.status", "session.observed"),
    *("item.added", "tools.executed", "tool.updated", "usage.updated", "session.error", "session.report"),
    *("telemetry.spans", "control.listen", "control.type", "control.mute", "control.end"),
    *("room.started", "room.finished", "participant.joined", "stream.erased"),
)


def step(state: FleetState, record: Record) -> FleetState:
    """Return the projection after an event of the log."""
    found = msgspec.structs.replace(state, calls=dict(state.calls), rooms=dict(state.rooms))
    return take(found, record)


def take(state: FleetState, record: Record) -> FleetState:
    """Do as :func:`step` does, in the dicts of ``state`` itself: for who has the only reference to it."""
    kind, _, name = record.stream.partition(":")
    if record.stream == WORKERS:
        workers = state.workers if record.data is None else _workers(state.workers, record)
        return state if workers is state.workers else msgspec.structs.replace(state, workers=workers)
    if kind == "session":
        _put(state.calls, name, _part(_call, state.calls.get(name), record))
    elif kind == "room":
        _put(state.rooms, name, _part(_room, state.rooms.get(name), record))
    return state


def _part(after: Callable[[_Part | None, Record], _Part | None], known: _Part | None, record: Record) -> _Part | None:
    if isinstance(record.data, StreamErased):
        return None
    return known if record.data is None else after(known, record)


def _put(parts: dict[str, _Part], name: str, part: _Part | None) -> None:
    if part is None:
        parts.pop(name, None)
    else:
        parts[name] = part


# Workers


def _workers(known: WorkersPart, record: Record) -> WorkersPart:
    match record.data:
        case WorkerGone(worker=worker):
            workers = {key: value for key, value in known.workers.items() if key != worker.id}
            gone = (
                *(each for each in known.gone if each.worker.id != worker.id),
                GoneWorker(worker=worker, at=record.at),
            )
            return msgspec.structs.replace(known, workers=workers, gone=gone[-KEPT_GONE:])
        case WorkerEvent(worker=worker):
            gone = tuple(each for each in known.gone if each.worker.id != worker.id)
            return msgspec.structs.replace(known, workers={**known.workers, worker.id: worker}, gone=gone)
        case DispatchPending(job=job):
            return msgspec.structs.replace(known, waiting={**known.waiting, job.id: job})
        case DispatchEnded(job=job) | JobAssigned(job=job) | JobEnded(job=job):
            if job.id in known.waiting:
                waiting = {key: value for key, value in known.waiting.items() if key != job.id}
                return msgspec.structs.replace(known, waiting=waiting)
    # What is erased of this stream is old, and of that nothing is here that matters.
    return known


# Rooms


def _room(part: RoomPart | None, record: Record) -> RoomPart | None:
    if not isinstance(record.data, RoomEvent):
        return part
    known = part or RoomPart(sid=record.stream.partition(":")[2])
    message = record.data.message
    room = message.get("room")
    if not known.name and isinstance(room, Mapping):
        known = msgspec.structs.replace(known, name=_word(room, "name"))
    if record.type == "room.finished":
        return msgspec.structs.replace(known, finished_at=record.at)
    who = message.get("participant")
    if record.type == "participant.joined" and isinstance(who, Mapping) and len(known.guests) < KEPT_GUESTS:
        guest = _guest(who, record.at)
        if guest is not None and all(each.sid != guest.sid for each in known.guests):
            return msgspec.structs.replace(known, guests=(*known.guests, guest))
    return known


def _guest(who: Mapping[str, Any], at: float) -> Guest | None:
    kind = _word(who, "kind").lower() or "standard"
    permission = who.get("permission")
    hidden = isinstance(permission, Mapping) and bool(permission.get("hidden"))
    if kind not in {"standard", "sip"} or hidden or not _word(who, "sid"):
        return None
    return Guest(
        sid=_word(who, "sid"), identity=_word(who, "identity"), name=_word(who, "name"), kind=kind, joined_at=at
    )


# Calls


def _call(part: CallPart | None, record: Record) -> CallPart | None:
    handler = _HANDLERS.get(record.type)
    if handler is None:
        return part
    known = part or CallPart(id=record.stream.partition(":")[2])
    return handler(known, record, _fields(record))


def _job_assigned(known: CallPart, record: Record, _fields: Mapping[str, Any]) -> CallPart:
    if not isinstance(record.data, JobAssigned):
        return known
    started = record.at if known.started_at is None else known.started_at
    return msgspec.structs.replace(known, job=record.data.job, started_at=started)


def _job_ended(known: CallPart, record: Record, _fields: Mapping[str, Any]) -> CallPart:
    if not isinstance(record.data, JobEnded):
        return known
    job = record.data.job
    return msgspec.structs.replace(
        known, job=job, ended_at=record.at, ended_status=job.status or ("failed" if job.error else ""), calling={}
    )


def _observed(known: CallPart, _record: Record, fields: Mapping[str, Any]) -> CallPart:
    return msgspec.structs.replace(known, observed_identity=_word(fields, "agent_identity") or known.observed_identity)


def _agent_state(known: CallPart, record: Record, fields: Mapping[str, Any]) -> CallPart:
    state = _word(fields, "state")
    if not state or state == known.state:
        return known
    return msgspec.structs.replace(known, state=state, state_at=record.at)


def _user_state(known: CallPart, _record: Record, fields: Mapping[str, Any]) -> CallPart:
    return msgspec.structs.replace(known, user_state=_word(fields, "state") or None)


def _status(known: CallPart, record: Record, _fields: Mapping[str, Any]) -> CallPart:
    data = record.data
    if not isinstance(data, AgentStatus):
        return known
    told = {name: value for name in Stated.__struct_fields__ if (value := getattr(data, name)) is not None}
    return msgspec.structs.replace(known, stated=msgspec.structs.replace(known.stated, **told))


def _item(known: CallPart, record: Record, fields: Mapping[str, Any]) -> CallPart:
    message = fields.get("message")
    if not isinstance(message, Mapping):
        return known
    said, handoff = message.get("message"), message.get("agent_handoff")
    if isinstance(said, Mapping) and _word(said, "role").lower() == "assistant" and _word(said, "id"):
        return _did(known, [Done(key=_word(said, "id"), at=record.at, kind="message")])
    if isinstance(handoff, Mapping) and _word(handoff, "old_agent_id") and _word(handoff, "id"):
        name = _word(handoff, "new_agent_id")
        return _did(known, [Done(key=_word(handoff, "id"), at=record.at, kind="handoff", name=name)])
    return known


def _tools_executed(known: CallPart, record: Record, fields: Mapping[str, Any]) -> CallPart:
    message = fields.get("message")
    if not isinstance(message, Mapping):
        return known
    failed = {_word(each, "call_id"): bool(each.get("is_error")) for each in _each(message, "function_call_outputs")}
    calls = [each for each in _each(message, "function_calls") if _word(each, "call_id")]
    done = [
        _tool(_word(each, "call_id"), _word(each, "name"), record.at, failed.get(_word(each, "call_id"), False))
        for each in calls
    ]
    return _did(known, done)


def _tool_updated(known: CallPart, record: Record, fields: Mapping[str, Any]) -> CallPart:
    message = fields.get("message")
    if not isinstance(message, Mapping):
        return known
    started, ended = message.get("started"), message.get("ended")
    if isinstance(started, Mapping) and isinstance(started.get("function_call"), Mapping):
        call = started["function_call"]
        call_id = _word(call, "call_id")
        if call_id and known.ended_at is None and all(each.key != call_id for each in known.done):
            return msgspec.structs.replace(known, calling={**known.calling, call_id: _word(call, "name")})
    if isinstance(ended, Mapping) and _word(ended, "call_id") in known.calling:
        call_id = _word(ended, "call_id")
        failed = _word(ended, "status") != "TC_DONE"
        return _did(known, [_tool(call_id, known.calling[call_id], record.at, failed)])
    return known


def _redacted(known: CallPart, fields: Mapping[str, Any]) -> CallPart:
    if known.redacted or fields.get("redacted") is not True:
        return known
    return msgspec.structs.replace(known, redacted=True)


def _spans(known: CallPart, _record: Record, fields: Mapping[str, Any]) -> CallPart:
    known = _redacted(known, fields)
    done = []
    for each in _each(fields, "tools"):
        at, duration = each.get("started_at"), each.get("duration")
        if _word(each, "call_id") and isinstance(at, int | float) and isinstance(duration, int | float):
            done.append(_tool(_word(each, "call_id"), _word(each, "name"), at + duration, bool(each.get("is_error"))))
    return _did(known, done)


def _tool(call_id: str, name: str, at: float, failed: bool) -> Done:
    return Done(key=call_id, at=at, kind="tool", name=name, outcome="failure" if failed else "success")


def _error(known: CallPart, record: Record, _fields: Mapping[str, Any]) -> CallPart:
    return _did(known, [Done(key=f"{record.seq}", at=record.at, kind="error", outcome="failure")])


def _control(known: CallPart, record: Record, fields: Mapping[str, Any]) -> CallPart:
    verb = record.type.partition(".")[2]
    if verb == "mute" and fields.get("muted") is False:
        verb = "unmute"
    return _did(known, [Done(key=f"{record.seq}", at=record.at, kind="control", name=verb, by=_word(fields, "by"))])


def _did(known: CallPart, done: Iterable[Done]) -> CallPart:
    keys = {each.key for each in known.done}
    new = [each for each in done if each.key not in keys]
    if not new:
        return known
    calling = {key: name for key, name in known.calling.items() if all(each.key != key for each in new)}
    return msgspec.structs.replace(known, done=(*known.done, *new)[-KEPT_DONE:], calling=calling)


def _usage_updated(known: CallPart, _record: Record, fields: Mapping[str, Any]) -> CallPart:
    message = fields.get("message")
    if known.used_by_report or not isinstance(message, Mapping):
        return known
    used = []
    for entry in _each(message, "model_usage"):
        used += [_used(kind, body, body) for kind, body in entry.items() if isinstance(body, Mapping)]
    return msgspec.structs.replace(known, used=tuple(used))


def _report(known: CallPart, _record: Record, fields: Mapping[str, Any]) -> CallPart:
    known = _redacted(known, fields)
    if fields.get("usage") is None:
        return known
    used = [_used(_word(each, "kind"), each, each.get("amounts")) for each in _each(fields, "usage")]
    return msgspec.structs.replace(known, used=tuple(used), used_by_report=True)


def _used(kind: str, named: Mapping[str, Any], counted: Any) -> Used:
    # Protobuf's JSON writes numbers of 64 bits as strings.
    amounts = {
        key: float(value)
        for key, value in (counted.items() if isinstance(counted, Mapping) else ())
        if (isinstance(value, int | float) and not isinstance(value, bool))
        or (isinstance(value, str) and value.isascii() and value.isdigit() and key not in {"provider", "model"})
    }
    return Used(kind=kind, provider=_word(named, "provider"), model=_word(named, "model"), amounts=amounts)


def _fields(record: Record) -> Mapping[str, Any]:
    """Return a payload as plain values: other packages declare some of the shapes."""
    data = record.data
    found = data.json() if isinstance(data, Raw) else msgspec.to_builtins(data)
    return found if isinstance(found, dict) else {}


def _each(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = fields.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []


def _word(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    return found if isinstance(found, str) else ""


_HANDLERS: Final[dict[str, Callable[[CallPart, Record, Mapping[str, Any]], CallPart]]] = {
    "job.assigned": _job_assigned,
    "job.ended": _job_ended,
    "session.observed": _observed,
    "agent.state": _agent_state,
    "user.state": _user_state,
    "agent.status": _status,
    "item.added": _item,
    "tools.executed": _tools_executed,
    "tool.updated": _tool_updated,
    "telemetry.spans": _spans,
    "usage.updated": _usage_updated,
    "session.report": _report,
    "session.error": _error,
    "control.listen": _control,
    "control.type": _control,
    "control.mute": _control,
    "control.end": _control,
}
