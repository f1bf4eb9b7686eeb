"""What a pool is made with, checked: OpenRTC's errors for OpenRTC's options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from greenroom.pool._model import Placement
from greenroom.pool.api import _config
from greenroom.pool.api._config import RequestFilter

AgentRouter: TypeAlias = Callable[[Mapping[str, Any] | None], Any]
IsolationMode: TypeAlias = Literal["coroutine", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """What a pool was made with, checked."""

    isolation: IsolationMode
    max_sessions: int
    failure_limit: int
    drain_timeout: int
    memory_warn_mb: float
    memory_limit_mb: float
    hot_reload: bool
    watch_paths: tuple[Path, ...]
    request_fnc: RequestFilter | None
    only_registered_rooms: bool
    router: AgentRouter | None
    agent_name: str | None
    per_agent: dict[str, int]
    per_tenant: dict[str, int]
    breaker: bool | None
    breaker_cooldown: float
    slow_session_ms: float
    port: int | None
    deployment: str | None
    placement: Placement
    first_prefix: bool

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PoolOptions:
        """Return the arguments of ``AgentPool`` as options. Raises ``ValueError`` and ``TypeError``."""
        _check_choices(given)
        port = given["port"]
        tenants = _config.caps("max_sessions_per_tenant", given["max_sessions_per_tenant"])
        placement = given["placement"]
        return cls(
            isolation=given["isolation"],
            max_sessions=_config.at_least("max_concurrent_sessions", given["max_concurrent_sessions"], 1),
            failure_limit=_config.at_least("consecutive_failure_limit", given["consecutive_failure_limit"], 1),
            drain_timeout=_config.at_least("drain_timeout", given["drain_timeout"], 1),
            memory_warn_mb=_config.amount("memory_warn_mb", given["memory_warn_mb"]),
            memory_limit_mb=_config.amount("memory_limit_mb", given["memory_limit_mb"]),
            hot_reload=bool(given["enable_hot_reload"]),
            watch_paths=tuple(Path(path) for path in given["watch_paths"] or ()),
            request_fnc=given["request_fnc"],
            only_registered_rooms=bool(given["accept_only_registered_rooms"]),
            router=given["router"],
            agent_name=_config.words("agent_name", given["agent_name"]),
            per_agent=_config.caps("max_sessions_per_agent", given["max_sessions_per_agent"]),
            per_tenant={_config.tenant_id(tenant): cap for tenant, cap in tenants.items()},
            breaker=given["enable_tenant_circuit_breaker"],
            breaker_cooldown=_config.amount("tenant_circuit_cooldown_s", given["tenant_circuit_cooldown_s"]),
            slow_session_ms=_config.amount("slow_session_threshold_ms", given["slow_session_threshold_ms"]),
            port=_config.port("port", port) if port is not None else _port_of_environment(),
            deployment=_config.words("deployment_version", given["deployment_version"]),
            placement=Placement(placement) if placement else _placement_of(given["isolation"]),
            first_prefix=bool(given["first_prefix"]),
        )


def _check_choices(given: Mapping[str, Any]) -> None:
    backend, isolation = given["backend"], given["isolation"]
    if given["agent"] is not None and given["agents"] is not None:
        raise ValueError("Pass either agent or agents, not both.")
    if backend == "pipecat":
        raise ValueError("The pipecat backend was removed; agent pools run livekit-agents only.")
    if backend != "livekit":
        raise ValueError(f"Unknown backend {backend!r}. Available backends: livekit.")
    if isolation not in {"coroutine", "process"}:
        raise ValueError(f"isolation must be 'coroutine' or 'process', got {isolation!r}.")
    if given["request_fnc"] is not None and given["accept_only_registered_rooms"]:
        raise ValueError("Pass either request_fnc or accept_only_registered_rooms, not both.")


def _placement_of(isolation: str) -> Placement:
    return Placement.DEDICATED if isolation == "process" else Placement.SHARED


def _port_of_environment() -> int | None:
    raw = os.environ.get("OPENRTC_PORT", "").strip()
    if not raw:
        return None
    try:
        number = int(raw)
    except ValueError:
        raise ValueError(f"OPENRTC_PORT must be a port number, got {raw!r}.") from None
    return _config.port("OPENRTC_PORT", number)
