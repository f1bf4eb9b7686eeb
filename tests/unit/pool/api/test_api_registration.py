"""What an ``AgentPool`` takes and refuses, in OpenRTC's words."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import Agent, AgentServer

import greenroom.pool
from greenroom import offline
from greenroom.pool import NOT_GIVEN, AgentConfig, AgentPool
from greenroom.pool._model import Placement
from support.pool_api import Sales, Support, Witness

pytestmark = pytest.mark.unit

ONE = {"a": Sales}
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"agent": Sales, "agents": ONE}, ValueError, "Pass either agent or agents, not both."),
    ({"isolation": "x"}, ValueError, "isolation must be 'coroutine' or 'process', got 'x'."),
    ({"backend": "zz"}, ValueError, "Unknown backend 'zz'. Available backends: livekit."),
    ({"max_concurrent_sessions": 0}, ValueError, "max_concurrent_sessions must be >= 1, got 0."),
    ({"max_concurrent_sessions": "5"}, TypeError, "max_concurrent_sessions must be an int, got str."),
    ({"max_concurrent_sessions": True}, TypeError, "max_concurrent_sessions must be an int, got bool."),
    ({"consecutive_failure_limit": 0}, ValueError, "consecutive_failure_limit must be >= 1, got 0."),
    ({"drain_timeout": 0}, ValueError, "drain_timeout must be >= 1, got 0."),
    ({"drain_timeout": 1.5}, TypeError, "drain_timeout must be an int, got float."),
    ({"memory_warn_mb": -1}, ValueError, "memory_warn_mb must be >= 0, got -1."),
    ({"memory_limit_mb": "x"}, TypeError, "memory_limit_mb must be a number, got str."),
    (
        {"request_fnc": print, "accept_only_registered_rooms": True},
        ValueError,
        "Pass either request_fnc or accept_only_registered_rooms, not both.",
    ),
    ({"agent_name": "  "}, ValueError, "agent_name must be a non-empty string when set."),
    ({"deployment_version": ""}, ValueError, "deployment_version must be a non-empty string when set."),
    ({"max_sessions_per_agent": {"a": 0}}, ValueError, "max_sessions_per_agent['a'] must be >= 1, got 0."),
    ({"max_sessions_per_agent": {"a": "x"}}, TypeError, "max_sessions_per_agent['a'] must be an int, got str."),
    (
        {"max_sessions_per_tenant": {"a b": 1}},
        ValueError,
        "Tenant id must be 1-128 characters of ASCII letters, digits, dashes, or underscores, got 'a b'.",
    ),
    ({"port": 70000}, ValueError, "port must be in 0..65535, got 70000."),
    ({"port": "x"}, TypeError, "port must be an int, got str."),
    ({"agent": 5}, TypeError, "agent_cls must be a subclass of livekit.agents.Agent."),
    (
        {"observers": [object()]},
        TypeError,
        "observer must implement on_session_start and on_session_end (SessionObserver protocol); got object.",
    ),
    ({"tenant_config": 5}, TypeError, "tenant_config must be a mapping or a callable, got int."),
]


@pytest.mark.parametrize(("options", "kind", "said"), REFUSED, ids=[said[:40] for _, _, said in REFUSED])
def test_a_pool_refuses_what_cannot_be(options: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as refused:
        AgentPool(**options)
    assert str(refused.value) == said


def test_a_pool_is_made_by_keyword_with_openrtcs_defaults() -> None:
    parameters = inspect.signature(AgentPool).parameters
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters.values())
    assert {name: each.default for name, each in parameters.items()} == {
        "agent": None,
        "agents": None,
        "default_stt": None,
        "default_llm": None,
        "default_tts": None,
        "default_greeting": None,
        "observers": None,
        "backend": "livekit",
        "isolation": "coroutine",
        "max_concurrent_sessions": 50,
        "consecutive_failure_limit": 5,
        "drain_timeout": 3600,
        "memory_warn_mb": 1000.0,
        "memory_limit_mb": 0.0,
        "enable_hot_reload": False,
        "watch_paths": None,
        "request_fnc": None,
        "accept_only_registered_rooms": False,
        "router": None,
        "agent_name": None,
        "tenant_config": None,
        "max_sessions_per_agent": None,
        "max_sessions_per_tenant": None,
        "enable_tenant_circuit_breaker": None,
        "tenant_circuit_cooldown_s": 30.0,
        "enable_introspection": True,
        "enable_uvloop": True,
        "port": None,
        "slow_session_threshold_ms": 50.0,
        "introspection_socket_path": None,
        "deployment_version": None,
        "audit_sink": None,
        "placement": None,
        "first_prefix": False,
    }


def test_a_pool_tells_what_it_was_made_with() -> None:
    def router(metadata: object) -> None:
        return None

    pool = AgentPool(
        agents={"sales": Sales, "support": Support},
        isolation="process",
        agent_name=" desk ",
        deployment_version=" v7 ",
        router=router,
        max_sessions_per_agent={"sales": 2},
        max_sessions_per_tenant={"acme": 3},
        enable_tenant_circuit_breaker=True,
        tenant_circuit_cooldown_s=5,
    )
    assert pool.list_agents() == ["sales", "support"]
    assert (pool.agent_name, pool.deployment_version, pool.router) == ("desk", "v7", router)
    assert pool.max_sessions_per_agent == {"sales": 2}
    assert pool.max_sessions_per_tenant == {"acme": 3}
    assert pool.tenant_circuit_breaker is not None
    assert pool.tenant_circuit_breaker.cooldown == 5
    assert (pool.isolation, pool.get("sales").placement) == ("process", Placement.DEDICATED)
    assert (pool.max_concurrent_sessions, pool.consecutive_failure_limit, pool.drain_timeout) == (50, 5, 3600)
    assert (pool.memory_warn_mb, pool.memory_limit_mb, pool.enable_hot_reload) == (1000.0, 0.0, False)
    assert (pool.request_fnc, pool.introspection, pool.draining) == (None, None, False)
    assert AgentPool().tenant_circuit_breaker is None
    for name in ("server", "router", "agent_name", "draining", "drain_timeout", "max_concurrent_sessions"):
        with pytest.raises(AttributeError):
            setattr(pool, name, None)


def test_one_agent_is_called_default() -> None:
    pool = AgentPool(agent=Sales, default_greeting="Hello.")
    assert pool.list_agents() == ["default"]
    assert pool.get("default") == AgentConfig("default", Sales, greeting="Hello.")


@pytest.mark.parametrize(
    ("name", "agent_cls", "kind", "said"),
    [
        ("", Sales, ValueError, "Agent name must be a non-empty string."),
        ("  ", Sales, ValueError, "Agent name must be a non-empty string."),
        (
            "a b",
            Sales,
            ValueError,
            "Agent name must be 1-64 characters of ASCII letters, digits, dashes, or underscores, got 'a b'.",
        ),
        (
            "x" * 65,
            Sales,
            ValueError,
            f"Agent name must be 1-64 characters of ASCII letters, digits, dashes, or underscores, got '{'x' * 65}'.",
        ),
        ("sales", Sales, ValueError, "Agent 'sales' is already registered."),
        (" sales ", Support, ValueError, "Agent 'sales' is already registered."),
        ("b", 5, TypeError, "agent_cls must be a subclass of livekit.agents.Agent."),
        ("b", str, TypeError, "agent_cls must be a subclass of livekit.agents.Agent."),
    ],
)
def test_an_agent_is_refused_that_cannot_be(name: str, agent_cls: Any, kind: type[Exception], said: str) -> None:
    pool = AgentPool(agents={"sales": Sales})
    with pytest.raises(kind) as refused:
        pool.add(name, agent_cls)
    assert str(refused.value) == said
    assert pool.list_agents() == ["sales"]


def test_an_agent_that_is_not_there_is_a_key_error() -> None:
    pool = AgentPool()
    for ask in (pool.get, pool.remove):
        with pytest.raises(KeyError) as missing:
            ask("nobody")
        assert missing.value.args == ("Unknown agent 'nobody'.",)


def test_a_removed_agent_can_be_registered_again() -> None:
    pool = AgentPool(agents={"sales": Sales})
    removed = pool.remove("sales")
    assert removed.agent_cls is Sales
    assert pool.add("sales", Support).agent_cls is Support


def test_a_default_is_taken_when_an_agent_is_registered_and_none_is_none() -> None:
    pool = AgentPool(default_stt="offline/pocketsphinx", default_llm="offline/llm", default_greeting="Hello.")
    taken = pool.add("taken", Sales, tts="offline/flite")
    assert (taken.stt, taken.llm, taken.tts, taken.greeting) == (
        "offline/pocketsphinx",
        "offline/llm",
        "offline/flite",
        "Hello.",
    )
    without = pool.add("without", Sales, stt=None, llm=NOT_GIVEN, greeting=None)
    assert (without.stt, without.llm, without.greeting) == (None, "offline/llm", None)
    assert pool.add("silent", Sales, greeting="").greeting == ""


def test_session_options_go_before_session_kwargs() -> None:
    pool = AgentPool()
    config = pool.add("a", Sales, session_kwargs={"max_tool_steps": 1, "user_away_timeout": 5}, max_tool_steps=2)
    assert config.session_kwargs == {"max_tool_steps": 2, "user_away_timeout": 5}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": "red"}, "Agent 'a' has a session option 'colour', which AgentSession does not take."),
        (
            {"session_kwargs": {"llm": "x"}},
            "Agent 'a' gets 'llm' twice; pass it to add() itself, not as a session option.",
        ),
        (
            {"userdata": 1, "userdata_factory": dict},
            "Agent 'a' gets its userdata twice; pass userdata or userdata_factory.",
        ),
        (
            {"session_factory": print, "llm": "x/y"},
            "Agent 'a' has a session_factory; providers and userdata are decided there.",
        ),
        (
            {"session_factory": print, "max_tool_steps": 1},
            "Agent 'a' has a session option 'max_tool_steps', but its session_factory decides that.",
        ),
        (
            {"start_options": {"room": 1}},
            "Agent 'a' has an option 'room', which AgentSession.start does not take.",
        ),
        (
            {"connect_options": {"colour": 1}},
            "Agent 'a' has an option 'colour', which JobContext.connect does not take.",
        ),
        (
            {"room_options": 1, "start_options": {"room_input_options": 1}},
            "Agent 'a' gets its room options twice.",
        ),
        ({"capabilities": "billing"}, "capabilities of agent 'a' must be a list of strings."),
    ],
)
def test_what_would_make_every_call_fail_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as refused:
        AgentPool().add("a", Sales, **options)
    assert str(refused.value) == said


def test_what_openrtc_cannot_say_is_kept() -> None:
    def make(ctx: object) -> Agent:
        return Sales()

    pool = AgentPool(placement="tenant", agent_name="desk")
    config = pool.add(
        "a",
        Sales,
        vad=None,
        turn_handling={"turn_detection": "vad"},
        capabilities=["billing", " billing ", "de"],
        agent_name="billing",
        max_sessions=2,
        room_options="options",
        start_options={"record": False},
        connect_options={"auto_subscribe": "audio_only"},
        agent_factory=make,
        userdata_factory=dict,
    )
    assert config.session_kwargs == {"vad": None, "turn_handling": {"turn_detection": "vad"}}
    assert (config.capabilities, config.placement, config.agent_name) == (("billing", "de"), "tenant", "billing")
    assert (config.placed, pool.add("b", Sales, placement="shared").placed) == (False, True)
    assert (config.room_options, config.start_options) == ("options", {"record": False})
    assert pool.max_sessions_per_agent == {"a": 2}


def test_local_classes_and_functions_as_providers_are_fine() -> None:
    class Local(Agent):
        pass

    config = AgentPool().add("local", Local, llm=offline.LLM, source_path="~/x.py")
    assert config.agent_cls is Local
    assert config.source_path == Path("~/x.py").expanduser().resolve()


def test_observers_can_be_added_later_and_must_be_some() -> None:
    pool = AgentPool(observers=[Witness()])
    pool.add_observer(Witness())
    assert len(pool.observers) == 2
    with pytest.raises(TypeError, match="got int"):
        pool.add_observer(5)  # type: ignore[arg-type]


def test_an_empty_pool_does_not_run() -> None:
    with pytest.raises(RuntimeError) as refused:
        AgentPool().run()
    assert str(refused.value) == "Register at least one agent before calling run()."


def test_the_server_of_a_pool_is_livekits_own() -> None:
    pool = AgentPool(agent=Sales)
    assert isinstance(pool.server, AgentServer)
    assert pool.server is pool.server


def test_the_port_may_come_from_openrtcs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENRTC_PORT", "9001")
    assert AgentPool().port == 9001
    assert AgentPool(port=0).port == 0
    monkeypatch.setenv("OPENRTC_PORT", "many")
    with pytest.raises(ValueError, match=r"^OPENRTC_PORT must be a port number, got 'many'\.$"):
        AgentPool()


def test_draining_a_pool_that_nobody_runs_does_nothing() -> None:
    said: list[object] = []
    pool = AgentPool(agent=Sales, audit_sink=said.append)
    pool.begin_drain()
    assert (pool.draining, said) == (False, [])


def test_importing_the_package_costs_neither_livekit_nor_the_api() -> None:
    code = (
        "import sys, greenroom.pool\n"
        "assert not {'livekit.agents', 'greenroom.pool.api', 'watchfiles'} & sys.modules.keys()\n"
        "from greenroom.pool import AgentPool, FileWatcher, agent_config\n"
        "assert 'livekit.agents' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    names = {
        *("AgentConfig", "AgentDiscoveryConfig", "AgentPool", "FileChange", "FileWatcher", "ProviderValue"),
        *("RequestFilter", "SessionInfo", "SessionObserver", "SessionOutcome", "SessionStatus", "agent_config"),
        *("is_pinned", "pin_reload", "__version__"),
    }
    assert names <= set(greenroom.pool.__all__)
    assert all(getattr(greenroom.pool, name) is not None for name in names)
    with pytest.raises(AttributeError):
        _ = greenroom.pool.nothing  # type: ignore[attr-defined]
