"""What the processes that run a pool ask of it, and the file watcher that programs may use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import Agent, AgentServer, get_job_context

from greenroom.errors import ConfigError
from greenroom.pool import AgentPool, FileChange, FileWatcher
from greenroom.pool._model import EndKind, Placement
from greenroom.pool.api import _host_face as face
from greenroom.pool.api import _main as command_line
from greenroom.pool.api import capture, set_host
from greenroom.pool.api._main import option, pool_command
from greenroom.pool.api._session import status_of
from greenroom.pool.api._watcher import collapsed
from support.pool_api import Sales, Support

pytestmark = pytest.mark.unit


def test_a_captured_program_is_noted_and_does_not_run() -> None:
    with capture() as taken:
        AgentPool().run()
        pool = AgentPool(agent=Sales)
        pool.run()
    assert taken.made[1] is pool
    assert taken.run == taken.made


def test_what_a_file_brings_is_its_pools_its_servers_or_its_classes() -> None:
    server, pool, unused = AgentServer(), AgentPool(agent=Sales), AgentPool()
    with capture() as taken:
        run = AgentPool(agent=Sales)
        run.run()
    assert list(face.programs_of({"pool": pool, "other": unused}, taken).pools) == [run]
    with capture() as taken:
        hidden = AgentPool(agent=Sales)
    named = face.programs_of({"server": hidden.server, "plain": server}, taken)
    assert (list(named.pools), dict(named.servers)) == ([hidden], {"plain": server})
    both = face.programs_of({"pool": pool, "server": pool.server, "plain": server})
    assert (list(both.pools), dict(both.servers)) == ([pool], {"plain": server})
    names = {"__name__": Sales.__module__, "__file__": __file__, "Sales": Sales}
    (implicit,) = face.programs_of(names).pools
    assert implicit.get(implicit.list_agents()[0]).agent_cls is Sales
    assert not face.programs_of({"x": 1}).pools


def test_classes_without_a_pool_are_isolated_as_openrtcs_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENRTC_ISOLATION", "process")
    (pool,) = face.programs_of({"__name__": Sales.__module__, "__file__": __file__, "Sales": Sales}).pools
    assert [each.placement for each in face.specs(pool)] == [Placement.DEDICATED]


def test_agents_are_specified_in_the_order_of_their_registration() -> None:
    pool = AgentPool(agent_name="cast", max_sessions_per_agent={"b": 3}, request_fnc=print, placement="tenant")
    pool.add("b", Sales, llm="x/y", capabilities=["de"])
    pool.add("a", Support, agent_name="own", placement="dedicated", llm=lambda: None)
    first, second = face.specs(pool)
    assert (first.name, first.dispatch, first.placement, first.max_sessions) == ("b", "cast", Placement.TENANT, 3)
    assert (first.asks, first.capabilities, first.providers) == (True, ("de",), {"llm": "x/y"})
    assert (second.name, second.dispatch, second.placement) == ("a", "own", Placement.DEDICATED)
    assert Path(first.source).name == "pool_api.py"


def test_what_a_pool_was_told_is_passed_on_and_defaults_are_not() -> None:
    plain = face.code_options(AgentPool())
    assert (plain.max_sessions, plain.drain_timeout, plain.breaker, plain.routes) == (None, None, None, False)
    told = face.code_options(
        AgentPool(
            max_concurrent_sessions=7,
            drain_timeout=30,
            enable_tenant_circuit_breaker=False,
            router=lambda metadata: None,
            tenant_config={},
            deployment_version="v1",
        )
    )
    assert (told.max_sessions, told.drain_timeout, told.breaker) == (7, 30.0, False)
    assert (told.routes, told.resolves, told.filters, told.deployment) == (True, True, False, None)


@pytest.mark.parametrize(
    ("metadata", "heard"), [("", None), ("x", None), ('{"a": 1}', {"a": 1}), ("{}", {}), ("[1]", None)]
)
async def test_a_router_is_given_the_jobs_metadata_when_it_is_an_object(metadata: str, heard: Any) -> None:
    said: list[Any] = []
    pool = AgentPool(router=lambda given: said.append(given) or "sales")  # type: ignore[func-returns-value]
    assert await face.ask_router(pool, SimpleNamespace(metadata=metadata)) == "sales"
    assert said == [heard]


async def test_a_router_may_be_a_coroutine_and_must_name_an_agent() -> None:
    async def later(metadata: object) -> object:
        return 5

    with pytest.raises(TypeError, match="must return a name or None, got int"):
        await face.ask_router(AgentPool(router=later), SimpleNamespace(metadata=""))
    assert await face.ask_router(AgentPool(), SimpleNamespace(metadata="")) is None
    assert await face.ask_tenant(AgentPool(), "acme") is None
    assert await face.ask_tenant(AgentPool(tenant_config={"acme": {"llm": object()}}), "acme") == {
        "llm": {"object": True}
    }


def test_an_agent_that_cannot_be_made_is_told_with_its_line() -> None:
    class Broken(Agent):
        def __init__(self) -> None:
            raise LookupError("no key")

    class NeedsCall(Agent):
        def __init__(self) -> None:
            super().__init__(instructions=get_job_context().room.name)

    pool = AgentPool()
    failure = face.try_instantiate(pool.add("broken", Broken))
    assert failure is not None
    assert failure.message == "Agent 'broken' cannot be made: LookupError: no key"
    assert (Path(failure.source).name, failure.line > 0) == ("test_api_hosting.py", True)
    assert face.try_instantiate(pool.add("call", NeedsCall)) is None
    assert face.try_instantiate(pool.add("made", Broken, agent_factory=lambda ctx: Sales())) is None
    unknown = face.try_instantiate(pool.add("unknown", Sales, tts="nobody-has-this"))
    assert unknown is not None
    assert "nobody-has-this" in unknown.message


def test_draining_reaches_whoever_runs_the_pool_once() -> None:
    class Host:
        draining = False
        asked = 0

        def drain(self) -> None:
            self.draining, self.asked = True, self.asked + 1

    host, said = Host(), []
    set_host(host)
    try:
        pool = AgentPool(agent=Sales, audit_sink=said.append, deployment_version="v1")
        pool.begin_drain()
        pool.begin_drain()
        assert (host.asked, pool.draining, pool.runtime_snapshot().draining) == (1, True, True)
        assert [(event.event_type, event.version) for event in said] == [("deployment.drain_started", "v1")]
    finally:
        set_host(None)


def test_a_status_is_what_a_job_ended_of() -> None:
    assert status_of(None, "room disconnected").value == "success"
    assert status_of(ValueError(), "job crashed").value == "failed"
    assert status_of(asyncio.CancelledError(), "").value == "cancelled"
    assert status_of(None, "parent process shutdown").value == "cancelled"
    assert EndKind("moved") is EndKind.MOVED


def test_a_programs_arguments_become_those_of_its_pool() -> None:
    plain, hot = AgentPool().options, AgentPool(enable_hot_reload=True).options
    assert pool_command("/m.py", "start", ["--url", "ws://x"], plain) == ["agents", "/m.py", "--url", "ws://x"]
    assert pool_command("/m.py", "start", [], hot) == ["agents", "/m.py", "--watch"]
    assert pool_command("/m.py", "dev", ["--no-reload"], plain) == ["agents", "/m.py", "--dev", "--no-watch"]
    assert pool_command("/m.py", "dev", ["--reload"], hot) == ["agents", "/m.py", "--dev"]
    assert option("--a", ["--b", "--a", "1"]) == option("--a", ["--a=1"]) == "1"
    assert option("--a", ["--a"]) == ""


def test_of_several_changes_to_a_file_the_weightiest_is_told() -> None:
    one, two = Path("/a"), Path("/b")
    told = collapsed(
        [
            FileChange(one, "modified"),
            FileChange(two, "created"),
            FileChange(two, "modified"),
            FileChange(one, "deleted"),
        ]
    )
    assert told == [FileChange(one, "deleted"), FileChange(two, "created")]


async def test_a_watcher_goes_on_after_a_save_that_replaces_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text("1")
    told: asyncio.Queue[list[FileChange]] = asyncio.Queue()
    with pytest.raises(ValueError, match=r"^debounce_ms must be > 0, got 0\.$"):
        FileWatcher(told.put, debounce_ms=0)
    watcher = FileWatcher(told.put, debounce_ms=20, paths=[file])
    assert (watcher.state, watcher.paths) == ("new", [file])
    await watcher.start()
    try:
        for number in range(2):
            async with asyncio.timeout(20):
                # The watch begins some time after start(): save until it is seen.
                while told.empty():
                    (tmp_path / "fresh").write_text(str(number))
                    (tmp_path / "fresh").replace(file)
                    (tmp_path / "other.py").write_text("not watched")
                    await asyncio.sleep(0.1)
            assert {change.path for change in await told.get()} == {file.resolve()}
            while not told.empty():
                told.get_nowait()
    finally:
        await watcher.stop()
    assert watcher.state == "stopped"
    with pytest.raises(RuntimeError, match="cannot be restarted"):
        await watcher.start()


def test_a_call_from_the_terminal_takes_the_server_on_this_machine_for_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    command_line._name_server()
    assert [os.environ[f"LIVEKIT_{name}"] for name in ("URL", "API_KEY", "API_SECRET")] == [
        "ws://127.0.0.1:7880",
        "devkey",
        "secret",
    ]
    monkeypatch.setenv("LIVEKIT_URL", "wss://rooms.example")
    monkeypatch.setenv("LIVEKIT_API_KEY", "")
    with pytest.raises(ConfigError, match=r"There is no API key for wss://rooms\.example"):
        command_line._name_server()
