"""The fleet is what the log says, however its streams are interleaved, and however it was come by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.eventlog import Raw, Record, StreamErased
from greenroom.fleet import FleetState, FleetView, Outside, Used, prune, step, view
from greenroom.fleet._index import Index
from greenroom.fleet._step import take
from greenroom.fleet._view import look
from greenroom.link import (
    AgentStateChanged,
    AgentStatus,
    ControlMute,
    DispatchPending,
    ItemAdded,
    JobAssigned,
    JobEnded,
    JobInfo,
    ParticipantJoined,
    RoomFinished,
    RoomStarted,
    SessionObserved,
    ToolsExecuted,
    ToolUpdated,
    UsageUpdated,
    WorkerGone,
    WorkerInfo,
    WorkerSeen,
)

pytestmark = pytest.mark.unit

START = 1_795_000_000.0
DAY = 86_400.0


def record(stream: str, seq: int, kind: str, data: Any, at: float) -> Record:
    return Record(
        position=seq,
        tenant="",
        stream=stream,
        seq=seq,
        type=kind,
        version=1,
        at=at,
        recorded_at=at,
        key="",
        data=data,
        hash=b"",
    )


def stream(name: str, told: Iterable[tuple[str, Any, float]]) -> list[Record]:
    return [record(name, seq, kind, data, START + at) for seq, (kind, data, at) in enumerate(told, 1)]


def job(letter: str, room: str = "lobby", **fields: Any) -> JobInfo:
    known = {"agent_name": "front-desk", "worker_id": "AW_1", "room": room, "room_sid": f"RM_{room}"}
    return JobInfo(id=f"AJ_{letter}", **{**known, "agent_identity": f"agent-AJ_{letter}", **fields})


def call(letter: str, *more: tuple[str, Any, float], room: str = "lobby", **fields: Any) -> list[Record]:
    given = job(letter, room, **fields)
    return stream(f"session:{given.id}", [("job.assigned", JobAssigned(job=given), 0.0), *more])


def state_of(records: Iterable[Record]) -> FleetState:
    state = FleetState()
    for each in records:
        state = step(state, each)
    return state


def price(used: Iterable[Used]) -> float | None:
    return sum(each.amounts.get("input_tokens", 0.0) for each in used) / 1000


def tool(call_id: str, *, error: bool = False) -> dict[str, Any]:
    return {
        "function_calls": [{"call_id": call_id, "name": "book"}],
        "function_call_outputs": [{"call_id": call_id, "is_error": error}],
    }


ENDED = ("job.ended", JobEnded(job=job("A", status="success", ended_at=START + 60)), 60.0)
STREAMS: list[list[Record]] = [
    call(
        "A",
        ("agent.state", AgentStateChanged(state="listening"), 1.0),
        ("agent.status", AgentStatus(title="Book a visit", progress=40.0, integrations=("calendar",)), 2.0),
        ("tool.updated", ToolUpdated(message={"started": {"function_call": {"call_id": "c1", "name": "book"}}}), 3.0),
        ("tools.executed", ToolsExecuted(message=tool("c1")), 4.0),
        ("usage.updated", UsageUpdated(message={"model_usage": [{"llm": {"input_tokens": "1000"}}]}), 5.0),
        ENDED,
    ),
    call(
        "B",
        ("agent.state", AgentStateChanged(state="speaking"), 1.0),
        ("item.added", ItemAdded(message={"message": {"id": "i1", "role": "ASSISTANT"}}), 2.0),
        ("control.mute", ControlMute(by="grace", muted=True), 3.0),
    ),
    call("C", ("agent.state", AgentStateChanged(state="thinking"), 9.0), agent_identity="shared"),
    call("D", ("agent.state", AgentStateChanged(state="idle"), 9.0), room="other", agent_identity="shared"),
    stream("session:AJ_E", [("session.observed", SessionObserved(reason="watched", agent_identity="bot"), 1.0)]),
    call("F", ("stream.erased", StreamErased(through_seq=1, events=1, reason="request"), 2.0)),
    stream(
        "room:RM_lobby",
        [
            ("room.started", RoomStarted(message={"room": {"name": "lobby"}}), 0.0),
            ("participant.joined", ParticipantJoined(message={"participant": {"sid": "PA_1", "name": "Ada"}}), 1.0),
        ],
    ),
    stream("room:RM_other", [("room.finished", RoomFinished(message={"room": {"name": "other"}}), 50.0)]),
    stream(
        "system:workers",
        [
            ("worker.seen", WorkerSeen(worker=WorkerInfo(id="AW_1", agent_name="front-desk", jobs=("AJ_A",))), 0.0),
            ("worker.seen", WorkerSeen(worker=WorkerInfo(id="AW_2", agent_name="sales", load=0.2)), 0.0),
            ("dispatch.pending", DispatchPending(job=JobInfo(id="AJ_W", agent_name="sales", why="all full")), 1.0),
            ("worker.gone", WorkerGone(worker=WorkerInfo(id="AW_2", agent_name="sales")), 90.0),
        ],
    ),
]


@st.composite
def interleavings(draw: st.DrawFn) -> list[Record]:
    """Return all streams' events, each stream's in its order."""
    left = [list(each) for each in STREAMS]
    told = []
    while left:
        chosen = draw(st.sampled_from(left))
        told.append(chosen.pop(0))
        left = [each for each in left if each]
    return told


@given(interleavings())
@settings(max_examples=60, deadline=None)
def test_any_interleaving_of_the_streams_gives_the_same_fleet_bit_for_bit(told: list[Record]) -> None:
    now = START + 100
    expected = view(state_of(each for part in STREAMS for each in part), now, pricing=price)
    assert msgspec.json.encode(view(state_of(told), now, pricing=price)) == msgspec.json.encode(expected)


@given(interleavings())
@settings(max_examples=60, deadline=None)
def test_what_is_kept_up_call_by_call_is_what_is_made_anew(told: list[Record]) -> None:
    live, index = FleetState(calls={}, rooms={}), Index(price)
    for number, each in enumerate(told):
        live = take(live, each)
        kind, _, name = each.stream.partition(":")
        index.update(live, [name] if kind == "session" else [], [name] if kind == "room" else [])
        found = look(live, index, each.at + 30, Outside())
        anew = view(state_of(told[: number + 1]), each.at + 30, pricing=price)
        assert found.view(0) == anew
        assert msgspec.json.decode(found.json(0), type=FleetView) == anew


def test_a_step_leaves_the_state_before_it_alone() -> None:
    before = state_of(STREAMS[0][:2])
    calls = dict(before.calls)
    step(before, STREAMS[1][0])
    assert before.calls == calls


@pytest.mark.parametrize("after", [61.0, 659.0, 661.0, DAY, 2 * DAY])
def test_what_is_pruned_is_what_nobody_would_be_shown(after: float) -> None:
    state = state_of(each for part in STREAMS for each in part)
    now = START + after
    assert view(prune(state, now), now) == view(state, now)


def agent_in(records: Sequence[Record], now: float = 30.0, letter: str = "A") -> Any:
    found = view(state_of(records), START + now, pricing=price)
    return next((each for each in found.agents if each.session == f"AJ_{letter}"), None)


@pytest.mark.parametrize(
    ("state", "status"),
    [("speaking", "active"), ("thinking", "active"), ("listening", "waiting"), ("idle", "waiting")],
)
def test_what_an_agent_does_is_its_status(state: str, status: str) -> None:
    assert agent_in(call("A", ("agent.state", AgentStateChanged(state=state), 1.0))).status == status


def test_an_agent_that_nobody_heard_of_since_it_was_sent_has_no_status() -> None:
    found = agent_in(call("A"))
    assert (found.id, found.status, found.action) == ("agent:agent-AJ_A", None, None)


def test_a_tool_that_runs_makes_an_agent_active_until_it_has_answered() -> None:
    records = STREAMS[0]
    assert (agent_in(records[:4]).status, agent_in(records[:4]).action) == ("active", "Calling book")
    assert (agent_in(records[:5]).status, agent_in(records[:5]).action) == ("waiting", "Listening")


def test_an_agent_is_offline_for_ten_minutes_and_then_gone() -> None:
    assert agent_in(STREAMS[0], now=61.0).status == "offline"
    assert agent_in(STREAMS[0], now=659.0).status == "offline"
    assert agent_in(STREAMS[0], now=661.0) is None
    assert view(state_of(STREAMS[0]), START + 661).health.tasks_completed_today == 1


def test_of_many_that_ended_the_latest_two_hundred_are_listed() -> None:
    records = [
        each
        for number in range(250)
        for each in call(
            f"N{number:03}",
            ("job.ended", JobEnded(job=job(f"N{number:03}", status="success")), float(number)),
            room=f"room {number}",
        )
    ]
    found = view(state_of(records), START + 300)
    assert (len(found.agents), found.agents[0].session) == (200, "AJ_N050")
    assert found.health.tasks_completed_today == 250


def test_a_task_says_what_its_agent_says_and_else_who_calls_whom() -> None:
    found = view(state_of([*STREAMS[0], *STREAMS[1], *STREAMS[6]]), START + 30, pricing=price)
    derived, told = found.tasks
    assert (told.id, told.title, told.progress, told.integrations) == (
        "task:AJ_A",
        "Book a visit",
        100.0,
        ("calendar",),
    )
    assert (told.status, told.cost_usd) == ("completed", 1.0)
    assert (derived.title, derived.progress, derived.status) == ("front-desk: call with Ada", None, "in_progress")
    assert derived.cost_usd is None


def test_a_job_that_waits_is_a_pending_task_and_says_why() -> None:
    found = view(state_of(STREAMS[8]), START + 2)
    (task,) = found.tasks
    assert (task.id, task.status, task.progress, task.why, task.agent) == (
        "task:AJ_W",
        "pending",
        0.0,
        "all full",
        None,
    )


def test_several_agents_in_a_room_are_a_swarm_and_one_is_none() -> None:
    assert not view(state_of(STREAMS[1]), START + 10).swarms
    found = view(state_of([*STREAMS[0][:-1], *STREAMS[1]]), START + 10)
    (swarm,) = found.swarms
    assert (swarm.id, swarm.agents, swarm.status) == ("swarm:lobby", ("agent:agent-AJ_A", "agent:agent-AJ_B"), "active")
    assert found.agents[0].collaborators == ("agent:agent-AJ_B",)


def test_an_identity_that_is_in_two_rooms_is_one_agent_with_two_tasks() -> None:
    found = view(state_of([*STREAMS[2], *STREAMS[3]]), START + 10)
    assert [each.id for each in found.agents] == ["agent:shared"]
    assert len(found.tasks) == 2
    assert (found.health.agents, found.health.tasks_in_progress) == (1, 2)


def test_actions_are_told_without_a_word_of_the_conversation_and_once() -> None:
    spans = Raw(msgspec.json.encode({"tools": [{"call_id": "c1", "name": "book", "started_at": 1.0, "duration": 1.0}]}))
    records = [*STREAMS[0], record("session:AJ_A", 9, "telemetry.spans", spans, START + 70), *STREAMS[1]]
    found = view(state_of(records), START + 80)
    assert [each.description for each in found.actions] == [
        "Called book",
        "grace muted the agent",
        "Spoke to the caller",
    ]
    assert found.actions[0].id == "action:AJ_A:c1"


def test_an_idle_worker_is_an_agent_and_one_that_vanished_is_missed_with_its_name() -> None:
    here = view(state_of(STREAMS[8][:2]), START + 1)
    assert [(each.id, each.status) for each in here.agents] == [("agent:AW_2", "idle")]
    gone = view(state_of(STREAMS[8]), START + 100)
    assert gone.health.level == "degraded"
    assert [each.code for each in gone.health.reasons] == ["workers_gone"]
    assert "'sales'" in gone.health.reasons[0].message
    assert [(each.id, each.online) for each in gone.machines] == [("machine:AW_1", True), ("machine:AW_2", False)]
    later = view(state_of(STREAMS[8]), START + 90 + 601)
    assert [each.code for each in later.health.reasons] == []


def test_a_call_that_waits_for_an_agent_that_is_gone_is_critical() -> None:
    waits = DispatchPending(job=JobInfo(id="AJ_W", agent_name="sales", why="nobody", created_at=START))
    records = [*STREAMS[8], record("system:workers", 9, "dispatch.pending", waits, START + 95)]
    found = view(state_of(records), START + 100).health
    assert (found.level, [each.code for each in found.reasons]) == ("critical", ["workers_gone", "calls_wait"])


def test_health_names_a_stall_and_approvals_that_nobody_decides() -> None:
    now = START + 100
    assert view(FleetState(), now).health.level == "healthy"
    stalled = view(FleetState(), now, Outside(failing_since=now - 10)).health
    assert (stalled.level, stalled.reasons[0].code) == ("degraded", "ingestion_stalled")
    assert view(FleetState(), now, Outside(failing_since=now - 100)).health.level == "critical"
    assert view(FleetState(), now, Outside(behind=10_000)).health.level == "degraded"
    assert view(FleetState(), now, Outside(broken=("the feed",))).health.level == "critical"
    queue = view(FleetState(), now, Outside(approvals=(now - 40,))).health
    assert (queue.level, queue.reasons[0].code, queue.interventions) == ("degraded", "approvals_queue", 1)


def test_an_erased_session_leaves_no_agent() -> None:
    assert not view(state_of(STREAMS[5]), START + 10).agents


def test_of_a_redacted_session_no_names_and_no_words_are_told() -> None:
    spans = Raw(msgspec.json.encode({"redacted": True}))
    stated = AgentStatus(title="Call Ada back", description="about her test", progress=50.0)
    records = [
        *call("A", ("agent.status", stated, 1.0)),
        record("session:AJ_A", 3, "telemetry.spans", spans, START + 5),
        *STREAMS[6],
    ]
    found = view(state_of(records), START + 10)
    (task,) = found.tasks
    assert (task.title, task.description, task.progress) == ("front-desk: call", None, 50.0)
    assert "Ada" not in msgspec.json.encode(found).decode()
    assert found.agents[0].room is None
