"""Reads ``AgentServer`` objects, and stands in for what would run them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from livekit.agents import AgentServer, JobRequest, cli
from livekit.agents.job import JobAcceptArguments
from livekit.agents.plugin import Plugin
from livekit.protocol import agent as agent_protocol

from greenroom.pool._model import Permissions


class Captured(SystemExit):
    """What a program's last call raises instead of running a worker for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """What stands in an ``AgentServer``. ``entrypoint`` is ``None`` when no session was registered."""

    agent_name: str
    job_type: int
    permissions: Permissions
    entrypoint: Any
    request: Any
    session_end: Any
    simulation_end: Any
    setup: Any
    http_proxy: str | None
    session_end_timeout: float
    setup_timeout: float
    preload: tuple[str, ...]


def is_server(value: object) -> bool:
    """Whether a value is an ``AgentServer``."""
    return isinstance(value, AgentServer)


def read_server(server: Any) -> ServerParts:
    """Return what an ``AgentServer`` was told."""
    permissions = server._permissions
    return ServerParts(
        agent_name=server._agent_name,
        job_type=int(server._server_type.value),
        permissions=Permissions(
            can_publish=permissions.can_publish,
            can_subscribe=permissions.can_subscribe,
            can_publish_data=permissions.can_publish_data,
            can_update_metadata=permissions.can_update_metadata,
            can_publish_sources=tuple(int(source) for source in permissions.can_publish_sources),
            hidden=permissions.hidden,
        ),
        entrypoint=server._entrypoint_fnc,
        request=_own(server._request_fnc, "_default_request_fnc"),
        session_end=server._session_end_fnc,
        simulation_end=server._simulation_end_fnc,
        setup=_own(server._setup_fnc, "_default_setup_fnc"),
        http_proxy=server._http_proxy or None,
        session_end_timeout=server._session_end_timeout,
        setup_timeout=server._initialize_process_timeout,
        preload=tuple(server._preload_modules),
    )


def _own(function: Any, default: str) -> Any:
    module = inspect.getmodule(AgentServer)
    return None if function is getattr(module, default, None) else function


@contextlib.contextmanager
def captured_servers(found: list[Any]) -> Iterator[None]:
    """Inside, ``cli.run_app(...)`` adds the server that it was given to ``found``, and ends the program.

    So does ``AgentServer.run``, for programs that have a loop of their own.
    """

    def run_app(server: Any) -> None:
        found.append(server if isinstance(server, AgentServer) else AgentServer.from_server_options(server))
        raise Captured(0)

    async def run(self: AgentServer, **_: Any) -> None:
        found.append(self)
        raise Captured(0)

    before = cli.run_app, AgentServer.run
    cli.run_app, AgentServer.run = run_app, run  # type: ignore[method-assign]
    try:
        yield
    finally:
        cli.run_app, AgentServer.run = before  # type: ignore[method-assign]


def registered_plugins() -> list[str]:
    """Return the packages of the plugins that were imported."""
    return [plugin.package for plugin in Plugin.registered_plugins]


class Tell(Protocol):
    """Takes what a request filter decided. Only the first call counts."""

    def __call__(
        self,
        *,
        accepted: bool,
        terminate: bool = False,
        identity: str = "",
        name: str = "",
        metadata: str = "",
        attributes: dict[str, str] = ...,
    ) -> None: ...


async def ask(job: bytes, request_filter: Callable[[JobRequest], Any], tell: Tell) -> None:
    """Let a program's own filter decide of an offer; return once it has returned. What it raises goes to the caller.

    Upstream's ``accept`` returns once the session is launched. Here it returns at once: the filter runs where no
    session does, and what it does after its answer holds nobody up.
    """

    async def reject(terminate: bool) -> None:
        tell(accepted=False, terminate=terminate)

    async def accept(arguments: JobAcceptArguments) -> None:
        tell(
            accepted=True,
            identity=arguments.identity,
            name=arguments.name,
            metadata=arguments.metadata,
            attributes=arguments.attributes or {},
        )

    request = JobRequest(job=agent_protocol.Job.FromString(job), on_reject=reject, on_accept=accept)
    outcome = request_filter(request)
    if inspect.isawaitable(outcome):
        await outcome
