"""``AgentPool``: the agents of a program, and how they are run."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import GreenroomError
from greenroom.pool._metrics import Metrics, MetricsStreamEvent, PoolRuntimeSnapshot
from greenroom.pool._model import Failure, Placement
from greenroom.pool._settings import DEFAULT_DRAIN_TIMEOUT, DEFAULT_MAX_SESSIONS, BreakerSettings
from greenroom.pool.api import _capture, _config, _discovery, _hosting, _observing, _registering
from greenroom.pool.api._audit import DRAIN_STARTED, AuditLog, AuditSink
from greenroom.pool.api._config import (
    NOT_GIVEN,
    AgentConfig,
    AgentFactory,
    NotGiven,
    ProviderValue,
    RequestFilter,
    SessionFactory,
    UserdataFactory,
)
from greenroom.pool.api._observing import SessionObserver
from greenroom.pool.api._options import AgentRouter, IsolationMode, PoolOptions
from greenroom.pool.api._providers import prepare
from greenroom.pool.api._tenants import TenantConfigSource, TenantSource

if TYPE_CHECKING:
    from livekit.agents import Agent, AgentServer

_log = logging.getLogger("greenroom.pool")
#: Seconds that an observer has at most at the end of a session, however long calls may last.
_OBSERVER_TIMEOUT: Final = 30.0


class AgentPool:
    """Many agents in few processes.

    All arguments are by keyword; ``docs/pool-api.md`` tells each, and what differs from OpenRTC. What is not given
    here may be said by flags, the environment or ``greenroom.toml``, which go before what is.

    :param agent: one agent, registered as ``default``.
    :param agents: agents by name, instead.
    :param isolation: ``process`` gives each call a process of its own: ``placement="dedicated"``.
    :param drain_timeout: seconds that calls have to end when the pool stops.
    :param enable_tenant_circuit_breaker: ``None`` leaves it to the configuration, where it is on.
    :param placement: whom calls share a process with, for agents that do not say.
    :param first_prefix: whether of several agents whose name a room begins with the first registered is taken.
    :raises ValueError: for a value that cannot be.
    :raises TypeError: for a value of the wrong kind.
    """

    def __init__(
        self,
        *,
        agent: type[Agent] | None = None,
        agents: Mapping[str, type[Agent]] | None = None,
        default_stt: ProviderValue | None = None,
        default_llm: ProviderValue | None = None,
        default_tts: ProviderValue | None = None,
        default_greeting: str | None = None,
        observers: Sequence[SessionObserver] | None = None,
        backend: str = "livekit",
        isolation: IsolationMode = "coroutine",
        max_concurrent_sessions: int = DEFAULT_MAX_SESSIONS,
        consecutive_failure_limit: int = 5,
        drain_timeout: int = int(DEFAULT_DRAIN_TIMEOUT),
        memory_warn_mb: float = 1000.0,
        memory_limit_mb: float = 0.0,
        enable_hot_reload: bool = False,
        watch_paths: list[Path] | None = None,
        request_fnc: RequestFilter | None = None,
        accept_only_registered_rooms: bool = False,
        router: AgentRouter | None = None,
        agent_name: str | None = None,
        tenant_config: TenantConfigSource | None = None,
        max_sessions_per_agent: Mapping[str, int] | None = None,
        max_sessions_per_tenant: Mapping[str, int] | None = None,
        enable_tenant_circuit_breaker: bool | None = None,
        tenant_circuit_cooldown_s: float = 30.0,
        enable_introspection: bool = True,
        enable_uvloop: bool = True,
        port: int | None = None,
        slow_session_threshold_ms: float = 50.0,
        introspection_socket_path: Path | None = None,
        deployment_version: str | None = None,
        audit_sink: AuditSink | None = None,
        placement: Placement | str | None = None,
        first_prefix: bool = False,
    ) -> None:
        self._options = PoolOptions.of(locals())
        self._defaults = {"stt": default_stt, "llm": default_llm, "tts": default_tts, "greeting": default_greeting}
        self._agents: dict[str, AgentConfig] = {}
        self._server: AgentServer | None = None
        self._server_runs = False
        self._audit = AuditLog(sink=audit_sink)
        self._draining = False
        self.observers = [_observing.observer(each) for each in observers or ()]
        self.metrics = Metrics()
        self.tenants = TenantSource(tenant_config) if tenant_config is not None else None
        self.failures: list[Failure] = []
        _capture.note_made(self)
        for name, agent_cls in (agents or ({} if agent is None else {"default": agent})).items():
            self.add(name, agent_cls)

    def add(
        self,
        name: str,
        agent_cls: type[Agent],
        *,
        stt: ProviderValue | NotGiven | None = NOT_GIVEN,
        llm: ProviderValue | NotGiven | None = NOT_GIVEN,
        tts: ProviderValue | NotGiven | None = NOT_GIVEN,
        greeting: str | NotGiven | None = NOT_GIVEN,
        session_kwargs: Mapping[str, Any] | None = None,
        source_path: Path | str | None = None,
        capabilities: Sequence[str] = (),
        placement: Placement | str | None = None,
        agent_name: str | None = None,
        max_sessions: int | None = None,
        room_options: Any = None,
        start_options: Mapping[str, Any] | None = None,
        connect_options: Mapping[str, Any] | None = None,
        session_factory: SessionFactory | None = None,
        agent_factory: AgentFactory | None = None,
        userdata_factory: UserdataFactory | None = None,
        **session_options: Any,
    ) -> AgentConfig:
        """Register an agent and return its record. See :class:`AgentConfig` for what each argument is.

        A provider that is not given is the pool's default; ``None`` is none. What ``session_options`` say goes before
        ``session_kwargs``.

        :raises ValueError: for a name that is taken or cannot be one.
        :raises TypeError: for a class that is no agent, and for options that a session would not take.
        """
        key = _config.agent_name(name)
        if key in self._agents:
            raise ValueError(f"Agent {key!r} is already registered.")
        _registering.check_agent(agent_cls)
        options = {**(session_kwargs or {}), **session_options}
        checked = _registering.session_options(key, options, session_factory, userdata_factory, (stt, llm, tts))
        config = AgentConfig(
            name=key,
            agent_cls=agent_cls,
            stt=self._or_default("stt", stt),
            llm=self._or_default("llm", llm),
            tts=self._or_default("tts", tts),
            greeting=self._or_default("greeting", greeting),
            session_kwargs=checked,
            source_path=Path(source_path).expanduser().resolve() if source_path is not None else None,
            capabilities=_registering.capabilities(key, capabilities),
            placement=Placement(placement) if placement else self._options.placement,
            placed=bool(placement),
            agent_name=_config.words("agent_name", agent_name),
            max_sessions=None if max_sessions is None else _config.at_least("max_sessions", max_sessions, 0),
            room_options=room_options,
            start_options=_registering.start_options(key, start_options, room_options),
            connect_options=_registering.connect_options(key, connect_options),
            session_factory=session_factory,
            agent_factory=agent_factory,
            userdata_factory=userdata_factory,
        )
        self._agents[key] = config
        return config

    def discover(self, agents_dir: str | Path, *, recursive: bool = False, strict: bool = False) -> list[AgentConfig]:
        """Register the agents in the files of a directory and return their records.

        A file that is broken is reported in :attr:`failures` and in the log, and the others are registered. What a
        class says of itself with :func:`agent_config` is used; an agent without a name is called after its file.

        :param recursive: whether directories in it, and packages, are searched too.
        :param strict: whether the first file that is broken, or holds no agent, is an error.
        :raises FileNotFoundError: when the directory does not exist.
        :raises NotADirectoryError: when it is none.
        :raises RuntimeError: if ``strict``.
        """
        found = _discovery.discover_files([_discovery.directory(agents_dir)], recursive=recursive, strict=strict)
        self.failures += found.failures
        configs = []
        for each in found.agents:
            try:
                configs.append(self.add(each.name, each.agent_cls, **each.options()))
            except (TypeError, ValueError) as error:
                if strict:
                    raise
                self.failures.append(_discovery.failure_of(each.source, error, str(error)))
                _log.error("agent cannot be registered", extra={"file": str(each.source), "problem": str(error)})
        return configs

    def list_agents(self) -> list[str]:
        """Return the names of the agents, in the order of their registration."""
        return list(self._agents)

    def get(self, name: str) -> AgentConfig:
        """Return an agent's record. Raises ``KeyError``."""
        try:
            return self._agents[name]
        except KeyError:
            raise KeyError(f"Unknown agent {name!r}.") from None

    def remove(self, name: str) -> AgentConfig:
        """Take an agent out and return its record. Raises ``KeyError``."""
        config = self.get(name)
        del self._agents[name]
        return config

    def add_observer(self, observer: SessionObserver) -> None:
        """Let an observer be told of sessions from now on. Raises ``TypeError``."""
        self.observers.append(_observing.observer(observer))

    def run(self) -> None:
        """Do what the arguments of this program say: ``start``, ``dev``, ``console``, ``connect``, ``download-files``.

        While a nursery loads the program this only notes the pool.

        :raises RuntimeError: when no agent is registered.
        """
        if _capture.note_run(self):
            return
        if not self._agents:
            raise RuntimeError("Register at least one agent before calling run().")
        from greenroom.pool.api._main import main  # noqa: PLC0415

        main(self)

    def begin_drain(self) -> None:
        """Take no more calls; the process that runs the pool ends once the last has hung up. Idempotent."""
        host = _hosting.host()
        if self.draining or (host is None and not self._server_runs):
            return
        self._draining = True
        self._audit.emit(DRAIN_STARTED, version=self.deployment_version)
        if host is not None:
            host.drain()
        else:
            # Stock livekit-agents drains on the first of these, and ends.
            os.kill(os.getpid(), signal.SIGTERM)

    def runtime_snapshot(self) -> PoolRuntimeSnapshot:
        """Return what this process runs. The whole pool's snapshot is on its HTTP port."""
        return self.metrics.snapshot(
            agents=len(self._agents), deployment=self.deployment_version, draining=self.draining
        )

    def drain_metrics_stream_events(self) -> list[MetricsStreamEvent]:
        """Return what happened in this process since the last time, the latest 256 events at most."""
        return self.metrics.drain_stream()

    @property
    def server(self) -> AgentServer:
        """A livekit-agents server of this pool: ``server = pool.server`` lets ``python -m livekit.agents`` run it."""
        if self._server is None:
            from greenroom.pool.api._server import make_server  # noqa: PLC0415

            self._server = make_server(self)
            self._server.on("worker_started", self._note_server)
        return self._server

    @property
    def made_server(self) -> AgentServer | None:
        """The server, if somebody asked for it."""
        return self._server

    @property
    def options(self) -> PoolOptions:
        """What the pool was made with."""
        return self._options

    @property
    def isolation(self) -> IsolationMode:
        """``process`` when every call has a process of its own by default."""
        return self._options.isolation

    @property
    def max_concurrent_sessions(self) -> int:
        """How many calls the pool takes at once: exactly so many."""
        return self._options.max_sessions

    @property
    def consecutive_failure_limit(self) -> int:
        """Kept for programs that ask; calls of one agent that fail never end those of another."""
        return self._options.failure_limit

    @property
    def drain_timeout(self) -> int:
        """Seconds that calls have to end when the pool stops."""
        return self._options.drain_timeout

    @property
    def observer_timeout(self) -> float:
        """Seconds that an observer has at the end of a session."""
        return min(float(self._options.drain_timeout), _OBSERVER_TIMEOUT)

    @property
    def memory_warn_mb(self) -> float:
        """MiB of a shard above which it is warned; 0 is never."""
        return self._options.memory_warn_mb

    @property
    def memory_limit_mb(self) -> float:
        """MiB of a shard above which it gets no more calls and is replaced; 0 is never."""
        return self._options.memory_limit_mb

    @property
    def request_fnc(self) -> RequestFilter | None:
        """The pool's own filter of offers."""
        return self._options.request_fnc

    @property
    def max_sessions_per_agent(self) -> dict[str, int]:
        """How many calls each agent takes at once, for those that are limited."""
        limits = {name: config.max_sessions for name, config in self._agents.items()}
        return {**self._options.per_agent, **{name: cap for name, cap in limits.items() if cap is not None}}

    @property
    def max_sessions_per_tenant(self) -> dict[str, int]:
        """How many calls each tenant has at once, for those that are limited."""
        return dict(self._options.per_tenant)

    @property
    def tenant_circuit_breaker(self) -> BreakerSettings | None:
        """How the breaker is set, when the program switches it on itself."""
        options = self._options
        return BreakerSettings(cooldown=options.breaker_cooldown) if options.breaker else None

    @property
    def router(self) -> AgentRouter | None:
        """The program's own choice of agents."""
        return self._options.router

    @property
    def deployment_version(self) -> str | None:
        """The version that users of this code see."""
        return self._options.deployment

    @property
    def agent_name(self) -> str | None:
        """What LiveKit dispatches to, for agents that have no name of their own there."""
        return self._options.agent_name

    @property
    def port(self) -> int | None:
        """The HTTP port that was asked for."""
        return self._options.port

    @property
    def draining(self) -> bool:
        """Whether no more calls come."""
        host = _hosting.host()
        return host.draining if host is not None else self._draining

    @property
    def audit_log(self) -> AuditLog:
        """Where deployments are noted."""
        return self._audit

    @property
    def enable_hot_reload(self) -> bool:
        """Whether saving a file brings its code into service."""
        return self._options.hot_reload

    @property
    def introspection(self) -> None:
        """None: ``greenroom top`` asks the pool's HTTP port, on every machine alike."""
        return

    def _or_default(self, option: str, given: Any) -> Any:
        return self._defaults[option] if given is NOT_GIVEN else given

    def _note_server(self) -> None:
        self._server_runs = True
        # Plugins can only be imported by the main thread, which this is; its jobs run in others.
        for config in self._agents.values():
            try:
                prepare(config)
            except GreenroomError as error:
                _log.error("agent cannot serve calls", extra={"agent": config.name, "problem": str(error)})
