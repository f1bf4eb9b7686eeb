"""Metrics, pins, audit, providers, tenants and turns: what a pool is made of."""

from __future__ import annotations

import json
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, APIConnectOptions, inference, llm

from greenroom import offline
from greenroom.errors import GreenroomError
from greenroom.pool import is_pinned, pin_reload
from greenroom.pool._metrics import STREAM_LENGTH, JsonlMetricsSink, Metrics
from greenroom.pool.api import _providers as providers
from greenroom.pool.api._audit import AuditLog
from greenroom.pool.api._pins import is_job_pinned
from greenroom.pool.api._tenants import TenantSource
from greenroom.pool.api._turns import drop_unused_detector, fill_userdata, session_options
from greenroom.pool.context import SCOPE, Scope

pytestmark = pytest.mark.unit


class Process:
    """The part of ``JobProcess`` that options are read from."""

    def __init__(self, **userdata: Any) -> None:
        self.userdata = dict(userdata)


def turns(process: Any = None, llm: object = None, stt: object = "x/y", **options: Any) -> dict[str, Any]:
    return session_options(options, process or Process(), llm=llm, stt=stt)


def test_the_stream_drops_the_oldest_and_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    for number in range(STREAM_LENGTH + 10):
        metrics.session_started(f"agent-{number}")
    events = metrics.drain_stream()
    assert events[0]["agent"] == "agent-10"
    assert events[-1] == {"event": "metrics_stream_overflow", "overflow_dropped": 10}
    assert metrics.drain_stream() == []
    assert not caplog.records


def test_what_is_counted_is_in_the_snapshot() -> None:
    metrics = Metrics(clock=lambda: 7.0)
    for tenant in ("acme", "acme", "default"):
        metrics.session_started("sales", tenant)
    metrics.session_failed("sales", ValueError("x" * 600), "acme")
    metrics.session_finished("sales", "acme")
    snapshot = metrics.snapshot(agents=2, deployment="v1", draining=True)
    assert (snapshot.active_sessions, snapshot.total_sessions_started, snapshot.total_session_failures) == (2, 3, 1)
    assert snapshot.sessions_by_agent == {"sales": 2}
    assert snapshot.sessions_by_tenant == {"acme": 1, "default": 1}
    said = snapshot.to_dict()
    assert list(said["resident_set"]) == ["bytes", "metric", "description"]  # type: ignore[call-overload]
    assert {key: said[key] for key in ("timestamp", "registered_agents", "deployment_version", "draining")} == {
        "timestamp": 7.0,
        "registered_agents": 2,
        "deployment_version": "v1",
        "draining": True,
    }
    failed = next(event for event in metrics.drain_stream() if event["event"] == "session_failed")
    assert len(failed["error"]) == 500


def test_the_stream_is_written_in_schema_2(tmp_path: Path) -> None:
    path = tmp_path / "deep/metrics.jsonl"
    sink = JsonlMetricsSink(path, clock=lambda: 5.0)
    with pytest.raises(RuntimeError, match="open"):
        sink.write_event({})
    metrics = Metrics()
    with sink:
        sink.write_snapshot(metrics.snapshot(agents=0, deployment=None, draining=False))
        sink.write_event({"event": "session_started", "agent": "sales", "tenant": "default"})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["schema_version"], line["kind"], line["seq"]) for line in lines] == [
        (2, "snapshot", 1),
        (2, "event", 2),
    ]
    assert lines[1] == {
        "schema_version": 2,
        "kind": "event",
        "seq": 2,
        "wall_time_unix": 5.0,
        "payload": {"event": "session_started", "agent": "sales", "tenant": "default"},
    }
    with sink:
        sink.write_event({"event": "again"})
    assert len(path.read_text().splitlines()) == 1


def test_pins_nest() -> None:
    class Session:
        pass

    session: Any = Session()
    with pin_reload(session):
        with pin_reload(session):
            assert is_pinned(session)
        assert is_pinned(session)
    assert not is_pinned(session)


