"""Agents that are classes, as their ``AgentPool`` brings them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from livekit.protocol import agent as agent_protocol

from greenroom.pool._model import AgentSpec, CodeOptions, Failure
from greenroom.pool.api import AgentPool
from greenroom.pool.api import _host_face as pools
from greenroom.pool.shard._program import Program


def programs(pool: AgentPool, path: Path, fingerprint: str) -> Iterator[Program | Failure]:
    """Yield the agents of a pool, and in the place of one that no call could be served with why.

    :param path: the file that made the pool: where classes come from that were defined as it ran.
    """
    for spec in specs(pool, path):
        failure = pools.try_instantiate(pool.get(spec.name))
        if failure is not None:
            yield failure if Path(failure.source).is_file() else msgspec.structs.replace(failure, source=str(path))
            continue
        yield Program(
            spec=msgspec.structs.replace(spec, fingerprint=fingerprint),
            entrypoint=pools.entrypoint_for(pool, spec.name),
            asks=pool.request_fnc,
            setup=pools.set_up(pool),
            shares=pool,
        )


def specs(pool: AgentPool, path: Path) -> list[AgentSpec]:
    """Return the agents of a pool as they are known outside."""
    return [
        spec
        if pool.get(spec.name).agent_cls.__module__ != "__main__" and Path(spec.source).is_file()
        else msgspec.structs.replace(spec, source=str(path))
        for spec in pools.specs(pool)
    ]


def merged(found: Sequence[AgentPool]) -> CodeOptions:
    """Return what several pools say as one: of each option what the first says of it, of limits by name all."""
    said: dict[str, Any] = {}
    for pool in found:
        for name, value in msgspec.structs.asdict(pools.code_options(pool)).items():
            if isinstance(value, dict):
                said[name] = {**value, **(said.get(name) or {})}
            elif isinstance(value, bool) and name in {"routes", "resolves", "filters"}:
                said[name] = value or said.get(name, False)
            elif said.get(name) is None:
                said[name] = value
    return CodeOptions(**said)


class Advisors:
    """What the pools' programs decide themselves: asked in the order of their files, the first that answers counts."""

    def __init__(self, found: Sequence[AgentPool]) -> None:
        self._pools = list(found)

    async def route(self, job: bytes) -> str | None:
        """Return the agent that a router names; ``None`` leaves the choice open."""
        offered = agent_protocol.Job.FromString(job)
        for pool in self._pools:
            agent = await pools.ask_router(pool, offered)
            if agent is not None:
                return agent
        return None

    async def tenant(self, tenant: str) -> dict[str, Any] | None:
        """Return what a resolver says of a tenant, ``None`` for an unknown one."""
        for pool in self._pools:
            found = await pools.ask_tenant(pool, tenant)
            if found is not None:
                return found
        return None
