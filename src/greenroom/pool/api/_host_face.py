"""What the processes that run a pool ask of it: what it holds, how its agents run, what its program says.

Nothing here imports ``livekit.agents`` by itself; a program that holds a pool has done so.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenroom.errors import GreenroomError
from greenroom.pool._model import AgentSpec, CodeOptions, Failure, Kind
from greenroom.pool._settings import DEFAULT_DRAIN_TIMEOUT, DEFAULT_MAX_SESSIONS
from greenroom.pool.admission import mapping_of
from greenroom.pool.api import _providers
from greenroom.pool.api._capture import Capture
from greenroom.pool.api._config import PROVIDER_KINDS, AgentConfig
from greenroom.pool.api._discovery import agents_of, failure_of, local_agents
from greenroom.pool.api._pins import is_job_pinned
from greenroom.pool.api._providers import note_makers
from greenroom.pool.api._session import concluded, run_session
from greenroom.pool.api._turns import fill_userdata

if TYPE_CHECKING:
    from types import ModuleType

    from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest

    from greenroom.pool.api._pool import AgentPool

__all__ = [
    "Programs",
    "ask_filter",
    "ask_router",
    "ask_tenant",
    "code_options",
    "concluded",
    "entrypoint_for",
    "failure_of",
    "is_job_pinned",
    "note_makers",
    "programs_of",
    "set_up",
    "specs",
    "try_instantiate",
]


@dataclass(frozen=True, slots=True)
class Programs:
    """What one loaded file brings into service.

    :param servers: by the names of their variables, those of pools not among them.
    :param pools: each once.
    """

    servers: Mapping[str, AgentServer]
    pools: Sequence[AgentPool]


def programs_of(namespace: Mapping[str, Any] | ModuleType, captured: Capture | None = None) -> Programs:
    """Return what a loaded file brings: its pools, its servers; when it has neither, a pool of its agent classes.

    A pool counts when it was run, else when it is in the namespace (as itself, or as ``pool.server``), else when it
    was made while the file was loaded. Nothing there is two empty sequences.

    :param captured: what :func:`greenroom.pool.api.capture` noted while the file was loaded.
    """
    from livekit.agents import AgentServer  # noqa: PLC0415

    from greenroom.pool.api._pool import AgentPool  # noqa: PLC0415

    names = dict(namespace if isinstance(namespace, Mapping) else vars(namespace))
    made = captured.made if captured is not None else []
    here = [value for value in names.values() if isinstance(value, AgentPool)]
    owners = {id(each.made_server): each for each in (*made, *here) if each.made_server is not None}
    served = [owners[id(value)] for value in names.values() if id(value) in owners]
    pools = list(dict.fromkeys((captured.run if captured else []) or here + served or made))
    servers = {
        name: value for name, value in names.items() if isinstance(value, AgentServer) and id(value) not in owners
    }
    if not pools and not servers:
        pools = _pool_of_classes(names)
    return Programs(servers, pools)


def specs(pool: AgentPool) -> list[AgentSpec]:
    """Return the agents of a pool as they are known outside, in the order of their registration."""
    caps = pool.max_sessions_per_agent
    return [
        AgentSpec(
            name=config.name,
            dispatch=config.agent_name or pool.agent_name or "",
            kind=Kind.CLASS,
            source=str(config.source_path or _source_of(config.agent_cls)),
            capabilities=config.capabilities,
            placement=config.placement,
            placed=config.placed,
            asks=pool.request_fnc is not None,
            max_sessions=caps.get(config.name),
            providers={
                kind: _providers.label(value) for kind in PROVIDER_KINDS if (value := getattr(config, kind)) is not None
            },
        )
        for config in map(pool.get, pool.list_agents())
    ]


def code_options(pool: AgentPool) -> CodeOptions:
    """Return what a pool was told, for the supervisor. What equals the default is left to the configuration.

    Its deployment version stays a tag for observers, as in OpenRTC: LiveKit would withhold dispatches that do not name
    it.
    """
    options = pool.options
    return CodeOptions(
        max_sessions=options.max_sessions if options.max_sessions != DEFAULT_MAX_SESSIONS else None,
        max_sessions_per_agent=options.per_agent or None,
        max_sessions_per_tenant=options.per_tenant or None,
        drain_timeout=float(options.drain_timeout) if options.drain_timeout != DEFAULT_DRAIN_TIMEOUT else None,
        memory_warn_mb=options.memory_warn_mb,
        memory_limit_mb=options.memory_limit_mb,
        breaker=options.breaker,
        breaker_cooldown=options.breaker_cooldown if options.breaker else None,
        slow_session_ms=options.slow_session_ms,
        port=options.port,
        only_registered_rooms=options.only_registered_rooms or None,
        first_prefix=options.first_prefix or None,
        routes=options.router is not None,
        resolves=pool.tenants is not None,
        filters=options.request_fnc is not None,
    )


def entrypoint_for(pool: AgentPool, name: str) -> Callable[[JobContext], Awaitable[None]]:
    """Return the entrypoint of one agent.

    It is run by LiveKit's own job runner, in the context that the session's instruments made: tenant, providers of the
    tenant and whether the call is resumed are found there.
    """
    # Asked now, so that an agent that is not there is no surprise for a caller.
    pool.get(name)

    async def entrypoint(ctx: JobContext) -> None:
        await run_session(pool, ctx, name)

    return entrypoint


def set_up(pool: AgentPool) -> Callable[[JobProcess], None]:
    """Return what prepares a process for the agents of a pool: ``proc.userdata`` as OpenRTC has it. It is quick."""
    del pool
    return fill_userdata


async def ask_router(pool: AgentPool, job: Any) -> str | None:
    """Return which agent the program's router names for a ``livekit.protocol.agent.Job``; ``None`` leaves it open.

    Raises what the router raises.
    """
    if pool.router is None:
        return None
    said = pool.router(dict(mapping_of(job.metadata)) or _empty_object(job.metadata))
    if inspect.isawaitable(said):
        said = await said
    if said is not None and not isinstance(said, str):
        raise TypeError(f"The router must return a name or None, got {type(said).__name__}.")
    return said


async def ask_tenant(pool: AgentPool, tenant: str) -> dict[str, Any] | None:
    """Return what the program says of a tenant, for :class:`TenantFound`; ``None`` for an unknown one.

    Provider objects stay in this process: a mark is sent in their place, and the shard asks its own copy of the pool.
    Raises what the program raises.
    """
    answer = await pool.tenants.ask(tenant) if pool.tenants is not None else None
    return None if answer is None else _providers.sendable(answer)


async def ask_filter(pool: AgentPool, request: JobRequest) -> None:
    """Let the program's request filter accept or reject an offer; accept it when there is none."""
    if pool.request_fnc is None:
        await request.accept()
    else:
        await pool.request_fnc(request)


