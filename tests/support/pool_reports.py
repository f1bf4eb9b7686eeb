"""Reports of pools as a pool sends them."""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.reports import AgentReport, PoolSnapshot, SessionReport, ShardReport

NOW = 1_763_000_000.0


def session(job: str = "AJ_1", **more: Any) -> SessionReport:
    """Return a session of the first shard."""
    fields = {"room": "lobby", "agent": "front-desk", "tenant": "acme", "shard": 0, "started_at": NOW, **more}
    return SessionReport(job_id=job, **fields)


def shard(number: int = 0, **more: Any) -> ShardReport:
    """Return a shard that is well."""
    fields = {"pid": 100 + number, "generation": 1, "state": "ready", "sessions": 0, "pss": 50 << 20, **more}
    return ShardReport(number=number, **fields)


def report(**more: Any) -> PoolSnapshot:
    """Return the report of a pool with two shards and one agent."""
    agent = AgentReport(name="front-desk", dispatch="front-desk", source="/a.py", state="ready", worker_id="AW_1")
    plain = PoolSnapshot(
        instance="pool-1",
        machine="basil",
        pid=99,
        started_at=NOW - 60,
        at=NOW,
        state="serving",
        generation=1,
        load=0.25,
        max_sessions=8,
        agents=(agent,),
        shards=(shard(0), shard(1)),
        memory_total=8 << 30,
        versions={"livekit-agents": "1.8.9"},
    )
    return msgspec.structs.replace(plain, **more)