def test_a_pin_counts_for_the_job_whose_session_it_is_set_in() -> None:
    class Session:
        pass

    def pinned() -> bool:
        SCOPE.set(Scope(session="AJ_1", agent="sales", tenant="default"))
        with pin_reload(Session()):  # type: ignore[arg-type]
            return is_job_pinned("AJ_1")

    assert copy_context().run(pinned)
    assert not is_job_pinned("AJ_1")


def test_audit_events_are_numbered_and_a_broken_sink_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []
    log = AuditLog(sink=kept.append, clock=lambda: 1.0)
    log.emit("deployment.started", actor="ci", target="web", version="v2", region="eu")
    assert log.emit("deployment.completed").seq == 2
    assert kept[0].to_dict() == {
        "seq": 1,
        "timestamp": 1.0,
        "event": "deployment.started",
        "actor": "ci",
        "target": "web",
        "result": "ok",
        "version": "v2",
        "region": "eu",
    }
    AuditLog(sink=lambda event: 1 / 0).emit("x")  # type: ignore[arg-type, return-value]
    assert "audit sink failed" in caplog.text


def test_each_session_gets_a_provider_of_its_own_made_the_same_way() -> None:
    providers.note_makers()
    shared = APIConnectOptions(max_retry=1)
    inner = [offline.LLM(), offline.LLM()]
    adapter = llm.FallbackAdapter(inner, attempt_timeout=3)  # type: ignore[arg-type]
    assert providers.renewed(shared) is shared
    made = providers.provider("llm", adapter)
    assert made is not adapter
    assert type(made) is llm.FallbackAdapter
    assert not {id(each) for each in made._llm_instances} & {id(each) for each in inner}
    heard: list[object] = []
    adapter.on("metrics_collected", heard.append)
    made.emit("metrics_collected", 1)
    assert not heard


def test_a_provider_may_be_an_id_a_function_or_what_nobody_saw_made() -> None:
    assert isinstance(providers.provider("llm", "offline/llm"), offline.LLM)
    assert isinstance(providers.provider("llm", offline.LLM), offline.LLM)
    assert providers.provider("llm", "inference:openai/gpt-5") == "openai/gpt-5"
    assert providers.provider("llm", "nobody-has-this/model") == "nobody-has-this/model"
    assert isinstance(providers.provider("llm", {"id": "offline/llm"}), offline.LLM)
    unseen = object()
    assert providers.provider("llm", unseen) is unseen
    with pytest.raises(GreenroomError, match="A tenant's llm has no id"):
        providers.provider("llm", {"api_key": "secret"})
    with pytest.raises(GreenroomError, match="nobody-has-this"):
        providers.provider("llm", {"id": "nobody-has-this/model", "api_key": "secret"})


async def test_a_tenants_settings_come_from_mappings_functions_and_coroutines() -> None:
    async def later(tenant: str) -> dict[str, str] | None:
        return {"llm": f"x/{tenant}"} if tenant == "acme" else None

    for source in ({"acme": {"llm": "x/acme"}}, lambda tenant: {"llm": "x/acme"} if tenant == "acme" else None, later):
        tenants = TenantSource(source)  # type: ignore[arg-type]
        assert await tenants.ask("acme") == {"llm": "x/acme"}
        assert await tenants.ask("other") is None
        assert await tenants.providers("acme") == {"llm": "x/acme"}
    with pytest.raises(TypeError, match="must return a mapping or None, got int"):
        await TenantSource(lambda tenant: 5).ask("acme")  # type: ignore[arg-type, return-value]


async def test_an_answer_about_a_tenant_counts_for_a_while() -> None:
    now, asked = [0.0], []
    tenants = TenantSource(lambda tenant: asked.append(tenant) or {"llm": len(asked)}, clock=lambda: now[0])  # type: ignore[func-returns-value]
    assert [await tenants.providers("acme") for _ in range(2)] == [{"llm": 1}, {"llm": 1}]
    now[0] = 60.0
    assert await tenants.providers("acme") == {"llm": 2}


def test_only_what_can_be_sent_leaves_the_process() -> None:
    answer = {
        "llm": object(),
        "stt": "x/y",
        "tts": None,
        "max_sessions": 3,
        "providers": {"vad": {"id": "livekit/vad"}},
    }
    assert providers.sendable(answer) == {
        "llm": {"object": True},
        "stt": "x/y",
        "max_sessions": 3,
        "providers": {"vad": {"id": "livekit/vad"}},
    }