def try_instantiate(config: AgentConfig) -> Failure | None:
    """Return why an agent would fail every call, ``None`` when nothing speaks against it.

    Its provider ids are looked up and imported, and its class is made once, without a call: one that needs the call's
    context counts as sound. No event loop runs.
    """
    source = config.source_path or _source_of(config.agent_cls)
    try:
        _providers.prepare(config)
        if config.agent_factory is None:
            config.agent_cls()  # type: ignore[call-arg]
    except GreenroomError as error:
        return Failure(source=str(source), message=str(error))
    except (Exception, SystemExit) as error:
        if _needs_a_call(error):
            return None
        said = f"Agent '{config.name}' cannot be made: {type(error).__name__}: {error}"
        return failure_of(Path(source), error, said)
    return None


def _needs_a_call(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, RuntimeError) and ("job context" in said or "event loop" in said)


def _pool_of_classes(names: Mapping[str, Any]) -> list[AgentPool]:
    from greenroom.pool.api._pool import AgentPool  # noqa: PLC0415

    module, file = names.get("__name__", ""), names.get("__file__")
    if file is None or not local_agents(names, module):
        return []
    # OpenRTC's own command reads this for files that make no pool themselves.
    isolation: Any = os.environ.get("OPENRTC_ISOLATION", "").strip() or "coroutine"
    pool = AgentPool(isolation=isolation)
    for each in agents_of(names, module, Path(file).resolve()):
        pool.add(each.name, each.agent_cls, **each.options())
    return [pool]


def _source_of(agent_cls: type) -> str:
    try:
        return str(Path(inspect.getsourcefile(agent_cls) or "").resolve())
    except (OSError, TypeError):
        return ""


def _empty_object(metadata: str) -> dict[str, Any] | None:
    return {} if metadata.strip().startswith("{") and not metadata.strip().strip("{}").strip() else None
