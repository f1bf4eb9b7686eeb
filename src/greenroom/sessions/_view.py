"""The record of a session as it is answered: what is known of it and of its room, put together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from greenroom.sessions._events import EvaluationRecorded, SeenError, Usage
from greenroom.sessions._join import greatest
from greenroom.sessions._prices import Cost, PriceTable, cost_of
from greenroom.sessions._state import Control, RoomState, SessionState
from greenroom.sessions._turns import Turn, timeline

_STAGES: Final = ("stt", "end_of_turn", "llm_first_token", "tts_first_byte", "e2e")


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the answer; what is unknown is ``null``."""


class RoomRef(_Part, frozen=True):
    """The room of a session."""

    sid: str = ""
    name: str = ""


class AgentRef(_Part, frozen=True):
    """The agent of a session. ``labels`` are the classes of the program that held the call, first to last."""

    name: str = ""
    identity: str = ""
    labels: tuple[str, ...] = ()
    sdk_version: str = ""
    worker_id: str = ""
    state: str = ""


class Participant(_Part, frozen=True):
    """Somebody in the call, agents included."""

    sid: str
    identity: str = ""
    name: str = ""
    kind: str = ""
    phone: str = ""
    joined_at: float | None = None
    left_at: float | None = None


class Spread(_Part, frozen=True):
    """How a latency is spread over the turns that have it, in seconds, by nearest rank."""

    count: int
    p50: float
    p95: float
    max: float


class Outcome(_Part, frozen=True):
    """How the session ended by its own account."""

    outcome: str
    reason: str = ""


class Tag(_Part, frozen=True):
    """A tag of the session."""

    name: str
    metadata: dict[str, Any] = {}


class RecordingRef(_Part, frozen=True):
    """The audio of a session: where each side is heard, and since when."""

    blob: str
    size: int
    format: str
    channels: tuple[str, ...] = ()
    started_at: float | None = None
    duration: float | None = None


class BatchRef(_Part, frozen=True):
    """A stored batch of telemetry."""

    signal: str
    blob: str
    size: int
    count: int