def test_turns_end_by_the_model_inside_livekit_agents_and_voices_interrupt() -> None:
    options = turns(llm=offline.LLM())
    detector = options["turn_handling"].pop("turn_detection")
    assert (type(detector), detector.model) == (inference.TurnDetector, "turn-detector-v1-mini")
    assert options == {"turn_handling": {"interruption": {"mode": "vad"}}}
    assert turns(llm=offline.LLM(), stt=None) == options


async def test_only_sessions_in_which_something_is_transcribed_keep_the_model_that_ends_turns() -> None:
    deaf = AgentSession[None](llm=offline.LLM())
    drop_unused_detector(deaf, Agent(instructions=""))
    assert deaf.turn_detection is None
    for session, agent in (
        (AgentSession[None](llm=offline.LLM(), stt=offline.STT()), Agent(instructions="")),
        (AgentSession[None](llm=offline.LLM()), Agent(instructions="", stt=offline.STT())),
    ):
        drop_unused_detector(session, agent)
        assert isinstance(session.turn_detection, inference.TurnDetector)


def test_what_is_said_of_turns_is_laid_over_the_default_one_level_deep() -> None:
    made: list[int] = []
    process = Process(turn_detection_factory=lambda: made.append(1))
    options = turns(
        process,
        llm=offline.LLM(),
        turn_handling={"turn_detection": "stt", "interruption": {"min_words": 2}, "endpointing": {"min_delay": 1}},
    )
    assert options["turn_handling"] == {
        "turn_detection": "stt",
        "interruption": {"mode": "vad", "min_words": 2},
        "endpointing": {"min_delay": 1},
    }
    assert not made


def test_an_object_that_handles_turns_replaces_the_default() -> None:
    mine = object()
    assert turns(llm=offline.LLM(), turn_handling=mine) == {"turn_handling": mine}


def test_models_that_take_turns_themselves_are_left_alone() -> None:
    assert turns(llm=None, max_tool_steps=1) == {"max_tool_steps": 1}
    assert turns(llm="openai/gpt-realtime") == {}


def test_flat_options_of_old_are_translated_and_warned_of() -> None:
    with pytest.warns(DeprecationWarning, match="Passing 'min_endpointing_delay', 'allow_interruptions'"):
        options = turns(llm="x/y", min_endpointing_delay=0.5, allow_interruptions=True, turn_detection="vad")
    assert options == {
        "turn_handling": {
            "interruption": {"mode": "vad"},
            "endpointing": {"min_delay": 0.5},
            "turn_detection": "vad",
        }
    }
    with pytest.warns(DeprecationWarning, match="deprecated"):
        options = turns(llm="x/y", allow_interruptions=False, turn_detection=None, agent_false_interruption_timeout=1)
    assert options["turn_handling"]["interruption"] == {
        "mode": "vad",
        "enabled": False,
        "false_interruption_timeout": 1,
    }


def test_flat_options_are_ignored_beside_a_mapping() -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        options = turns(llm="x/y", min_endpointing_delay=9, turn_handling={"turn_detection": None})
    assert options == {"turn_handling": {"interruption": {"mode": "vad"}, "turn_detection": None}}


def test_what_a_program_puts_under_userdata_is_used() -> None:
    mine = object()
    process = Process(vad=mine, turn_detection_factory=lambda: "mine")
    fill_userdata(process)  # type: ignore[arg-type]
    options = turns(process, llm="x/y")
    assert (options["vad"], options["turn_handling"]["turn_detection"]) == (mine, "mine")
    assert turns(process, llm="x/y", vad=None)["vad"] is None


def test_userdata_has_openrtcs_keys() -> None:
    process = Process()
    fill_userdata(process)  # type: ignore[arg-type]
    assert type(process.userdata["vad"]) is inference.VAD
    assert type(process.userdata["turn_detection_factory"]()) is inference.TurnDetector
    assert "vad" not in turns(process, llm="x/y")
