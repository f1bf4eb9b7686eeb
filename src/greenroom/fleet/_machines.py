"""The machines of the fleet: its workers, and what their pools tell of where they run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from greenroom.fleet._calls import UNNAMED
from greenroom.fleet._pools import PoolView
from greenroom.fleet._shapes import FleetMachine
from greenroom.fleet._state import FleetState
from greenroom.link import WorkerInfo
from greenroom.reports import AgentReport, ShardReport

#: Whoever is offline is listed for so many seconds.
OFFLINE_FOR: Final = 600.0


def machines(state: FleetState, now: float, pools: Iterable[PoolView]) -> tuple[FleetMachine, ...]:
    """Return every machine at ``now``, sorted by its id."""
    by_worker = {agent.worker_id: pool for pool in pools for agent in pool.report.agents if agent.worker_id}
    found = {machine.worker: machine for machine in _workers(state, now)}
    for worker, pool in by_worker.items():
        if worker in found:
            found[worker] = _placed(found[worker], pool)
    for pool in pools:
        for agent in pool.report.agents:
            if agent.worker_id and agent.worker_id not in found and _is_listed(pool, now):
                found[agent.worker_id] = _of_pool(pool, agent)
    return tuple(sorted(found.values(), key=lambda machine: machine.id))


def _workers(state: FleetState, now: float) -> Iterator[FleetMachine]:
    for worker in state.workers.workers.values():
        yield _machine(worker, None)
    for gone in state.workers.gone:
        if now - gone.at <= OFFLINE_FOR:
            yield _machine(gone.worker, gone.at)


def _machine(worker: WorkerInfo, gone: float | None) -> FleetMachine:
    # The worker's own count comes later than what the server knows to be there.
    jobs = max(worker.job_count or 0, len(worker.jobs))
    return FleetMachine(
        id=f"machine:{worker.id}",
        name=f"{worker.agent_name or UNNAMED} ({worker.id})",
        worker=worker.id,
        agent_name=worker.agent_name,
        online=gone is None,
        status=worker.status or None,
        load=worker.load if gone is None else None,
        jobs=jobs if gone is None else None,
        version=worker.version or None,
        connected_at=worker.connected_at,
        last_seen_at=gone,
    )


def _placed(machine: FleetMachine, pool: PoolView) -> FleetMachine:
    report = pool.report
    fresh = machine.online and not pool.lost
    return msgspec.structs.replace(
        machine,
        name=f"{machine.agent_name or UNNAMED} on {report.machine} ({machine.worker})",
        pool=pool.instance,
        host=report.machine,
        shards=len(report.shards) if fresh else None,
        memory=_memory(report.shards) if fresh else None,
        memory_total=report.memory_total or None,
    )


def _of_pool(pool: PoolView, agent: AgentReport) -> FleetMachine:
    """Return the machine of a worker that its server does not tell of."""
    report = pool.report
    online = not pool.lost and report.state != "stopped"
    machine = FleetMachine(
        id=f"machine:{agent.worker_id}",
        name="",
        worker=agent.worker_id,
        agent_name=agent.dispatch,
        online=online,
        status=report.state,
        load=report.load if online else None,
        jobs=agent.sessions if online else None,
        version=report.versions.get("livekit-agents"),
        connected_at=report.started_at,
        last_seen_at=None if online else pool.seen_at,
    )
    return _placed(machine, pool)


def _is_listed(pool: PoolView, now: float) -> bool:
    gone = pool.lost or pool.report.state == "stopped"
    return not gone or now - pool.seen_at <= OFFLINE_FOR


def _memory(shards: Iterable[ShardReport]) -> int | None:
    known = [size for shard in shards if (size := shard.pss if shard.pss is not None else shard.rss) is not None]
    return sum(known) if known else None