class SessionSummary(_Part, frozen=True):
    """A session in a list.

    :param status: ``live`` or ``ended``.
    :param latency: by stage: ``stt``, ``end_of_turn``, ``llm_first_token``, ``tts_first_byte``, ``e2e``.
    :param cost: ``None`` when a price or the usage is unknown.
    """

    id: str
    status: str
    room: RoomRef = RoomRef()
    agent: AgentRef = AgentRef()
    participants: tuple[Participant, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    duration: float | None = None
    turns: int = 0
    interruptions: int = 0
    errors: int = 0
    tools: int = 0
    handoffs: int = 0
    latency: dict[str, Spread] = {}
    outcome: Outcome | None = None
    tags: tuple[str, ...] = ()
    cost: float | None = None
    currency: str = ""
    has_recording: bool = False
    close_reason: str = ""
    simulated: bool = False
    redacted: bool = False


class Session(_Part, frozen=True):
    """Everything of a session but its audio and its telemetry, which stand behind their hashes.

    :param provisional: ``turns`` are as spans tell them, since nobody has told of the conversation itself.
    """

    summary: SessionSummary
    cost: Cost
    turns: tuple[Turn, ...] = ()
    errors: tuple[SeenError, ...] = ()
    error_counts: dict[str, int] = {}
    evaluations: tuple[EvaluationRecorded, ...] = ()
    tags: tuple[Tag, ...] = ()
    recordings: tuple[RecordingRef, ...] = ()
    telemetry: tuple[BatchRef, ...] = ()
    false_interruptions: tuple[float, ...] = ()
    controls: tuple[Control, ...] = ()
    job_latencies: dict[str, float] = {}
    options: dict[str, Any] = {}
    instructions: str | None = None
    observed: bool = False
    provisional: bool = False


def view(state: SessionState, room: RoomState | None, prices: PriceTable) -> Session:
    """Put together what is known of a session."""
    told = any(item.kind == "message" for item in state.items.values())
    turns = timeline((state.items if told else state.heard).values(), state.tools)
    cost = cost_of(_usage(state), prices)
    return Session(
        summary=_summary(state, room, turns, cost),
        turns=turns,
        errors=tuple(sorted(state.errors.values(), key=lambda each: (each.at, each.where, each.message))),
        error_counts={key: state.error_counts[key] for key in sorted(state.error_counts)},
        evaluations=tuple(sorted(state.evaluations.values(), key=lambda each: (each.name, each.tag))),
        tags=tuple(Tag(name=name, metadata=state.tags[name]) for name in sorted(state.tags)),
        cost=cost,
        recordings=_recordings(state),
        telemetry=tuple(
            BatchRef(signal=batch.signal, blob=blob, size=batch.size, count=batch.count)
            for blob, batch in sorted(state.batches.items(), key=lambda e: (e[1].signal, e[1].first_at or 0.0, e[0]))
        ),
        false_interruptions=state.false_interruptions,
        controls=tuple(sorted(state.controls.values(), key=lambda each: (each.at, each.verb))),
        job_latencies=state.job.latencies if state.job else {},
        options=state.options,
        instructions=_instructions(state),
        observed=state.observed,
        provisional=bool(turns) and not told,
    )


def _summary(state: SessionState, room: RoomState | None, turns: tuple[Turn, ...], cost: Cost) -> SessionSummary:
    finished = room.finished_at if room else None
    over = state.ended_at is not None or state.reported_at is not None or finished is not None
    started = next((at for at in (state.started_at, state.job and state.job.started_at, state.first_at) if at), None)
    ended = greatest(state.reported_at, state.ended_at) if state.reported_at or state.ended_at else finished
    duration = round(ended - started, 6) if over and ended is not None and started is not None else None
    return SessionSummary(
        id=state.id,
        status="ended" if over else "live",
        room=RoomRef(sid=state.room_id, name=state.room_name or (room.name if room else "")),
        agent=_agent(state),
        participants=_participants(state, room),
        started_at=started,
        ended_at=ended if over else None,
        duration=duration,
        turns=len(turns),
        interruptions=sum(said.interrupted for turn in turns for said in turn.agent),
        errors=len(state.errors),
        tools=sum(len(turn.tools) for turn in turns),
        handoffs=sum(handoff.old_agent is not None for turn in turns for handoff in turn.handoffs),
        latency=_spreads(turns),
        outcome=Outcome(outcome=state.outcome.outcome, reason=state.outcome.reason) if state.outcome else None,
        tags=tuple(sorted(state.tags)),
        cost=cost.amount,
        currency=cost.currency,
        has_recording=bool(state.recordings),
        close_reason=state.close_reason,
        simulated=state.simulated,
        redacted=state.redacted,
    )


def _agent(state: SessionState) -> AgentRef:
    handoffs = sorted((i for i in state.items.values() if i.kind == "agent_handoff"), key=lambda i: (i.at or 0.0, i.id))
    agents = sorted(p.identity for p in state.participants.values() if p.kind == "agent" and p.identity)
    return AgentRef(
        name=state.agent_name,
        identity=state.agent_identity or (agents[0] if agents else ""),
        labels=tuple(item.new_agent for item in handoffs if item.new_agent),
        sdk_version=state.sdk_version,
        worker_id=state.worker_id,
        state=state.agent_state,
    )


def _participants(state: SessionState, room: RoomState | None) -> tuple[Participant, ...]:
    told = room.participants if room else {}
    found = []
    for sid in {*state.participants, *told}:
        seen, known = state.participants.get(sid), told.get(sid)
        if known is not None and known.hidden:
            # Who only listens: recorders, the observer.
            continue
        found.append(
            Participant(
                sid=sid,
                identity=(seen.identity if seen else "") or (known.identity if known else ""),
                name=known.name if known else "",
                kind=(seen.kind if seen else "") or (known.kind if known else ""),
                phone=seen.phone if seen else "",
                joined_at=known.joined_at if known else None,
                left_at=known.left_at if known else None,
            )
        )
    return tuple(sorted(found, key=lambda each: (each.joined_at or 0.0, each.sid)))


def _recordings(state: SessionState) -> tuple[RecordingRef, ...]:
    return tuple(
        RecordingRef(
            blob=blob,
            size=stored.blob.size,
            format=stored.format,
            channels=stored.channels,
            started_at=stored.started_at,
            duration=stored.duration,
        )
        for blob, stored in sorted(state.recordings.items(), key=lambda entry: (entry[1].started_at or 0.0, entry[0]))
    )


def _instructions(state: SessionState) -> str | None:
    updates = [item for item in state.items.values() if item.kind == "agent_config_update" and item.instructions]
    latest = max(updates, key=lambda item: (item.at or 0.0, item.id), default=None)
    return latest.instructions if latest else None


def _usage(state: SessionState) -> tuple[Usage, ...] | None:
    """Return what was used: by the report, else by what was observed last, else by the metrics added up."""
    if state.usage_reported is not None:
        return state.usage_reported
    if state.usage_observed is not None:
        return state.usage_observed
    return _added(state.usage_metered) if state.usage_metered else None


def _added(metered: Mapping[str, Iterable[Usage]]) -> tuple[Usage, ...]:
    totals: dict[tuple[str, str, str], dict[str, float]] = {}
    for blob in sorted(metered):
        for usage in metered[blob]:
            amounts = totals.setdefault((usage.kind, usage.provider, usage.model), {})
            for name, amount in usage.amounts.items():
                amounts[name] = amounts.get(name, 0.0) + amount
    return tuple(
        Usage(kind=kind, provider=provider, model=model, amounts=amounts)
        for (kind, provider, model), amounts in sorted(totals.items())
    )


def _spreads(turns: tuple[Turn, ...]) -> dict[str, Spread]:
    found = {}
    for stage in _STAGES:
        values = sorted(value for turn in turns if (value := getattr(turn.latency, stage)) is not None)
        if values:
            found[stage] = Spread(count=len(values), p50=_rank(values, 0.5), p95=_rank(values, 0.95), max=values[-1])
    return found


def _rank(values: list[float], share: float) -> float:
    return values[max(0, math.ceil(share * len(values)) - 1)]
